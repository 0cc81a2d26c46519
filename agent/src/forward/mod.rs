//! Calls on their way to where they can be answered: who may be asked, how often, and when to give up. Pure decisions;
//! `runtime/dispatch.rs` does the walking.
//!
//! The rules: a call is passed on at most twice inside a datacenter, to the leader or, by client agents, to
//! any server. Only the origin holds: while there is no leader it tries again for the hold time (7 s), then answers
//! `No cluster leader`. A write is tried again only while it surely was not proposed; when its answer was lost the client
//! is told that its outcome is unknown. Reads may always be tried again.

use crate::dice::Dice;
use crate::effect::Answer;
use crate::http::answer;
use crate::http::call::{Consistency, Plan, Read, Reply, Subject};
use crate::rpc::Unserved;
use crate::time::Instant;
use crate::view::View;
use lictor_catalog::Outcome;
use std::net::SocketAddr;
use std::time::Duration;

/// What one try came to; `T` is what it was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt<T> {
    Done(T),
    /// It surely had no effect.
    Unserved(Unserved),
    /// The answer was lost on the way, or did not come in time: a write may have happened.
    Lost,
}

impl<T> Attempt<T> {
    /// The same end, with what was made for another purpose.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Attempt<U> {
        match self {
            Self::Done(answer) => Attempt::Done(make(answer)),
            Self::Unserved(why) => Attempt::Unserved(why),
            Self::Lost => Attempt::Lost,
        }
    }
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next<T> {
    Done(T),
    /// The answer is lost for good, and asking again could do it twice.
    Unknown,
    /// The hold time is over; or this is not the origin, which alone holds a call.
    GiveUp(Unserved),
    /// Try again after this pause, or as soon as a leader is known.
    Retry(Duration),
}

/// One call's way through the datacenter.
#[derive(Clone, Copy, Debug)]
pub struct Journey {
    /// 0 at the origin.
    pub hops: u8,
    /// It must not happen twice: when its answer is lost, its outcome stays unknown.
    pub once: bool,
    /// Until then the origin keeps trying.
    pub hold_until: Instant,
    pub tries: u32,
}

impl Journey {
    /// Decides after each try.
    pub fn after<T>(&mut self, attempt: Attempt<T>, now: Instant, dice: &mut Dice) -> Next<T> {
        self.tries += 1;
        let why = match attempt {
            Attempt::Done(answer) => return Next::Done(answer),
            Attempt::Lost if self.once => return Next::Unknown,
            Attempt::Lost => Unserved::Unreachable,
            Attempt::Unserved(why) => why,
        };
        if self.hops > 0 || now >= self.hold_until {
            return Next::GiveUp(why);
        }
        // Doubling from 5 ms to 160 ms, with full jitter so that a crowd of held calls spreads out.
        let ceiling = Duration::from_millis(5 << self.tries.min(5));
        Next::Retry(ceiling / 4 + dice.span(ceiling))
    }
}

/// Where a call can be served, as one server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    Here,
    /// At the leader.
    There(SocketAddr),
    Nowhere(Unserved),
}

/// Where a plan can be carried out: any server that has caught up answers stale reads, the leader does all else that
/// concerns the catalog.
#[must_use]
pub fn place(plan: &Plan, view: &View) -> Where {
    match plan {
        Plan::Answer(_) | Plan::Act(_) | Plan::Survey(_) | Plan::Stream(_) | Plan::Leaf(_) => Where::Here,
        Plan::Read(Read { subject: Subject::Events { .. } | Subject::Service { .. }, .. }) => Where::Here,
        Plan::Read(Read { consistency, .. }) => place_read(*consistency, view),
        Plan::Write(..) | Plan::Certify(_) | Plan::Leader => place_write(view),
    }
}

