//! The network: who cannot reach whom, how slow and how lossy it is; and the endpoints that checks look at.

use crate::checks::{Captured, Outcome, Probe};
use crate::dice::Dice;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How a checked endpoint answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// An HTTP status.
    Status(u16),
    /// Takes connections, and answers HTTP with 200.
    Open,
    Refuses,
    /// Never answers.
    Hangs,
}

/// See the module's page. Nodes are named by number.
#[derive(Clone, Debug)]
pub struct Net {
    /// From whom to whom nothing arrives.
    pub cut: BTreeSet<(usize, usize)>,
    /// Of a hundred packets or letters, so many are lost.
    pub loss: u64,
    /// Of a hundred, so many arrive twice.
    pub twice: u64,
    /// The shortest and the longest way, in ns.
    pub delay: (u64, u64),
    pub endpoints: BTreeMap<String, Endpoint>,
}

impl Default for Net {
    fn default() -> Self {
        Self { cut: BTreeSet::new(), loss: 0, twice: 0, delay: (100_000, 1_000_000), endpoints: BTreeMap::new() }
    }
}

impl Net {
    #[must_use]
    pub fn reaches(&self, from: usize, to: usize) -> bool {
        from == to || !self.cut.contains(&(from, to))
    }

    /// Cuts the nodes into sides that do not hear each other. Nodes on no side hear everybody.
    pub fn partition(&mut self, sides: &[&[usize]]) {
        for (number, side) in sides.iter().enumerate() {
            let others = sides.iter().enumerate().filter(|(other, _)| *other != number).flat_map(|(_, side)| *side);
            for other in others {
                self.cut.extend(side.iter().map(|node| (*node, *other)));
            }
        }
    }

    pub fn heal(&mut self) {
        self.cut.clear();
        self.loss = 0;
        self.twice = 0;
        self.delay = Self::default().delay;
    }

    pub fn way(&self, dice: &mut Dice) -> u64 {
        self.delay.0 + dice.below(self.delay.1 - self.delay.0 + 1)
    }

    pub fn lost(&self, dice: &mut Dice) -> bool {
        self.loss > 0 && dice.below(100) < self.loss
    }

    pub fn doubled(&self, dice: &mut Dice) -> bool {
        self.twice > 0 && dice.below(100) < self.twice
    }

    /// What a probe finds, and after how long.
    #[must_use]
    pub fn probe(&self, probe: &Probe) -> (Duration, Outcome) {
        let quick = Duration::from_millis(2);
        let (target, timeout) = match probe {
            Probe::Http { url, timeout, .. } => (url, *timeout),
            Probe::Tcp { address, timeout } | Probe::Udp { address, timeout } => (address, *timeout),
            Probe::Script { timeout, .. } => {
                return (quick.min(*timeout), Outcome::Exited { code: Some(0), output: Captured::default() });
            }
        };
        let http = matches!(probe, Probe::Http { .. });
        let answered = |code: u16| Outcome::Answered { code, reason: format!("{code}"), body: Captured::default() };
        match self.endpoints.get(target).copied().unwrap_or(Endpoint::Refuses) {
            Endpoint::Status(code) if http => (quick, answered(code)),
            Endpoint::Open if http => (quick, answered(200)),
            Endpoint::Status(_) | Endpoint::Open => (quick, Outcome::Connected),
            Endpoint::Refuses => (quick, Outcome::Failed(format!("dial tcp {target}: connection refused"))),
            Endpoint::Hangs => (timeout, Outcome::Failed(format!("{target}: timed out"))),
        }
    }
}
