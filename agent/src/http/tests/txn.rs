//! Transactions and sequential keys.

use super::{World, call, check, header};
use crate::http::call::{Consistency, Plan};
use serde_json::{Value, json};

fn txn(ops: &Value) -> String {
    format!("PUT /v1/txn\n{ops}")
}

#[track_caller]
fn asked(world: &mut World, ops: &Value, expected: &str) {
    check(&txn(ops), world, expected);
}

/// The operations fail with these texts, and nothing is changed.
#[track_caller]
fn fails(world: &mut World, ops: &Value, failures: &[(usize, &str)]) {
    let errors: Vec<_> = failures.iter().map(|(op, what)| json!({"OpIndex": op, "What": what})).collect();
    let before = tables(world);
    let reply = world.ask(&txn(ops));
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((reply.status, body), (409, json!({"Results": null, "Errors": errors})), "{ops}");
    assert!(tables(world) == before, "nothing was changed by {ops}");
}

/// A snapshot but for its head and its trailer, which count entries of the log.
fn tables(world: &World) -> Vec<Vec<u8>> {
    let chunks: Vec<_> = world.view.store.chunks().collect();
    chunks[2..chunks.len() - 1].to_vec()
}

fn kv(verb: &str, key: &str) -> Value {
    json!({"KV": {"Verb": verb, "Key": key}})
}

