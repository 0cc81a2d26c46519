use super::*;
use crate::checks::{Captured, CheckSpec, Outcome, Run};
use crate::time::Instant;
use lictor_catalog::model::{CheckId, ServiceId};
use lictor_catalog::{Node, Status};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A local state with a disk that obeys at once.
struct Bench {
    local: Local,
    disk: BTreeMap<String, Vec<u8>>,
    effects: Vec<Effect>,
    warnings: Vec<String>,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self::with(LocalOptions { persist: true, boot: "b1".into(), ..LocalOptions::default() })
    }

    fn with(options: LocalOptions) -> Self {
        let node = Arc::new(Node { name: "n1".into(), ..Node::default() });
        let local = Local::new(node, options);
        Self { local, disk: BTreeMap::new(), effects: Vec::new(), warnings: Vec::new(), now: Instant(1_000_000_000) }
    }

    /// The next process on the same disk, `away` later.
    fn restart(&self, away: Duration, options: LocalOptions, services: Vec<ServiceSpec>) -> Self {
        let mut next = Self::with(options);
        (next.disk, next.now) = (self.disk.clone(), self.now + away);
        assert_eq!(next.local.define(next.now, services, Vec::new(), &mut next.effects), []);
        next.local.restore(next.now, next.disk.clone().into_iter().collect(), &mut next.effects);
        next.obey();
        next
    }

    fn options(&self) -> LocalOptions {
        self.local.options.clone()
    }

    fn apply(&mut self, change: Change) -> Result<(), Refused> {
        self.local.apply(self.now, change, &mut self.effects)?;
        self.obey();
        Ok(())
    }

    /// Writes what is to be written; returns the runs that began.
    fn obey(&mut self) -> Vec<Run> {
        let mut begun = Vec::new();
        while !self.effects.is_empty() {
            for effect in std::mem::take(&mut self.effects) {
                match effect {
                    Effect::Persist { ticket, writes } => {
                        self.write(writes);
                        if let Some(ticket) = ticket {
                            self.local.persisted(self.now, ticket, Ok(()), &mut self.effects).unwrap();
                        }
                    }
                    Effect::Start { run, .. } => begun.push(run),
                    Effect::Warn(text) => self.warnings.push(text),
                    Effect::Stop(_) | Effect::Changed => {}
                }
            }
        }
        begun
    }

    fn write(&mut self, writes: Vec<Write>) {
        for write in writes {
            match write {
                Write::Put { key, content } => self.disk.insert(key.name(), content),
                Write::Remove(key) => self.disk.remove(&key.name()),
            };
        }
    }

    fn after(&mut self, span: Duration) -> Vec<Run> {
        let end = self.now + span;
        let mut begun = Vec::new();
        while let Some(at) = self.local.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.local.timer(self.now, &mut self.effects);
            begun.extend(self.obey());
        }
        self.now = end;
        begun
    }

    fn check(&mut self, id: &str) -> (Status, String) {
        let row = &self.local.view().1[&CheckId::from(id)];
        (row.status, row.output.clone())
    }

    fn report(&mut self, id: &str, status: Status, output: &str) {
        self.apply(Change::UpdateCheck { id: id.into(), status, output: output.to_owned() }).unwrap();
    }

    fn ids(&mut self) -> (Vec<String>, Vec<String>) {
        let (services, checks) = self.local.view();
        (services.keys().map(ToString::to_string).collect(), checks.keys().map(ToString::to_string).collect())
    }
}

fn service(body: &Value) -> Change {
    Change::RegisterService { spec: ServiceSpec::parse(body).unwrap(), replace_checks: false }
}

fn web() -> Value {
    json!({"Name": "web", "Tags": ["a"], "Check": {"TTL": "10s"}})
}

fn lone_check(body: &Value) -> Change {
    Change::RegisterCheck(CheckSpec::parse(body).unwrap())
}

