//! This agent's place among the others, found from the times of round trips alone: Vivaldi (Dabek et al., "Vivaldi: A
//! Decentralized Network Coordinate System", SIGCOMM 2004, figure 3), with a filter over each neighbour's latest times and
//! a pull to the origin that keeps the cluster from drifting (Ledlie et al., "Network Coordinates in the Wild", NSDI 2007,
//! sections 4 and 7.2), and an adjustment by what remains (Lee et al. 2010). The constants are Serf's.

use crate::dice::Dice;
use lictor_catalog::Coordinate;
use lictor_catalog::model::DIMENSIONS;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use uuid::Uuid;

type Vector = [f64; DIMENSIONS];

const ERROR_MAX: f64 = 1.5;
/// How far one measurement moves the estimate of the error, and the place (the paper's c_e and c_c).
const ERROR_GAIN: f64 = 0.25;
const PLACE_GAIN: f64 = 0.25;
const HEIGHT_MIN: f64 = 10e-6;
const ADJUSTMENTS: usize = 20;
/// The latest times of one neighbour, of which the median counts.
const SAMPLES: usize = 3;
/// Seconds from the origin at which it pulls as strongly as can be.
const GRAVITY_RADIUS: f64 = 150.0;
/// Seconds below which two places are one.
const ZERO: f64 = 1e-6;
/// A longer round trip says nothing of the network.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(10);
/// Neighbours whose latest times are kept.
const NEIGHBOURS_MAX: usize = 1024;

