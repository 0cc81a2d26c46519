//! Backups of real clusters: saved anywhere, restored anywhere, whole or not at all.

use crate::cluster::{Agent, Cluster, lictor, until};

async fn index(cluster: &Cluster, agent: &Agent, key: &str) -> Option<(String, u64)> {
    let found = cluster.get(agent, &format!("/v1/kv/{key}?stale")).await.ok()?;
    let rows: serde_json::Value = serde_json::from_str(&found.1).ok()?;
    Some((rows[0]["Value"].as_str()?.to_owned(), rows[0]["ModifyIndex"].as_u64()?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_saved_and_restored_through_any_agent() {
    let cluster = Cluster::new();
    let mut agents = cluster.three().await;
    let client = cluster.client(4);
    until("the client knows a leader", async || {
        (cluster.get(&client, "/v1/status/leader").await.ok()?.1.len() > 4).then_some(())
    })
    .await;
    // More than one step of staging, and nothing that a flipped bit of its compressed form leaves as it is.
    let letter = |at: u32| char::from(b'a' + (at.wrapping_mul(at).wrapping_mul(2_654_435_761) >> 27) as u8 % 26);
    let large: String = (0..400_000).map(letter).collect();
    for key in 0..6 {
        assert_eq!(cluster.put(&client, &format!("/v1/kv/large/{key}"), large.clone()).await.unwrap().0, 200);
    }
    cluster.put(&client, "/v1/kv/old", "1").await.unwrap();
    let holder = cluster.put(&agents[0], "/v1/session/create", r#"{"TTL":"60s"}"#).await.unwrap().1;
    let holder: serde_json::Value = serde_json::from_str(&holder).unwrap();
    let holder = holder["ID"].as_str().unwrap();
    let lock = format!("/v1/kv/lock?acquire={holder}");
    assert_eq!(cluster.put(&client, &lock, "").await.unwrap().1, "true");
    let before = until("the old key", async || index(&cluster, &agents[0], "old").await).await;

    let file = cluster.dir.join("backup.snap");
    let path = file.to_str().unwrap();
    let (code, out, err) = lictor(Some(&client), &["snapshot", "save", path]);
    assert!(code == 0 && out.starts_with("Saved and verified snapshot to index "), "{out}{err}");
    assert_eq!(err, "", "a bar is for terminals");
    let (code, out, _) = lictor(None, &["snapshot", "inspect", "-kvdetails", "-kvdepth=1", path]);
    assert!(code == 0 && out.starts_with(" ID  ") && out.contains("\n KVS ") && out.contains("\n large "), "{out}");
    let (code, out, _) = lictor(None, &["snapshot", "inspect", path]);
    assert!(code == 0 && out.contains("\n KVS ") && !out.contains("\n large "), "{out}");

    cluster.put(&client, "/v1/kv/old", "2").await.unwrap();
    cluster.put(&client, "/v1/kv/new", "1").await.unwrap();
    cluster.put(&client, &format!("/v1/session/destroy/{holder}"), "").await.unwrap();
    assert_eq!(cluster.json(&client, "/v1/kv/lock").await[0].get("Session"), None);

    // Whatever is damaged is refused before anything happens.
    let mut damaged = std::fs::read(&file).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let bad = cluster.dir.join("damaged.snap");
    std::fs::write(&bad, &damaged).unwrap();
    let (code, _, err) = lictor(Some(&client), &["snapshot", "restore", bad.to_str().unwrap()]);
    assert!(code == 1 && err.contains("nothing was changed"), "{err}");
    assert_eq!(cluster.put(&agents[1], "/v1/snapshot", "no archive").await.unwrap().0, 500);
    assert_eq!(cluster.put(&agents[1], "/v1/snapshot", damaged[..middle].to_vec()).await.unwrap().0, 500);
    assert_eq!(cluster.get(&client, "/v1/kv/old?raw").await.unwrap().1, "2");

    // A waiting query on something that the snapshot leaves as it is wakes too.
    let waiting = cluster.http.get(format!("http://{}:8500/v1/kv/large/0?index={}&wait=60s", agents[2].ip, before.1));
    let waiting = tokio::spawn(waiting.send());
    let (code, out, err) = lictor(Some(&client), &["snapshot", "restore", path]);
    assert_eq!((code, out.as_str()), (0, "Restored snapshot\n"), "{err}");
    waiting.await.unwrap().expect("it wakes within the client's patience");
    for agent in agents.iter().chain([&client]) {
        let restored =
            until("the old value", async || index(&cluster, agent, "old").await.filter(|found| *found == before));
        restored.await;
        assert_eq!(cluster.get(agent, "/v1/kv/new?stale").await.unwrap().0, 404);
    }

    assert_eq!(
        cluster.json(&client, "/v1/kv/lock").await[0]["Session"],
        holder,
        "the session lives, and holds its lock"
    );
    assert_eq!(cluster.put(&client, &format!("/v1/session/renew/{holder}"), "").await.unwrap().0, 200);

    // What follows is newer than all that anybody has seen; and it all lasts.
    cluster.put(&client, "/v1/kv/old", "3").await.unwrap();
    for agent in &mut agents {
        agent.kill();
    }
    for agent in &mut agents {
        agent.start();
    }
    cluster.leader(&agents).await;
    let after = until("the key after a restart", async || index(&cluster, &agents[0], "old").await).await;
    assert!(after.0 == "Mw==" && after.1 > before.1, "{after:?} {before:?}");
    assert_eq!(cluster.get(&agents[0], "/v1/kv/large/5?raw").await.unwrap().1, large);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_cluster_takes_over_what_an_older_one_had() {
    let cluster = Cluster::new();
    let old = cluster.agent(1, "old", &["-dev"]);
    cluster.leader(std::slice::from_ref(&old)).await;
    for turn in 0..300 {
        cluster.put(&old, "/v1/kv/counter", turn.to_string()).await.unwrap();
    }
    let seen = index(&cluster, &old, "counter").await.unwrap().1;
    let archive = cluster.http.get(format!("http://{}:8500/v1/snapshot", old.ip)).send().await.unwrap();
    for header in ["x-consul-index", "x-consul-knownleader", "x-consul-lastcontact"] {
        assert!(archive.headers().contains_key(header), "{header}");
    }
    let archive = archive.bytes().await.unwrap();

    let new = cluster.agent(2, "new", &["-dev"]);
    cluster.leader(std::slice::from_ref(&new)).await;
    assert_eq!(cluster.put(&new, "/v1/snapshot", archive).await.unwrap().0, 200);
    assert_eq!(index(&cluster, &new, "counter").await.unwrap().1, seen, "its own index");
    cluster.put(&new, "/v1/kv/counter", "newer").await.unwrap();
    assert!(index(&cluster, &new, "counter").await.unwrap().1 > seen, "indexes go on from there");
    until("the new node in the catalog", async || {
        let nodes = cluster.json(&new, "/v1/health/node/new").await;
        nodes.as_array()?.iter().any(|check| check["Status"] == "passing").then_some(())
    })
    .await;
}
