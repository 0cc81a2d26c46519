//! The leader's wishes against small stores and lists of members.

use super::reconcile::Reconciler;
use super::voters::{Electorate, Standing};
use crate::consensus::{EngineId, Member as Voter, Members};
use crate::gossip::{Member, MemberStatus};
use crate::time::Instant;
use lictor_catalog::model::CheckId;
use lictor_catalog::{Autopilot, Check, Command, Deregister, Entry, Index, Node, Register, Status, Store};
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

const REAP: Duration = Duration::from_secs(72 * 3600);
const CLUSTER: Uuid = Uuid::from_u128(99);

fn member(name: &str, id: u64, status: MemberStatus) -> Member {
    let tags = BTreeMap::from([("role".to_owned(), "node".to_owned())]);
    let address = "10.0.0.1:8301".parse().expect("an address");
    Member { id: Uuid::from_u128(id.into()), name: name.into(), address, status, tags }
}

/// A server with node id `id` and log store `engine`.
fn server(id: u64, engine: u64, status: MemberStatus) -> Member {
    let mut member = member(&format!("s{id}"), id, status);
    let tags = [("role", "consul".to_owned()), ("dc", "dc1".to_owned()), ("port", "8300".to_owned())];
    member.tags.extend(tags.map(|(key, value)| (key.to_owned(), value)));
    member.tags.insert("engine".to_owned(), format!("{engine:016x}"));
    member
}

#[derive(Default)]
struct Desk {
    store: Store,
    index: u64,
    reconciler: Reconciler,
}

impl Desk {
    fn apply(&mut self, command: Command) {
        self.index += 1;
        self.store.apply(Index(self.index), &Entry { time_ms: 0, id: 0, command });
    }

    fn wish(&mut self, now: u64, members: &[Member]) -> Vec<Command> {
        let now = Instant(0) + Duration::from_secs(now);
        self.reconciler.wish(now, members, &self.store, Uuid::from_u128(1), REAP)
    }

    /// Wishes, and writes what was wished; what is wished then is nothing.
    fn settle(&mut self, now: u64, members: &[Member]) -> usize {
        let commands = self.wish(now, members);
        let count = commands.len();
        commands.into_iter().for_each(|command| self.apply(command));
        assert_eq!(self.wish(now, members), [], "a second pass finds nothing to do");
        count
    }

    fn health(&self, node: &str) -> Option<Status> {
        self.store.check(node, "serfHealth").map(|check| check.status)
    }

    fn external(&mut self, name: &str, checks: Vec<Check>) {
        let node = Node { name: name.into(), address: "10.9.9.9".to_owned(), ..Node::default() };
        self.apply(Command::Register(Box::new(Register { node, skip_node_update: false, service: None, checks })));
    }
}

#[test]
fn each_status_has_its_row() {
    let mut desk = Desk::default();
    let mut members = vec![member("web", 7, MemberStatus::Alive), server(1, 11, MemberStatus::Alive)];
    assert_eq!(desk.settle(0, &members), 2);
    assert_eq!(desk.health("web"), Some(Status::Passing));
    assert_eq!(desk.store.service("s1", "consul").map(|service| service.port), Some(8300));
    assert!(desk.store.service("web", "consul").is_none());
    members[0].status = MemberStatus::Suspect;
    assert_eq!(desk.settle(1, &members), 0, "a suspect is not dead yet");
    members[0].status = MemberStatus::Dead;
    assert_eq!(desk.settle(2, &members), 1);
    assert_eq!(desk.health("web"), Some(Status::Critical));
    assert!(desk.store.node("web").is_some(), "its node is kept");
    members[0].status = MemberStatus::Alive;
    desk.settle(3, &members);
    members[0].status = MemberStatus::Left;
    assert_eq!(desk.settle(4, &members), 1);
    assert!(desk.store.node("web").is_none());
    members[1].status = MemberStatus::Left;
    assert_eq!(desk.settle(5, &members), 0, "the leader never removes itself");
}

#[test]
fn nodes_unknown_to_gossip_turn_critical_and_then_go_but_not_those_registered_by_hand() {
    let mut desk = Desk::default();
    desk.external("printer", Vec::new());
    let serf = Check { id: CheckId::from("serfHealth"), status: Status::Passing, ..Check::default() };
    desk.external("lost", vec![serf]);
    assert_eq!(desk.settle(0, &[]), 0);
    assert_eq!(desk.reconciler.due(), Some(Instant(0) + Duration::from_secs(60)));
    assert_eq!(desk.settle(60, &[]), 1);
    assert_eq!(desk.health("lost"), Some(Status::Critical));
    assert_eq!(desk.settle(3600, &[]), 0);
    assert_eq!(desk.reconciler.due(), Some(Instant(0) + REAP));
    assert_eq!(desk.settle(72 * 3600, &[]), 1);
    assert!(desk.store.node("lost").is_none() && desk.store.node("printer").is_some());
    assert_eq!(desk.reconciler.due(), None);
}