/// The place of a newcomer: at the origin, and sure of nothing.
pub(crate) fn origin() -> Coordinate {
    let numbers = ([0.0; DIMENSIONS], HEIGHT_MIN, ERROR_MAX, 0.0);
    Coordinate::try_from(numbers).expect("its numbers are written above, and finite")
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Vivaldi {
    place: Coordinate,
    /// What each of the latest measurements was beyond its distance.
    adjustments: VecDeque<f64>,
    samples: BTreeMap<Uuid, VecDeque<f64>>,
    dice: Dice,
}

impl Vivaldi {
    pub(super) fn new(dice: Dice) -> Self {
        Self { place: origin(), adjustments: VecDeque::new(), samples: BTreeMap::new(), dice }
    }

    pub(super) const fn place(&self) -> Coordinate {
        self.place
    }

    /// A member is gone.
    pub(super) fn forget(&mut self, id: Uuid) {
        self.samples.remove(&id);
    }

    /// `id`, which takes itself to be at `other`, answered after this long.
    pub(super) fn observe(&mut self, id: Uuid, other: &Coordinate, round_trip: Duration) {
        if round_trip > ROUND_TRIP_MAX {
            return;
        }
        let seconds = self.median(id, round_trip.as_secs_f64()).max(ZERO);
        // A place beyond all numbers, as a foreign one may bring about, is given up for the origin.
        self.place = self.moved(other, seconds).unwrap_or_else(origin);
    }

    /// The median of this neighbour's latest times.
    fn median(&mut self, id: Uuid, seconds: f64) -> f64 {
        if self.samples.len() >= NEIGHBOURS_MAX && !self.samples.contains_key(&id) {
            let some = self.dice.below(self.samples.len() as u64) as usize;
            if let Some(id) = self.samples.keys().nth(some).copied() {
                self.samples.remove(&id);
            }
        }
        let samples = self.samples.entry(id).or_default();
        if samples.len() >= SAMPLES {
            samples.pop_front();
        }
        samples.push_back(seconds);
        let mut sorted: Vec<f64> = samples.iter().copied().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(seconds)
    }

    fn moved(&mut self, other: &Coordinate, seconds: f64) -> Option<Coordinate> {
        let here = self.place;
        let distance = here.distance(other);
        let wrongness = (distance - seconds).abs() / seconds;
        let weight = here.error() / (here.error() + other.error()).max(ZERO);
        let error = ERROR_GAIN * weight * wrongness + here.error() * (1.0 - ERROR_GAIN * weight);
        let force = PLACE_GAIN * weight * (seconds - distance);
        let there = self.push(&here, other, force, error.min(ERROR_MAX))?;

        if self.adjustments.len() >= ADJUSTMENTS {
            self.adjustments.pop_front();
        }
        self.adjustments.push_back(seconds - there.raw_distance(other));
        let adjustment = self.adjustments.iter().sum::<f64>() / (2 * ADJUSTMENTS) as f64;
        let there = place(*there.vector(), there.height(), there.error(), adjustment)?;

        let pull = origin().distance(&there) / GRAVITY_RADIUS;
        self.push(&there, &origin(), -(pull * pull), there.error())
    }

    /// Moves a place away from another one, or towards it if the force is below zero.
    fn push(&mut self, here: &Coordinate, other: &Coordinate, force: f64, error: f64) -> Option<Coordinate> {
        let (direction, between) = self.direction(here.vector(), other.vector());
        let mut vector = *here.vector();
        for (number, unit) in vector.iter_mut().zip(direction) {
            *number += unit * force;
        }
        let mut height = here.height();
        if between > ZERO {
            height = ((here.height() + other.height()) * force / between + here.height()).max(HEIGHT_MIN);
        }
        place(vector, height, error, here.adjustment())
    }

    /// The unit vector from `other` to `here`, and their distance. Two at one place part in a random direction.
    fn direction(&mut self, here: &Vector, other: &Vector) -> (Vector, f64) {
        let apart: Vector = std::array::from_fn(|at| here[at] - other[at]);
        let between = magnitude(&apart);
        if between > ZERO {
            return (apart.map(|number| number / between), between);
        }
        let random: Vector = std::array::from_fn(|_| self.dice.below(1 << 32) as f64 / f64::from(1u32 << 31) - 1.0);
        let length = magnitude(&random);
        if length > ZERO {
            return (random.map(|number| number / length), 0.0);
        }
        (std::array::from_fn(|at| if at == 0 { 1.0 } else { 0.0 }), 0.0)
    }
}

fn magnitude(vector: &Vector) -> f64 {
    vector.iter().map(|number| number * number).sum::<f64>().sqrt()
}

fn place(vector: Vector, height: f64, error: f64, adjustment: f64) -> Option<Coordinate> {
    Coordinate::try_from((vector, height, error, adjustment)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds of probes in a network with these round-trip times; the median of how far the estimates are off.
    fn converge(seed: u64, nodes: usize, rounds: usize, truth: impl Fn(usize, usize) -> f64, noise: f64) -> f64 {
        let mut dice = Dice::new(seed);
        let mut all: Vec<Vivaldi> = (0..nodes).map(|_| Vivaldi::new(dice.split())).collect();
        for _ in 0..rounds {
            for a in 0..nodes {
                let b = (a + 1 + dice.below(nodes as u64 - 1) as usize) % nodes;
                let other = all[b].place();
                let late = 1.0 + noise * dice.below(1000) as f64 / 1000.0;
                // One in twenty comes very late, as under load.
                let late = if dice.below(20) == 0 { late * 10.0 } else { late };
                all[a].observe(Uuid::from_u128(b as u128), &other, Duration::from_secs_f64(truth(a, b) * late));
            }
        }
        let mut errors = Vec::new();
        for a in 0..nodes {
            for b in 0..a {
                let estimate = all[a].place().distance(&all[b].place());
                errors.push((estimate - truth(a, b)).abs() / truth(a, b));
            }
        }
        errors.sort_unstable_by(f64::total_cmp);
        errors[errors.len() / 2]
    }

    #[test]
    fn places_converge_to_the_times_of_round_trips() {
        // Three sites in a triangle, a few hundred microseconds inside of each, and links of their own to each node.
        let site = |node: usize| node % 3;
        let link = |node: usize| 0.0002 + 0.0001 * (node % 5) as f64;
        let sites = |a: usize, b: usize| {
            let between = match (site(a).min(site(b)), site(a).max(site(b))) {
                (a, b) if a == b => 0.0,
                (0, 1) => 0.020,
                (0, 2) => 0.045,
                _ => 0.035,
            };
            between + link(a) + link(b)
        };
        // A flat network, and nodes on a line.
        let flat = |_: usize, _: usize| 0.0005;
        let line = |a: usize, b: usize| 0.001 + 0.002 * a.abs_diff(b) as f64;
        for seed in 0..5 {
            for (name, error) in [
                ("sites", converge(seed, 24, 400, sites, 0.0)),
                ("flat", converge(seed, 16, 400, flat, 0.0)),
                ("line", converge(seed, 20, 400, line, 0.0)),
                ("noisy", converge(seed, 24, 400, sites, 0.2)),
            ] {
                eprintln!("{name}, seed {seed}: {:.1} %", error * 100.0);
                assert!(error < 0.2, "{name}, seed {seed}: median error {error}");
            }
        }
    }

    #[test]
    fn nonsense_moves_nobody_for_good() {
        let mut vivaldi = Vivaldi::new(Dice::new(1));
        vivaldi.observe(Uuid::nil(), &origin(), Duration::from_secs(11));
        assert_eq!(vivaldi.place(), origin(), "longer than any round trip");
        let far = place([1e308; DIMENSIONS], 1e308, 0.0, 0.0).expect("finite");
        for _ in 0..10 {
            vivaldi.observe(Uuid::nil(), &far, Duration::from_millis(1));
        }
        for _ in 0..200 {
            vivaldi.observe(Uuid::max(), &origin(), Duration::from_millis(1));
        }
        let seconds = vivaldi.place().distance(&origin());
        assert!((0.0..0.01).contains(&seconds), "back among the others: {seconds}");
    }

    #[test]
    fn neighbours_are_not_kept_without_bound() {
        let mut vivaldi = Vivaldi::new(Dice::new(1));
        for number in 0..3000 {
            vivaldi.observe(Uuid::from_u128(number), &origin(), Duration::from_millis(1));
        }
        assert_eq!(vivaldi.samples.len(), NEIGHBOURS_MAX);
        vivaldi.forget(*vivaldi.samples.keys().next().expect("some"));
        assert_eq!(vivaldi.samples.len(), NEIGHBOURS_MAX - 1);
    }
}