/// Where a read can be answered.
#[must_use]
pub fn place_read(consistency: Consistency, view: &View) -> Where {
    match consistency {
        Consistency::Stale if view.caught_up => Where::Here,
        Consistency::Stale => Where::Nowhere(Unserved::NotCaughtUp),
        Consistency::Default | Consistency::Consistent => place_write(view),
    }
}

/// Where a write can be proposed.
#[must_use]
pub fn place_write(view: &View) -> Where {
    match &view.leader {
        _ if view.leading => Where::Here,
        Some(leader) => Where::There(leader.rpc),
        None => Where::Nowhere(Unserved::NoLeader),
    }
}

/// Whether a view that a quorum found fresh enough may answer a read that is not stale. A server that was deposed meanwhile may
/// hold what the new leader has not applied yet, and must not show it before him: his lease would then show less.
///
/// # Errors
/// [`Unserved::NoLeader`]: ask the new one.
pub const fn still_leads(view: &View) -> Result<(), Unserved> {
    if view.leading { Ok(()) } else { Err(Unserved::NoLeader) }
}

/// What came of a proposal.
#[must_use]
pub fn proposed(answer: Answer) -> Attempt<Outcome> {
    match answer {
        Answer::Applied(outcome) => Attempt::Done(outcome),
        Answer::Unserved(why) => Attempt::Unserved(why),
        _ => Attempt::Lost,
    }
}

/// What came of something that the agent itself was asked to do.
#[must_use]
pub fn acted(answer: Answer, pretty: bool) -> Attempt<Reply> {
    Attempt::Done(match answer {
        Answer::Local(result) => answer::local_reply(result),
        Answer::Joined(result) => answer::act_reply(result.map(drop)),
        Answer::Fired(result) => answer::fired(result, pretty),
        Answer::Done => Reply::empty(200),
        Answer::Transferred => Reply::json(r#"{"Success":true}"#),
        Answer::CannotOperate(why) => Reply::text(500, why.to_string()),
        Answer::Recovery(Ok(prospect)) => answer::recovery(&prospect, pretty),
        Answer::Recovery(Err(why)) => Reply::text(409, why.to_string()),
        Answer::UnknownMember(name) => Reply::text(500, format!("agent: No node found with name '{name}'")),
        Answer::Unserved(why) => return Attempt::Unserved(why),
        Answer::Applied(_) | Answer::ReadAt(_) | Answer::Unknown => {
            Reply::text(500, "the agent did not answer in time; look at its state before trying again")
        }
    })
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

    fn check(hops: u8, once: bool, now: u64, attempt: Attempt<()>, expected: &str) {
        let mut journey = Journey { hops, once, hold_until: Instant(7), tries: 0 };
        let next = match journey.after(attempt, Instant(now), &mut Dice::new(1)) {
            Next::Done(()) => "done".to_owned(),
            Next::Unknown => "unknown".to_owned(),
            Next::GiveUp(why) => format!("{why:?}"),
            Next::Retry(_) => "retry".to_owned(),
        };
        assert_eq!(next, expected);
    }

    #[test]
    fn a_write_is_repeated_only_while_it_surely_was_not_proposed() {
        check(0, true, 0, Attempt::Unserved(Unserved::NoLeader), "retry");
        check(0, true, 0, Attempt::Lost, "unknown");
        check(1, true, 0, Attempt::Lost, "unknown");
        check(0, false, 0, Attempt::Lost, "retry");
    }

    #[test]
    fn a_deposed_leader_shows_nothing_before_its_successor_does() {
        assert_eq!(still_leads(&View { leading: true, ..View::default() }), Ok(()));
        assert_eq!(still_leads(&View { caught_up: true, ..View::default() }), Err(Unserved::NoLeader));
    }

    #[test]
    fn only_the_origin_holds_and_not_for_ever() {
        check(1, false, 0, Attempt::Unserved(Unserved::NoLeader), "NoLeader");
        check(0, false, 7, Attempt::Lost, "Unreachable");
        check(0, true, 7, Attempt::Unserved(Unserved::Busy), "Busy");
    }
}
