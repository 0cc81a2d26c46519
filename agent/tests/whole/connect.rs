//! The cluster's root and the certificates of services, with a leader killed and everybody restarted in between.

use crate::cluster::{Agent, Cluster, until};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

const ROOTS: &str = "/v1/agent/connect/ca/roots";

/// The roots as an agent shows them, once there are any.
async fn roots(cluster: &Cluster, agent: &Agent) -> Value {
    until("a root", Duration::from_secs(20), async || {
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
