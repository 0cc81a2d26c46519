//! Transactions and sequential keys through real agents, asked of whichever is at hand.

use crate::cluster::Cluster;
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_is_done_whole_or_not_at_all_through_any_agent() {
    let cluster = Cluster::new();
    let servers = cluster.three().await;
    for (at, server) in servers.iter().enumerate() {
        let set = |key: &str| json!({"KV": {"Verb": "set", "Key": format!("{key}{at}"), "Value": "dg=="}});
        let ops = json!([set("a"), set("b"), {"KV": {"Verb": "get", "Key": format!("a{at}")}}]);
        let (status, body) = cluster.put(server, "/v1/txn", ops.to_string()).await.unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &body["Errors"], &body["Results"][2]["KV"]["Value"]), (200, &Value::Null, &json!("dg==")));
        let indexes: Vec<_> = (0..3).map(|row| &body["Results"][row]["KV"]["ModifyIndex"]).collect();
        assert!(indexes.iter().all(|index| index == &indexes[0]), "one entry of the log: {body}");

        let ops = json!([{"KV": {"Verb": "delete-tree", "Key": ""}}, {"KV": {"Verb": "get", "Key": "none"}}]);
        let (status, body) = cluster.put(server, "/v1/txn", ops.to_string()).await.unwrap();
        let failure = r#"{"Results":null,"Errors":[{"OpIndex":1,"What":"key \"none\" doesn't exist"}]}"#;
        assert_eq!((status, body.as_str()), (409, failure));

        let looks =
            json!([{"KV": {"Verb": "get", "Key": format!("b{at}")}}, {"KV": {"Verb": "check-not-exists", "Key": "c"}}]);
        let (status, body) = cluster.put(server, "/v1/txn?consistent", looks.to_string()).await.unwrap();
        assert!(status == 200 && body.contains(r#""Value":"dg==""#), "{status} {body}");
    }
    let mut numbered = BTreeSet::new();
    for round in 0..9 {
        let (status, key) = cluster.put(&servers[round % 3], "/v1/kv/queue/?sequence", "x").await.unwrap();
        assert_eq!((status, key.len()), (200, "\"queue/0000000000\"".len()), "{key}");
        assert!(numbered.last().is_none_or(|last| *last < key), "{key} comes after {numbered:?}");
        numbered.insert(key);
    }
}