#[test]
fn a_name_in_another_case_is_the_same_name() {
    let mut desk = Desk::default();
    desk.settle(0, &[member("web", 7, MemberStatus::Alive)]);
    let members = [member("WEB", 7, MemberStatus::Alive)];
    assert_eq!(desk.settle(100, &members), 0);
    assert_eq!(desk.reconciler.due(), None, "it is no stranger");
}

#[test]
fn a_name_passes_to_a_new_owner_only_when_the_old_one_is_gone() {
    let mut desk = Desk::default();
    let old = member("web", 7, MemberStatus::Alive);
    desk.settle(0, std::slice::from_ref(&old));
    let new = member("web", 8, MemberStatus::Alive);
    assert_eq!(desk.settle(1, &[old.clone(), new.clone()]), 0, "two that live: the first keeps it");
    let dead = Member { status: MemberStatus::Dead, ..old };
    let commands = desk.wish(2, &[new.clone(), dead.clone()]);
    assert!(commands.contains(&Command::Deregister(Deregister::Node("web".into()))), "nothing is inherited");
    desk.apply(Command::Deregister(Deregister::Node("web".into())));
    desk.settle(2, &[new.clone(), dead.clone()]);
    assert_eq!(desk.store.node("web").and_then(|node| node.id), Some(new.id));
    let left = Member { status: MemberStatus::Left, ..dead };
    assert_eq!(desk.settle(3, &[new, left]), 0, "his leaving says nothing of the present owner");
}

#[test]
fn an_owner_whose_name_was_taken_over_and_given_up_again_turns_critical() {
    let mut desk = Desk::default();
    desk.settle(0, &[member("web", 7, MemberStatus::Alive)]);
    // Its emptied successor came and left while nobody led.
    let successor = [member("web", 8, MemberStatus::Left)];
    assert_eq!(desk.settle(1, &successor), 0);
    assert_eq!(desk.settle(61, &successor), 1);
    assert_eq!(desk.health("web"), Some(Status::Critical));
}

#[test]
fn without_tags_nothing_is_known() {
    let mut desk = Desk::default();
    let bare = Member { tags: BTreeMap::new(), ..member("web", 7, MemberStatus::Alive) };
    assert_eq!(desk.settle(0, &[bare]), 0);
}

/// `(node, engine)` pairs.
fn servers(voters: &[(u64, u64)], learners: &[(u64, u64)]) -> Members {
    let all = |pairs: &[(u64, u64)]| {
        let voter =
            |&(node, engine): &(u64, u64)| Voter { engine: EngineId(engine), node: Uuid::from_u128(node.into()) };
        pairs.iter().map(voter).collect()
    };
    Members { voters: all(voters), learners: all(learners) }
}

struct Polls {
    electorate: Electorate,
    matched: BTreeMap<EngineId, Index>,
    rules: Autopilot,
}

impl Default for Polls {
    fn default() -> Self {
        Self {
            electorate: Electorate::new(Uuid::from_u128(1), REAP),
            matched: BTreeMap::new(),
            rules: Autopilot::default(),
        }
    }
}

impl Polls {
    fn wish(&mut self, now: u64, current: &Members, gossip: &[Member]) -> Option<Members> {
        let standing = Standing { committed: Index(1000), matched: &self.matched, rules: &self.rules };
        let now = Instant(0) + Duration::from_secs(now);
        let wish = self.electorate.wish(now, current, gossip, CLUSTER, "dc1", &standing);
        if let Some(wish) = &wish {
            let goes = |m: &Member| m.status == MemberStatus::Left || m.tags.contains_key("leaving");
            let unknown = current.voters.iter().any(|voter| gossip.iter().all(|member| member.id != voter.node));
            assert!(wish.voters.len() >= current.voters.len() || unknown || gossip.iter().any(goes));
        }
        wish
    }

    fn caught_up(&mut self, engine: u64) {
        self.matched.insert(EngineId(engine), Index(990));
    }
}

const ALIVE: MemberStatus = MemberStatus::Alive;

