//! Where nodes are: found by gossip, told to the catalog, and asked for by `near` and `rtt`.

use crate::cluster::{Cluster, lictor, until};
use serde_json::{Value, json};

fn placed(node: &str, milliseconds: f64) -> String {
    let seconds = milliseconds / 1000.0;
    let place = json!({"Vec": [seconds, 0, 0, 0, 0, 0, 0, 0], "Error": 0.1, "Adjustment": 0, "Height": 0.00001});
    json!({"Node": node, "Coord": place}).to_string()
}

fn names(rows: &Value, field: &str) -> Vec<String> {
    rows.as_array().unwrap().iter().map(|row| row[field].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nearest_come_first() {
    let cluster = Cluster::new();
    let server = cluster.agent(1, "server1", &["-server", "-bootstrap-expect=1"]);
    let client = cluster.agent(2, "client2", &[&format!("-retry-join={}", cluster.ip(1))]);
    cluster.leader(std::slice::from_ref(&server)).await;
    cluster.up(&client).await;
    // Both agents tell where they are by themselves.
    until("both agents' places", async || {
        let rows = cluster.json(&client, "/v1/coordinate/nodes").await;
        (names(&rows, "Node") == ["client2", "server1"]).then_some(())
    })
    .await;
    let row = cluster.json(&client, "/v1/coordinate/node/client2").await;
    assert_eq!((&row[0]["Segment"], row[0]["Coord"]["Vec"].as_array().map(Vec::len)), (&json!(""), Some(8)));
    let own = cluster.json(&client, "/v1/agent/self").await;
    assert_eq!(own["Coord"]["Vec"].as_array().map(Vec::len), Some(8));
    let datacenters = cluster.json(&client, "/v1/coordinate/datacenters").await;
    assert_eq!(datacenters[0]["Coordinates"][0]["Node"], "server1.dc1");

    // Three more, told by hand.
    for (name, milliseconds) in [("far", 90.0), ("near", 10.0), ("middle", 50.0)] {
        let node = json!({"Node": name, "Address": format!("10.0.0.{milliseconds}"),
            "Service": {"Service": "web"}, "Check": {"Name": "c", "Status": "passing", "ServiceID": "web"}});
        assert_eq!(cluster.put(&client, "/v1/catalog/register", node.to_string()).await.unwrap().0, 200);
        let update = cluster.put(&client, "/v1/coordinate/update", placed(name, milliseconds)).await.unwrap();
        assert_eq!(update, (200, String::new()));
    }
    for (path, field, expected) in [
        ("/v1/catalog/service/web?near=far", "Node", ["far", "middle", "near"]),
        ("/v1/catalog/service/web?near=near", "Node", ["near", "middle", "far"]),
        // The client agent is asked and itself at about the origin, whoever answers.
        ("/v1/catalog/service/web?near=_agent", "Node", ["near", "middle", "far"]),
        // The test speaks from 127.0.0.1, where no node is.
        ("/v1/catalog/service/web?near=_ip", "Node", ["far", "middle", "near"]),
        ("/v1/health/checks/web?near=near", "Node", ["near", "middle", "far"]),
        ("/v1/health/state/passing?near=near&filter=ServiceName==web", "Node", ["near", "middle", "far"]),
        ("/v1/catalog/nodes?near=far&filter=Address+contains+`10.0.`", "Node", ["far", "middle", "near"]),
    ] {
        assert_eq!(names(&cluster.json(&client, path).await, field), expected, "{path}");
    }
    let health = cluster.json(&client, "/v1/health/service/web?passing&near=middle").await;
    let nodes: Vec<&Value> = health.as_array().unwrap().iter().map(|row| &row["Node"]["Node"]).collect();
    assert_eq!(nodes[0], "middle");

    let (code, out, err) = lictor(Some(&client), &["rtt", "far", "near"]);
    assert_eq!((code, out.as_str()), (0, "Estimated far <-> near rtt: 80.020 ms (using LAN coordinates)\n"), "{err}");
    let (_, out, _) = lictor(Some(&client), &["rtt", "near"]);
    assert!(out.starts_with("Estimated near <-> client2 rtt: "), "{out}");
    let (code, _, err) = lictor(Some(&client), &["rtt", "-wan", "server1.dc1", "server1.dc1"]);
    assert!(code == 1 && err.starts_with("several datacenters are not here yet"), "{err}");
    let (code, _, err) = lictor(Some(&client), &["rtt", "far", "nobody"]);
    assert_eq!((code, err.trim_end()), (1, "Could not find a coordinate for node \"nobody\""));

    assert_eq!(cluster.get(&client, "/v1/coordinate/node/nobody").await.unwrap(), (404, String::new()));
    assert_eq!(cluster.get(&client, "/v1/coordinate/nodes?segment=x").await.unwrap(), (200, "[]".to_owned()));
    for (body, words) in [
        ("", "Request decode failed: EOF"),
        (r#"{"Node":"far"}"#, "invalid coordinate"),
        (r#"{"Node":7,"Coord":{}}"#, "Node: expected a string"),
        (r#"{"Node":"far","Coord":{"Vec":[0,0]}}"#, "incompatible coordinate"),
        (r#"{"Node":"far","Coord":{"Vec":[0,0,0,0,0,0,0,"x"]}}"#, "expected a number"),
        (r#"{"Coord":{"Vec":[0,0,0,0,0,0,0,0]}}"#, "Missing node name"),
    ] {
        let (code, text) = cluster.put(&client, "/v1/coordinate/update", body).await.unwrap();
        assert!(code == 400 && text.contains(words), "{body}: {code} {text}");
    }
}
