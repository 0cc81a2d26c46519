//! What is registered by hand, and how it is looked up.

use super::{World, call, check, header};
use crate::http::answer;
use crate::http::call::{Plan, Reply};
use serde_json::{Value, json};

fn register(world: &mut World, body: &Value, expected: &str) {
    check(&format!("PUT /v1/catalog/register\n{body}"), world, expected);
}

#[test]
fn a_node_that_is_not_to_be_updated_is_created_if_need_be() {
    let world = &mut World::empty();
    let service = json!({"Node": "ext", "SkipNodeUpdate": true, "Service": {"Service": "db"}});
    register(world, &service, "200 true");
    let store = &world.view.store;
    assert_eq!(store.node("ext").expect("created").address, "");
    assert!(store.service("ext", "db").is_some());
    register(world, &json!({"Node": "ext", "Address": "10.0.0.9"}), "200 true");
    register(world, &service, "200 true");
    assert_eq!(world.view.store.node("ext").expect("there").address, "10.0.0.9", "it stays as it is");
}

#[test]
fn weights_that_give_no_load_are_not_meant() {
    let world = &mut World::empty();
    let service = |id: &str, weights: &Value| json!({"ID": id, "Service": "db", "Weights": weights});
    register(world, &json!({"Node": "n", "Address": "a"}), "200 true");
    for (id, weights, passing, warning) in [
        ("none", json!({"Passing": 0, "Warning": 0}), 1, 1),
        ("half", json!({"Warning": 5}), 1, 1),
        ("drains", json!({"Passing": 3, "Warning": 0}), 3, 0),
    ] {
        for by_txn in [false, true] {
            let service = service(id, &weights);
            let answer = if by_txn {
                let op = json!([{"Service": {"Verb": "set", "Node": "n", "Service": service}}]);
                world.ask(&format!("PUT /v1/txn\n{op}"))
            } else {
                let body = json!({"Node": "n", "SkipNodeUpdate": true, "Service": service});
                world.ask(&format!("PUT /v1/catalog/register\n{body}"))
            };
            assert_eq!(answer.status, 200, "{answer:?}");
            let stored = world.view.store.service("n", id).expect("registered").weights;
            assert_eq!((stored.passing, stored.warning), (passing, warning), "{id}, by a transaction: {by_txn}");
        }
    }
}

#[test]
fn services_are_named_by_what_a_filter_keeps_of_their_instances() {
    let world = &mut World::small();
    for (node, rack, service) in [
        ("a", "1", json!({"ID": "w1", "Service": "Web", "Tags": ["v1", ""], "Port": 80})),
        ("b", "2", json!({"ID": "w2", "Service": "Web", "Tags": ["v2"], "Port": 81, "Meta": {"v": "2"}})),
        ("b", "2", json!({"ID": "d", "Service": "db", "Kind": "terminating-gateway", "Port": 82})),
    ] {
        let body = json!({"Node": node, "Address": "a", "NodeMeta": {"rack": rack}, "Service": service});
        register(world, &body, "200 true");
    }
    for (query, expected) in [
        ("filter=Node+==+b", r#"{"Web":["v2"],"db":[]}"#),
        ("filter=NodeMeta.rack+==+1+or+ServicePort+==+82", r#"{"Web":["v1"],"db":[]}"#),
        ("filter=ServiceKind+is+empty", r#"{"Web":["a\u003cb","v1","v2"]}"#),
        ("filter=ServiceMeta.v+is+not+empty&node-meta=rack:2", r#"{"Web":["v2"]}"#),
        ("filter=ServiceName+==+Web&node-meta=rack:3", "{}"),
        ("node-meta=rack:2", r#"{"Web":["v2"],"db":[]}"#),
    ] {
        check(&format!("GET /v1/catalog/services?{query}"), world, &format!("200 {expected}"));
    }
}

#[test]
fn natives_are_in_the_mesh_by_themselves() {
    let world = &mut World::small();
    let native = json!({"ID": "n", "Service": "web", "Tags": ["v1"], "Connect": {"Native": true}});
    register(world, &json!({"Node": "m", "Address": "a", "NodeMeta": {"rack": "1"}, "Service": native}), "200 true");
    let mut ids = |path: &str| {
        let rows: Vec<Value> = serde_json::from_slice(&world.ask(&format!("GET /v1/{path}")).body).expect("a list");
        let id = |row: &Value| row["ServiceID"].as_str().or_else(|| row["Service"]["ID"].as_str()).map(str::to_owned);
        rows.iter().filter_map(id).collect::<Vec<_>>()
    };
    for kind in ["catalog", "health"] {
        assert_eq!(ids(&format!("{kind}/service/web")), ["n", "web"]);
        assert_eq!(ids(&format!("{kind}/connect/web")), ["n"]);
        assert_eq!(ids(&format!("{kind}/connect/web?tag=v1&node-meta=rack:1&near=n1")), ["n"]);
        assert_eq!(ids(&format!("{kind}/connect/web?tag=v2")), [""; 0]);
    }
    assert_eq!(ids("catalog/connect/web?filter=Node+==+x"), [""; 0]);
    assert_eq!(ids("health/connect/web?passing&filter=Node.Node+==+m"), ["n"]);
    check("GET /v1/health/connect/", world, "400 Missing service name");
    check("GET /v1/catalog/connect/", world, "400 Missing service name");
}

#[test]
fn nothing_is_in_a_segment_and_it_says_when_that_was() {
    let world = &mut World::small();
    for path in ["coordinate/nodes?segment=x", "coordinate/node/n1?segment=x"] {
        let reply = world.ask(&format!("GET /v1/{path}"));
        assert_eq!(reply.body, "[]", "{path}");
        assert!(header(&reply, "x-consul-index").is_some() && header(&reply, "x-consul-lastcontact").is_some());
    }
}

#[test]
fn what_consuls_agents_keep_says_whether_it_was_kept() {
    let subject = |path: &str| match World::small().plan(&call(&format!("GET /v1/{path}?cached"))) {
        Plan::Read(read) => read.subject,
        other => panic!("{other:?}"),
    };
    let told = |path: &str, hit: bool| {
        let reply = answer::cached(Reply::empty(200), &subject(path), hit);
        let text = |name| header(&reply, name).unwrap_or_default().to_owned();
        text("x-cache") + &text("age")
    };
    for path in ["catalog/services", "catalog/service/web", "health/service/web", "connect/ca/roots", "query/x/execute"]
    {
        assert_eq!((told(path, false), told(path, true)), ("MISS".to_owned(), "HIT0".to_owned()), "{path}");
    }
    for path in ["catalog/nodes", "kv/a", "session/list"] {
        assert_eq!(told(path, true), "", "{path}");
    }
}