#[test]
fn a_new_server_learns_and_votes_once_it_is_stable() {
    let mut polls = Polls::default();
    let gossip = [server(1, 11, ALIVE), server(2, 12, ALIVE), server(3, 13, ALIVE), server(4, 14, ALIVE)];
    let three = servers(&[(1, 11), (2, 12), (3, 13)], &[]);
    let learning = servers(&[(1, 11), (2, 12), (3, 13)], &[(4, 14)]);
    assert_eq!(polls.wish(0, &three, &gossip), Some(learning.clone()));
    assert_eq!(polls.wish(100, &learning, &gossip), None, "it has not caught up");
    polls.caught_up(14);
    assert_eq!(polls.wish(200, &learning, &gossip), None, "it is not stable yet");
    assert_eq!(polls.wish(209, &learning, &gossip), None);
    assert_eq!(polls.wish(210, &learning, &gossip), Some(servers(&[(1, 11), (2, 12), (3, 13), (4, 14)], &[])));
}

#[test]
fn a_failed_voter_stays_until_somebody_takes_its_place() {
    let mut polls = Polls::default();
    let mut gossip = vec![server(1, 11, ALIVE), server(2, 12, ALIVE), server(3, 13, MemberStatus::Dead)];
    let three = servers(&[(1, 11), (2, 12), (3, 13)], &[]);
    assert_eq!(polls.wish(0, &three, &gossip), None);
    assert_eq!(
        Polls::default().wish(0, &three, &gossip[..2]),
        None,
        "nor does one that a new leader has not met yet go"
    );
    gossip.push(server(4, 14, ALIVE));
    let learning = servers(&[(1, 11), (2, 12), (3, 13)], &[(4, 14)]);
    polls.caught_up(14);
    polls.wish(1, &learning, &gossip);
    assert_eq!(polls.wish(20, &learning, &gossip), Some(servers(&[(1, 11), (2, 12), (4, 14)], &[])));
}

#[test]
fn who_left_goes_at_once_but_never_everybody() {
    let mut polls = Polls::default();
    let mut gossip = vec![server(1, 11, ALIVE), server(2, 12, MemberStatus::Left), server(3, 13, ALIVE)];
    let three = servers(&[(1, 11), (2, 12), (3, 13)], &[]);
    assert_eq!(polls.wish(0, &three, &gossip), Some(servers(&[(1, 11), (3, 13)], &[])));
    for member in &mut gossip {
        member.status = MemberStatus::Left;
    }
    assert_eq!(polls.wish(0, &three, &gossip), None);
}

#[test]
fn an_emptied_log_on_the_same_node_replaces_its_own_former_self() {
    let mut polls = Polls::default();
    let gossip = [server(1, 11, ALIVE), server(2, 12, ALIVE), server(3, 23, ALIVE)];
    let three = servers(&[(1, 11), (2, 12), (3, 13)], &[]);
    let learning = servers(&[(1, 11), (2, 12), (3, 13)], &[(3, 23)]);
    assert_eq!(polls.wish(0, &three, &gossip), Some(learning.clone()));
    polls.caught_up(23);
    polls.wish(1, &learning, &gossip);
    assert_eq!(polls.wish(20, &learning, &gossip), Some(servers(&[(1, 11), (2, 12), (3, 23)], &[])));
}

#[test]
fn strangers_are_not_added_and_dead_learners_go() {
    let mut polls = Polls::default();
    let mut foreign = server(4, 14, ALIVE);
    foreign.tags.insert("cluster".to_owned(), Uuid::from_u128(5).to_string());
    let mut elsewhere = server(5, 15, ALIVE);
    elsewhere.tags.insert("dc".to_owned(), "dc2".to_owned());
    let one = servers(&[(1, 11)], &[]);
    assert_eq!(polls.wish(0, &one, &[server(1, 11, ALIVE), foreign, elsewhere]), None);
    let learning = servers(&[(1, 11)], &[(6, 16)]);
    let gossip = [server(1, 11, ALIVE), server(6, 16, MemberStatus::Dead)];
    assert_eq!(polls.wish(0, &learning, &gossip), None);
    assert_eq!(polls.wish(59, &learning, &gossip), None);
    assert_eq!(polls.wish(60, &learning, &gossip), Some(one));
}

#[test]
fn whoever_is_about_to_leave_goes_first_and_is_not_added_again() {
    let mut polls = Polls::default();
    let mut gossip = vec![server(1, 11, ALIVE), server(2, 12, ALIVE), server(3, 13, ALIVE)];
    gossip[2].tags.insert("leaving".to_owned(), "1".to_owned());
    let two = servers(&[(1, 11), (2, 12)], &[]);
    assert_eq!(polls.wish(0, &servers(&[(1, 11), (2, 12), (3, 13)], &[]), &gossip), Some(two.clone()));
    assert_eq!(polls.wish(0, &two, &gossip), None);
}

