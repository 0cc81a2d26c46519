//! How many equal results in a row it takes to change a verdict.

use super::probe::Verdict;
use lictor_catalog::Status;

/// Counters of one check. They start full, so that the first result always takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    success_before_passing: u32,
    failures_before_warning: u32,
    failures_before_critical: u32,
    successes: u32,
    failures: u32,
}

impl Thresholds {
    #[must_use]
    pub const fn new(success_before_passing: u32, failures_before_warning: u32, failures_before_critical: u32) -> Self {
        Self {
            success_before_passing,
            failures_before_warning,
            failures_before_critical,
            successes: success_before_passing,
            failures: failures_before_critical,
        }
    }

    /// Counts a result. `Some(status)` takes effect; `None` leaves status and output as they are.
    pub fn count(&mut self, verdict: &Verdict) -> Option<Status> {
        if verdict.certain {
            return Some(verdict.status);
        }
        match verdict.status {
            Status::Passing | Status::Warning => {
                self.successes = self.successes.saturating_add(1);
                self.failures = 0;
                (self.successes >= self.success_before_passing).then_some(verdict.status)
            }
            Status::Critical => {
                self.failures = self.failures.saturating_add(1);
                self.successes = 0;
                if self.failures >= self.failures_before_critical {
                    Some(Status::Critical)
                } else {
                    (self.failures >= self.failures_before_warning).then_some(Status::Warning)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(results: &str, mut thresholds: Thresholds) -> String {
        let one = |letter| {
            let status = match letter {
                'p' => Status::Passing,
                'w' => Status::Warning,
                _ => Status::Critical,
            };
            match thresholds.count(&Verdict::of(status, String::new())) {
                Some(Status::Passing) => 'p',
                Some(Status::Warning) => 'w',
                Some(Status::Critical) => 'c',
                None => '.',
            }
        };
        results.chars().map(one).collect()
    }

    #[test]
    fn results_in_a_row_switch_the_status() {
        for (thresholds, results, seen) in [
            ((0, 0, 0), "pcwp", "pcwp"),
            ((2, 0, 0), "ppcpp", "ppc.p"),
            ((3, 0, 0), "cppp", "c..p"),
            ((0, 3, 3), "ccpccc", "ccp..c"),
            ((0, 1, 3), "pcccc", "pwwcc"),
            ((0, 2, 3), "pcccpc", "p.wcp."),
            ((2, 2, 2), "ccpwcc", "cc.w.c"),
        ] {
            let (success, warning, critical) = thresholds;
            assert_eq!(run(results, Thresholds::new(success, warning, critical)), seen, "{thresholds:?} {results}");
        }
    }

    proptest! {
        /// Against a model that looks back over the whole history instead of counting.
        #[test]
        fn counting_equals_looking_back(results in "[pwc]{0,40}", success in 0u32..5, warning in 0u32..5, more in 0u32..3) {
            let critical = warning + more;
            let letters: Vec<char> = results.chars().collect();
            let expected: String = letters
                .iter()
                .enumerate()
                .map(|(at, &letter)| {
                    let good = letter != 'c';
                    let streak = letters[..=at].iter().rev().take_while(|&&l| (l != 'c') == good).count();
                    // A streak that reaches back to the start continues the full counter it began with.
                    let full = streak == at + 1;
                    let streak = u32::try_from(streak).unwrap();
                    if good {
                        if full || streak >= success { letter } else { '.' }
                    } else if full || streak >= critical {
                        'c'
                    } else if streak >= warning {
                        'w'
                    } else {
                        '.'
                    }
                })
                .collect();
            prop_assert_eq!(run(&results, Thresholds::new(success, warning, critical)), expected);
        }
    }
}
