//! A cluster that is told how to tend its servers, and tells how well they are.

use crate::cluster::{Agent, Cluster, lictor, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn autopilot_is_set_for_all_servers_and_survives_their_leader() {
    let cluster = Cluster::new();
    let mut agents = cluster.three().await;
    let path = "/v1/operator/autopilot/health";
    until("three servers that are well", async || {
        let (status, body) = cluster.get(&agents[1], path).await.ok()?;
        let health: serde_json::Value = serde_json::from_str(&body).ok()?;
        (status == 200 && health["FailureTolerance"] == 1).then_some(())
    })
    .await;
    let set = ["operator", "autopilot", "set-config", "-cleanup-dead-servers=false", "-min-quorum=3"];
    assert_eq!(run(&agents[2], &set), (0, "Configuration updated!\n".to_owned()));
    let lost = cluster.put(&agents[0], "/v1/operator/autopilot/configuration?cas=1", "{}").await.unwrap();
    assert_eq!(lost, (200, "false".to_owned()));

    let leader = cluster.leader(&agents).await;
    agents[leader].kill();
    let left = (leader + 1) % 3;
    until("a report of the next leader", async || {
        let (status, body) = cluster.get(&agents[left], path).await.ok()?;
        let health: serde_json::Value = serde_json::from_str(&body).ok()?;
        (status == 429 && health["FailureTolerance"] == 0).then_some(())
    })
    .await;
    let (code, settings) = run(&agents[left], &["operator", "autopilot", "get-config"]);
    assert!(code == 0 && settings.starts_with("CleanupDeadServers = false\n"), "{settings}");
    assert!(settings.contains("\nMinQuorum = 3\n"), "{settings}");
    let (code, state) = run(&agents[left], &["operator", "autopilot", "state"]);
    assert!(code == 0 && state.starts_with("Healthy:                      false\n"), "{state}");
}

/// Its exit code and what it said.
fn run(agent: &Agent, args: &[&str]) -> (i32, String) {
    let (code, out, err) = lictor(Some(agent), args);
    (code, out + &err)
}
