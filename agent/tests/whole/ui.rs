//! What Consul's web page reads, and an agent's own service waited for by its hash.

use crate::cluster::{Cluster, until};
use serde_json::{Value, json};

const UI: &str = "/v1/internal/ui";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_of_a_cluster_are_drawn_by_every_agent() {
    let cluster = Cluster::new();
    let server = cluster.agent(1, "server1", &["-server", "-bootstrap-expect=1"]);
    let client = cluster.agent(2, "client2", &[&format!("-retry-join={}", cluster.ip(1))]);
    cluster.leader(std::slice::from_ref(&server)).await;
    cluster.up(&client).await;
    let service = json!({"Name": "web", "Port": 80, "Tags": ["v1"], "Check": {"TTL": "1h", "Status": "passing"}});
    assert_eq!(cluster.put(&client, "/v1/agent/service/register", service.to_string()).await.unwrap().0, 200);
    let nodes = until("both nodes with what is on them", async || {
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

    // A page that waits is shown what fails in the meantime; other changes may come first.
    let overview = format!("{UI}/catalog-overview");
    let reply = cluster.http.get(client.url(&overview)).send().await.unwrap();
    let index = reply.headers()["x-consul-index"].to_str().unwrap().to_owned();
    let before: Value = reply.json().await.unwrap();
    assert_eq!(before["Nodes"], json!([{"Total": 2, "Passing": 2, "Warning": 0, "Critical": 0}]));
    let web = |passing: u8, critical: u8| json!({"Name": "web", "Total": 1, "Passing": passing, "Warning": 0, "Critical": critical});
    assert_eq!(before["Services"][1], web(1, 0));
    let blocking = format!("{overview}?index={index}");
    let failed = until("what failed", async || {
        let page = cluster.json(&client, &blocking).await;
        (page["Services"][1] == web(0, 1)).then_some(())
    });
    let failing = cluster.put(&client, "/v1/agent/check/fail/service:web", "");
    let ((), told) = tokio::join!(failed, failing);
    assert_eq!(told.unwrap().0, 200);
    let services = cluster.json(&server, &format!("{UI}/services?filter=Service.Tags+contains+v1")).await;
    assert_eq!(
        (&services[0]["Name"], &services[0]["ChecksCritical"], services.as_array().unwrap().len()),
        (&json!("web"), &json!(1), 1)
    );
    let topology = cluster.json(&client, &format!("{UI}/service-topology/web?kind=")).await;
    assert_eq!((&topology["Protocol"], &topology["Upstreams"]), (&json!("tcp"), &json!([])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_own_service_is_waited_for_by_its_hash_without_any_server() {
    let cluster = Cluster::new();
    let client = cluster.agent(1, "client1", &[]);
    cluster.up(&client).await;
    let register = async |port: u16| {
        let service = json!({"Name": "web", "Port": port}).to_string();
        assert_eq!(cluster.put(&client, "/v1/agent/service/register", service).await.unwrap().0, 200);
    };
    let ask = async |query: &str| {
        let reply = cluster.http.get(client.url(&format!("/v1/agent/service/web{query}"))).send().await.unwrap();
        let hash = reply.headers().get("x-consul-contenthash").map(|hash| hash.to_str().unwrap().to_owned());
        assert!(reply.headers().get("x-consul-index").is_none());
        (reply.status().as_u16(), hash.unwrap_or_default(), reply.text().await.unwrap())
    };
    register(80).await;
    let (status, hash, body) = ask("").await;
    let shown: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &shown["Port"], &shown["ContentHash"]), (200, &json!(80), &json!(hash)));
    assert_eq!(
        ask(&format!("?hash={hash}&wait=50ms")).await,
        (200, hash.clone(), body.clone()),
        "when its time is over"
    );
    assert_eq!(ask("?hash=other&wait=1m").await, (200, hash.clone(), body));
    let same = format!("?hash={hash}");
    let ((status, newer, body), ()) = tokio::join!(ask(&same), async {
        register(80).await;
        register(81).await;
    });
    let shown: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, newer != hash, &shown["Port"]), (200, true, &json!(81)));
    let same = format!("?hash={newer}");
    let (gone, ()) = tokio::join!(ask(&same), async {
        assert_eq!(cluster.put(&client, "/v1/agent/service/deregister/web", "").await.unwrap().0, 200);
    });
    assert_eq!(gone, (404, String::new(), "unknown service ID: web".to_owned()));
}
