//! Prepared queries, written through one agent and answered by the DNS of another.

use crate::cluster::{Cluster, until};
use crate::dig;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_made_over_http_is_answered_by_a_client_agents_dns() {
    let cluster = Cluster::new();
    let server = cluster.agent(1, "server1", &["-server", "-bootstrap-expect=1"]);
    let client = cluster.client(4);
    cluster.up(&server).await;
    cluster.up(&client).await;
    for (node, address, tag) in [("a", "10.0.0.1", "v1"), ("b", "10.0.0.2", "v1"), ("c", "10.0.0.3", "old")] {
        let service = json!({"Service": "web", "Port": 80, "Tags": [tag]});
        let body = json!({"Node": node, "Address": address, "Service": service}).to_string();
        let (status, text) = cluster.put(&client, "/v1/catalog/register", body).await.unwrap();
        assert_eq!((status, &*text), (200, "true"));
    }
    let create = async |definition: Value| {
        let reply = cluster.http.post(client.url("/v1/query")).body(definition.to_string()).send().await.unwrap();
        assert_eq!(reply.status(), 200);
        let reply: Value = serde_json::from_str(&reply.text().await.unwrap()).unwrap();
        reply["ID"].as_str().unwrap().to_owned()
    };
    let id = create(json!({
        "Name": "site-", "Template": {"Type": "name_prefix_match", "Regexp": "^site-(.+)$"},
        "Service": {"Service": "${match(1)}", "Tags": ["!old"]}, "DNS": {"TTL": "30s"}
    }))
    .await;

    let (code, answers) = dig::ask(client.ip, "site-web.query.consul", RecordType::A).await.unwrap();
    assert_eq!((code, &*answers), (ResponseCode::NoError, &["10.0.0.1".to_owned(), "10.0.0.2".to_owned()][..]));
    let by_tcp = dig::tcp(client.ip, "site-web.query.consul", RecordType::SRV).await.unwrap();
    assert_eq!(by_tcp.answers.len(), 2);
    assert!(by_tcp.answers.iter().all(|record| record.ttl == 30), "the query's own TTL");

    let mut first = BTreeSet::new();
    until("each of two to be the first", async || {
        let found = cluster.json(&client, "/v1/query/site-web/execute?limit=1").await;
        assert_eq!((found["Nodes"].as_array()?.len(), &found["Datacenter"]), (1, &json!("dc1")));
        first.insert(found["Nodes"][0]["Node"]["Node"].as_str()?.to_owned());
        (first.len() == 2).then_some(())
    })
    .await;
    let nearest = cluster.json(&client, "/v1/query/site-web/execute?near=b").await;
    assert_eq!(nearest["Nodes"][0]["Node"]["Node"], "b");
    let explained = cluster.json(&client, "/v1/query/site-db/explain").await;
    assert_eq!(explained["Query"]["Service"]["Service"], "db");

    let status = cluster.http.delete(client.url(&format!("/v1/query/{id}"))).send().await.unwrap().status();
    assert_eq!(status, 200);
    let (code, _) = dig::ask(client.ip, "site-web.query.consul", RecordType::A).await.unwrap();
    assert_eq!(code, ResponseCode::NXDomain);
}
