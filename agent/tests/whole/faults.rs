//! Three real servers that are killed and paused, under clients that remember: the short form of the example `faults`.

use crate::cluster::{Agent, Cluster, until};
use client::{Load, Recorder};
use lictor_agent::sim::linear;
use nix::sys::signal::Signal;
use std::time::Duration;

/// The clients of the example, which has no other use for a library.
#[path = "../../../examples/faults/client.rs"]
mod client;

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_were_told_while_servers_were_killed_and_paused_is_linearizable() {
    let cluster = Cluster::new();
    let mut servers = cluster.three().await;
    let load = Load {
        servers: servers.iter().map(|server| server.url("")).collect(),
        clients: 6,
        keys: 10,
        rate: 200,
        seed: 1,
        lasts: Duration::from_secs(8),
    };
    let recorder = Recorder::new();
    let torment = async {
        written(&cluster, &servers[0]).await;
        let leader = cluster.leader(&servers).await;
        servers[leader].kill();
        let left = (leader + 1) % 3;
        // The next leader is there when a write is accepted.
        written(&cluster, &servers[left]).await;
        servers[leader].start();
        written(&cluster, &servers[leader]).await;
        let leader = cluster.leader(&servers).await;
        servers[leader].signal(Signal::SIGSTOP);
        written(&cluster, &servers[(leader + 1) % 3]).await;
        servers[leader].signal(Signal::SIGCONT);
        written(&cluster, &servers[leader]).await;
        servers.iter_mut().for_each(Agent::kill);
        servers.iter_mut().for_each(Agent::start);
        written(&cluster, &servers[0]).await;
    };
    tokio::join!(client::run(&load, &recorder), torment);
    client::read_all(&load, &recorder).await;
    let history = recorder.history();
    assert!(history.len() > 50, "the clients got something done: {} operations", history.len());
    if let Err(violation) = linear::check(&history) {
        panic!("{violation}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_paused_shows_nothing_old_to_default_and_consistent_reads() {
    let cluster = Cluster::new();
    let servers = cluster.three().await;
    for round in 0..3 {
        let before = cluster.leader(&servers).await;
        let paused = &servers[before];
        put(&cluster, paused, &format!("{round} old")).await;
        paused.signal(Signal::SIGSTOP);
        let new = format!("{round} new");
        put(&cluster, &servers[(before + 1) % 3], &new).await;
        // These wait in its sockets when it wakes.
        let read = async |query: &str| {
            let url = paused.url(&format!("/v1/kv/paused?raw{query}"));
            let response = cluster.http.get(url).send().await.unwrap();
            let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            let age = (header("x-consul-knownleader"), header("x-consul-lastcontact"));
            (response.status().as_u16(), response.text().await.unwrap(), age)
        };
        let wake = async { paused.signal(Signal::SIGCONT) };
        let (default, consistent, stale, ()) = tokio::join!(read(""), read("&consistent"), read("&stale"), wake);
        for (status, value, _) in [default, consistent] {
            assert!(status != 200 || value == new, "round {round}: {value:?} was shown after {new:?} was written");
        }
        // It may have heard its successor already, and not yet have what that one wrote: then its last contact was now.
        let (status, value, age) = stale;
        assert!(status != 200 || value == new || age.0.is_some() && age.1.is_some(), "{value:?}: {age:?}");
        put(&cluster, paused, "settled").await;
    }
}

async fn put(cluster: &Cluster, agent: &Agent, value: &str) {
    let put = async || cluster.put(agent, "/v1/kv/paused", value.to_owned()).await.ok();
    until("a write", async || put().await.filter(|(status, _)| *status == 200)).await;
}

async fn written(cluster: &Cluster, agent: &Agent) {
    put(cluster, agent, "x").await;
}
