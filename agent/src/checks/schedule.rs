//! When each check runs. Owns the timers, the running probes and the threshold counters of this agent's checks; never
//! their status, which belongs to `local`.
//!
//! A new check runs at once, but no more than [`STARTS_MAX`] runs begin in any [`START_WINDOW`], and no more than the
//! limit of its lane are under way. The next run begins one interval after the last one ended, so that two runs of a
//! check never overlap; even when a check is replaced, the new one waits for the old one's run to be called off.

use super::kind::Kind;
use super::probe::{Outcome, Probe};
use super::spec::CheckSpec;
use super::threshold::Thresholds;
use crate::time::Instant;
use lictor_catalog::Status;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const STARTS_MAX: u32 = 64;
const START_WINDOW: Duration = Duration::from_millis(100);
/// Processes cost more than sockets, and hung ones of either must not hold up the other.
const SCRIPTS_MAX: usize = 128;
const SOCKETS_MAX: usize = 512;

/// Names one run of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Run(pub u64);

/// A run that is to begin now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    pub run: Run,
    pub key: Arc<str>,
    pub probe: Probe,
}

/// A result that takes effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    pub key: Arc<str>,
    pub status: Status,
    pub output: String,
}

/// All checks that have a timer.
#[derive(Debug, Default)]
pub struct Checks {
    runners: BTreeMap<Arc<str>, Runner>,
    lanes: [Lane; 2],
    /// Who runs, also those whose check is gone or replaced: their end is still awaited.
    running: BTreeMap<Run, Running>,
    ttl: BTreeSet<(Instant, Arc<str>)>,
    runs: u64,
    window_start: Instant,
    window_starts: u32,
}

#[derive(Debug)]
struct Runner {
    spec: Arc<CheckSpec>,
    thresholds: Thresholds,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Due(Instant),
    Running(Run),
    /// The run of a former check of this id is being called off.
    Blocked,
    Beating(Instant),
    /// A TTL check whose time ran out, until the next beat.
    Silent,
}

#[derive(Debug)]
struct Running {
    key: Arc<str>,
    lane: usize,
}

#[derive(Debug, Default)]
struct Lane {
    due: BTreeSet<(Instant, Arc<str>)>,
    running: usize,
}

const fn lane_of(kind: &Kind) -> usize {
    if kind.is_script() { 1 } else { 0 }
}

const LANE_MAX: [usize; 2] = [SOCKETS_MAX, SCRIPTS_MAX];

impl Checks {
    /// Begins a check, replacing the one of the same key. `beat` is how long a TTL check may stay silent at first.
    /// Returns the run that must be called off.
    pub fn begin(&mut self, now: Instant, key: &Arc<str>, spec: Arc<CheckSpec>, beat: Option<Duration>) -> Option<Run> {
        let stop = self.end(key);
        let phase = match &spec.kind {
            Kind::Ttl(ttl) => {
                let deadline = now + beat.unwrap_or(*ttl);
                self.ttl.insert((deadline, Arc::clone(key)));
                Phase::Beating(deadline)
            }
            _ if self.running.values().any(|running| running.key == *key) => Phase::Blocked,
            kind => {
                self.lanes[lane_of(kind)].due.insert((now, Arc::clone(key)));
                Phase::Due(now)
            }
        };
        let thresholds =
            Thresholds::new(spec.success_before_passing, spec.failures_before_warning, spec.failures_before_critical);
        self.runners.insert(Arc::clone(key), Runner { spec, thresholds, phase });
        stop
    }

    /// Ends a check. Returns the run that must be called off.
    pub fn end(&mut self, key: &str) -> Option<Run> {
        let runner = self.runners.remove(key)?;
        match runner.phase {
            Phase::Due(at) => {
                self.lanes[lane_of(&runner.spec.kind)].due.remove(&(at, Arc::from(key)));
                None
            }
            Phase::Beating(at) => {
                self.ttl.remove(&(at, Arc::from(key)));
                None
            }
            Phase::Running(run) => Some(run),
            Phase::Blocked | Phase::Silent => None,
        }
    }

    /// The owner of a TTL check reported: its silence is counted from now.
    pub fn beat(&mut self, now: Instant, key: &str) {
        let Some((key, runner)) = self.runners.get_key_value(key) else { return };
        let (key, Kind::Ttl(ttl)) = (Arc::clone(key), &runner.spec.kind) else { return };
        let (old, new) = (runner.phase, now + *ttl);
        if let Phase::Beating(at) = old {
            self.ttl.remove(&(at, Arc::clone(&key)));
        }
        self.ttl.insert((new, Arc::clone(&key)));
        self.runners.get_mut(&key).expect("found just above").phase = Phase::Beating(new);
    }

