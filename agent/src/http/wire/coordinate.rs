//! Coordinates.

use lictor_catalog::{Coordinate, NodeCoordinate};
use schemars::JsonSchema;
use serde::Serialize;

/// A place.
#[derive(Clone, Copy, Debug, JsonSchema, Serialize)]
#[schemars(rename = "Coordinate")]
#[serde(rename_all = "PascalCase")]
pub struct WireCoordinate<'a> {
    vec: &'a [f64],
    error: f64,
    adjustment: f64,
    height: f64,
}

impl<'a> From<&'a Coordinate> for WireCoordinate<'a> {
    fn from(coordinate: &'a Coordinate) -> Self {
        Self {
            vec: coordinate.vector(),
            error: coordinate.error(),
            adjustment: coordinate.adjustment(),
            height: coordinate.height(),
        }
    }
}

/// A node and its place. There are no segments.
#[derive(Clone, Copy, Debug, JsonSchema, Serialize)]
#[schemars(rename = "Place")]
#[serde(rename_all = "PascalCase")]
pub struct WirePlace<'a> {
    node: &'a str,
    segment: &'static str,
    coord: WireCoordinate<'a>,
}

impl<'a> WirePlace<'a> {
    /// Under another name than the node's own.
    #[must_use]
    pub fn named(node: &'a str, coordinate: &'a Coordinate) -> Self {
        Self { node, segment: "", coord: coordinate.into() }
    }
}

impl<'a> From<&'a NodeCoordinate> for WirePlace<'a> {
    fn from(placed: &'a NodeCoordinate) -> Self {
        let NodeCoordinate { node, coordinate } = placed;
        Self::named(node, coordinate)
    }
}
