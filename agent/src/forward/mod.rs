//! Calls on their way to where they can be answered: who may be asked, how often, and when to give up. Pure decisions;
//! `runtime/dispatch.rs` does the walking.
//!
//! The rules (DESIGN §2): a call is passed on at most twice inside a datacenter, to the leader or, by client agents, to
//! any server. Only the origin holds: while there is no leader it tries again for the hold time (7 s), then answers
//! `No cluster leader`. A write is tried again only while it surely was not proposed; when its answer was lost the client
//! is told that its outcome is unknown. Reads may always be tried again.

use crate::dice::Dice;
use crate::http::call::Reply;
use crate::rpc::Unserved;
use crate::time::Instant;
use std::time::Duration;

/// What one try came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    Done(Reply),
    /// It surely had no effect.
    Unserved(Unserved),
    /// The answer was lost on the way, or did not come in time: a write may have happened.
    Lost,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    Reply(Reply),
    /// Pass the reason back to the origin, which holds the call.
    Pass(Unserved),
    /// Try again after this pause, or as soon as a leader is known.
    Retry(Duration),
}

/// One call's way through the datacenter.
#[derive(Clone, Copy, Debug)]
pub struct Journey {
    /// 0 at the origin.
    pub hops: u8,
    pub writes: bool,
    /// Until then the origin keeps trying.
    pub hold_until: Instant,
    pub tries: u32,
}

impl Journey {
    /// Decides after each try.
    pub fn after(&mut self, attempt: Attempt, now: Instant, dice: &mut Dice) -> Next {
        self.tries += 1;
        match attempt {
            Attempt::Done(reply) => Next::Reply(reply),
            Attempt::Lost if self.writes => Next::Reply(outcome_unknown()),
            Attempt::Lost => self.again(Unserved::Unreachable, now, dice),
            Attempt::Unserved(why) => self.again(why, now, dice),
        }
    }

    fn again(&self, why: Unserved, now: Instant, dice: &mut Dice) -> Next {
        if self.hops > 0 {
            return Next::Pass(why);
        }
        if now >= self.hold_until {
            return Next::Reply(given_up(why));
        }
        // Doubling from 5 ms to 160 ms, with full jitter so that a crowd of held calls spreads out.
        let ceiling = Duration::from_millis(5 << self.tries.min(5));
        Next::Retry(ceiling / 4 + dice.span(ceiling))
    }
}

/// The answer when the hold time is over.
#[must_use]
pub fn given_up(why: Unserved) -> Reply {
    match why {
        Unserved::Busy => Reply::text(429, why.to_string()),
        Unserved::NoLeader | Unserved::Unreachable => Reply::text(500, Unserved::NoLeader.to_string()),
        Unserved::NotCaughtUp => Reply::text(500, why.to_string()),
    }
}

/// The answer when a write's answer was lost.
#[must_use]
pub fn outcome_unknown() -> Reply {
    Reply::text(
        500,
        "outcome unknown: the leader was lost before it answered; the write may or may not have happened, \
         read it back before trying again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hops: u8, writes: bool, now: u64, attempt: Attempt, expected: &str) {
        let mut journey = Journey { hops, writes, hold_until: Instant(7), tries: 0 };
        let next = match journey.after(attempt, Instant(now), &mut Dice::new(1)) {
            Next::Reply(reply) => String::from_utf8_lossy(&reply.body).chars().take(17).collect(),
            Next::Pass(why) => format!("pass {why:?}"),
            Next::Retry(_) => "retry".to_owned(),
        };
        assert_eq!(next, expected);
    }

    #[test]
    fn a_write_is_repeated_only_while_it_surely_was_not_proposed() {
        check(0, true, 0, Attempt::Unserved(Unserved::NoLeader), "retry");
        check(0, true, 0, Attempt::Lost, "outcome unknown: ");
        check(1, true, 0, Attempt::Lost, "outcome unknown: ");
        check(0, false, 0, Attempt::Lost, "retry");
    }

    #[test]
    fn only_the_origin_holds_and_not_for_ever() {
        check(1, false, 0, Attempt::Unserved(Unserved::NoLeader), "pass NoLeader");
        check(0, false, 7, Attempt::Unserved(Unserved::Unreachable), "No cluster leader");
        check(0, true, 7, Attempt::Unserved(Unserved::Busy), "this server has t");
    }
}
