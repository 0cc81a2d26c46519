//! The cluster's root and the certificates of services, with a leader killed and everybody restarted in between.

use crate::cluster::{Agent, Cluster, until};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use serde_json::Value;
use std::sync::Arc;

const ROOTS: &str = "/v1/agent/connect/ca/roots";

/// The roots as an agent shows them, once there are any.
async fn roots(cluster: &Cluster, agent: &Agent) -> Value {
    until("a root", async || {
        let (status, body) = cluster.get(agent, ROOTS).await.ok()?;
        let shown: Value = serde_json::from_str(&body).ok()?;
        (status == 200 && shown["ActiveRootID"] != "").then_some(shown)
    })
    .await
}

fn der(pem: &Value) -> CertificateDer<'static> {
    let lines = pem.as_str().unwrap().lines().filter(|line| !line.starts_with("-----"));
    CertificateDer::from(STANDARD.decode(lines.collect::<String>()).unwrap())
}

#[track_caller]
fn verified(leaf: &Value, roots: &Value) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut store = RootCertStore::empty();
    store.add(der(&roots["Roots"][0]["RootCert"])).unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::new(store)).build().unwrap();
    verifier.verify_client_cert(&der(&leaf["CertPEM"]), &[], UnixTime::now()).unwrap();
}

/// How long a certificate is valid, less than a day.
fn hours(leaf: &Value) -> i64 {
    let minutes = |field: &str| {
        let text = leaf[field].as_str().unwrap();
        let part = |at: usize| text[at..at + 2].parse::<i64>().unwrap();
        part(8) * 1440 + part(11) * 60 + part(14)
    };
    (minutes("ValidBefore") - minutes("ValidAfter")).rem_euclid(1440) / 60
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_root_outlives_its_leader_and_signs_for_every_agent() {
    let cluster = Cluster::new();
    let mut servers = cluster.three().await;
    let client = cluster.client(4);
    let first = roots(&cluster, &client).await;
    let domain = first["TrustDomain"].as_str().unwrap();
    assert!(first["Roots"].as_array().unwrap().len() == 1 && domain.ends_with(".consul"), "{first}");

    let path = "/v1/agent/connect/ca/leaf/web";
    let leaf = cluster.json(&client, path).await;
    assert_eq!(leaf["ServiceURI"], format!("spiffe://{domain}/ns/default/dc/dc1/svc/web"));
    verified(&leaf, &first);
    assert!(leaf["PrivateKeyPEM"].as_str().unwrap().starts_with("-----BEGIN PRIVATE KEY-----\n"));
    assert_eq!(cluster.json(&client, path).await, leaf, "it is kept");
    let waited = cluster.json(&client, &format!("{path}?index={}&wait=100ms", leaf["ModifyIndex"])).await;
    assert_eq!(waited, leaf, "nothing new until the time is over");
    let other = cluster.json(&servers[1], path).await;
    assert_ne!(other["PrivateKeyPEM"], leaf["PrivateKeyPEM"], "each agent draws its own");
    verified(&other, &first);

    let short = r#"{"Provider":"consul","Config":{"LeafCertTTL":"2h"}}"#;
    assert_eq!(cluster.put(&client, "/v1/connect/ca/configuration", short).await.unwrap(), (200, String::new()));
    let api = cluster.json(&client, "/v1/agent/connect/ca/leaf/api").await;
    assert_eq!((hours(&api), roots(&cluster, &client).await), (2, first.clone()), "{api}");
    verified(&api, &first);

    let leader = cluster.leader(&servers).await;
    servers[leader].kill();
    cluster.leader(&servers).await;
    assert_eq!(roots(&cluster, &client).await, first, "after the leader's death");
    servers.iter_mut().for_each(Agent::kill);
    servers.iter_mut().for_each(Agent::start);
    cluster.leader(&servers).await;
    for server in &servers {
        assert_eq!(roots(&cluster, server).await, first, "after everybody's");
    }
    let late = cluster.json(&servers[leader], "/v1/agent/connect/ca/leaf/db").await;
    verified(&late, &first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_root_is_made_as_the_configuration_says() {
    let cluster = Cluster::new();
    let domain = "11111111-2222-3333-4444-555555555555";
    let settings = format!("connect {{ ca_config {{ cluster_id = \"{domain}\" leaf_cert_ttl = \"3h\" }} }}");
    let agent = cluster.agent(1, "dev1", &["-dev", "-hcl", &settings]);
    let roots = roots(&cluster, &agent).await;
    assert_eq!(roots["TrustDomain"], format!("{domain}.consul"));
    let leaf = cluster.json(&agent, "/v1/agent/connect/ca/leaf/web").await;
    assert_eq!(hours(&leaf), 3, "{leaf}");
    verified(&leaf, &roots);
    let configuration = cluster.json(&agent, "/v1/connect/ca/configuration").await;
    assert_eq!(configuration["Config"]["LeafCertTTL"], "3h");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_without_connect_has_no_root_and_autopilot_begins_as_configured() {
    let cluster = Cluster::new();
    let settings = "connect { enabled = false } autopilot { min_quorum = 3 last_contact_threshold = \"1s\" }";
    let server = cluster.agent(1, "server1", &["-server", "-bootstrap-expect=1", "-hcl", settings]);
    let client = cluster.agent(2, "client2", &[&format!("-retry-join={}", cluster.ip(1))]);
    cluster.leader(std::slice::from_ref(&server)).await;
    let path = "/v1/operator/autopilot/configuration";
    let rules = until("what the configuration says", async || {
        let rules = cluster.json(&server, path).await;
        (rules["ModifyIndex"] != 0).then_some(rules)
    })
    .await;
    assert_eq!((&rules["MinQuorum"], &rules["LastContactThreshold"]), (&Value::from(3), &Value::from("1s")));
    assert_eq!((&rules["CleanupDeadServers"], &rules["MaxTrailingLogs"]), (&Value::from(true), &Value::from(250)));
    let refusal = (500, "Connect must be enabled in order to use this endpoint".to_owned());
    until("the client agent's server", async || (cluster.get(&client, ROOTS).await.ok()? == refusal).then_some(()))
        .await;
    for path in ["/v1/connect/ca/roots", "/v1/connect/ca/configuration", "/v1/agent/connect/ca/leaf/web"] {
        for agent in [&server, &client] {
            assert_eq!(cluster.get(agent, path).await.unwrap(), refusal, "{path}");
        }
    }
}
