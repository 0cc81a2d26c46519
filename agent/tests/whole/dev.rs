//! `agent -dev`: one agent, server and all, in memory.

use crate::cluster::{Agent, Cluster, until};
use crate::dig;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use serde_json::{Value, json};
use std::time::Duration;

async fn dev(cluster: &Cluster) -> Agent {
    let agent = cluster.agent(1, "dev1", &["-dev"]);
    cluster.leader(std::slice::from_ref(&agent)).await;
    agent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_registers_finds_and_loses_a_service() {
    let cluster = Cluster::new();
    let agent = dev(&cluster).await;
    let banner = agent.log();
    for word in ["http://", ":8500", ":8600", "curl", "dig"] {
        assert!(banner.contains(word), "the banner says {word}: {banner}");
    }
    let body = json!({"Name": "web", "Port": 8080, "Tags": ["v1"], "Address": "10.1.2.3",
                      "Check": {"TTL": "60s", "Status": "passing"}});
    assert_eq!(cluster.put(&agent, "/v1/agent/service/register", body.to_string()).await.unwrap().0, 200);
    let entry = until("web in the catalog", async || {
        cluster.json(&agent, "/v1/health/service/web?passing").await.as_array()?.first().cloned()
    })
    .await;
    assert_eq!(entry["Node"]["Node"], "dev1");
    assert_eq!(entry["Service"]["Port"], 8080);
    let checks: Vec<&Value> = entry["Checks"].as_array().unwrap().iter().map(|check| &check["CheckID"]).collect();
    assert_eq!(checks, ["serfHealth", "service:web"]);
    for name in ["web.service.consul", "v1.web.service.consul", "_web._tcp.service.consul", "web.service.dc1.consul"] {
        let (code, answers) = dig::ask(agent.ip, name, RecordType::SRV).await.unwrap();
        assert_eq!((code, answers), (ResponseCode::NoError, vec!["1 1 8080 0a010203.addr.dc1.consul.".to_owned()]));
    }
    assert_eq!(dig::ask(agent.ip, "web.service.consul", RecordType::A).await.unwrap().1, ["10.1.2.3"]);
    let (code, _) = dig::ask(agent.ip, "nope.service.consul", RecordType::A).await.unwrap();
    assert_eq!(code, ResponseCode::NXDomain);
    assert_eq!(dig::ask(agent.ip, "consul.service.consul", RecordType::A).await.unwrap().1, [agent.ip.to_string()]);

    assert_eq!(cluster.put(&agent, "/v1/agent/check/fail/service:web", "").await.unwrap().0, 200);
    until("web gone from DNS", async || {
        (dig::ask(agent.ip, "web.service.consul", RecordType::SRV).await?.0 == ResponseCode::NXDomain).then_some(())
    })
    .await;
    assert_eq!(cluster.put(&agent, "/v1/agent/service/deregister/web", "").await.unwrap().0, 200);
    until("web gone from the catalog", async || {
        (cluster.json(&agent, "/v1/catalog/service/web").await == json!([])).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_read_wakes_on_its_own_change_and_on_no_other() {
    let cluster = Cluster::new();
    let agent = dev(&cluster).await;
    assert_eq!(cluster.put(&agent, "/v1/kv/a", "1").await.unwrap().1, "true\n");
    let response = cluster.http.get(agent.url("/v1/kv/a")).send().await.unwrap();
    let index = response.headers()["x-consul-index"].to_str().unwrap().to_owned();
    assert_eq!(response.headers()["x-consul-knownleader"], "true");
    assert_eq!(response.headers()["x-consul-lastcontact"], "0");
    let waiting = cluster.http.get(agent.url(&format!("/v1/kv/a?index={index}&wait=20s"))).send();
    let waiting = tokio::spawn(waiting);
    for other in 0..50 {
        cluster.put(&agent, &format!("/v1/kv/b{other}"), "x").await.unwrap();
    }
    assert!(!waiting.is_finished(), "fifty writes elsewhere wake nobody");
    cluster.put(&agent, "/v1/kv/a", "2").await.unwrap();
    let woken = tokio::time::timeout(Duration::from_secs(2), waiting).await.unwrap().unwrap().unwrap();
    let value: Value = woken.json().await.unwrap();
    assert_eq!(value[0]["Value"], "Mg==");
    let timed_out = cluster.get(&agent, "/v1/kv/a?index=99999999&wait=50ms").await.unwrap();
    assert_eq!(timed_out.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_two_in_clear_and_definition_files_work() {
    let cluster = Cluster::new();
    let file = cluster.dir.join("web.hcl");
    crate::cluster::write(
        &file,
        "service {\n  name = \"filed\"\n  port = 99\n  check { ttl = \"1m\" status = \"passing\" }\n}\n",
    );
    let agent = cluster.agent(1, "dev1", &["-dev", &format!("-config-file={}", file.display())]);
    cluster.leader(std::slice::from_ref(&agent)).await;
    until("the file's service", async || {
        cluster.json(&agent, "/v1/health/service/filed?passing").await.as_array().filter(|found| found.len() == 1)?;
        Some(())
    })
    .await;
    let http2 = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let response = http2.get(agent.url("/v1/status/leader")).send().await.unwrap();
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    assert_eq!(response.text().await.unwrap(), format!("\"{}:8300\"\n", agent.ip));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn maintenance_takes_a_node_out_and_gives_it_back() {
    let cluster = Cluster::new();
    let agent = dev(&cluster).await;
    let body = json!({"Name": "web", "Port": 1}).to_string();
    cluster.put(&agent, "/v1/agent/service/register", body).await.unwrap();
    let passing = async |count: usize| {
        until("the passing instances to change", async || {
            let found = cluster.json(&agent, "/v1/health/service/web?passing").await;
            (found.as_array()?.len() == count).then_some(())
        })
        .await;
    };
    passing(1).await;
    assert_eq!(cluster.put(&agent, "/v1/agent/maintenance?enable=true&reason=tea", "").await.unwrap().0, 200);
    passing(0).await;
    assert_eq!(cluster.put(&agent, "/v1/agent/maintenance?enable=false", "").await.unwrap().0, 200);
    passing(1).await;
}