#[test]
fn a_registration_takes_effect_when_it_is_on_disk() {
    let mut bench = Bench::new();
    let accepted = bench.local.apply(bench.now, service(&web()), &mut bench.effects).unwrap();
    let Acceptance::Waiting(ticket) = accepted else { panic!("must wait for the disk") };
    assert_eq!(bench.ids(), (vec![], vec![]), "not before it is on disk");
    // What depends on it is admitted meanwhile.
    let check = lone_check(&json!({"Name": "c", "ServiceID": "web", "TTL": "1s"}));
    let then = bench.local.apply(bench.now, check, &mut bench.effects).unwrap();
    bench.local.persisted(bench.now, ticket, Ok(()), &mut bench.effects).unwrap();
    assert_eq!(bench.ids(), (vec!["web".to_owned()], vec!["service:web".to_owned()]));
    assert!(bench.effects.contains(&Effect::Changed));
    let Acceptance::Waiting(ticket) = then else { panic!("must wait for the disk") };
    let full = Err("local.redb: no space left".to_owned());
    let refused = bench.local.persisted(bench.now, ticket, full, &mut bench.effects).unwrap_err();
    assert!(matches!(refused, Refused::NotPersisted(_)), "{refused}");
    assert_eq!(bench.ids().1, ["service:web"]);
}

#[test]
fn a_check_whose_service_failed_to_register_is_refused_late() {
    let mut bench = Bench::new();
    let first = bench.local.apply(bench.now, service(&web()), &mut bench.effects).unwrap();
    let check = lone_check(&json!({"Name": "c", "ServiceID": "web", "TTL": "1s"}));
    let second = bench.local.apply(bench.now, check, &mut bench.effects).unwrap();
    let (Acceptance::Waiting(first), Acceptance::Waiting(second)) = (first, second) else { panic!("both wait") };
    bench.effects.clear();
    let lost = Err(String::new());
    bench.local.persisted(bench.now, first, lost, &mut bench.effects).unwrap_err();
    let refused = bench.local.persisted(bench.now, second, Ok(()), &mut bench.effects).unwrap_err();
    assert_eq!(refused, Refused::NoSuchServiceForCheck("web".into()));
    assert!(matches!(&bench.effects[..], [Effect::Persist { ticket: None, .. }]), "its record is removed");
}

#[test]
fn without_a_disk_changes_take_effect_at_once() {
    let mut bench = Bench::with(LocalOptions::default());
    let accepted = bench.local.apply(bench.now, service(&web()), &mut bench.effects);
    assert_eq!(accepted, Ok(Acceptance::Done));
    assert_eq!(bench.effects, [Effect::Changed]);
    let row = Arc::clone(&bench.local.view().1["service:web"]);
    assert_eq!((&*row.node, &*row.service_name, &row.service_tags[..]), ("n1", "web", &["a".to_owned()][..]));
    assert_eq!((row.status, row.kind.as_str()), (Status::Critical, "ttl"));
}

#[test]
fn refusals_name_what_is_missing() {
    let mut bench = Bench::new();
    for (change, text) in [
        (
            Change::DeregisterService("x".into()),
            "Unknown service ID \"x\". Ensure that the service ID is passed, not the service name.",
        ),
        (
            Change::DeregisterCheck("x".into()),
            "Unknown check ID \"x\". Ensure that the check ID is passed, not the check name.",
        ),
        (Change::ServiceMaintenance("x".into(), None), "No service registered with ID \"x\""),
        (lone_check(&json!({"Name": "c", "ServiceID": "x", "TTL": "1s"})), "ServiceID \"x\" does not exist"),
        (
            lone_check(&json!({"Name": "c", "GRPC": "a:1", "Interval": "1s"})),
            "check \"c\" is of kind grpc, which this release does not run yet; use http, tcp, udp, ttl or script",
        ),
        (
            Change::UpdateCheck { id: "x".into(), status: Status::Passing, output: String::new() },
            "Unknown check ID \"x\". Ensure that the check ID is passed, not the check name.",
        ),
    ] {
        assert_eq!(bench.apply(change).unwrap_err().to_string(), text);
    }
    let script = lone_check(&json!({"Name": "c", "Args": ["a"], "Interval": "1s"}));
    assert_eq!(bench.apply(script), Err(Refused::ScriptsDisabled));
    bench.apply(lone_check(&json!({"Name": "t", "TCP": "a:1", "Interval": "1s"}))).unwrap();
    let update = Change::UpdateCheck { id: "t".into(), status: Status::Passing, output: String::new() };
    assert_eq!(bench.apply(update), Err(Refused::NotTtl("t".into())));
}

