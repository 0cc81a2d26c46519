//! The main road: three servers and a client agent find, check and lose each other's services.

use crate::cluster::{Agent, Cluster, lictor, until};
use crate::dig;
use crate::endpoint::Endpoint;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

const WEB: &str = "web.service.consul";

async fn srv_count(agent: &Agent) -> Option<usize> {
    let (code, answers) = dig::ask(agent.ip, WEB, RecordType::SRV).await?;
    matches!(code, ResponseCode::NoError | ResponseCode::NXDomain).then_some(answers.len())
}

/// Every agent's DNS gives this many instances.
async fn all_see(agents: &[&Agent], count: usize) {
    for agent in agents {
        let what = format!("{count} instances in the DNS of {}", agent.name);
        until(&what, async || srv_count(agent).await.filter(|found| *found == count)).await;
    }
}

async fn register_web(cluster: &Cluster, agent: &Agent, endpoint: &Endpoint) {
    let body = json!({
        "ID": "web-1", "Name": "web", "Port": 8080, "Tags": ["v1"],
        "Check": {"HTTP": format!("http://{}/", endpoint.address), "Interval": "1s", "Timeout": "500ms"}
    });
    let (status, text) = cluster.put(agent, "/v1/agent/service/register", body.to_string()).await.unwrap();
    assert_eq!((status, text.as_str()), (200, ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_found_checked_and_lost_everywhere() {
    let cluster = Cluster::new();
    let servers = cluster.three().await;
    let mut client = cluster.client(4);
    until("the client agent in the catalog", async || {
        let (_, body) = cluster.get(&servers[0], "/v1/health/node/client4").await.ok()?;
        body.contains("Agent alive and reachable").then_some(())
    })
    .await;
    let endpoint = Endpoint::start(client.ip).await;
    register_web(&cluster, &client, &endpoint).await;
    {
        let all: Vec<&Agent> = servers.iter().chain([&client]).collect();
        all_see(&all, 1).await;
        let (_, answers) = dig::ask(client.ip, WEB, RecordType::SRV).await.unwrap();
        assert_eq!(answers, ["1 1 8080 client4.node.dc1.consul."]);
        let by_tcp = dig::tcp(servers[2].ip, WEB, RecordType::SRV).await.unwrap();
        assert_eq!(by_tcp.answers.len(), 1);

        endpoint.answers(503);
        all_see(&all, 0).await;
        endpoint.answers(200);
        all_see(&all, 1).await;
    }
    client.kill();
    let critical = until("serfHealth to turn critical", async || {
        let checks = cluster.json(&servers[1], "/v1/health/node/client4").await;
        let serf = checks.as_array()?.iter().find(|check| check["CheckID"] == "serfHealth")?.clone();
        (serf["Status"] == "critical").then_some(serf)
    })
    .await;
    assert_eq!(critical["Output"], "Agent not live or unreachable");
    all_see(&servers.iter().collect::<Vec<_>>(), 0).await;
    assert_eq!(dig::ask(servers[0].ip, WEB, RecordType::SRV).await.unwrap().0, ResponseCode::NXDomain);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_registered_is_found_at_once_by_whoever_did_it() {
    let cluster = Cluster::new();
    let server = cluster.agent(1, "server1", &["-server", "-bootstrap-expect=1"]);
    let client = cluster.client(4);
    cluster.leader(std::slice::from_ref(&server)).await;
    until("the client agent in the catalog", async || {
        let (_, body) = cluster.get(&client, "/v1/catalog/node/client4").await.ok()?;
        body.contains("client4").then_some(())
    })
    .await;
    for agent in [&server, &client] {
        for round in 0..20 {
            let name = format!("web{round}");
            let put = async |path: &str, body: String| {
                assert_eq!(cluster.put(agent, path, body).await.unwrap(), (200, String::new()), "{path}");
            };
            let status = async || cluster.json(agent, &format!("/v1/health/checks/{name}")).await[0]["Status"].clone();
            put("/v1/agent/service/register", json!({"Name": name, "Check": {"TTL": "1h"}}).to_string()).await;
            assert_eq!(status().await, "critical");
            put(&format!("/v1/agent/check/pass/service:{name}"), String::new()).await;
            assert_eq!(status().await, "passing");
            put(&format!("/v1/agent/service/deregister/{name}"), String::new()).await;
            assert_eq!(status().await, Value::Null);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_is_replaced_and_writes_go_on() {
    let cluster = Cluster::new();
    let mut servers = cluster.three().await;
    assert_eq!(cluster.put(&servers[1], "/v1/kv/a", "1").await.unwrap(), (200, "true".to_owned()));
    let old = cluster.leader(&servers).await;
    servers[old].kill();
    let survivor = (old + 1) % 3;
    // The call is held until there is a leader again. Only one that was on its way when the leader died may be answered
    // otherwise, and then says that it may or may not have happened.
    until("a write to be accepted", async || {
        let (status, body) = cluster.put(&servers[survivor], "/v1/kv/b", "2").await.unwrap();
        assert!(status == 200 || body.starts_with("outcome unknown"), "{status} {body}");
        (status == 200).then_some(())
    })
    .await;
    let new = cluster.leader(&servers).await;
    assert_ne!(new, old);
    let (status, body) = cluster.get(&servers[survivor], "/v1/kv/a?raw&consistent").await.unwrap();
    assert_eq!((status, body.as_str()), (200, "1"));
    servers[old].start();
    until("the old leader to follow", async || {
        let (status, body) = cluster.get(&servers[old], "/v1/kv/b?raw&stale").await.ok()?;
        (status == 200 && body == "2").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_killed_and_restarted_is_as_before() {
    let cluster = Cluster::new();
    let mut servers = cluster.three().await;
    let mut client = cluster.client(4);
    cluster.up(&client).await;
    let body = json!({"ID": "db-1", "Name": "db", "Port": 5432}).to_string();
    assert_eq!(cluster.put(&client, "/v1/agent/service/register", body).await.unwrap().0, 200);
    let before = until("the service in the catalog", async || {
        let rows = cluster.json(&servers[0], "/v1/catalog/service/db").await;
        (rows.as_array()?.len() == 1).then_some(rows)
    })
    .await;
    for key in 0..20 {
        assert_eq!(cluster.put(&servers[key % 3], &format!("/v1/kv/k{key}"), "v").await.unwrap().0, 200);
    }
    let keys = cluster.json(&servers[0], "/v1/kv/?recurse").await;

    for server in &mut servers {
        server.kill();
    }
    client.kill();
    for server in &mut servers {
        server.start();
    }
    client.start();
    cluster.leader(&servers).await;
    assert_eq!(cluster.json(&servers[1], "/v1/kv/?recurse").await, keys);
    let after = until("the same service", async || {
        let rows = cluster.json(&servers[2], "/v1/catalog/service/db").await;
        (rows == before).then_some(rows)
    })
    .await;
    assert_eq!(after[0]["ModifyIndex"], before[0]["ModifyIndex"]);
    until("the client agent's own memory of it", async || {
        cluster.get(&client, "/v1/agent/services").await.ok()?.1.contains("\"db-1\"").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_server_comes_back_as_a_new_member() {
    let cluster = Cluster::new();
    let mut servers = cluster.three().await;
    assert_eq!(cluster.put(&servers[0], "/v1/kv/kept", "yes").await.unwrap().0, 200);
    let leader = cluster.leader(&servers).await;
    let wiped = (leader + 1) % 3;
    let configuration = cluster.json(&servers[leader], "/v1/operator/raft/configuration").await;
    let old_id = configuration["Servers"]
        .as_array()
        .unwrap()
        .iter()
        .find(|server| server["Node"] == servers[wiped].name.as_str())
        .unwrap()["ID"]
        .clone();
    servers[wiped].kill();
    std::fs::remove_dir_all(&servers[wiped].dir).unwrap();
    servers[wiped].start();
    until("the wiped server to catch up", async || {
        let (status, body) = cluster.get(&servers[wiped], "/v1/kv/kept?raw&stale").await.ok()?;
        (status == 200 && body == "yes").then_some(())
    })
    .await;
    until("the wiped server to vote under a new id, the old one gone", async || {
        let found = cluster.json(&servers[leader], "/v1/operator/raft/configuration").await;
        let found = found["Servers"].as_array()?.clone();
        let voters = found.iter().filter(|server| server["Voter"] == true).count();
        (found.len() == 3 && voters == 3 && found.iter().all(|server| server["ID"] != old_id)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_moved_find_each_other_again() {
    let cluster = Cluster::new();
    let mut servers = cluster.three().await;
    let client = cluster.client(4);
    assert_eq!(cluster.put(&servers[0], "/v1/kv/kept", "yes").await.unwrap().0, 200);
    until("the client agent as a member", async || {
        let (_, body) = cluster.get(&servers[0], "/v1/agent/members").await.ok()?;
        (body.matches("\"Status\":1").count() == 4).then_some(())
    })
    .await;
    for server in &mut servers {
        server.kill();
    }
    for (host, server) in (11..).zip(&mut servers) {
        server.start_at(cluster.ip(host), &[client.ip]);
    }
    cluster.leader(&servers).await;
    let (status, body) = cluster.get(&servers[0], "/v1/kv/kept?raw&consistent").await.unwrap();
    assert_eq!((status, body.as_str()), (200, "yes"));
    assert_eq!(cluster.put(&client, "/v1/kv/new", "1").await.unwrap(), (200, "true".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_of_most_directories_bring_a_lost_cluster_back() {
    let cluster = Cluster::new();
    let mut servers = cluster.three().await;
    assert_eq!(cluster.put(&servers[0], "/v1/kv/color", "red").await.unwrap().0, 200);
    // One after the other, while the others go on.
    for place in 0..2 {
        servers[place].kill();
        copy(&servers[place].dir, &servers[place].dir.with_extension("copy"));
        servers[place].start();
        cluster.leader(&servers).await;
        until("the key at the server that was copied", async || {
            let (_, body) = cluster.get(&servers[place], "/v1/kv/color?raw&stale").await.ok()?;
            (body == "red").then_some(())
        })
        .await;
    }
    assert_eq!(cluster.put(&servers[0], "/v1/kv/color", "blue").await.unwrap().0, 200);

    for server in &mut servers {
        server.kill();
        std::fs::remove_dir_all(&server.dir).unwrap();
    }
    for server in &servers[..2] {
        copy(&server.dir.with_extension("copy"), &server.dir);
    }
    for server in &mut servers {
        server.start();
    }
    cluster.leader(&servers).await;
    let (status, body) = cluster.get(&servers[0], "/v1/kv/color?raw&consistent").await.unwrap();
    assert_eq!((status, body.as_str()), (200, "red"));
    assert_eq!(cluster.put(&servers[1], "/v1/kv/color", "green").await.unwrap().0, 200);
    until("the server that came back empty to catch up", async || {
        let (_, body) = cluster.get(&servers[2], "/v1/kv/color?raw&stale").await.ok()?;
        (body == "green").then_some(())
    })
    .await;
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_of_three_servers_is_recovered_by_one_command() {
    let cluster = Cluster::new();
    let mut servers = cluster.three().await;
    assert_eq!(cluster.put(&servers[0], "/v1/kv/kept", "yes").await.unwrap().0, 200);
    let (code, _, refused) = lictor(Some(&servers[0]), &["operator", "raft", "recover"]);
    assert!(code == 1 && refused.contains("has a leader"), "{refused}");
    servers[1].kill();
    servers[2].kill();
    let shown = until("the survivor to know that it is alone", async || {
        let (code, shown, _) = lictor(Some(&servers[0]), &["operator", "raft", "recover"]);
        (code == 0).then_some(shown)
    })
    .await;
    assert!(shown.contains("given up") && shown.contains("Nothing was changed"), "{shown}");
    let confirm = shown.split_whitespace().last().unwrap().to_owned();
    let (code, done, problem) = lictor(Some(&servers[0]), &["operator", "raft", "recover", &confirm]);
    assert!(code == 0 && done.contains("this server leads"), "{done}{problem}");
    assert_eq!(cluster.put(&servers[0], "/v1/kv/new", "1").await.unwrap(), (200, "true".to_owned()));
    let (status, body) = cluster.get(&servers[0], "/v1/kv/kept?raw&consistent").await.unwrap();
    assert_eq!((status, body.as_str()), (200, "yes"));
    // A restart goes on from there.
    servers[0].kill();
    servers[0].start();
    until("the restarted server to lead", async || {
        let (status, body) = cluster.get(&servers[0], "/v1/kv/new?raw&consistent").await.ok()?;
        (status == 200 && body == "1").then_some(())
    })
    .await;
}