#[test]
fn keys_change_together_and_are_shown_as_consul_shows_them() {
    let world = &mut World::empty();
    let set = json!([{"KV": {"Verb": "set", "Key": "a", "Value": "djE=", "Flags": 42}}, kv("get", "a")]);
    let rows = r#"{"KV":{"LockIndex":0,"Key":"a","Flags":42,"Value":null,"CreateIndex":10,"ModifyIndex":10}},{"KV":{"LockIndex":0,"Key":"a","Flags":42,"Value":"djE=","CreateIndex":10,"ModifyIndex":10}}"#;
    asked(world, &set, &format!(r#"200 {{"Results":[{rows}],"Errors":null}}"#));
    // An equal write moves nothing.
    asked(world, &set, &format!(r#"200 {{"Results":[{rows}],"Errors":null}}"#));
    let looks = json!([kv("get-or-empty", "none"), kv("get-tree", "a"), kv("check-not-exists", "none"), {"KV": {"Verb": "check-index", "Key": "a", "Index": 10}}, {"KV": {"Verb": "check-session", "Key": "a"}}]);
    let row = |value: &str| {
        format!(r#"{{"KV":{{"LockIndex":0,"Key":"a","Flags":42,"Value":{value},"CreateIndex":10,"ModifyIndex":10}}}}"#)
    };
    let none = r#"{"KV":{"LockIndex":0,"Key":"none","Flags":0,"Value":null,"CreateIndex":0,"ModifyIndex":0}}"#;
    let shown = [none.to_owned(), row("\"djE=\""), row("null"), row("null")].join(",");
    asked(world, &looks, &format!(r#"200 {{"Results":[{shown}],"Errors":null}}"#));
    asked(
        world,
        &json!([kv("delete", "a"), kv("delete-tree", ""), kv("get-tree", "")]),
        r#"200 {"Results":[],"Errors":null}"#,
    );
    asked(world, &json!([]), r#"200 {"Results":[],"Errors":null}"#);
    check("GET /v1/kv/a", world, "404 ");
    check("PUT /v1/txn?pretty\n[]", world, "200 {\n    \"Results\": [],\n    \"Errors\": null\n}\n");
}

#[test]
fn every_failure_is_told_and_nothing_is_done() {
    let world = &mut World::small();
    check("PUT /v1/kv/a\n1", world, "200 true");
    let session = world.ask("PUT /v1/session/create");
    let session: Value = serde_json::from_slice(&session.body).unwrap();
    let id = session["ID"].as_str().unwrap();
    let stranger = "00000000-0000-0000-0000-0000000000ff";
    let with = |verb: &str, key: &str, more: Value| {
        let mut op = kv(verb, key);
        op["KV"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        op
    };
    let locked = world.ask(&txn(&json!([with("lock", "held", json!({"Session": id}))])));
    assert!(String::from_utf8_lossy(&locked.body).contains(&format!(r#""Session":"{id}""#)), "{locked:?}");
    let ops = json!([
        with("set", "b", json!({"Value": "MQ=="})),
        with("cas", "a", json!({"Index": 3})),
        with("lock", "a", json!({"Session": stranger})),
        with("unlock", "held", json!({"Session": stranger})),
        kv("get", "none"),
        kv("check-index", "none"),
        with("check-index", "a", json!({"Index": 9})),
        kv("check-session", "none"),
        with("check-session", "held", json!({"Session": "me"})),
        kv("check-not-exists", "b"),
        with("delete-cas", "a", json!({"Index": 1})),
        {"Node": {"Verb": "get", "Node": {"Node": "n9"}}},
        {"Node": {"Verb": "cas", "Node": {"Node": "n1", "Address": "x"}}},
        {"Node": {"Verb": "delete-cas", "Node": {"Node": "n9", "ModifyIndex": 1}}},
        {"Service": {"Verb": "get", "Node": "n1", "Service": {"ID": "db"}}},
        {"Service": {"Verb": "set", "Node": "n9", "Service": {"Service": "db"}}},
        {"Service": {"Verb": "cas", "Node": "n1", "Service": {"Service": "web", "ModifyIndex": 1}}},
        {"Check": {"Verb": "delete-cas", "Check": {"Node": "n1", "CheckID": "serfHealth", "ModifyIndex": 1}}},
        {"Check": {"Verb": "set", "Check": {"Node": "n1", "CheckID": "c", "ServiceID": "db"}}},
    ]);
    let other = format!("failed session check for key \"held\", current session \"{id}\" != \"me\"");
    let unknown = format!("invalid session \"{stranger}\"");
    let failures = [
        (1, "failed to set key \"a\", index is stale"),
        (2, &unknown),
        (3, "failed to unlock key \"held\", lock isn't held, or is held by another session"),
        (4, "key \"none\" doesn't exist"),
        (5, "failed to check index, key \"none\" doesn't exist"),
        (6, "failed index check for key \"a\", current modify index 11 != 9"),
        (7, "failed to check session, key \"none\" doesn't exist"),
        (8, &other),
        (9, "key \"b\" exists"),
        (10, "failed to delete key \"a\", index is stale"),
        (11, "node \"n9\" doesn't exist"),
        (12, "failed to set node \"n1\", index is stale"),
        (13, "failed to delete node \"n9\", index is stale"),
        (14, "service \"db\" on node \"n1\" doesn't exist"),
        (15, "Missing node registration"),
        (16, "failed to set service \"web\" on node \"n1\", index is stale"),
        (17, "failed to delete check \"serfHealth\" on node \"n1\", index is stale"),
        (18, "Missing service registration"),
    ];
    fails(world, &ops, &failures);
    check("GET /v1/kv/b", world, "404 ");
    let second = world.ask("PUT /v1/session/create");
    let second: Value = serde_json::from_slice(&second.body).unwrap();
    let held = json!([with("lock", "held", json!({"Session": second["ID"]}))]);
    fails(world, &held, &[(0, "failed to lock key \"held\", lock is already held")]);
    assert_eq!(world.ask(&format!("PUT /v1/session/destroy/{id}")).status, 200);
    fails(world, &held, &[(0, "failed to lock key \"held\" due to lock delay")]);
    fails(
        world,
        &json!([kv("lock", "a"), kv("get", "none")]),
        &[(0, "missing session"), (1, "key \"none\" doesn't exist")],
    );
}

#[test]
fn nodes_services_and_checks_are_set_and_shown() {
    let world = &mut World::empty();
    let ops = json!([
        {"Node": {"Verb": "set", "Node": {"Node": "n1", "Address": "10.0.0.1"}}},
        {"Service": {"Verb": "set", "Node": "n1", "Service": {"ID": "web1", "Service": "web", "Port": 80}}},
        {"Check": {"Verb": "cas", "Check": {"Node": "n1", "CheckID": "c", "Status": "passing", "ServiceID": "web1",
            "Definition": {"TCP": "1.1.1.1:1", "IntervalDuration": "5s", "Interval": "5s"}}}},
    ]);
    let node = r#"{"Node":{"ID":"","Node":"n1","Address":"10.0.0.1","Datacenter":"dc1","TaggedAddresses":null,"Meta":null,"CreateIndex":10,"ModifyIndex":10}}"#;
    let service = r#"{"Service":{"ID":"web1","Service":"web","Tags":null,"Address":"","Meta":null,"Port":80,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Proxy":{"Mode":"","MeshGateway":{},"Expose":{}},"Connect":{},"PeerName":"","CreateIndex":10,"ModifyIndex":10}}"#;
    let of_web = r#"{"Check":{"Node":"n1","CheckID":"c","Name":"","Status":"passing","Notes":"","Output":"","ServiceID":"web1","ServiceName":"web","ServiceTags":null,"Type":"tcp","Interval":"0s","Timeout":"0s","ExposedPort":0,"Definition":{"Interval":"5s","TCP":"1.1.1.1:1"},"CreateIndex":10,"ModifyIndex":10}}"#;
    let shown = format!(r#"200 {{"Results":[{node},{service},{of_web}],"Errors":null}}"#);
    asked(world, &ops, &shown);
    let looks = json!([
        {"Node": {"Verb": "get", "Node": {"Node": "N1"}}},
        {"Service": {"Verb": "get", "Node": "n1", "Service": {"ID": "web1"}}},
        {"Check": {"Verb": "get", "Check": {"Node": "n1", "CheckID": "c"}}},
    ]);
    asked(world, &looks, &shown);
    let gone = json!([
        {"Check": {"Verb": "delete-cas", "Check": {"Node": "n1", "CheckID": "c", "ModifyIndex": 10}}},
        {"Service": {"Verb": "delete-cas", "Node": "n1", "Service": {"ID": "web1", "ModifyIndex": 10}}},
        {"Node": {"Verb": "delete-cas", "Node": {"Node": "n1", "ModifyIndex": 10}}},
        {"Node": {"Verb": "delete", "Node": {"Node": "n1"}}},
    ]);
    // The node's and the service's own rows were not changed by what went before.
    asked(world, &gone, r#"200 {"Results":[],"Errors":null}"#);
    check("GET /v1/catalog/nodes", world, "200 []");
}

#[test]
fn what_only_looks_is_a_read() {
    let world = &mut World::small();
    let looks = txn(&json!([kv("get-tree", "")]));
    let planned = |text: &str| match world.plan(&call(text)) {
        Plan::Read(read) => (read.consistency, read.blocking),
        other => panic!("{other:?}"),
    };
    assert_eq!(planned(&looks), (Consistency::Default, None));
    assert_eq!(planned(&looks.replace("/txn", "/txn?stale&index=7&wait=1s")), (Consistency::Stale, None));
    assert_eq!(planned(&looks.replace("/txn", "/txn?consistent")), (Consistency::Consistent, None));
    let reply = world.ask(&looks);
    for (name, value) in [("x-consul-index", "1"), ("x-consul-knownleader", "true"), ("x-consul-lastcontact", "0")] {
        assert_eq!(header(&reply, name), Some(value), "{name}");
    }
    let failed = world.ask(&txn(&json!([kv("get", "none")])));
    assert_eq!((failed.status, header(&failed, "content-type")), (409, Some("application/json")));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let world = &mut World::small();
    for (body, expected) in [
        ("", "400 Failed to parse body: EOF".to_owned()),
        ("{}", "400 Failed to parse body: expected a list of operations".to_owned()),
        ("[7]", "400 Failed to parse body: operation 0: expected a JSON object, got a number".to_owned()),
        (r#"[{"KV":7}]"#, "400 Failed to parse body: operation 0: KV: expected an object, got a number".to_owned()),
        (
            r#"[{"KV":{"Verb":"set","Key":"a","Flags":-1}}]"#,
            format!("400 Failed to parse body: operation 0: Flags: -1 is out of range 0 to {}", u64::MAX),
        ),
        (
            r#"[{"KV":{"Verb":"set","Key":"a","Value":"!"}}]"#,
            "400 Failed to parse body: operation 0: Value is not base64: Invalid symbol 33, offset 0.".to_owned(),
        ),
        (
            r#"[{"Service":{"Verb":"set","Node":"n1","Service":{"Service":"x","Port":-1}}}]"#,
            "400 Failed to parse body: operation 0: Port: -1 is out of range 0 to 65535".to_owned(),
        ),
        // Whatever is done with the row, it has to be one.
        (
            r#"[{"Service":{"Verb":"get","Node":"n1","Service":{"Service":"x","Tags":"y"}}}]"#,
            "400 Failed to parse body: operation 0: Tags: expected a list, got a string".to_owned(),
        ),
        (
            r#"[{"Node":{"Verb":"delete","Node":{"Node":"n1","Meta":[]}}}]"#,
            "400 Failed to parse body: operation 0: Meta: expected an object, got a list".to_owned(),
        ),
        (
            r#"[{"Check":{"Verb":"get","Check":{"Node":"n1","Name":"c","Output":1}}}]"#,
            "400 Failed to parse body: operation 0: Output: expected a string, got a number".to_owned(),
        ),
    ] {
        check(&format!("PUT /v1/txn\n{body}"), world, &expected);
    }
    let many = Value::Array(vec![kv("get", "a"); 129]);
    asked(world, &many, "413 Transaction contains too many operations (129 > 128)");
    let long = "A".repeat(88);
    let long = json!([{"KV": {"Verb": "set", "Key": "k", "Value": long}}]);
    asked(world, &long, "413 Value for key \"k\" is too large (66 > 64 bytes)");
    let reply = world.ask(&format!("PUT /v1/txn\n{}", " ".repeat((32 << 10) + 1)));
    assert_eq!(reply.status, 413);
    let ops = json!([
        {}, null, {"Node": {"Verb": "get"}}, kv("fly", "a"), kv("set", ""),
        {"KV": {"Verb": "lock", "Key": "a", "Session": "x"}},
        kv("unlock", "a"),
        {"Node": {"Verb": "fly", "Node": {"Node": "n1"}}},
        {"Node": {"Verb": "set", "Node": {}}},
        {"Node": {"Verb": "get", "Node": {"ID": "x"}}},
        {"Service": {"Verb": "get", "Node": "n1", "Service": {}}},
        {"Service": {"Verb": "set", "Service": {"Service": "x"}}},
        {"Service": {"Verb": "set", "Node": "n1", "Service": {"ID": "x"}}},
        {"Check": {"Verb": "set", "Check": {"CheckID": "x"}}},
        {"Check": {"Verb": "set", "Check": {"Node": "n1", "CheckID": "x", "Status": "odd"}}},
        kv("get", "a"),
    ]);
    let node_id = "Bad node ID: invalid character: found `x` at 0";
    fails(
        world,
        &ops,
        &[
            (0, "no operation specified"),
            (1, "no operation specified"),
            (2, "no operation specified"),
            (3, "unknown KV verb \"fly\""),
            (4, "Must provide key"),
            (5, "invalid session \"x\""),
            (6, "missing session"),
            (7, "unknown Node verb \"fly\""),
            (8, "Must provide node"),
            (9, node_id),
            (10, "Must provide service name or ID"),
            (11, "Must provide node"),
            (12, "Must provide service name with ID"),
            (13, "Must provide node"),
            (14, "Status for checks must 'passing', 'warning', 'critical'"),
            (15, "key \"a\" doesn't exist"),
        ],
    );
    check("PUT /v1/txn?dc=dc9\n[]", world, "500 No path to datacenter");
    check(
        "PUT /v1/txn?stale&consistent\n[]",
        world,
        "400 Cannot specify ?stale with ?consistent, conflicting semantics.",
    );
    check("GET /v1/txn", world, "405 method GET not allowed");
}

#[test]
fn a_stale_sequencer_stops_a_transaction() {
    let world = &mut World::small();
    let stale = "7.00000000-0000-0000-0000-0000000000ff.lock";
    let set = json!([{"KV": {"Verb": "set", "Key": "a", "Value": "MQ=="}}]);
    let refused = "409 stale sequencer: nobody holds the lock on \"lock\" any more";
    check(&format!("PUT /v1/txn?sequencer={stale}\n{set}"), world, refused);
    check(&format!("PUT /v1/txn?sequencer={stale}\n[]"), world, refused);
    check("GET /v1/kv/a", world, "404 ");
}

#[test]
fn sequential_keys_have_numbers_that_never_come_again() {
    let world = &mut World::small();
    check("PUT /v1/kv/q/?sequence&flags=3\nx", world, r#"200 "q/0000000000""#);
    check("PUT /v1/kv/q/0000000001\nmine", world, "200 true");
    check("PUT /v1/kv/q/?sequence", world, r#"200 "q/0000000002""#);
    check("DELETE /v1/kv/q/?recurse", world, "200 true");
    check("PUT /v1/kv/q/?sequence&pretty", world, "200 \"q/0000000003\"\n");
    let id: Value =
        serde_json::from_slice(&world.ask("PUT /v1/session/create\n{\"Behavior\":\"delete\"}").body).unwrap();
    let id = id["ID"].as_str().unwrap();
    check(&format!("PUT /v1/kv/q/?sequence&acquire={id}\nme"), world, r#"200 "q/0000000004""#);
    let held = format!(
        r#"200 [{{"LockIndex":1,"Key":"q/0000000004","Flags":0,"Value":"bWU=","Session":"{id}","CreateIndex":17,"ModifyIndex":17}}]"#
    );
    check("GET /v1/kv/q/0000000004", world, &held);
    check(&format!("PUT /v1/session/destroy/{id}"), world, "200 true");
    check("GET /v1/kv/q/0000000004", world, "404 ");
    check("PUT /v1/kv/?sequence", world, "400 Missing key name");
    check("PUT /v1/kv/q?sequence&cas=1", world, "400 Conflicting flags: cas=1&sequence=\n");
    check("PUT /v1/kv/q?sequence&acquire=x", world, "500 invalid session \"x\"");
}
