use super::sync::IN_FLIGHT_MAX;
use super::*;
use crate::dice::Dice;
use crate::time::Instant;
use lictor_catalog::command::{Command, Deregister, Entry, Register};
use lictor_catalog::model::CheckId;
use lictor_catalog::{Check, Coordinate, Index, Node, Outcome, Service, Status, Store};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// An agent's local state, its anti-entropy, and a catalog that answers at once.
struct Bench {
    local: Local,
    sync: Sync,
    dice: Dice,
    store: Store,
    index: u64,
    now: Instant,
    out: Vec<SyncEffect>,
    pushes: usize,
    fetches: usize,
    denied: bool,
    down: bool,
}

impl Bench {
    fn new(options: SyncOptions) -> Self {
        let node = Node { name: "n1".into(), address: "10.0.0.1".into(), ..Node::default() };
        Self {
            local: Local::new(Arc::new(node), LocalOptions::default()),
            sync: Sync::new(options),
            dice: Dice::new(7),
            store: Store::default(),
            index: 0,
            now: Instant(1_000_000_000),
            out: Vec::new(),
            pushes: 0,
            fetches: 0,
            denied: false,
            down: false,
        }
    }

    fn write(&mut self, command: Command) -> Outcome {
        self.index += 1;
        self.store.apply(Index(self.index), &Entry { time_ms: 0, id: 0, command }).outcome
    }

    fn answer(&mut self) {
        while !self.out.is_empty() {
            for effect in std::mem::take(&mut self.out) {
                match effect {
                    SyncEffect::Fetch(ticket) => {
                        self.fetches += 1;
                        let store = self.store.clone();
                        let rows = if self.down { Err(SyncError::Failed("no leader".into())) } else { Ok(&store) };
                        self.sync.fetched(self.now, ticket, rows, &mut self.local, &mut self.dice, &mut self.out);
                    }
                    SyncEffect::Push { ticket, command, .. } => {
                        self.pushes += 1;
                        let result = if self.denied {
                            Err(SyncError::Denied("service:write".into()))
                        } else if self.down {
                            Err(SyncError::Failed("no leader".into()))
                        } else {
                            match self.write(command) {
                                Outcome::Refused(refusal) => Err(SyncError::Refused(refusal)),
                                _ => Ok(()),
                            }
                        };
                        self.sync.pushed(self.now, ticket, result, &mut self.local, &mut self.dice, &mut self.out);
                    }
                    SyncEffect::Warn(_) => {}
                }
            }
        }
    }

    fn leader(&mut self) {
        self.sync.leader_known(self.now, &mut self.local, &mut self.dice, &mut self.out);
        self.answer();
    }

    fn change(&mut self, change: Change) {
        self.local.apply(self.now, change, &mut Vec::new()).unwrap();
        self.sync.local_changed(self.now, &mut self.local, &mut self.dice, &mut self.out);
    }

    fn register(&mut self, body: &serde_json::Value) {
        self.change(Change::RegisterService { spec: ServiceSpec::parse(body).unwrap(), replace_checks: false });
    }

    fn report(&mut self, id: &str, status: Status, output: &str) {
        self.change(Change::UpdateCheck { id: id.into(), status, output: output.into() });
        self.answer();
    }

    fn after(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.sync.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.sync.timer(self.now, &mut self.local, &mut self.dice, &mut self.out);
            self.answer();
        }
        self.now = end;
    }

    /// Pushes since the last time this was asked.
    fn pushed(&mut self) -> usize {
        std::mem::take(&mut self.pushes)
    }

    fn of_catalog(&self) -> (Vec<String>, Vec<String>) {
        (
            self.store.services_of("n1").map(|row| row.id.to_string()).collect(),
            self.store.checks_of("n1").map(|row| row.id.to_string()).collect(),
        )
    }
}

fn web() -> serde_json::Value {
    json!({"Name": "web", "Tags": ["a"], "Checks": [{"TTL": "1h"}, {"TTL": "1h"}]})
}

