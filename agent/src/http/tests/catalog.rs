//! What is registered by hand, and how it is looked up.

use super::{World, check};
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