#[test]
fn nobody_goes_without_whom_the_living_are_no_majority() {
    let mut polls = Polls::default();
    let mut gossip = vec![server(1, 11, ALIVE), server(2, 12, MemberStatus::Dead), server(3, 13, ALIVE)];
    gossip[2].tags.insert("leaving".to_owned(), "1".to_owned());
    let three = servers(&[(1, 11), (2, 12), (3, 13)], &[]);
    assert_eq!(polls.wish(0, &three, &gossip), None, "of the two that would stay one is dead");
    gossip[1].status = ALIVE;
    assert_eq!(polls.wish(1, &three, &gossip), Some(servers(&[(1, 11), (2, 12)], &[])));
}

#[test]
fn a_voter_that_gossip_forgot_goes_when_a_failed_member_would() {
    let mut polls = Polls::default();
    let gossip = [server(1, 11, ALIVE), server(2, 12, ALIVE)];
    let three = servers(&[(1, 11), (2, 12), (3, 13)], &[]);
    assert_eq!(polls.wish(0, &three, &gossip), None);
    assert_eq!(polls.wish(REAP.as_secs() - 1, &three, &gossip), None);
    assert_eq!(polls.wish(REAP.as_secs(), &three, &gossip), Some(servers(&[(1, 11), (2, 12)], &[])));
}

#[test]
fn a_voter_that_was_reaped_or_pruned_goes_at_once() {
    let mut polls = Polls::default();
    let gossip = [server(1, 11, ALIVE), server(2, 12, ALIVE), server(3, 13, MemberStatus::Dead)];
    let three = servers(&[(1, 11), (2, 12), (3, 13)], &[]);
    assert_eq!(polls.wish(0, &three, &gossip), None);
    assert_eq!(polls.wish(1, &three, &gossip[..2]), Some(servers(&[(1, 11), (2, 12)], &[])));
}

#[test]
fn a_leader_never_removes_itself() {
    let mut polls = Polls::default();
    let mut gossip = vec![server(1, 11, ALIVE), server(2, 12, ALIVE), server(3, 13, ALIVE)];
    gossip[0].tags.insert("leaving".to_owned(), "1".to_owned());
    assert_eq!(polls.wish(0, &servers(&[(1, 11), (2, 12), (3, 13)], &[]), &gossip), None);
}

#[test]
fn rules_are_kept() {
    let gossip = [server(1, 11, ALIVE), server(2, 12, ALIVE), server(3, 13, MemberStatus::Dead), server(4, 14, ALIVE)];
    let three = servers(&[(1, 11), (2, 12), (3, 13)], &[]);
    let learning = servers(&[(1, 11), (2, 12), (3, 13)], &[(4, 14)]);
    let rules = Autopilot { server_stabilization_time: Duration::from_secs(3), ..Autopilot::default() };
    let with = |rules: Autopilot| Polls { rules, ..Polls::default() };

    let mut polls = with(Autopilot { max_trailing_logs: 9, ..rules.clone() });
    polls.caught_up(14);
    polls.wish(0, &learning, &gossip);
    assert_eq!(polls.wish(90, &learning, &gossip), None, "it is ten entries behind");

    let mut polls = with(rules.clone());
    polls.caught_up(14);
    polls.wish(0, &learning, &gossip);
    assert_eq!(polls.wish(2, &learning, &gossip), None);
    assert_eq!(polls.wish(3, &learning, &gossip), Some(servers(&[(1, 11), (2, 12), (4, 14)], &[])));

    let mut polls = with(Autopilot { cleanup_dead_servers: false, ..rules.clone() });
    polls.caught_up(14);
    polls.wish(0, &learning, &gossip);
    let four = servers(&[(1, 11), (2, 12), (3, 13), (4, 14)], &[]);
    assert_eq!(polls.wish(3, &learning, &gossip), Some(four), "the dead one stays");

    // Reaped by gossip: it would go at once.
    for (rules, goes) in [
        (rules.clone(), true),
        (Autopilot { min_quorum: 2, ..rules.clone() }, true),
        (Autopilot { min_quorum: 3, ..rules.clone() }, false),
        (Autopilot { cleanup_dead_servers: false, ..rules }, false),
    ] {
        let mut polls = with(rules);
        assert_eq!(polls.wish(0, &three, &gossip[..3]), None);
        let wish = polls.wish(2 * REAP.as_secs(), &three, &gossip[..2]);
        assert_eq!(wish, goes.then(|| servers(&[(1, 11), (2, 12)], &[])), "{:?}", polls.rules);
    }

    let mut leaving = [server(1, 11, ALIVE), server(2, 12, ALIVE), server(3, 13, MemberStatus::Left)];
    leaving[2].tags.clear();
    let mut polls = with(Autopilot { min_quorum: 3, cleanup_dead_servers: false, ..Autopilot::default() });
    assert_eq!(polls.wish(0, &three, &leaving), Some(servers(&[(1, 11), (2, 12)], &[])), "who says goodbye goes");
}