#[test]
fn silence_makes_a_ttl_check_critical() {
    let mut bench = Bench::new();
    bench.apply(service(&web())).unwrap();
    bench.report("SERVICE:web", Status::Passing, "fine");
    bench.after(SECOND * 9);
    bench.report("service:web", Status::Warning, &"x".repeat(5_000));
    let (status, output) = bench.check("service:web");
    assert_eq!(status, Status::Warning);
    assert!(output.ends_with("x ... (captured 4096 of 5000 bytes)"));
    bench.report("service:web", Status::Passing, "ok");
    bench.after(SECOND * 10);
    assert_eq!(
        bench.check("service:web"),
        (Status::Critical, "TTL expired (last output before timeout follows): ok".to_owned())
    );
}

#[test]
fn registering_again_keeps_the_status_and_does_not_run_early() {
    let mut bench = Bench::new();
    let body = json!({"Name": "web", "Checks": [{"TCP": "a:1", "Interval": "10s"}, {"CheckID": "x", "TTL": "1m"}]});
    bench.local.apply(bench.now, service(&body), &mut bench.effects).unwrap();
    let begun = bench.obey();
    assert_eq!(begun.len(), 1, "the first run begins at once");
    bench.local.outcome(bench.now, begun[0], &Outcome::Connected, &mut bench.effects);
    bench.obey();
    bench.report("x", Status::Passing, "well");
    for _ in 0..5 {
        let disk = bench.disk.clone();
        let accepted = bench.local.apply(bench.now, service(&body), &mut bench.effects);
        assert_eq!((accepted, bench.disk == disk), (Ok(Acceptance::Done), true), "nothing new to write");
        assert_eq!(bench.effects, [], "nothing changed, nothing runs");
    }
    let mut other = body.clone();
    other["Tags"] = json!(["new"]);
    other["Checks"][0]["Interval"] = json!("20s");
    bench.local.apply(bench.now, service(&other), &mut bench.effects).unwrap();
    assert_eq!(bench.obey().len(), 1, "a changed check runs at once");
    assert_eq!(bench.check("service:web:1"), (Status::Passing, "TCP connect a:1: Success".to_owned()));
    assert_eq!(bench.local.view().1["x"].service_tags, ["new"], "checks repeat their service's tags");
    let spec = ServiceSpec::parse(&json!({"Name": "web", "Check": {"CheckID": "x", "TTL": "1m"}})).unwrap();
    bench.apply(Change::ServiceMaintenance("web".into(), Some(String::new()))).unwrap();
    bench.apply(Change::RegisterService { spec, replace_checks: true }).unwrap();
    assert_eq!(bench.ids().1, ["_service_maintenance:web", "x"]);
}

#[test]
fn maintenance_is_a_critical_check_that_survives() {
    let mut bench = Bench::new();
    bench.apply(service(&web())).unwrap();
    bench.apply(Change::NodeMaintenance(Some(String::new()))).unwrap();
    bench.apply(Change::ServiceMaintenance("web".into(), Some("why".into()))).unwrap();
    bench.apply(Change::ServiceMaintenance("web".into(), Some("later".into()))).unwrap();
    let mut next = bench.restart(SECOND, bench.options(), Vec::new());
    let checks = next.local.view().1;
    let (node, service) = (&checks["_node_maintenance"], &checks["_service_maintenance:web"]);
    assert_eq!(
        (node.name.as_str(), node.status, node.kind.as_str()),
        ("Node Maintenance Mode", Status::Critical, "maintenance")
    );
    assert!(node.notes.ends_with("This is a default message."));
    assert_eq!(
        (service.name.as_str(), service.notes.as_str(), &*service.service_name),
        ("Service Maintenance Mode", "why", "web")
    );
    next.apply(Change::NodeMaintenance(None)).unwrap();
    next.apply(Change::NodeMaintenance(None)).unwrap();
    next.apply(Change::DeregisterService("web".into())).unwrap();
    assert_eq!(next.ids(), (vec![], vec![]));
    assert_eq!(next.disk, BTreeMap::new(), "nothing is left on disk");
}