#[test]
fn the_first_sync_waits_for_a_leader_and_then_for_nothing() {
    let mut bench = Bench::new(SyncOptions::default());
    bench.register(&web());
    bench.answer();
    assert_eq!((bench.fetches, bench.pushed(), bench.sync.deadline()), (0, 0, None));
    bench.leader();
    assert_eq!(bench.of_catalog(), (vec!["web".into()], vec!["service:web:1".into(), "service:web:2".into()]));
    assert_eq!((bench.fetches, bench.pushed()), (1, 2), "the node, and the service with its checks");
    assert_eq!(bench.store.node("n1").unwrap().address, "10.0.0.1");
}

#[test]
fn a_change_is_pushed_at_once_and_alone() {
    let mut bench = Bench::new(SyncOptions::default());
    bench.register(&web());
    bench.leader();
    bench.pushed();
    bench.report("service:web:1", Status::Passing, "fine");
    assert_eq!(bench.store.check("n1", "service:web:1").unwrap().status, Status::Passing);
    assert_eq!(bench.pushed(), 1);
    bench.change(Change::DeregisterCheck("service:web:2".into()));
    bench.answer();
    assert_eq!((bench.of_catalog().1, bench.pushed()), (vec!["service:web:1".to_owned()], 1));
    bench.change(Change::DeregisterService("web".into()));
    bench.answer();
    assert_eq!((bench.of_catalog(), bench.pushed()), ((vec![], vec![]), 1));
    bench.change(Change::NodeMaintenance(Some(String::new())));
    bench.answer();
    assert_eq!((bench.of_catalog().1, bench.pushed()), (vec!["_node_maintenance".to_owned()], 1));
}

#[test]
fn a_thousand_idle_services_write_nothing() {
    let mut bench = Bench::new(SyncOptions::default());
    bench.leader();
    for number in 0..1_000 {
        // Different case in name and id, tags, an IP address: whatever could make rows differ for ever.
        bench
            .register(&json!({"Name": "Web", "ID": format!("Web-{number}"), "Tags": ["B", "a"], "Address": "10.0.0.9",
            "Port": 80, "Meta": {"k": "v"}, "Check": {"HTTP": "http://x", "Interval": "10s"}}));
    }
    bench.answer();
    assert_eq!(bench.store.services_of("n1").count(), 1_000);
    bench.pushed();
    let fetches = bench.fetches;
    while bench.fetches < fetches + 10 {
        bench.after(SECOND * 60);
    }
    assert_eq!(bench.pushed(), 0);
}

#[test]
fn pushes_in_flight_are_bounded_and_one_per_service() {
    let mut bench = Bench::new(SyncOptions::default());
    bench.leader();
    for number in 0..50 {
        bench.register(&json!({"Name": format!("s{number}")}));
        bench.register(&json!({"Name": format!("s{number}"), "Port": 1}));
    }
    assert_eq!(bench.out.len(), IN_FLIGHT_MAX);
    bench.answer();
    assert_eq!(bench.store.services_of("n1").filter(|row| row.port == 1).count(), 50);
}

#[test]
fn what_the_agent_does_not_own_is_removed_from_its_node() {
    let mut bench = Bench::new(SyncOptions::default());
    let node = Node { name: "N1".into(), address: "10.0.0.2".into(), ..Node::default() };
    let check = |id: &str, service: &str| Check {
        id: id.into(),
        name: id.to_owned(),
        service_id: service.into(),
        ..Check::default()
    };
    for (id, checks) in [
        ("consul", vec![check("serfHealth", ""), check("stray", "")]),
        ("ghost", vec![check("service:ghost", "ghost")]),
        ("web", vec![check("old", "web")]),
    ] {
        let service = Some(Service { id: id.into(), name: id.into(), ..Service::default() });
        bench.write(Command::Register(Box::new(Register {
            node: node.clone(),
            skip_node_update: false,
            service,
            checks,
        })));
    }
    bench.register(&web());
    bench.leader();
    let (services, checks) = bench.of_catalog();
    assert_eq!(services, ["consul", "web"]);
    assert_eq!(checks, ["serfHealth", "service:web:1", "service:web:2"]);
    assert_eq!(bench.store.node("n1").unwrap().address, "10.0.0.1");
    // Somebody tampers: undone by the next full sync.
    bench.write(Command::Deregister(Deregister::Service("n1".into(), "web".into())));
    bench.after(SECOND * 121);
    assert_eq!(bench.of_catalog().0, ["consul", "web"]);
}

