//! What Consul's web page reads, and an agent's own service waited for by its hash.

use crate::cluster::{Cluster, until};
use serde_json::{Value, json};
use std::time::Duration;

const UI: &str = "/v1/internal/ui";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_of_a_cluster_are_drawn_by_every_agent() {
    let cluster = Cluster::new();
    let server = cluster.agent(1, "server1", &["-server", "-bootstrap-expect=1"]);
    let client = cluster.agent(2, "client2", &[&format!("-retry-join={}", cluster.ip(1))]);
    cluster.leader(std::slice::from_ref(&server)).await;
    let service = json!({"Name": "web", "Port": 80, "Tags": ["v1"], "Check": {"TTL": "1h", "Status": "passing"}});
    assert_eq!(cluster.put(&client, "/v1/agent/service/register", service.to_string()).await.unwrap().0, 200);
    let nodes = until("both nodes with what is on them", Duration::from_secs(20), async || {
        let nodes = cluster.json(&client, &format!("{UI}/nodes")).await;
        (nodes[0]["Services"][0]["Service"] == "web" && nodes[1]["Services"][0]["Service"] == "consul").then_some(nodes)
    })
    .await;
    for (node, name) in nodes.as_array().unwrap().iter().zip(["client2", "server1"]) {
        assert_eq!((&node["Node"], &node["Meta"]["consul-version"]), (&json!(name), &json!("1.22.0")));
        let fields: Vec<&String> = node.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["Address", "Checks", "ID", "Meta", "Node", "Services", "TaggedAddresses"]);
    }
    assert_eq!(cluster.json(&server, &format!("{UI}/node/client2")).await, nodes[0]);
    assert_eq!(cluster.get(&client, &format!("{UI}/node/nobody")).await.unwrap(), (404, String::new()));

    // A page that waits is shown what fails in the meantime, and waits no longer than asked for when nothing does.
    let overview = format!("{UI}/catalog-overview");
    let reply = cluster.http.get(client.url(&overview)).send().await.unwrap();
    let index = reply.headers()["x-consul-index"].to_str().unwrap().to_owned();
    let before: Value = reply.json().await.unwrap();
    assert_eq!(before["Nodes"], json!([{"Total": 2, "Passing": 2, "Warning": 0, "Critical": 0}]));
    let web = |passing: u8, critical: u8| json!({"Name": "web", "Total": 1, "Passing": passing, "Warning": 0, "Critical": critical});
    assert_eq!(before["Services"][1], web(1, 0));
    let blocking = format!("{overview}?index={index}");
    let waiting = cluster.json(&client, &blocking);
    let failing = async {
        until("a page that waits", Duration::from_secs(10), async || {
            let metrics = cluster.json(&server, "/v1/agent/metrics").await;
            let gauges = metrics["Gauges"].as_array()?;
            gauges
                .iter()
                .any(|gauge| gauge["Name"] == "consul.rpc.queries_blocking" && gauge["Value"] == 1)
                .then_some(())
        })
        .await;
        cluster.put(&client, "/v1/agent/check/fail/service:web", "").await.unwrap()
    };
    let (after, failed) = tokio::join!(waiting, failing);
    assert_eq!((&after["Services"][1], failed.0), (&web(0, 1), 200));
    let services = cluster.json(&server, &format!("{UI}/services?filter=Service.Tags+contains+v1")).await;
    assert_eq!(
        (&services[0]["Name"], &services[0]["ChecksCritical"], services.as_array().unwrap().len()),
        (&json!("web"), &json!(1), 1)
    );
    let topology = cluster.json(&client, &format!("{UI}/service-topology/web?kind=")).await;
    assert_eq!((&topology["Protocol"], &topology["Upstreams"]), (&json!("tcp"), &json!([])));
}
