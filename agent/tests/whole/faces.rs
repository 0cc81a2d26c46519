//! Other ways in: a unix socket, definition directories, scripts, and two clusters that meet.

use crate::cluster::{Cluster, lictor, until, write};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_serves_as_a_port_does() {
    let cluster = Cluster::new();
    let socket = cluster.dir.join("http.sock");
    let file = cluster.dir.join("socket.json");
    write(&file, &json!({"addresses": {"http": format!("unix://{}", socket.display())}}).to_string());
    let mut agent = cluster.agent(1, "dev1", &["-dev", &format!("-config-file={}", file.display())]);
    let address = format!("-http-addr=unix://{}", socket.display());
    until("an answer through the socket", async || {
        (lictor(None, &["kv", "put", &address, "a", "1"]).0 == 0).then_some(())
    })
    .await;
    assert_eq!(lictor(None, &["kv", "get", &address, "a"]).1, "1\n");
    // A socket file that a dead agent left behind is no obstacle.
    agent.kill();
    assert!(socket.exists());
    agent.start();
    until("an answer after the restart", async || {
        (lictor(None, &["kv", "put", &address, "a", "2"]).0 == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_decides_where_scripts_are_allowed() {
    let cluster = Cluster::new();
    let dir = cluster.dir.join("conf");
    std::fs::create_dir_all(&dir).unwrap();
    let flag = cluster.dir.join("flag");
    let script = format!("test -e {}", flag.display());
    let check = json!({"args": ["/bin/sh", "-c", script], "interval": "1s", "timeout": "5s"});
    write(&dir.join("10-web.json"), &json!({"service": {"name": "web", "port": 80, "check": check}}).to_string());
    write(&dir.join("20-empty.hcl"), "");
    write(&dir.join("ignored.txt"), "not a configuration");
    let args = ["-dev", "-enable-local-script-checks", &format!("-config-dir={}", dir.display())];
    let agent = cluster.agent(1, "dev1", &args);
    cluster.leader(std::slice::from_ref(&agent)).await;
    let becomes = async |status: &str| {
        until(status, async || {
            let checks = cluster.json(&agent, "/v1/health/checks/web").await;
            (checks[0]["Status"] == status).then_some(())
        })
        .await;
    };
    // Exit code 1 is a warning.
    becomes("warning").await;
    write(&flag, "");
    becomes("passing").await;
    let remote = json!({"Name": "evil", "Check": {"Args": ["true"], "Interval": "1s"}}).to_string();
    let (status, text) = cluster.put(&agent, "/v1/agent/service/register", remote).await.unwrap();
    assert_eq!(status, 500, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clusters_that_meet_stay_two() {
    let cluster = Cluster::new();
    let one = cluster.agent(1, "one", &["-server", "-bootstrap-expect=1"]);
    cluster.leader(std::slice::from_ref(&one)).await;
    cluster.put(&one, "/v1/kv/whose", "one").await.unwrap();
    let two = cluster.agent(2, "two", &["-server", "-bootstrap-expect=1"]);
    cluster.leader(std::slice::from_ref(&two)).await;
    cluster.put(&two, "/v1/kv/whose", "two").await.unwrap();
    let (code, out, err) = lictor(Some(&two), &["join", &one.ip.to_string()]);
    assert_eq!(code, 0, "{out}{err}");
    until("the other cluster to be named in a log", async || one.log().contains("belongs to cluster").then_some(()))
        .await;
    for (agent, value) in [(&one, "one"), (&two, "two")] {
        assert_eq!(cluster.get(agent, "/v1/kv/whose?raw").await.unwrap(), (200, value.to_owned()));
        let servers = cluster.json(agent, "/v1/operator/raft/configuration").await;
        assert_eq!(servers["Servers"].as_array().unwrap().len(), 1);
    }
}
