//! Locks of two clients' agents, with a leader and a holder killed in between.

use crate::cluster::{Agent, Cluster, lictor, until};
use lictor_agent::runtime::clock;
use serde_json::Value;
use std::time::Duration;

async fn session(cluster: &Cluster, agent: &Agent, body: &'static str) -> String {
    let (status, body) = cluster.put(agent, "/v1/session/create", body).await.expect("the agent answers");
    assert_eq!(status, 200, "{body}");
    let made: Value = serde_json::from_str(&body).unwrap();
    made["ID"].as_str().unwrap().to_owned()
}

async fn text(cluster: &Cluster, agent: &Agent, path: &str) -> (u16, String) {
    cluster.put(agent, path, "v").await.expect("the agent answers")
}

async fn sequencer(cluster: &Cluster, agent: &Agent) -> String {
    let shown = cluster.json(agent, "/v1/lock/sequencer/jobs/leader").await;
    shown["Sequencer"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_moves_from_a_killed_holder_to_another() {
    let cluster = Cluster::new();
    let mut servers = cluster.three().await;
    let (mut first, second) = (cluster.client(4), cluster.client(5));
    for client in [&first, &second] {
        until("its node in the catalog", async || {
            let path = format!("/v1/health/node/{}", client.name);
            let (_, body) = cluster.get(client, &path).await.ok()?;
            body.contains("serfHealth").then_some(())
        })
        .await;
    }
    let holder = session(&cluster, &first, r#"{"Name":"first","LockDelay":"1s"}"#).await;
    let rival = session(&cluster, &second, r#"{"Name":"second","LockDelay":"1s"}"#).await;
    let listed = cluster.json(&second, "/v1/session/list").await;
    let nodes: Vec<_> = listed.as_array().unwrap().iter().map(|session| session["Node"].as_str().unwrap()).collect();
    assert!(nodes.len() == 2 && nodes.contains(&"client4") && nodes.contains(&"client5"), "{listed}");
    let lock = |id: &str| ["kv", "put", "-acquire", &format!("-session={id}"), "jobs/leader", "v"].map(str::to_owned);
    let run = |agent: &Agent, args: &[String]| {
        let (code, out, err) = lictor(Some(agent), &args.iter().map(String::as_str).collect::<Vec<_>>());
        (code, format!("{out}{err}"))
    };
    assert_eq!(run(&first, &lock(&holder)), (0, "Success! Lock acquired on: jobs/leader\n".to_owned()));
    assert_eq!(run(&second, &lock(&rival)), (1, "Error! Did not acquire lock\n".to_owned()));
    let old = sequencer(&cluster, &second).await;
    let guarded = |sequencer: &str| format!("/v1/kv/jobs/data?sequencer={sequencer}");
    assert_eq!(text(&cluster, &first, &guarded(&old)).await, (200, "true".to_owned()));

    // The leader's death takes nobody's lock away.
    let leader = cluster.leader(&servers).await;
    servers[leader].kill();
    cluster.leader(&servers).await;
    let acquire = format!("/v1/kv/jobs/leader?acquire={rival}");
    assert_eq!(text(&cluster, &second, &acquire).await, (200, "false".to_owned()));
    assert_eq!(sequencer(&cluster, &second).await, old);
    servers[leader].start();

    // The holder's does; whoever waits on the key is woken.
    let index = cluster.json(&second, "/v1/kv/jobs/leader").await[0]["ModifyIndex"].as_u64().unwrap();
    first.kill();
    let freed = cluster.json(&second, &format!("/v1/kv/jobs/leader?index={index}&wait=60s")).await;
    assert_eq!(freed[0].get("Session"), None, "{freed}");
    until("the end of the lock-delay", async || (text(&cluster, &second, &acquire).await.1 == "true").then_some(()))
        .await;
    let new = sequencer(&cluster, &second).await;
    assert_eq!(new, format!("2.{rival}.jobs/leader"));
    let (status, refusal) = text(&cluster, &second, &guarded(&old)).await;
    assert_eq!(status, 409, "{refusal}");
    assert!(refusal.contains(&new), "it says who holds it now: {refusal}");
    assert_eq!(text(&cluster, &second, &guarded(&new)).await, (200, "true".to_owned()));
    let release = lock(&rival).map(|arg| arg.replace("-acquire", "-release"));
    assert_eq!(run(&second, &release), (0, "Success! Lock released on: jobs/leader\n".to_owned()));
    assert_eq!(run(&second, &release), (1, "Error! Did not release lock\n".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_lives_its_ttl_and_no_longer_when_that_is_configured() {
    let cluster = Cluster::new();
    let exact = "session_ttl_exact = true session_ttl_min = \"1s\"";
    let agent = cluster.agent(1, "dev1", &["-dev", "-hcl", exact]);
    cluster.leader(std::slice::from_ref(&agent)).await;
    let id = session(&cluster, &agent, r#"{"TTL":"2s","NodeChecks":[]}"#).await;
    let (made, info) = (clock::now(), format!("/v1/session/info/{id}"));
    until("its end", async || {
        let (_, body) = cluster.get(&agent, &format!("{info}?index=1&wait=10s")).await.ok()?;
        (body.trim() == "[]").then_some(())
    })
    .await;
    // How exactly, simulated time shows.
    let lived = clock::now().since(made);
    assert!(lived >= Duration::from_secs(2), "{lived:?}");
}