    /// A run ended. What it means, when it means anything; late news of checks that are gone means nothing.
    pub fn outcome(&mut self, now: Instant, run: Run, outcome: &Outcome) -> Option<Judged> {
        let Running { key, lane } = self.running.remove(&run)?;
        self.lanes[lane].running -= 1;
        let runner = self.runners.get_mut(&key)?;
        let (next, current) = match runner.phase {
            Phase::Running(current) if current == run => (now + runner.spec.interval, true),
            Phase::Blocked => (now, false),
            Phase::Running(_) | Phase::Due(_) | Phase::Beating(_) | Phase::Silent => return None,
        };
        runner.phase = Phase::Due(next);
        self.lanes[lane_of(&runner.spec.kind)].due.insert((next, Arc::clone(&key)));
        let verdict = current.then(|| runner.spec.kind.judge(outcome, runner.spec.run_timeout())).flatten()?;
        let status = runner.thresholds.count(&verdict)?;
        Some(Judged { key, status, output: verdict.output })
    }

    /// Starts what is due, as far as the budget goes.
    pub fn start_due(&mut self, now: Instant, output_max: usize) -> Vec<Start> {
        if now.since(self.window_start) >= START_WINDOW {
            (self.window_start, self.window_starts) = (now, 0);
        }
        let mut starts = Vec::new();
        while self.window_starts < STARTS_MAX {
            let Some(lane) = self.next_lane().filter(|lane| self.lane_due(*lane).is_some_and(|at| at <= now)) else {
                break;
            };
            let (_, key) = self.lanes[lane].due.pop_first().expect("its first entry was looked at just above");
            let runner = self.runners.get_mut(&key).expect("only known checks are due");
            let kept = runner.spec.output_max.min(output_max);
            let Some(probe) = runner.spec.kind.probe(runner.spec.run_timeout(), kept) else { continue };
            self.runs += 1;
            let run = Run(self.runs);
            runner.phase = Phase::Running(run);
            self.running.insert(run, Running { key: Arc::clone(&key), lane });
            self.lanes[lane].running += 1;
            self.window_starts += 1;
            starts.push(Start { run, key, probe });
        }
        starts
    }

    /// TTL checks whose time ran out, each named once.
    pub fn expire(&mut self, now: Instant) -> Vec<Arc<str>> {
        let mut expired = Vec::new();
        while self.ttl.first().is_some_and(|(at, _)| *at <= now) {
            let (_, key) = self.ttl.pop_first().expect("its first entry was looked at just above");
            self.runners.get_mut(&key).expect("only known checks beat").phase = Phase::Silent;
            expired.push(key);
        }
        expired
    }

    /// When [`Checks::start_due`] or [`Checks::expire`] has something to do, if time alone brings it.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let due = self.next_lane().and_then(|lane| self.lane_due(lane)).map(|at| {
            // With the budget spent, even what is due waits for the next window.
            if self.window_starts >= STARTS_MAX { at.max(self.window_start + START_WINDOW) } else { at }
        });
        let silent = self.ttl.first().map(|(at, _)| *at);
        due.into_iter().chain(silent).min()
    }

    /// When a TTL check will have been silent too long.
    #[must_use]
    pub fn ttl_deadline(&self, key: &str) -> Option<Instant> {
        match self.runners.get(key)?.phase {
            Phase::Beating(at) => Some(at),
            _ => None,
        }
    }

    fn lane_due(&self, lane: usize) -> Option<Instant> {
        self.lanes[lane].due.first().map(|(at, _)| *at)
    }

    /// The lane with room whose first check is due earliest.
    fn next_lane(&self) -> Option<usize> {
        (0..LANE_MAX.len())
            .filter(|lane| self.lanes[*lane].running < LANE_MAX[*lane] && !self.lanes[*lane].due.is_empty())
            .min_by_key(|lane| self.lane_due(*lane))
    }
}

#[cfg(test)]
mod tests {
    use super::super::capture::Captured;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const SECOND: Duration = Duration::from_secs(1);

    fn spec(body: &serde_json::Value) -> Arc<CheckSpec> {
        Arc::new(CheckSpec::parse(body).unwrap())
    }

    fn tcp() -> Arc<CheckSpec> {
        spec(&json!({"Name": "a", "TCP": "x:1", "Interval": "10s"}))
    }

    fn key(name: &str) -> Arc<str> {
        Arc::from(name)
    }

    #[test]
    fn first_run_at_once_next_one_interval_after_the_end() {
        let mut checks = Checks::default();
        let start = Instant(5);
        assert_eq!(checks.begin(start, &key("a"), tcp(), None), None);
        assert_eq!(checks.deadline(), Some(start));
        let begun = checks.start_due(start, 4096);
        assert_eq!(begun.len(), 1);
        assert_eq!((checks.deadline(), checks.start_due(start + SECOND * 60, 4096).len()), (None, 0), "never two runs");
        let end = start + SECOND * 61;
        let judged = checks.outcome(end, begun[0].run, &Outcome::Connected).unwrap();
        assert_eq!((judged.status, judged.output.as_str()), (Status::Passing, "TCP connect x:1: Success"));
        assert_eq!(checks.deadline(), Some(end + SECOND * 10));
        assert_eq!(checks.outcome(end, begun[0].run, &Outcome::Connected), None, "a run ends once");
    }

