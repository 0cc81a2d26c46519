//! Where paths lead, and which are let in.

use super::{call, facts, shown};
use crate::http::call::Call;
use crate::http::route::{self, Found};
use crate::view::Facts;

#[test]
fn every_route_is_reached_by_its_own_pattern() {
    let facts = Facts { block_endpoints: Vec::new(), ..facts() };
    for route in route::ROUTES {
        let call = call(&format!("{} {}", route.method.as_str(), route.pattern.path("x")));
        let id = if route.pattern.id().is_some() { "x" } else { "" };
        match route::find(&facts, &call) {
            Found::Route(found, rest) => assert_eq!((found.pattern, &*rest), (route.pattern, id)),
            Found::Answer(reply) => panic!("{}: {}", route.pattern.template(), shown(&reply)),
        }
    }
}

#[test]
fn writes_come_from_where_they_may_and_a_path_may_be_let_in_that_cannot_be_printed() {
    let facts = Facts { write_from: vec!["10.0.0.0/8".parse().expect("a network")], ..facts() };
    let found = |line: &str, source: Option<&str>, agent: Option<&str>| {
        let source = source.map(|source| source.parse().expect("an address"));
        let call = Call { source, agent: agent.map(lictor_catalog::model::NodeName::from), ..call(line) };
        match route::find(&facts, &call) {
            Found::Answer(reply) => shown(&reply),
            Found::Route(..) => "let in".to_owned(),
        }
    };
    let refused = "403 Access is restricted";
    for (line, source, agent, expected) in [
        ("PUT /v1/kv/a", Some("127.0.0.1"), None, refused),
        ("DELETE /v1/kv/a", Some("::1"), None, refused),
        ("POST /v1/kv/a", Some("127.0.0.1"), None, refused),
        ("PUT /v1/kv/a", Some("10.0.0.1"), None, "let in"),
        ("GET /v1/kv/a", Some("127.0.0.1"), None, "let in"),
        ("PUT /v1/kv/a", None, None, "let in"),
        ("PUT /v1/kv/a", Some("127.0.0.1"), Some("n2"), "let in"),
    ] {
        assert_eq!(found(line, source, agent), expected, "{line} {source:?} {agent:?}");
    }
    let open = Facts { unprintable_paths: true, ..facts.clone() };
    for (facts, expected) in [(&facts, false), (&open, true)] {
        let call = call("GET /v1/kv/a%00b");
        let found = route::find(facts, &call);
        assert_eq!(matches!(found, Found::Route(..)), expected);
    }
}
