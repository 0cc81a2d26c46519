//! User events between real agents: fired at one, heard by all whom they are meant for.

use crate::cluster::{Agent, Cluster, lictor, until};
use serde_json::{Value, json};

async fn names(cluster: &Cluster, agent: &Agent, path: &str) -> Vec<String> {
    let events = cluster.json(agent, path).await;
    events.as_array().unwrap().iter().map(|event| event["Name"].as_str().unwrap().to_owned()).collect()
}

async fn index(cluster: &Cluster, agent: &Agent) -> String {
    let answer = cluster.http.get(agent.url("/v1/event/list")).send().await.unwrap();
    answer.headers()["x-consul-index"].to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_heard_by_whom_it_is_meant_for() {
    let cluster = Cluster::new();
    let server = cluster.agent(1, "server1", &["-server", "-bootstrap-expect=1"]);
    let client = cluster.agent(2, "client2", &[&format!("-retry-join={}", cluster.ip(1))]);
    cluster.leader(std::slice::from_ref(&server)).await;
    cluster.up(&client).await;
    until("two members", async || {
        let members = cluster.json(&client, "/v1/agent/members").await;
        (members.as_array()?.len() == 2).then_some(())
    })
    .await;
    let web = json!({"Name": "web", "Port": 80, "Tags": ["v1"]}).to_string();
    assert_eq!(cluster.put(&client, "/v1/agent/service/register", web).await.unwrap().0, 200);
    assert_eq!(cluster.get(&client, "/v1/event/list").await.unwrap(), (200, "[]".to_owned()));
    assert_eq!(index(&cluster, &client).await, "1");

    // Whoever waits is answered by the event.
    let waiting = tokio::spawn(cluster.http.get(client.url("/v1/event/list?name=deploy&index=1&wait=20s")).send());
    let (status, fired) = cluster.put(&server, "/v1/event/fire/deploy?service=we&tag=1$", "hello").await.unwrap();
    let fired: Value = serde_json::from_str(&fired).unwrap();
    let id = fired["ID"].as_str().unwrap().to_owned();
    let expected = json!({"ID": id, "Name": "deploy", "Payload": "aGVsbG8=", "NodeFilter": "", "ServiceFilter": "we",
        "TagFilter": "1$", "Version": 1, "LTime": 0});
    assert_eq!((status, fired), (200, expected));
    let heard: Value = waiting.await.unwrap().unwrap().json().await.unwrap();
    assert_eq!(heard[0]["ID"], id);
    // Its index is made of the last event's id.
    let digits = u128::from_str_radix(&id.replace('-', ""), 16).unwrap();
    assert_eq!(index(&cluster, &client).await, ((digits >> 64) as u64 ^ digits as u64).to_string());
    assert_eq!(names(&cluster, &server, "/v1/event/list").await, [""; 0], "the server has no such service");

    let (code, out, err) = lictor(Some(&client), &["event", "-name=restart", "-node=^server", "now"]);
    assert!(code == 0 && out.starts_with("Event ID: "), "{out}{err}");
    until("the event at the server", async || {
        (names(&cluster, &server, "/v1/event/list?name=restart").await == ["restart"]).then_some(())
    })
    .await;
    assert_eq!(names(&cluster, &client, "/v1/event/list").await, ["deploy"]);

    for (path, body, status, words) in [
        ("/v1/event/fire/", "", 400, "Missing name"),
        ("/v1/event/fire/x?tag=v1", "", 400, "Cannot provide tag filter without service filter"),
        ("/v1/event/fire/x?node=(", "", 400, "Invalid node filter: "),
        ("/v1/event/fire/x?service=*", "", 400, "Invalid service filter: "),
        ("/v1/event/fire/x?service=a&tag=%5B", "", 400, "Invalid tag filter: "),
        ("/v1/event/fire/x?dc=other", "", 500, "No path to datacenter"),
        ("/v1/event/fire/x", &"x".repeat(500), 400, "exceeds configured limit of 512 bytes"),
        ("/v1/event/fire/x", &"x".repeat(513), 413, "Request body(513 bytes) too large, max size: 512 bytes"),
    ] {
        let (code, text) = cluster.put(&client, path, body.to_owned()).await.unwrap();
        assert!(code == status && text.contains(words), "{path}: {code} {text}");
    }
    assert_eq!(cluster.get(&client, "/v1/event/list?index=x").await.unwrap(), (400, "Invalid index".to_owned()));
    assert_eq!(cluster.get(&client, "/v1/event/list?wait=x").await.unwrap(), (400, "Invalid wait time".to_owned()));
}