    #[test]
    fn a_burst_is_spread_by_the_start_budget() {
        let mut checks = Checks::default();
        let start = Instant(1_000_000_000);
        for number in 0..1_000 {
            checks.begin(start, &key(&format!("c{number}")), tcp(), None);
        }
        let (mut now, mut done) = (start, 0);
        while let Some(at) = checks.deadline().filter(|at| *at < start + SECOND * 10) {
            now = now.max(at);
            let begun = checks.start_due(now, 4096);
            assert!(begun.len() <= 64);
            done += begun.len();
            for one in begun {
                checks.outcome(now, one.run, &Outcome::Connected);
            }
        }
        assert_eq!(done, 1_000);
        assert!(now.since(start) < SECOND * 2, "a thousand first results in {:?}", now.since(start));
    }

    #[test]
    fn hung_scripts_do_not_hold_up_sockets() {
        let mut checks = Checks::default();
        let script = spec(&json!({"Name": "s", "Args": ["hang"], "Interval": "1s"}));
        for number in 0..200 {
            checks.begin(Instant(0), &key(&format!("s{number}")), Arc::clone(&script), None);
        }
        let mut now = Instant(0);
        let mut begun = Vec::new();
        while let Some(at) = checks.deadline() {
            now = at;
            begun.extend(checks.start_due(now, 4096));
        }
        assert_eq!(begun.len(), SCRIPTS_MAX);
        checks.begin(now, &key("t"), tcp(), None);
        assert_eq!(checks.start_due(checks.deadline().unwrap(), 4096).len(), 1);
        checks.outcome(now, begun[0].run, &Outcome::Exited { code: Some(0), output: Captured::default() });
        assert_eq!(checks.deadline().map(|at| at <= now), Some(true), "a place became free");
    }

    #[test]
    fn a_replaced_check_waits_until_the_old_run_is_called_off() {
        let mut checks = Checks::default();
        checks.begin(Instant(0), &key("a"), tcp(), None);
        let old = checks.start_due(Instant(0), 4096).remove(0).run;
        assert_eq!(checks.begin(Instant(1), &key("a"), tcp(), None), Some(old));
        assert_eq!(checks.begin(Instant(1), &key("a"), tcp(), None), None, "called off once");
        assert!(checks.start_due(Instant(1) + SECOND, 4096).is_empty());
        assert_eq!(checks.outcome(Instant(2), old, &Outcome::Connected), None, "the old run's result means nothing");
        assert_eq!(checks.start_due(Instant(2) + SECOND * 2, 4096).len(), 1);
    }

    #[test]
    fn silence_is_counted_from_the_last_beat() {
        let mut checks = Checks::default();
        let ttl = spec(&json!({"Name": "a", "TTL": "10s"}));
        checks.begin(Instant(0), &key("a"), ttl, None);
        checks.beat(Instant(0) + SECOND * 9, "a");
        assert_eq!(checks.expire(Instant(0) + SECOND * 10), Vec::<Arc<str>>::new());
        let end = Instant(0) + SECOND * 19;
        assert_eq!(checks.deadline(), Some(end));
        assert_eq!(checks.expire(end), [key("a")]);
        assert_eq!((checks.expire(end + SECOND), checks.deadline()), (Vec::new(), None));
        checks.beat(end + SECOND, "a");
        assert_eq!(checks.deadline(), Some(end + SECOND * 11));
        assert_eq!(checks.end("a"), None);
        assert_eq!(checks.deadline(), None);
    }

    proptest! {
        /// Whatever is begun, ended and answered in whatever order: one run per key at a time, and the counts add up.
        #[test]
        fn one_run_at_a_time(steps in prop::collection::vec((0u8..4, 0usize..4), 0..80)) {
            let mut checks = Checks::default();
            let mut now = Instant(0);
            let mut under_way: Vec<(Run, Arc<str>)> = Vec::new();
            for (what, number) in steps {
                now = now + SECOND;
                let name = key(&format!("k{number}"));
                match what {
                    0 => { checks.begin(now, &name, tcp(), None); }
                    1 => { checks.end(&name); }
                    2 => if !under_way.is_empty() {
                        let (run, _) = under_way.remove(number % under_way.len());
                        checks.outcome(now, run, &Outcome::Connected);
                    },
                    _ => {
                        for start in checks.start_due(now, 10) {
                            prop_assert!(under_way.iter().all(|(_, busy)| *busy != start.key), "two runs of {}", start.key);
                            under_way.push((start.run, start.key));
                        }
                    }
                }
                prop_assert_eq!(checks.lanes[0].running, under_way.len());
            }
        }
    }
}
