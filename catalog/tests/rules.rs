//! The rules of Consul, one scene at a time: what is refused, what moves which index, what wakes whom.

use lictor_catalog::command::{Command, Deregister, Entry, KvCommand, PreparedCommand, Register, SessionCommand};
use lictor_catalog::model::{Node, Service, ServiceQuery};
use lictor_catalog::query::{Rows, at_address, instances};
use lictor_catalog::{
    AllowAll, Applied, Authorizer, Autopilot, Check, Execution, Index, Outcome, PreparedQuery, Query, Refusal, Scope,
    Session, Status, Store, TxnFailure, TxnFault, TxnLook, Watch,
};
use uuid::Uuid;

/// A store whose log counts by itself.
#[derive(Default)]
struct Scene {
    store: Store,
    at: u64,
    time_ms: u64,
}

impl Scene {
    fn apply(&mut self, command: Command) -> Applied {
        self.at += 1;
        self.store.apply(Index(self.at), &Entry { time_ms: self.time_ms, id: 0, command })
    }

    fn register(&mut self, register: Register) -> Applied {
        self.apply(Command::Register(Box::new(register)))
    }

    fn set(&mut self, key: &str, value: &str) -> Applied {
        let value = value.to_owned().into();
        self.apply(Command::Kv(KvCommand::Set { key: key.to_owned(), value, flags: 0 }))
    }

    fn delete(&mut self, key: &str) -> Applied {
        self.apply(Command::Kv(KvCommand::Delete { key: key.to_owned() }))
    }

    fn index(&self, query: &Query) -> u64 {
        query.run(&self.store, &AllowAll).0.0
    }
}

fn node(name: &str) -> Register {
    Register {
        node: Node { name: name.into(), address: "10.0.0.1".to_owned(), ..Node::default() },
        ..Register::default()
    }
}

fn node_id(name: &str, id: u128) -> Register {
    let mut register = node(name);
    register.node.id = Some(Uuid::from_u128(id));
    register
}

fn service(on: &str, id: &str, name: &str, tags: &[&str]) -> Register {
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    Register { service: Some(Service { id: id.into(), name: name.into(), tags, ..Service::default() }), ..node(on) }
}

fn check(id: &str, service: &str, status: Status) -> Check {
    Check { id: id.into(), name: id.to_owned(), service_id: service.into(), status, ..Check::default() }
}

fn checked(register: Register, check: Check) -> Register {
    Register { checks: vec![check], ..register }
}

fn alive(register: Register) -> Register {
    checked(register, check("serfHealth", "", Status::Passing))
}

fn health(name: &str) -> Query {
    Query::HealthService { name: name.to_owned(), native: false, tags: vec![], meta: vec![], passing: false }
}

fn refusal(applied: &Applied) -> Option<&Refusal> {
    match &applied.outcome {
        Outcome::Refused(refusal) => Some(refusal),
        _ => None,
    }
}

fn key(key: &str) -> Watch {
    Watch::Key(key.into())
}

#[test]
fn a_check_needs_its_service() {
    let mut scene = Scene::default();
    let applied = scene.register(checked(node("a"), check("c", "web", Status::Passing)));
    let missing = Refusal::MissingService { node: "a".into(), service: "web".to_owned() };
    assert_eq!(refusal(&applied), Some(&missing));
    assert!(scene.store.node("a").is_none(), "all or nothing");
    assert_eq!(scene.store.index(), Index(1), "a refused command was applied all the same");

    scene.register(checked(service("a", "web", "Web", &["v1"]), check("c", "WEB", Status::Passing)));
    let found = scene.store.check("A", "C").expect("registered with its service");
    assert_eq!((found.service_id.as_str(), found.service_name.as_str()), ("web", "Web"));
    assert_eq!(found.service_tags, ["v1"]);
}

#[test]
fn a_node_that_is_not_to_be_updated_is_created_all_the_same() {
    let mut scene = Scene::default();
    let mut register = node("a");
    (register.skip_node_update, register.node.address) = (true, String::new());
    assert_eq!(scene.register(register.clone()).outcome, Outcome::Done);
    assert_eq!(scene.store.node("a").expect("created").address, "");
    scene.register(node("a"));
    assert_eq!(scene.register(register).outcome, Outcome::Done);
    assert_eq!(scene.store.node("a").expect("registered").address, "10.0.0.1", "the row stays as it is");
}