#[test]
fn a_check_that_moves_to_another_service_stays() {
    let mut bench = Bench::new(SyncOptions::default());
    bench.leader();
    bench.register(&json!({"Name": "a", "Check": {"CheckID": "x", "TTL": "1h"}}));
    bench.answer();
    bench.register(&json!({"Name": "b", "Check": {"CheckID": "x", "TTL": "1h"}}));
    bench.answer();
    assert_eq!(&*bench.store.check("n1", "x").unwrap().service_id, "b");
    bench.after(SECOND * 121);
    assert_eq!(&*bench.store.check("n1", "x").unwrap().service_id, "b");
}

#[test]
fn a_changed_output_waits_and_a_changed_status_does_not() {
    let mut bench = Bench::new(SyncOptions::default());
    bench.leader();
    bench.register(&json!({"Name": "web", "Check": {"TTL": "1h"}}));
    bench.report("service:web", Status::Passing, "0");
    bench.pushed();
    for second in 1..149 {
        bench.report("service:web", Status::Passing, &second.to_string());
        bench.after(SECOND);
    }
    assert_eq!(bench.pushed(), 0, "half the interval has not passed");
    assert_eq!(bench.local.view().1[&CheckId::from("service:web")].output, "148", "the agent itself shows it at once");
    bench.after(SECOND * 305);
    assert_eq!((bench.pushed(), bench.store.check("n1", "service:web").unwrap().output.as_str()), (1, "148"));
    bench.report("service:web", Status::Warning, "now");
    assert_eq!((bench.pushed(), bench.store.check("n1", "service:web").unwrap().output.as_str()), (1, "now"));

    let mut eager = Bench::new(SyncOptions { check_update_interval: Duration::ZERO, ..SyncOptions::default() });
    eager.leader();
    eager.register(&json!({"Name": "web", "Check": {"TTL": "1h"}}));
    eager.report("service:web", Status::Critical, "new");
    assert_eq!(eager.store.check("n1", "service:web").unwrap().output, "new");
}

#[test]
fn the_catalogs_tags_win_only_where_the_service_allows_it() {
    for (allowed, tags) in [(true, ["theirs"]), (false, ["ours"])] {
        let mut bench = Bench::new(SyncOptions::default());
        bench.leader();
        bench.register(&json!({"Name": "web", "Tags": ["ours"], "EnableTagOverride": allowed, "Check": {"TTL": "1h"}}));
        bench.answer();
        bench.pushed();
        let service = Service { tags: vec!["theirs".into()], ..(**bench.store.service("n1", "web").unwrap()).clone() };
        let node = (**bench.store.node("n1").unwrap()).clone();
        let register = Register { node, skip_node_update: true, service: Some(service), checks: Vec::new() };
        bench.write(Command::Register(Box::new(register)));
        bench.after(SECOND * 121);
        assert_eq!(bench.store.service("n1", "web").unwrap().tags, tags);
        assert_eq!(bench.local.view().0["web"].tags, tags);
        assert_eq!(bench.local.view().1["service:web"].service_tags, tags);
        assert_eq!(bench.pushed(), usize::from(!allowed));
    }
}