#[test]
fn a_restart_is_not_a_flap() {
    let mut bench = Bench::new();
    bench.apply(service(&web())).unwrap();
    bench
        .local
        .apply(bench.now, lone_check(&json!({"Name": "t", "TCP": "a:1", "Interval": "10s"})), &mut bench.effects)
        .unwrap();
    let run = bench.obey()[0];
    bench.local.outcome(bench.now, run, &Outcome::Connected, &mut bench.effects);
    bench.report("service:web", Status::Passing, "fine");
    let mut next = bench.restart(SECOND * 6, bench.options(), Vec::new());
    assert_eq!(next.check("service:web"), (Status::Passing, "fine".to_owned()));
    assert_eq!(next.check("t").0, Status::Passing);
    next.after(SECOND * 4);
    assert_eq!(next.check("service:web").0, Status::Critical, "the deadline is the old one");
    let mut late = bench.restart(SECOND * 11, bench.options(), Vec::new());
    assert_eq!(late.check("service:web").0, Status::Critical, "evidence went stale");
    let rebooted = LocalOptions { boot: "b2".into(), ..bench.options() };
    let mut rebooted = bench.restart(SECOND, rebooted, Vec::new());
    assert_eq!(rebooted.check("t").0, Status::Critical, "a probe of another boot proves nothing");
}

#[test]
fn files_win_and_damage_is_named_and_left_in_place() {
    let mut bench = Bench::new();
    bench.apply(service(&json!({"Name": "web", "Port": 1}))).unwrap();
    bench.apply(service(&json!({"Name": "db", "Check": {"TTL": "1m"}}))).unwrap();
    bench.disk.get_mut("service/db").unwrap()[40] ^= 1;
    let file = ServiceSpec::parse(&json!({"Name": "web", "Port": 2})).unwrap();
    let mut next = bench.restart(SECOND, bench.options(), vec![file]);
    assert_eq!(next.local.view().0["web"].port, 2);
    assert_eq!(next.ids(), (vec!["web".to_owned()], vec![]));
    assert!(
        next.warnings[0].starts_with("the record service/db is skipped and left in place: "),
        "{:?}",
        next.warnings
    );
    // What hangs on a damaged record is left in place too.
    assert_eq!(next.disk.keys().collect::<Vec<_>>(), ["check/service:db", "service/db"]);
    // A reload without the definition removes it.
    assert_eq!(next.local.define(next.now, Vec::new(), Vec::new(), &mut next.effects), []);
    assert_eq!(next.ids().0, Vec::<String>::new());
}

#[test]
fn a_service_that_stays_critical_is_deregistered() {
    let mut bench = Bench::new();
    let check = json!({"TTL": "10s", "DeregisterCriticalServiceAfter": "1m"});
    bench.apply(service(&json!({"Name": "web", "Check": check}))).unwrap();
    bench.report("service:web", Status::Passing, "");
    bench.after(SECOND * 69);
    assert_eq!(bench.ids().0, ["web"], "critical for 59 s");
    bench.after(SECOND * 32);
    assert_eq!((bench.ids().0, bench.disk.len()), (vec![], 0));
    assert!(bench.warnings.iter().any(|text| text.contains("deregistering")), "{:?}", bench.warnings);
    bench.after(SECOND * 60);
    assert_eq!(bench.local.deadline(), None, "an agent without checks has no timers");
}

#[test]
fn views_are_shared_until_something_changes() {
    let mut bench = Bench::new();
    bench.apply(service(&web())).unwrap();
    let (services, checks) = bench.local.view();
    assert!(Arc::ptr_eq(&services, &bench.local.view().0) && Arc::ptr_eq(&checks, &bench.local.view().1));
    bench.report("service:web", Status::Passing, "");
    assert!(Arc::ptr_eq(&services, &bench.local.view().0) && !Arc::ptr_eq(&checks, &bench.local.view().1));
    assert_eq!(services[&ServiceId::from("web")].node.as_str(), "n1");
}

#[test]
fn thresholds_hold_back_a_script() {
    let options = LocalOptions { scripts: true, ..LocalOptions::default() };
    let mut bench = Bench::with(options);
    let body = json!({"Name": "s", "Args": ["x"], "Interval": "1s", "FailuresBeforeCritical": 2});
    bench.local.apply(bench.now, lone_check(&body), &mut bench.effects).unwrap();
    let mut run = bench.obey()[0];
    let mut seen = Vec::new();
    for code in [0, 2, 2] {
        let outcome = Outcome::Exited { code: Some(code), output: Captured::default() };
        bench.local.outcome(bench.now, run, &outcome, &mut bench.effects);
        run = bench.obey().pop().or_else(|| bench.after(SECOND).pop()).unwrap();
        seen.push(bench.check("s").0);
    }
    assert_eq!(seen, [Status::Passing, Status::Passing, Status::Critical]);
}