#[test]
fn a_live_node_keeps_its_name_and_its_id() {
    let mut scene = Scene::default();
    scene.register(alive(node_id("a", 1)));
    let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let applied = scene.register(node_id("A", 2));
    assert_eq!(refusal(&applied), Some(&Refusal::NameTaken { node: "A".into(), holder: one }));
    let applied = scene.register(node_id("b", 1));
    assert_eq!(refusal(&applied), Some(&Refusal::IdTaken { id: one, node: "b".into(), holder: "a".into() }));

    scene.register(checked(node("a"), check("serfHealth", "", Status::Critical)));
    assert_eq!(scene.store.node("a").expect("there").id, Some(one), "an id is not lost by registering without one");
    assert_eq!(scene.register(node_id("a", 2)).outcome, Outcome::Done);
    assert!(scene.store.node_by_id(one).is_none());
    assert_eq!(scene.store.node_by_id(two).expect("replaced").name.as_str(), "a");
}

#[test]
fn a_rename_takes_the_old_node_away_with_everything_on_it() {
    let mut scene = Scene::default();
    let mut register = checked(service("old", "web", "web", &[]), check("c", "web", Status::Passing));
    register.node.id = Some(Uuid::from_u128(1));
    scene.register(register);
    let applied = scene.register(node_id("new", 1));
    assert_eq!(applied.outcome, Outcome::Done);
    assert!(scene.store.node("old").is_none() && scene.store.check("old", "c").is_none());
    assert_eq!(scene.store.services().count(), 0);
    let expected = [
        Watch::Nodes,
        Watch::Node("new".into()),
        Watch::Node("old".into()),
        Watch::Services,
        Watch::Service("web".into()),
        Watch::Checks,
    ];
    assert_eq!(applied.touched.watches, expected);
}

#[test]
fn equal_registrations_touch_nothing() {
    let mut scene = Scene::default();
    let register = alive(service("a", "web", "web", &["v1"]));
    scene.register(register.clone());
    let before = scene.store.clone();
    let applied = scene.register(register.clone());
    assert!(applied.touched.watches.is_empty() && applied.outcome == Outcome::Done);
    assert_eq!(scene.store.node("a"), before.node("a"));
    assert_eq!(scene.index(&health("web")), 1);

    // Unknown things are deregistered already.
    for deregister in [
        Deregister::Node("x".into()),
        Deregister::Service("a".into(), "x".into()),
        Deregister::Check("a".into(), "x".into()),
    ] {
        let applied = scene.apply(Command::Deregister(deregister));
        assert!(applied.touched.watches.is_empty() && applied.outcome == Outcome::Done);
    }
}

#[test]
fn one_check_wakes_its_service_and_a_node_check_wakes_all() {
    let mut scene = Scene::default();
    scene.register(service("a", "web", "web", &[]));
    scene.register(service("a", "db", "db", &[]));
    scene.register(service("b", "api", "api", &[]));
    let applied = scene.register(checked(node("a"), check("c", "db", Status::Passing)));
    assert_eq!(applied.touched.watches, [Watch::Node("a".into()), Watch::Service("db".into()), Watch::Checks]);
    assert_eq!([scene.index(&health("web")), scene.index(&health("db")), scene.index(&health("api"))], [1, 4, 3]);

    let applied = scene.register(alive(node("a")));
    let (web, db) = (Watch::Service("web".into()), Watch::Service("db".into()));
    assert_eq!(applied.touched.watches, [Watch::Node("a".into()), db, web, Watch::Checks]);
    assert_eq!([scene.index(&health("web")), scene.index(&health("db")), scene.index(&health("api"))], [5, 5, 3]);

    // The check leaves the instance for the node: both kinds of readers see it go.
    let applied = scene.register(checked(node("a"), check("c", "", Status::Passing)));
    assert!(applied.touched.watches.contains(&Watch::Service("web".into())));
    assert_eq!(scene.index(&health("db")), 6);
}

#[test]
fn a_missing_service_has_the_index_of_the_last_extinction() {
    let mut scene = Scene::default();
    scene.register(service("a", "web", "web", &[]));
    scene.register(service("a", "db", "db", &[]));
    scene.register(checked(node("a"), check("c", "db", Status::Passing)));
    let nodes = Query::ServiceNodes { name: "nothing".to_owned(), native: false, tags: vec![], meta: vec![] };
    assert_eq!((scene.index(&health("nothing")), scene.index(&nodes)), (3, 2), "the tables, before any extinction");

    scene.apply(Command::Deregister(Deregister::Service("a".into(), "web".into())));
    scene.register(checked(node("a"), check("c", "db", Status::Warning)));
    assert_eq!((scene.index(&health("web")), scene.index(&health("nothing"))), (4, 4));
    scene.register(service("a", "web", "web", &[]));
    assert_eq!((scene.index(&health("web")), scene.index(&health("nothing"))), (6, 4));
}

