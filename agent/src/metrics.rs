//! Figures about the agent as values: what a sample is, what a report of one interval holds, and how its rows are named.
//!
//! Nothing here counts or asks a clock. What happens is counted where it happens (`runtime/meter.rs`, and [`Counts`] inside
//! the agent itself); the JSON and Prometheus forms are `http/wire/metrics.rs`. The semantics are those of go-metrics, which
//! Consul uses.

use std::time::Duration;

/// The length of an interval. A report covers the last complete one.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// Many values, of which only these are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    pub count: u64,
    pub sum: f64,
    /// The sum of the values' squares.
    pub squares: f64,
    /// Meaningless while there are none; likewise `max`.
    pub min: f64,
    pub max: f64,
}

impl Sample {
    /// So many increments by one.
    #[must_use]
    pub const fn ones(count: u64) -> Self {
        let sum = count as f64;
        Self { count, sum, squares: sum, min: 1.0, max: 1.0 }
    }

    /// Adds what another one saw.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let first = self.count == 0;
        self.min = if first { other.min } else { self.min.min(other.min) };
        self.max = if first { other.max } else { self.max.max(other.max) };
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    #[must_use]
    pub const fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / self.count as f64 }
    }

    /// Of a sample (n - 1), as go-metrics has it.
    #[must_use]
    pub fn deviation(&self) -> f64 {
        let count = self.count as f64;
        let divisor = count * (count - 1.0);
        // Rounding may make equal values differ by less than nothing.
        if divisor > 0.0 { ((count * self.squares - self.sum * self.sum).max(0.0) / divisor).sqrt() } else { 0.0 }
    }
}

/// One figure: its name without prefix, and its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Row<T> {
    pub name: &'static str,
    pub labels: Vec<(&'static str, String)>,
    pub value: T,
}

impl<T> Row<T> {
    #[must_use]
    pub const fn new(name: &'static str, value: T) -> Self {
        Self { name, labels: Vec::new(), value }
    }

    #[must_use]
    pub fn with(mut self, label: &'static str, value: impl Into<String>) -> Self {
        self.labels.push((label, value.into()));
        self
    }
}

/// All figures of an interval, or since the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// When the interval began, in ms since 1970.
    pub begun_ms: u64,
    pub gauges: Vec<Row<f64>>,
    pub counters: Vec<Row<Sample>>,
    pub samples: Vec<Row<Sample>>,
}

/// What the agent counts of itself, since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub joined: u64,
    pub left: u64,
    pub failed: u64,
    pub updated: u64,
    pub packets_refused: u64,
    pub packets_malformed: u64,
    pub requests_refused: u64,
    pub dials_dropped: u64,
    /// Rounds of gossip in which nobody was heard: 0 is healthy, 8 the worst.
    pub health_score: u32,
}

/// How figures are named and which are shown (the `telemetry` block).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// `metrics_prefix`.
    pub prefix: String,
    /// Stands in the names of gauges; empty with `disable_hostname`.
    pub hostname: String,
    /// The Prometheus form is served at all (`prometheus_retention_time` is not 0).
    pub prometheus: bool,
    /// `prefix_filter`: whether names that begin so are shown. The longest that fits decides.
    pub filters: Vec<(String, bool)>,
    /// `filter_default`: names that no filter fits are shown.
    pub filter_default: bool,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            prefix: "consul".to_owned(),
            hostname: String::new(),
            prometheus: false,
            filters: Vec::new(),
            filter_default: true,
        }
    }
}

impl Telemetry {
    /// The whole name of a gauge; `None` when it is filtered out.
    #[must_use]
    pub fn gauge(&self, name: &str) -> Option<String> {
        self.join(&[&self.prefix, &self.hostname, name])
    }

    /// The whole name of a counter or sample; `None` when it is filtered out.
    #[must_use]
    pub fn event(&self, name: &str) -> Option<String> {
        self.join(&[&self.prefix, name])
    }

    fn join(&self, parts: &[&str]) -> Option<String> {
        let parts: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
        let name = parts.join(".");
        let longest =
            self.filters.iter().filter(|(prefix, _)| name.starts_with(prefix)).max_by_key(|(prefix, _)| prefix.len());
        longest.map_or(self.filter_default, |(_, shown)| *shown).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(values: &[f64]) -> Sample {
        let mut sample = Sample::default();
        for &value in values {
            sample.merge(&Sample { count: 1, sum: value, squares: value * value, min: value, max: value });
        }
        sample
    }

    #[test]
    fn a_sample_knows_its_spread() {
        let sample = sample(&[2.0, 4.0, 4.0, 6.0]);
        assert_eq!((sample.count, sample.sum, sample.min, sample.max, sample.mean()), (4, 16.0, 2.0, 6.0, 4.0));
        assert!((sample.deviation() - (8.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(Sample::ones(3).deviation(), 0.0);
        assert_eq!((Sample::default().mean(), Sample::default().deviation()), (0.0, 0.0));
    }

    #[test]
    fn the_longest_filter_decides() {
        let telemetry = Telemetry {
            hostname: "box".to_owned(),
            filters: vec![("consul.raft".to_owned(), false), ("consul.raft.apply".to_owned(), true)],
            ..Telemetry::default()
        };
        assert_eq!(telemetry.event("raft.apply").as_deref(), Some("consul.raft.apply"));
        assert_eq!(telemetry.event("raft.commitTime"), None);
        assert_eq!(telemetry.gauge("runtime.alloc_bytes").as_deref(), Some("consul.box.runtime.alloc_bytes"));
        let closed = Telemetry { filter_default: false, ..telemetry };
        assert_eq!(closed.event("dns.domain_query"), None);
        assert!(closed.event("raft.apply").is_some());
    }
}
