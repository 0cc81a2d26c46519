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

/// What a call does, and so what a lost answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Nothing: it is done again.
    Read,
    /// Something that must not happen twice: its outcome stays unknown.
    Write,
    /// Something that may happen twice: it is done again, and if that gets nowhere its outcome stays unknown.
    Step,
}

/// One call's way through the datacenter.
#[derive(Clone, Copy, Debug)]
pub struct Journey {
    /// 0 at the origin.
    pub hops: u8,
    pub deed: Deed,
    /// Until then the origin keeps trying.
    pub hold_until: Instant,
    pub tries: u32,
    /// It may have been done.
    lost: bool,
}

impl Journey {
    #[must_use]
    pub const fn new(hops: u8, deed: Deed, hold_until: Instant) -> Self {
        Self { hops, deed, hold_until, tries: 0, lost: false }
    }

    /// Decides after each try.
    pub fn after<T>(&mut self, attempt: Attempt<T>, now: Instant, dice: &mut Dice) -> Next<T> {
        self.tries += 1;
        let why = match attempt {
            Attempt::Done(answer) => return Next::Done(answer),
            Attempt::Lost if self.deed == Deed::Write => return Next::Unknown,
            Attempt::Lost => {
                self.lost |= self.deed == Deed::Step;
                Unserved::Unreachable
            }
            Attempt::Unserved(why) => why,
        };
        if self.hops > 0 || now >= self.hold_until {
            return if self.lost { Next::Unknown } else { Next::GiveUp(why) };
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

    fn after(journey: &mut Journey, now: u64, attempt: Attempt<()>) -> String {
        match journey.after(attempt, Instant(now), &mut Dice::new(1)) {
            Next::Done(()) => "done".to_owned(),
            Next::Unknown => "unknown".to_owned(),
            Next::GiveUp(why) => format!("{why:?}"),
            Next::Retry(_) => "retry".to_owned(),
        }
    }

    #[track_caller]
    fn check(hops: u8, deed: Deed, now: u64, attempt: Attempt<()>, expected: &str) {
        assert_eq!(after(&mut Journey::new(hops, deed, Instant(7)), now, attempt), expected);
    }

    #[test]
    fn a_write_is_repeated_only_while_it_surely_was_not_proposed() {
        check(0, Deed::Write, 0, Attempt::Unserved(Unserved::NoLeader), "retry");
        check(0, Deed::Write, 0, Attempt::Lost, "unknown");
        check(1, Deed::Write, 0, Attempt::Lost, "unknown");
        check(0, Deed::Read, 0, Attempt::Lost, "retry");
    }

    #[test]
    fn a_step_that_was_lost_once_is_unknown_when_it_is_given_up() {
        let mut journey = Journey::new(0, Deed::Step, Instant(7));
        assert_eq!(after(&mut journey, 0, Attempt::Lost), "retry");
        assert_eq!(after(&mut journey, 1, Attempt::Unserved(Unserved::NoLeader)), "retry");
        assert_eq!(after(&mut journey, 7, Attempt::Unserved(Unserved::NoLeader)), "unknown");
        let mut journey = Journey::new(0, Deed::Step, Instant(7));
        assert_eq!(after(&mut journey, 7, Attempt::Unserved(Unserved::NoLeader)), "NoLeader", "it never went out");
    }

    #[test]
    fn a_deposed_leader_shows_nothing_before_its_successor_does() {
        assert_eq!(still_leads(&View { leading: true, ..View::default() }), Ok(()));
        assert_eq!(still_leads(&View { caught_up: true, ..View::default() }), Err(Unserved::NoLeader));
    }

    #[test]
    fn only_the_origin_holds_and_not_for_ever() {
        check(1, Deed::Read, 0, Attempt::Unserved(Unserved::NoLeader), "NoLeader");
        check(0, Deed::Read, 7, Attempt::Lost, "Unreachable");
        check(0, Deed::Write, 7, Attempt::Unserved(Unserved::Busy), "Busy");
    }
}