#[test]
fn a_replaced_service_moves_both_names_and_its_checks() {
    let mut scene = Scene::default();
    scene.register(checked(service("a", "1", "web", &["v1"]), check("c", "1", Status::Passing)));
    let applied = scene.register(service("a", "1", "api", &["v2"]));
    assert!(applied.touched.watches.contains(&Watch::Service("web".into())));
    assert!(applied.touched.watches.contains(&Watch::Service("api".into())));
    let found = scene.store.check("a", "c").expect("kept");
    assert_eq!(
        (found.service_name.as_str(), &*found.service_tags, found.modify_index),
        ("api", &["v2".to_owned()][..], Index(2))
    );
    assert_eq!((scene.index(&health("web")), scene.index(&health("api"))), (2, 2));
}

#[test]
fn the_list_of_services_moves_with_names_and_tags_only() {
    let mut scene = Scene::default();
    scene.register(service("a", "web", "web", &["v1"]));
    let list = Query::Services { meta: vec![] };
    let mut ported = service("a", "web", "web", &["v1"]);
    ported.service.as_mut().expect("has one").port = 80;
    let applied = scene.register(ported);
    assert!(!applied.touched.watches.contains(&Watch::Services));
    assert_eq!(scene.index(&list), 1);
    let applied = scene.register(service("a", "web", "web", &["v2"]));
    assert!(applied.touched.watches.contains(&Watch::Services));
    assert_eq!(scene.index(&list), 3);
}

#[test]
fn keys_know_their_deletions() {
    let mut scene = Scene::default();
    let (get, list) = (Query::KvGet { key: "a/x".to_owned() }, Query::KvList { prefix: "a/".to_owned() });
    assert_eq!(scene.index(&get), 1, "never 0");
    scene.set("other", "1");
    scene.set("a/x", "1");
    scene.set("a/y", "1");
    assert_eq!((scene.index(&get), scene.index(&list)), (2, 3));
    assert!(scene.set("a/x", "1").touched.watches.is_empty(), "an equal write is skipped");
    assert_eq!(scene.index(&get), 2);
    assert_eq!(scene.delete("a/y").touched.watches, [key("a/y")]);
    assert_eq!(scene.index(&list), 5, "the tombstone speaks");
    scene.set("other", "2");
    assert_eq!((scene.index(&get), scene.index(&list)), (2, 5));
    let applied = scene.apply(Command::Kv(KvCommand::DeleteTree { prefix: "a/".to_owned() }));
    assert_eq!(applied.touched.watches, [key("a/x")]);
    assert_eq!((scene.index(&get), scene.index(&list)), (7, 7));

    // After a quarter of an hour of log time the tombstones go, and the prefix falls back to the table.
    scene.time_ms = 15 * 60 * 1000;
    scene.set("other", "3");
    assert_eq!(scene.index(&list), 8);
}

#[test]
fn compare_and_set() {
    let mut scene = Scene::default();
    let mut cas = |index: u64, value: &str| {
        let value = value.to_owned().into();
        scene.apply(Command::Kv(KvCommand::Cas { key: "k".to_owned(), value, flags: 0, index: Index(index) }))
    };
    assert_eq!(cas(7, "1").outcome, Outcome::Matched(false));
    assert_eq!(cas(0, "1").outcome, Outcome::Matched(true));
    assert_eq!(cas(0, "2").outcome, Outcome::Matched(false));
    let equal = cas(2, "1");
    assert!(equal.outcome == Outcome::Matched(true) && equal.touched.watches.is_empty());
    assert_eq!(cas(2, "2").outcome, Outcome::Matched(true));
    let delete = |index| Command::Kv(KvCommand::DeleteCas { key: "k".to_owned(), index: Index(index) });
    assert_eq!(scene.apply(delete(2)).outcome, Outcome::Matched(false));
    assert_eq!(scene.apply(delete(5)).outcome, Outcome::Matched(true));
    assert_eq!(scene.apply(delete(5)).outcome, Outcome::Matched(true), "absent counts as deleted");
}

