//! The command line against a living agent.

use crate::cluster::{Cluster, lictor, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::Duration;
use tokio::io::AsyncBufReadExt as _;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_speaks_to_an_agent() {
    let cluster = Cluster::new();
    let agent = cluster.agent(1, "dev1", &["-dev"]);
    cluster.leader(std::slice::from_ref(&agent)).await;
    let run = |args: &[&str]| {
        let (code, out, err) = lictor(Some(&agent), args);
        assert_eq!(code, 0, "{args:?}: {out}{err}");
        out
    };
    let members = run(&["members"]);
    assert!(members.starts_with("Node") && members.contains("dev1") && members.contains("alive"), "{members}");
    assert_eq!(run(&["kv", "put", "a/b", "1"]), "Success! Data written to: a/b\n");
    assert_eq!(run(&["kv", "get", "a/b"]), "1\n");
    assert!(run(&["kv", "get", "-detailed", "a/b"]).contains("ModifyIndex"));
    assert_eq!(run(&["kv", "get", "-keys", "a/"]), "a/b\n");
    let exported = run(&["kv", "export", "a/"]);
    assert_eq!(exported, "[\n\t{\n\t\t\"key\": \"a/b\",\n\t\t\"flags\": 0,\n\t\t\"value\": \"MQ==\"\n\t}\n]\n");
    assert_eq!(run(&["kv", "import", "-prefix=copy", &exported]), "Imported: copy/a/b\n");
    let many = cluster.dir.join("many.json");
    let entry =
        |n: usize, size: usize| serde_json::json!({"key": format!("n/{n}"), "flags": n, "value": "AAAA".repeat(size)});
    let entries = (0..200).map(|n| entry(n, if n == 70 { 100_000 } else { 1 }));
    std::fs::write(&many, serde_json::Value::from_iter(entries).to_string()).unwrap();
    let imported = run(&["kv", "import", &format!("@{}", many.display())]);
    assert!(imported.lines().count() == 200 && imported.ends_with("Imported: n/199\n"), "{imported}");
    let listed: Vec<serde_json::Value> = serde_json::from_str(&run(&["kv", "export", "n/"])).unwrap();
    assert_eq!(listed.iter().map(|entry| entry["flags"].as_u64().unwrap()).sum::<u64>(), 199 * 100);
    assert_eq!(run(&["kv", "export", "nothing"]), "[]\n");
    assert_eq!(run(&["services", "register", "-name=web", "-port=80"]), "Registered service: web\n");
    until("web in the catalog", async || (run(&["catalog", "services"]) == "consul\nweb\n").then_some(())).await;
    assert!(run(&["catalog", "nodes"]).contains("dev1"));
    assert_eq!(run(&["services", "deregister", "-id=web"]), "Deregistered service: web\n");
    let peers = run(&["operator", "raft", "list-peers"]);
    assert!(peers.contains("leader") && peers.contains(":8300"), "{peers}");
    let usage = run(&["operator", "usage", "instances"]);
    assert!(usage.contains("\nServices      Service instances\n") && usage.contains("\nconnect-proxy "), "{usage}");
    let usage: serde_json::Value =
        serde_json::from_str(&run(&["operator", "usage", "instances", "-format=json"])).unwrap();
    assert_eq!(usage["Usage"]["dc1"]["Nodes"], 1);
    assert!(run(&["info"]).contains("agent:"));
    assert_eq!(run(&["kv", "delete", "a/b"]), "Success! Deleted key: a/b\n");
    let (code, _, err) = lictor(Some(&agent), &["kv", "get", "a/b"]);
    assert_eq!((code, err.trim_end()), (1, "Error! No key exists at: a/b"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_runs_its_program_when_something_differs() {
    let cluster = Cluster::new();
    let agent = cluster.agent(1, "dev1", &["-dev"]);
    cluster.leader(std::slice::from_ref(&agent)).await;
    let (code, out, err) = lictor(Some(&agent), &["watch", "-type=key", "-key=a"]);
    assert_eq!((code, out.as_str()), (0, "null\n"), "{err}");
    cluster.put(&agent, "/v1/kv/a", "1").await.unwrap();
    let (code, out, err) = lictor(Some(&agent), &["watch", "-type=key", "-key=a"]);
    assert!(code == 0 && out.starts_with("{\n    \"LockIndex\": 0,\n") && out.contains("\"MQ==\""), "{out}{err}");

    let seen = cluster.dir.join("seen");
    // The second run fails, which ends the watch.
    let script =
        format!("cat >> {0}; echo \"$CONSUL_INDEX $(wc -l < {0})\"; test $(grep -c MQ {0}) = 1", seen.display());
    let mut watch = tokio::process::Command::new(crate::cluster::LICTOR)
        .args(["watch", "-type=keyprefix", "-prefix=a", &script])
        .env("CONSUL_HTTP_ADDR", format!("{}:8500", agent.ip))
        .env("SHELL", "/bin/sh")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let shown = || std::fs::read_to_string(&seen).unwrap_or_default();
    until("the first run", async || shown().contains("MQ==").then_some(())).await;
    let index = cluster.json(&agent, "/v1/kv/a").await[0]["ModifyIndex"].clone();
    // Neither of these changes what is watched.
    cluster.put(&agent, "/v1/kv/b", "1").await.unwrap();
    cluster.put(&agent, "/v1/kv/a", "1").await.unwrap();
    cluster.put(&agent, "/v1/kv/a/b", "2").await.unwrap();
    let status = tokio::time::timeout(Duration::from_secs(10), watch.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(1));
    let output = watch.wait_with_output().await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.starts_with(&format!("{index} ")) && out.lines().count() == 2, "{out}");
    assert!(err.contains("Error executing handler: exit status: 1"), "{err}");
    assert!(shown().contains("Mg=="), "{}", shown());
    let (code, _, err) = lictor(Some(&agent), &["watch", "-type=nodes", "-filter=Nope==1"]);
    assert!(code == 1 && err.contains("Watch errored: Unexpected response code: 400 (Failed to create"), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_can_be_ended_between_two_runs_of_its_program_and_during_one() {
    let cluster = Cluster::new();
    let agent = cluster.agent(1, "dev1", &["-dev"]);
    cluster.leader(std::slice::from_ref(&agent)).await;
    for (script, signal, between) in [
        ("echo run", Signal::SIGTERM, true),
        ("echo run", Signal::SIGHUP, true),
        ("echo run; exec sleep 60", Signal::SIGINT, false),
    ] {
        let mut watch = tokio::process::Command::new(crate::cluster::LICTOR)
            .args(["watch", "-type=key", "-key=a", script])
            .env("CONSUL_HTTP_ADDR", format!("{}:8500", agent.ip))
            .env("SHELL", "/bin/sh")
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut told = tokio::io::BufReader::new(watch.stdout.take().unwrap()).lines();
        let run = tokio::time::timeout(Duration::from_secs(5), told.next_line()).await;
        assert_eq!(run.expect("soon").unwrap().as_deref(), Some("run"), "{script}");
        let pid = watch.id().unwrap();
        let children = || std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        if between {
            until("its program's end", async || children().is_empty().then_some(())).await;
        }
        kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(5), watch.wait()).await;
        assert_eq!(ended.expect("soon").unwrap().code(), Some(0), "{script}, {signal}");
    }
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_named() {
    let (code, _, err) = lictor(None, &["members", "-http-addr=127.255.255.1:8500"]);
    assert_eq!(code, 1);
    assert!(err.contains("127.255.255.1:8500"), "{err}");
}

#[tokio::test]
async fn version_and_validate_speak_to_nobody() {
    let (code, out, _) = lictor(None, &["version", "-format=json"]);
    let version: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &version["Version"]), (0, &serde_json::json!("1.22.0")));
    let cluster = Cluster::new();
    let file = cluster.dir.join("bad.hcl");
    crate::cluster::write(&file, "datacentre = \"dc1\"\n");
    let (code, out, err) = lictor(None, &["validate", &file.display().to_string()]);
    assert_eq!(code, 1);
    assert!(format!("{out}{err}").contains("datacentre"), "{out}{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_is_graceful() {
    let cluster = Cluster::new();
    let servers = cluster.three().await;
    let mut client = cluster.client(4);
    until("four members", async || {
        let (_, out, _) = lictor(Some(&servers[0]), &["members"]);
        (out.matches("alive").count() == 4).then_some(())
    })
    .await;
    let (code, out, err) = lictor(Some(&client), &["leave"]);
    assert_eq!((code, out.as_str()), (0, "Graceful leave complete\n"), "{err}");
    assert_eq!(client.ended().await.code(), Some(0));
    until("the client to have left, not failed", async || {
        let (_, out, _) = lictor(Some(&servers[1]), &["members"]);
        out.lines().any(|line| line.starts_with("client4") && line.contains("left")).then_some(())
    })
    .await;
    until("its node to be gone", async || {
        let (_, out, _) = lictor(Some(&servers[2]), &["catalog", "nodes"]);
        (!out.contains("client4")).then_some(())
    })
    .await;
}
