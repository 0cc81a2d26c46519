//! One voter with a real engine; the test is its disk.

use super::replica::{Replica, TICK};
use crate::consensus::lease::Lease;
use crate::consensus::raft::{self, Raft};
use crate::consensus::{EngineId, Member as Voter, Members};
use crate::dice::Dice;
use crate::effect::{Answer, Effect};
use crate::rpc::Unserved;
use crate::time::Instant;
use crate::view::View;
use lictor_catalog::command::KvCommand;
use lictor_catalog::{Command, Outcome, Store};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

struct Solo {
    replica: Replica,
    now: Instant,
    view: Arc<View>,
    answers: Vec<(u64, Answer)>,
    stuck: bool,
    kept: Vec<u64>,
}

impl Solo {
    fn new(seed: u64, voters: &[u64]) -> Self {
        let voter = |&id: &u64| Voter { engine: EngineId(id), node: Uuid::from_u128(id.into()) };
        let members = Members { voters: voters.iter().map(voter).collect(), learners: Vec::new() };
        let snapshot = raft::bootstrap(&members);
        let mut dice = Dice::new(seed);
        let config = raft::Config::default();
        let now = Instant(1_000_000_000);
        let engine =
            Raft::new(EngineId(1), Some(&snapshot), None, &[], config, dice.split()).expect("it fits together");
        let replica = Replica::new(Box::new(engine), Lease::new(TICK, 1), Store::default(), &mut dice, now);
        Self { replica, now, view: Arc::default(), answers: Vec::new(), stuck: false, kept: Vec::new() }
    }

    /// One turn, and the disk's answer to it.
    fn turn(&mut self) {
        loop {
            let mut effects = Vec::new();
            for batch in std::mem::take(&mut self.kept) {
                self.replica.stored(batch, &mut effects);
            }
            self.replica.timer(self.now);
            self.replica.finish(self.now, &mut effects).expect("nothing diverges");
            let mut batches = Vec::new();
            for effect in effects {
                match effect {
                    Effect::Publish { view, .. } => self.view = view,
                    // Published first: whoever hears the answer finds what it speaks of.
                    Effect::Answer { ticket, answer } => {
                        if let Answer::ReadAt(index) = answer {
                            assert!(index <= self.view.applied || self.view.applied.0 == 0);
                        }
                        if matches!(answer, Answer::Applied(_)) {
                            assert!(self.view.store.key(&format!("k{ticket}")).is_some());
                        }
                        self.answers.push((ticket, answer));
                    }
                    Effect::Store(job) => batches.push(job.batch),
                    _ => {}
                }
            }
            self.kept = batches;
            if self.kept.is_empty() || self.stuck {
                return;
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = self.now + TICK;
            self.turn();
        }
    }

    fn write(&mut self, ticket: u64) {
        let set = KvCommand::Set { key: format!("k{ticket}"), value: vec![1].into(), flags: 0 };
        self.replica.write(ticket, Command::Kv(set), self.now);
    }
}

#[test]
fn a_write_is_published_before_it_is_answered() {
    let mut solo = Solo::new(1, &[1]);
    solo.write(1);
    solo.turn();
    assert_eq!(solo.answers, [(1, Answer::Unserved(Unserved::NoLeader))], "it does not lead yet");
    solo.pass(Duration::from_secs(1));
    assert!(solo.view.leading && solo.view.caught_up);
    solo.answers.clear();
    solo.write(2);
    solo.write(3);
    solo.turn();
    assert_eq!(solo.answers, [(2, Answer::Applied(Outcome::Done)), (3, Answer::Applied(Outcome::Done))]);
}

#[test]
fn nothing_is_answered_before_the_disk_has_it() {
    let mut solo = Solo::new(2, &[1]);
    solo.pass(Duration::from_secs(1));
    solo.stuck = true;
    solo.write(2);
    let turn_of_disk = |solo: &mut Solo| {
        let kept = std::mem::take(&mut solo.kept);
        solo.turn();
        solo.kept.splice(..0, kept);
    };
    turn_of_disk(&mut solo);
    turn_of_disk(&mut solo);
    assert_eq!(solo.answers, []);
    assert!(solo.view.store.key("k2").is_none());
    solo.replica.disk_full();
    solo.write(3);
    turn_of_disk(&mut solo);
    assert_eq!(solo.answers, [(3, Answer::Unserved(Unserved::Busy))]);
    solo.stuck = false;
    solo.turn();
    assert_eq!(solo.answers.last(), Some(&(2, Answer::Applied(Outcome::Done))));
}

#[test]
fn the_lease_is_renewed_and_reads_are_answered_at_once() {
    let mut solo = Solo::new(3, &[1]);
    solo.pass(Duration::from_secs(1));
    let first = solo.view.lease_until.expect("a lease");
    assert!(first > solo.now && first.since(solo.now) <= TICK * 9);
    solo.pass(Duration::from_secs(1));
    assert!(solo.view.lease_until.expect("renewed") > solo.now);
    for ticket in 0..5 {
        solo.replica.read_index(ticket, solo.now);
    }
    solo.turn();
    assert_eq!(solo.answers.len(), 5);
    assert!(solo.answers.iter().all(|(_, answer)| matches!(answer, Answer::ReadAt(_))));
}

#[test]
fn log_time_never_falls_and_ticks_are_not_made_up_for() {
    let mut solo = Solo::new(4, &[1]);
    solo.pass(Duration::from_secs(1));
    let mut last = 0;
    for ticket in 10..20 {
        solo.now = solo.now + Duration::from_millis(ticket * 37);
        solo.write(ticket);
        solo.turn();
        let time = solo.view.store.time_ms();
        assert!(time >= last);
        last = time;
    }
    assert!(last >= (11..20).map(|ticket| ticket * 37).sum::<u64>());
    solo.now = solo.now + Duration::from_secs(5);
    solo.turn();
    assert_eq!(solo.replica.deadline(), solo.now + TICK, "after a stall the next tick is a whole tick away");
}

#[test]
fn without_a_quorum_nothing_is_served() {
    let mut solo = Solo::new(5, &[1, 2, 3]);
    solo.replica.read_index(7, solo.now);
    solo.pass(Duration::from_secs(3));
    assert!(!solo.view.leading && !solo.view.caught_up && solo.view.lease_until.is_none());
    assert_eq!(solo.answers, [(7, Answer::Unserved(Unserved::NoLeader))]);
}