#[test]
fn time_and_level_never_fall() {
    let mut scene = Scene { time_ms: 50, ..Scene::default() };
    scene.apply(Command::FeatureLevel(3));
    scene.time_ms = 20;
    scene.apply(Command::FeatureLevel(1));
    assert_eq!((scene.store.time_ms(), scene.store.feature_level(), scene.store.index()), (50, 3, Index(2)));
}

#[test]
#[should_panic(expected = "came after")]
fn the_log_is_applied_in_order() {
    let entry = Entry { time_ms: 0, id: 0, command: Command::FeatureLevel(1) };
    let mut store = Store::default();
    store.apply(Index(2), &entry);
    store.apply(Index(2), &entry);
}

#[test]
fn instances_come_by_node_and_id_with_node_checks_first() {
    let mut scene = Scene::default();
    scene.register(service("b", "2", "web", &[]));
    scene.register(checked(service("B", "1", "Web", &[]), check("a-own", "1", Status::Passing)));
    scene.register(checked(node("b"), check("z-node", "", Status::Critical)));
    scene.register(service("A", "9", "web", &[]));
    let found: Vec<_> = instances(&scene.store, "WEB").collect();
    let ids: Vec<_> = found.iter().map(|found| (found.node.name.as_str(), found.service.id.as_str())).collect();
    assert_eq!(ids, [("A", "9"), ("b", "1"), ("b", "2")]);
    let checks: Vec<_> = found[1].checks.iter().map(|check| check.id.as_str()).collect();
    assert_eq!(checks, ["z-node", "a-own"]);
    let (nodes, services) = at_address(&scene.store, "10.0.0.1".parse().expect("an address"));
    assert_eq!((nodes.len(), services.len()), (2, 0));
    let part = scene.store.part(&Scope::Address("::ffff:10.0.0.1".parse().expect("an address")));
    assert_eq!(at_address(&part, "10.0.0.1".parse().expect("an address")).0, nodes);
}