#[test]
fn failures_are_tried_again_and_denials_wait_for_the_next_full_sync() {
    let mut bench = Bench::new(SyncOptions::default());
    bench.down = true;
    bench.register(&web());
    bench.leader();
    assert_eq!(bench.fetches, 1);
    bench.after(SECOND * 14);
    assert_eq!(bench.fetches, 1, "not before 15 s");
    bench.down = false;
    bench.after(SECOND * 17);
    assert_eq!((bench.fetches, bench.of_catalog().0.len()), (2, 1));
    bench.pushed();
    bench.denied = true;
    bench.register(&json!({"Name": "secret"}));
    bench.answer();
    bench.after(SECOND * 10);
    assert_eq!(bench.pushed(), 1, "not again and again");
    bench.denied = false;
    bench.after(SECOND * 121);
    assert_eq!(bench.of_catalog().0, ["secret", "web"]);
    // The whole catalog was lost; the next push finds out, and everything is back without waiting for a full sync.
    bench.store = Store::default();
    bench.report("service:web:1", Status::Passing, "");
    assert_eq!(bench.of_catalog().0, ["secret", "web"]);
}

#[test]
fn answers_that_never_come_do_not_stop_it() {
    let mut bench = Bench::new(SyncOptions::default());
    bench.register(&web());
    bench.sync.leader_known(bench.now, &mut bench.local, &mut bench.dice, &mut bench.out);
    assert_eq!(bench.out.len(), 1);
    bench.out.clear();
    bench.after(SECOND * 91);
    assert_eq!(bench.of_catalog().0, ["web"]);
    bench.register(&json!({"Name": "db"}));
    bench.out.clear();
    bench.after(SECOND * 181);
    assert_eq!(bench.of_catalog().0, ["db", "web"]);
}

fn place(milliseconds: f64, error: f64) -> Coordinate {
    let vector = [milliseconds / 1000.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    Coordinate::try_from((vector, 1e-5, error, 0.0)).expect("finite")
}

#[test]
fn a_place_is_told_when_it_is_another_one_and_not_more_often_than_allowed() {
    let mut bench = Bench::new(SyncOptions::default());
    let told = |bench: &Bench| bench.store.coordinate("n1").map(|row| row.coordinate);
    bench.sync.set_place(bench.now, place(0.0, 1.5));
    bench.leader();
    assert_eq!(told(&bench), Some(place(0.0, 1.5)), "once the node is there");
    // Noise, and a little more: nothing is written, for an hour.
    bench.after(40 * SECOND);
    let pushes = bench.pushes;
    for second in 0..360 {
        bench.sync.set_place(bench.now, place(0.3 * f64::from(second % 2), 1.5));
        bench.after(10 * SECOND);
    }
    assert_eq!(bench.pushes, pushes);
    // It becomes surer and moves all the time: at most one write in 15 s.
    for second in 0..100 {
        bench.sync.set_place(bench.now, place(10.0 * f64::from(second), 0.2));
        bench.after(SECOND);
    }
    assert!((3..=7).contains(&(bench.pushes - pushes)), "{} pushes in 100 s", bench.pushes - pushes);
    bench.after(40 * SECOND);
    let last = told(&bench).expect("a place");
    assert!(last.vector()[0] > 0.75 * 0.99, "not further off than a quarter: {last:?}");
    // After a start it knows nothing: what the catalog has is better.
    bench.sync.set_place(bench.now, place(0.0, 1.5));
    bench.after(300 * SECOND);
    assert_eq!(told(&bench), Some(last));
    bench.sync.set_place(bench.now, place(400.0, 0.3));
    bench.after(40 * SECOND);
    assert_eq!(told(&bench), Some(place(400.0, 0.3)));
    // Whoever takes the node away takes its place too; both come back.
    bench.write(Command::Deregister(Deregister::Node("n1".into())));
    bench.after(200 * SECOND);
    assert_eq!(told(&bench), Some(place(400.0, 0.3)));
}
