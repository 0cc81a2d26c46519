//! Prepared queries, one scene at a time: which one a name means, and in what order it finds what it finds.

use lictor_catalog::command::{Command, Deregister, Entry, PreparedCommand, Register, SessionCommand};
use lictor_catalog::model::{Node, Service, ServiceQuery, Template};
use lictor_catalog::query::{execute, resolve};
use lictor_catalog::{AllowAll, Execution, Index, Outcome, PreparedQuery, Query, Refusal, Session, Store, Watch};
use std::collections::BTreeMap;
use uuid::Uuid;

/// `web` on five nodes `n0` to `n4` at `10.0.0.0` to `10.0.0.4`.
fn five() -> Store {
    let mut store = Store::default();
    for at in 0..5 {
        let node = Node { name: format!("n{at}").into(), address: format!("10.0.0.{at}"), ..Node::default() };
        let service = Some(Service { id: "web".into(), name: "web".into(), ..Service::default() });
        put(&mut store, Command::Register(Box::new(Register { node, service, ..Register::default() })));
    }
    store
}

fn put(store: &mut Store, command: Command) -> Outcome {
    store.apply(Index(store.index().0 + 1), &Entry { time_ms: 1, id: 0, command }).outcome
}

fn create(store: &mut Store, id: u128, query: PreparedQuery) -> Outcome {
    let query = Box::new(PreparedQuery { id: Uuid::from_u128(id), ..query });
    put(store, Command::Prepared(PreparedCommand::Create(query)))
}

fn named(name: &str, service: &str) -> PreparedQuery {
    let service = ServiceQuery { service: service.to_owned(), ..ServiceQuery::default() };
    PreparedQuery { name: name.to_owned(), service, ..PreparedQuery::default() }
}

fn template(prefix: &str, service: &str) -> PreparedQuery {
    PreparedQuery { template: Template { prefix_match: true, ..Template::default() }, ..named(prefix, service) }
}

#[test]
fn the_longest_template_is_meant_unless_a_query_has_the_very_name() {
    let mut store = Store::default();
    create(&mut store, 1, template("", "all-${name.full}"));
    create(&mut store, 2, template("Geo-", "${name.suffix}"));
    create(&mut store, 3, template("geo-db-", "db${name.suffix}"));
    create(&mut store, 4, named("geo-db-main", "main"));
    let found = |name: &str| resolve(&store, name).map(|query| query.service.service);
    for (name, service) in [
        ("x", "all-x"),
        ("geo", "all-geo"),
        ("geo-web", "web"),
        ("GEO-WEB", "WEB"),
        ("geo-ü", "ü"),
        ("geo-db-1", "db1"),
        ("Geo-DB-Main", "main"),
        (&Uuid::from_u128(4).to_string(), "main"),
    ] {
        assert_eq!(found(name).as_deref(), Some(service), "{name}");
    }
    assert_eq!(found(""), None);
    assert_eq!(found(&Uuid::from_u128(2).to_string()), None, "a template is not found by its id");
}

#[test]
fn names_are_nobody_elses() {
    let mut store = Store::default();
    assert_eq!(create(&mut store, 1, named("Web", "web")), Outcome::Made(Uuid::from_u128(1)));
    let taken = |name: &str| Outcome::Refused(Refusal::QueryNameTaken { name: name.to_owned() });
    assert_eq!(create(&mut store, 2, template("wEB", "web")), taken("wEB"));
    create(&mut store, 3, template("", "web"));
    assert_eq!(create(&mut store, 4, template("", "web")), taken(""));
    let id = Uuid::from_u128(1).to_string();
    assert_eq!(create(&mut store, 5, named(&id, "web")), Outcome::Refused(Refusal::QueryNameIsId { name: id }));
    let moved = Box::new(PreparedQuery { id: Uuid::from_u128(1), ..named("other", "web") });
    assert_eq!(put(&mut store, Command::Prepared(PreparedCommand::Update(moved))), Outcome::Done);
    assert_eq!(create(&mut store, 6, named("web", "web")), Outcome::Made(Uuid::from_u128(6)), "the name is free again");
}

#[test]
fn a_query_goes_with_its_session() {
    let mut store = five();
    let session = Session { id: Uuid::from_u128(9), node: "n1".into(), ..Session::default() };
    put(&mut store, Command::Session(SessionCommand::Create(Box::new(session))));
    let of = |session| PreparedQuery { session: Some(Uuid::from_u128(session)), ..named("", "web") };
    let missing = Refusal::MissingSession { id: Uuid::from_u128(8) };
    assert_eq!(create(&mut store, 1, of(8)), Outcome::Refused(missing));
    create(&mut store, 1, of(9));
    create(&mut store, 2, named("stays", "web"));
    let entry = Entry { time_ms: 1, id: 0, command: Command::Deregister(Deregister::Node("n1".into())) };
    let applied = store.apply(Index(99), &entry);
    assert!(applied.touched.watches.contains(&Watch::Prepared));
    assert_eq!(Query::PreparedQueries.run(&store, &AllowAll).0, Index(99));
    assert!(store.prepared(Uuid::from_u128(1)).is_none() && store.prepared(Uuid::from_u128(2)).is_some());
}

/// The nodes that an execution finds, in order.
fn order(store: &Store, execution: Execution) -> Vec<String> {
    let found = execute(store, &Execution { name: "q".to_owned(), ..execution }, &AllowAll).expect("a query");
    found.instances.iter().map(|instance| instance.node.name.to_string()).collect()
}

#[test]
fn nearest_first_and_the_rest_in_an_order_drawn_anew() {
    let mut store = five();
    create(&mut store, 1, named("q", "web"));
    let plain = |seed| Execution { seed, ..Execution::default() };
    let mut first: BTreeMap<String, u32> = BTreeMap::new();
    for seed in 0..5000 {
        *first.entry(order(&store, plain(seed)).remove(0)).or_default() += 1;
    }
    assert!(first.len() == 5 && first.values().all(|count| (900..1100).contains(count)), "evenly: {first:?}");

    let near = |near: &str| Execution { near: near.to_owned(), agent: "N2".to_owned(), ..plain(7) };
    let source = Some("::ffff:10.0.0.3".parse().expect("an address"));
    for seed in 0..20 {
        for (execution, node) in
            [(near("n1"), "n1"), (near("_agent"), "n2"), (Execution { source, ..near("_ip") }, "n3")]
        {
            let nodes = order(&store, Execution { seed, limit: 2, ..execution });
            assert_eq!((nodes.len(), &*nodes[0]), (2, node));
        }
    }
    for unknown in [near("_ip"), near("nobody")] {
        assert_eq!(order(&store, unknown), order(&store, plain(7)), "nobody is near");
    }
    let service = ServiceQuery { near: "n4".to_owned(), ..named("q", "web").service };
    let query = Box::new(PreparedQuery { id: Uuid::from_u128(1), service, ..named("q", "web") });
    put(&mut store, Command::Prepared(PreparedCommand::Update(query)));
    assert_eq!(order(&store, plain(3))[0], "n4");
    assert_eq!(order(&store, near("n1"))[0], "n1", "whoever asks knows better");
}
