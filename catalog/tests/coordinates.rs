//! Where nodes are, one scene at a time: how long a node has a place, and what is nearest.

use lictor_catalog::command::{Command, Deregister, Entry, PreparedCommand, Register};
use lictor_catalog::model::{Node, Service, ServiceQuery};
use lictor_catalog::query::{Rows, execute};
use lictor_catalog::{
    AllowAll, Applied, Coordinate, Execution, Index, NodeCoordinate, PreparedQuery, Query, Store, Watch,
};

fn put(store: &mut Store, command: Command) -> Applied {
    store.apply(Index(store.index().0 + 1), &Entry { time_ms: 1, id: 0, command })
}

/// A node, with `web` on it.
fn register(name: &str) -> Command {
    let node = Node { name: name.into(), address: "10.0.0.1".to_owned(), ..Node::default() };
    let service = Some(Service { id: "web".into(), name: "web".into(), ..Service::default() });
    Command::Register(Box::new(Register { node, service, ..Register::default() }))
}

/// Seconds from the origin along the first dimension, and from the space.
fn at(seconds: f64, height: f64, adjustment: f64) -> Coordinate {
    let vector = [seconds, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    Coordinate::try_from((vector, height, 0.1, adjustment)).expect("finite")
}

fn place(node: &str, coordinate: Coordinate) -> Command {
    Command::Coordinate(NodeCoordinate { node: node.into(), coordinate })
}

/// Nodes `a` to `e`, of which `b` has no place, and `e` has a long way even to itself.
fn five() -> Store {
    let mut store = Store::default();
    for name in ["a", "b", "c", "d", "e"] {
        put(&mut store, register(name));
    }
    for (name, seconds, height) in [("a", 0.3, 0.0), ("c", 0.1, 0.0), ("d", 0.2, 0.0), ("e", 0.1, 0.5)] {
        put(&mut store, place(name, at(seconds, height, 0.0)));
    }
    store
}

fn names<'a>(nodes: impl Iterator<Item = &'a str>) -> String {
    nodes.collect()
}

#[test]
fn a_node_has_a_place_while_it_is_there() {
    let mut store = Store::default();
    let here = || place("a", at(1.0, 0.0, 0.0));
    assert_eq!(put(&mut store, here()).touched.watches, [], "an unknown node is left out");
    put(&mut store, register("A"));
    assert_eq!(put(&mut store, here()).touched.watches, [Watch::Coordinates]);
    assert_eq!(put(&mut store, here()).touched.watches, [], "it did not move");
    assert_eq!(&*store.coordinate("a").expect("a place").node, "A", "spelled as its node is");
    assert_eq!(Query::Coordinates.run(&store, &AllowAll).0, Index(3));
    let gone = put(&mut store, Command::Deregister(Deregister::Node("a".into())));
    assert!(gone.touched.watches.contains(&Watch::Coordinates));
    let query = Query::Coordinate { node: "a".to_owned() };
    assert_eq!(query.run(&store, &AllowAll), (Index(5), Rows::Coordinates(Vec::new())));
}

#[test]
fn the_nearest_come_first_and_the_unplaced_last() {
    let store = five();
    let order = |query: &Query, from: &str| {
        let (_, mut rows) = query.run(&store, &AllowAll);
        rows.sort_by_nearness(&store, from);
        match rows {
            Rows::Nodes(nodes) => names(nodes.iter().map(|node| &*node.name)),
            Rows::Instances(instances) => names(instances.iter().map(|instance| &*instance.node.name)),
            _ => String::new(),
        }
    };
    let health = Query::HealthService {
        name: "web".to_owned(),
        native: false,
        tags: Vec::new(),
        meta: Vec::new(),
        passing: false,
    };
    for query in [Query::Nodes { meta: Vec::new() }, health] {
        assert_eq!(order(&query, "A"), "adceb");
        assert_eq!(order(&query, "d"), "daceb", "equally near ones keep their order");
        assert_eq!(order(&query, "b"), "abcde", "from nowhere nothing is near");
        assert_eq!(order(&query, "nobody"), "abcde");
    }
}

#[test]
fn a_prepared_query_finds_the_nearest_first() {
    let mut store = five();
    let service = ServiceQuery { service: "web".to_owned(), near: "a".to_owned(), ..ServiceQuery::default() };
    let query = Box::new(PreparedQuery { name: "q".to_owned(), service, ..PreparedQuery::default() });
    put(&mut store, Command::Prepared(PreparedCommand::Create(query)));
    let order = |near: &str, seed: u64, limit: usize| {
        let (name, near, agent) = ("q".to_owned(), near.to_owned(), "C".to_owned());
        let execution = Execution { name, near, agent, seed, limit, ..Execution::default() };
        let found = execute(&store, &execution, &AllowAll).expect("there is such a query");
        names(found.instances.iter().map(|instance| &*instance.node.name))
    };
    for seed in 0..20 {
        assert_eq!(order("", seed, 0), "adceb", "as the query says");
        assert_eq!(order("_agent", seed, 2), "cd");
        assert_eq!(order("e", seed, 0), "ecdab", "whoever is there, though others are nearer than it is to itself");
        assert!(order("b", seed, 0).starts_with('b'), "it has no place, but is there");
    }
    let orders = |near| (0..20).map(|seed| order(near, seed, 0)).collect::<std::collections::BTreeSet<_>>();
    assert!(orders("d").len() == 2 && orders("b").len() > 5, "those equally near take turns");
}

#[test]
fn distances_have_heights_and_adjustments() {
    let check = |a: Coordinate, b: Coordinate, seconds: f64| {
        assert!((a.distance(&b) - seconds).abs() < 1e-12, "{a:?} {b:?}: {}", a.distance(&b));
        assert!((b.distance(&a) - seconds).abs() < 1e-12);
    };
    check(at(0.01, 0.001, 0.0), at(0.04, 0.002, 0.0), 0.033);
    check(at(0.01, 0.001, -0.004), at(0.04, 0.002, 0.001), 0.03);
    check(at(0.01, 0.001, -0.1), at(0.04, 0.002, 0.0), 0.033);
    for number in [f64::NAN, f64::INFINITY] {
        assert!(Coordinate::try_from(([0.0; 8], number, 0.1, 0.0)).is_err());
    }
}