#[test]
fn the_authorizer_is_asked_for_each_row() {
    struct OnlyWeb;
    impl Authorizer for OnlyWeb {
        fn node_read(&self, node: &str) -> bool {
            node == "a"
        }
        fn service_read(&self, service: &str) -> bool {
            service == "web"
        }
        fn key_read(&self, key: &str) -> bool {
            key.starts_with("open/")
        }
        fn session_read(&self, node: &str) -> bool {
            node == "a"
        }
        fn query_read(&self, name: &str) -> bool {
            name == "open"
        }
    }
    let mut scene = Scene::default();
    for (on, name) in [("a", "web"), ("a", "db"), ("b", "web")] {
        scene.register(checked(service(on, name, name, &[]), check(name, name, Status::Passing)));
    }
    scene.set("open/1", "");
    scene.set("shut/1", "");
    for (id, on) in [(1, "a"), (2, "b")] {
        let session = Session { id: Uuid::from_u128(id), node: on.into(), ..Session::default() };
        scene.apply(Command::Session(SessionCommand::Create(Box::new(session))));
    }
    for (id, name) in [(1, "open"), (2, "shut")] {
        let wanted = ServiceQuery { service: "web".to_owned(), ..ServiceQuery::default() };
        let (id, name) = (Uuid::from_u128(id), name.to_owned());
        let query = PreparedQuery { id, name, service: wanted, ..PreparedQuery::default() };
        scene.apply(Command::Prepared(PreparedCommand::Create(Box::new(query))));
    }
    let count = |query: Query| match query.run(&scene.store, &OnlyWeb).1 {
        Rows::Nodes(rows) => rows.len(),
        Rows::Services(rows) => rows.len(),
        Rows::Node(row) => row.map_or(0, |(_, services)| services.len()),
        Rows::Dump(rows) => rows.iter().map(|dump| 1 + dump.services.len() + dump.checks.len()).sum(),
        Rows::Instances(rows) => rows.len(),
        Rows::Checks(rows) => rows.len(),
        Rows::Coordinates(rows) => rows.len(),
        Rows::KvEntry(row) => usize::from(row.is_some()),
        Rows::KvEntries(rows) => rows.len(),
        Rows::Keys(rows) => rows.len(),
        Rows::Sessions(rows) => rows.len(),
        Rows::PreparedQueries(rows) => rows.len(),
        Rows::Executed(found) => found.map_or(0, |found| found.instances.len()),
        Rows::Authority(authority) => usize::from(authority.is_some()),
        Rows::Txn(result) => result.map_or(0, |rows| rows.len()),
    };
    let nodes = |name: &str| Query::ServiceNodes { name: name.to_owned(), native: false, tags: vec![], meta: vec![] };
    let checks = |name: &str| Query::HealthChecks { service: name.to_owned(), meta: vec![] };
    assert_eq!([count(Query::Nodes { meta: vec![] }), count(Query::Services { meta: vec![] })], [1, 1]);
    assert_eq!(["a", "b"].map(|name| count(Query::Node { name: name.to_owned() })), [1, 0]);
    assert_eq!(["a", "b"].map(|name| count(Query::HealthNode { name: name.to_owned() })), [1, 0]);
    assert_eq!(
        [Some("a"), Some("b"), None].map(|name| count(Query::Dump { node: name.map(str::to_owned) })),
        [3, 0, 3]
    );
    for name in ["web", "db"] {
        let seen = usize::from(name == "web");
        assert_eq!([count(nodes(name)), count(health(name)), count(checks(name))], [seen; 3]);
    }
    assert_eq!(count(Query::HealthState { state: None, meta: vec![] }), 1);
    assert_eq!(["open/1", "shut/1"].map(|key| count(Query::KvGet { key: key.to_owned() })), [1, 0]);
    assert_eq!(["a", "b"].map(|node| count(Query::SessionsOfNode { node: node.to_owned() })), [1, 0]);
    assert_eq!([1, 2].map(|id| count(Query::Session { id: Uuid::from_u128(id) })), [1, 0]);
    assert_eq!(count(Query::Sessions), 1);
    assert_eq!([1, 2].map(|id| count(Query::PreparedQuery { id: Uuid::from_u128(id) })), [1, 0]);
    assert_eq!(["open", "shut"].map(|name| count(Query::Explain { name: name.to_owned() })), [1, 0]);
    let execution = |name: &str| Execution { name: name.to_owned(), ..Execution::default() };
    assert_eq!(
        ["open", "shut"].map(|name| count(Query::Execute(execution(name)))),
        [1, 1],
        "by their nodes and services"
    );
    assert_eq!(count(Query::PreparedQueries), 1);
    let forbidden = Err(vec![TxnFailure { op: 0, fault: TxnFault::Forbidden }]);
    for look in [
        TxnLook::Key("shut/1".to_owned()),
        TxnLook::NoKey("shut/2".to_owned()),
        TxnLook::Service("a".into(), "db".into()),
        TxnLook::Check("b".into(), "web".into()),
        TxnLook::Node(None, "b".into()),
    ] {
        let query = Query::Txn { looks: vec![look] };
        assert_eq!(query.run(&scene.store, &OnlyWeb).1, Rows::Txn(forbidden.clone()), "{query:?}");
    }
    assert_eq!(count(Query::Txn { looks: vec![TxnLook::Tree(String::new())] }), 1);
    assert_eq!(count(Query::Txn { looks: vec![TxnLook::Service("a".into(), "web".into())] }), 1);
    assert_eq!(count(Query::KvList { prefix: String::new() }), 1);
    assert_eq!(count(Query::KvKeys { prefix: String::new(), separator: String::new() }), 1);
}

#[test]
fn autopilot_is_set_as_a_whole_and_by_whoever_saw_it_last() {
    let mut scene = Scene::default();
    assert_eq!(scene.store.autopilot(), &Autopilot::default());
    let set = |scene: &mut Scene, min_quorum, cas: Option<u64>| {
        let settings = Box::new(Autopilot { min_quorum, modify_index: Index(99), ..Autopilot::default() });
        let applied = scene.apply(Command::Autopilot { settings, cas: cas.map(Index) });
        assert!(applied.touched.watches.is_empty(), "nobody waits for it");
        let Autopilot { min_quorum, create_index, modify_index, .. } = scene.store.autopilot();
        (applied.outcome, *min_quorum, create_index.0, modify_index.0)
    };
    assert_eq!(set(&mut scene, 3, Some(7)), (Outcome::Matched(false), 0, 0, 0));
    assert_eq!(set(&mut scene, 3, Some(0)), (Outcome::Matched(true), 3, 2, 2));
    assert_eq!(set(&mut scene, 3, None), (Outcome::Done, 3, 2, 2), "equal");
    assert_eq!(set(&mut scene, 5, None), (Outcome::Done, 5, 2, 4));
    assert_eq!(set(&mut scene, 1, Some(2)), (Outcome::Matched(false), 5, 2, 4));
    assert_eq!(set(&mut scene, 1, Some(4)), (Outcome::Matched(true), 1, 2, 6));
}
