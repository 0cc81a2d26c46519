//! Where nodes are, as far as the time of round trips between them tells.

use super::NodeName;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The dimensions of the space in which nodes are placed.
pub const DIMENSIONS: usize = 8;

/// A node's place in a space whose distances are round-trip times in seconds: Vivaldi's (Dabek et al., SIGCOMM 2004), with
/// a height for the way from the node to that space (section 5.4), and an adjustment for what no space can show (Lee et al.,
/// "On Suitability of Euclidean Embedding for Host-Based Network Coordinate Systems", 2010). Every number is finite.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Numbers", into = "Numbers")]
pub struct Coordinate {
    vector: [f64; DIMENSIONS],
    height: f64,
    error: f64,
    adjustment: f64,
}

/// Equal to itself, since no number in it is NaN.
impl Eq for Coordinate {}

/// Vector, height, error and adjustment, not looked at yet.
type Numbers = ([f64; DIMENSIONS], f64, f64, f64);

/// A coordinate of which a number is infinite or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotFinite;

impl std::fmt::Display for NotFinite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a coordinate has a number that is not finite")
    }
}

impl std::error::Error for NotFinite {}

impl TryFrom<Numbers> for Coordinate {
    type Error = NotFinite;

    fn try_from((vector, height, error, adjustment): Numbers) -> Result<Self, NotFinite> {
        let finite = vector.iter().chain([&height, &error, &adjustment]).all(|number| number.is_finite());
        if finite { Ok(Self { vector, height, error, adjustment }) } else { Err(NotFinite) }
    }
}

impl From<Coordinate> for Numbers {
    fn from(coordinate: Coordinate) -> Self {
        let Coordinate { vector, height, error, adjustment } = coordinate;
        (vector, height, error, adjustment)
    }
}

impl Coordinate {
    /// Seconds along each dimension.
    #[must_use]
    pub const fn vector(&self) -> &[f64; DIMENSIONS] {
        &self.vector
    }

    /// Seconds to the space itself.
    #[must_use]
    pub const fn height(&self) -> f64 {
        self.height
    }

    /// How far off it takes itself to be: a part of the distance, from 0 to 1.5.
    #[must_use]
    pub const fn error(&self) -> f64 {
        self.error
    }

    /// Seconds by which distances from here turned out to differ from what was measured.
    #[must_use]
    pub const fn adjustment(&self) -> f64 {
        self.adjustment
    }

    /// Seconds through the space, without the adjustments.
    #[must_use]
    pub fn raw_distance(&self, other: &Self) -> f64 {
        let squares = self.vector.iter().zip(&other.vector).map(|(a, b)| (a - b) * (a - b));
        squares.sum::<f64>().sqrt() + self.height + other.height
    }

    /// The round trip to be expected, in seconds.
    #[must_use]
    pub fn distance(&self, other: &Self) -> f64 {
        let raw = self.raw_distance(other);
        let adjusted = raw + self.adjustment + other.adjustment;
        if adjusted > 0.0 { adjusted } else { raw }
    }

    /// [`Self::distance`] as a span; the longest there is when it is out of range.
    #[must_use]
    pub fn round_trip(&self, other: &Self) -> Duration {
        Duration::try_from_secs_f64(self.distance(other)).unwrap_or(Duration::MAX)
    }
}

/// Where a node is, as it finds itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCoordinate {
    /// The node.
    pub node: NodeName,
    /// Its place.
    pub coordinate: Coordinate,
}
