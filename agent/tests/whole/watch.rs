//! The stream of changes, as its clients see it.

use crate::cluster::{Agent, Cluster, until};
use serde_json::{Value, json};
use std::time::Duration;

/// A reader of server-sent events.
struct Reader {
    response: reqwest::Response,
    text: String,
    last: String,
}

/// An event: its kind and data.
type Event = (String, Value);

impl Reader {
    async fn open(cluster: &Cluster, agent: &Agent, query: &str, last: &str) -> Self {
        let request = cluster.http.get(agent.url(&format!("/v1/watch?{query}"))).header("last-event-id", last);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new(), last: last.to_owned() }
    }

    /// The next event; comments are passed over.
    async fn next(&mut self) -> Event {
        let next = async {
            loop {
                while let Some((event, rest)) = self.text.split_once("\n\n") {
                    let (event, rest) = (event.to_owned(), rest.to_owned());
                    self.text = rest;
                    if !event.starts_with(':') {
                        return event;
                    }
                }
                let piece = self.response.chunk().await.unwrap().expect("the stream goes on");
                self.text += std::str::from_utf8(&piece).unwrap();
            }
        };
        let event = tokio::time::timeout(Duration::from_secs(10), next).await.expect("an event in time");
        let (mut kind, mut data) = (String::new(), String::new());
        for line in event.lines() {
            let (field, value) = line.split_once(": ").unwrap();
            match field {
                "id" => value.clone_into(&mut self.last),
                "event" => value.clone_into(&mut kind),
                _ => data += value,
            }
        }
        (kind, serde_json::from_str(&data).unwrap())
    }

    /// The next event, which must be of this kind, watch and key; its data.
    async fn expect(&mut self, kind: &str, watch: &str, key: Option<&str>) -> Value {
        let (told, data) = self.next().await;
        assert_eq!((told.as_str(), data["Watch"].as_str(), data["Key"].as_str()), (kind, Some(watch), key), "{data}");
        data
    }
}

async fn register(cluster: &Cluster, agent: &Agent, node: &str, port: u16) {
    let service = json!({"ID": "web-1", "Service": "web", "Port": port});
    let body = json!({"Node": node, "Address": "10.0.0.1", "Service": service}).to_string();
    assert_eq!(cluster.put(agent, "/v1/catalog/register", body).await.unwrap().0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_tells_what_changes_and_goes_on_where_it_was_cut_off() {
    let cluster = Cluster::new();
    let agent = cluster.agent(1, "dev1", &["-dev"]);
    cluster.leader(std::slice::from_ref(&agent)).await;
    let query = "service=web&kv=app/";
    let mut reader = Reader::open(&cluster, &agent, query, "").await;
    let mut whole = [reader.next().await, reader.next().await];
    whole.sort_by_key(|(_, data)| data["Watch"].to_string());
    assert_eq!(whole[0], ("snapshot".to_owned(), json!({"Watch": "kv=app/", "Reason": "start", "Rows": []})));
    assert_eq!(whole[1], ("snapshot".to_owned(), json!({"Watch": "service=web", "Reason": "start", "Rows": []})));

    register(&cluster, &agent, "n1", 80).await;
    let row = reader.expect("set", "service=web", Some("n1/web-1")).await;
    assert_eq!(row["Row"]["Service"]["Port"], 80);
    cluster.put(&agent, "/v1/kv/elsewhere", "1").await.unwrap();
    cluster.put(&agent, "/v1/kv/app/a", "1").await.unwrap();
    let row = reader.expect("set", "kv=app/", Some("app/a")).await;
    assert_eq!(row["Row"]["Value"], "MQ==");

    let last = reader.last.clone();
    drop(reader);
    register(&cluster, &agent, "n2", 81).await;
    cluster.http.delete(agent.url("/v1/kv/app/a")).send().await.unwrap();
    let mut reader = Reader::open(&cluster, &agent, query, &last).await;
    let mut missed = [reader.next().await, reader.next().await];
    missed.sort_by_key(|(kind, _)| kind.clone());
    assert_eq!(missed[0], ("delete".to_owned(), json!({"Watch": "kv=app/", "Key": "app/a"})));
    assert_eq!((missed[1].0.as_str(), &missed[1].1["Key"]), ("set", &json!("n2/web-1")));
    cluster.put(&agent, "/v1/kv/app/b", "1").await.unwrap();
    reader.expect("set", "kv=app/", Some("app/b")).await;

    // While one body still tells it, another takes the stream over.
    let mut second = Reader::open(&cluster, &agent, query, &reader.last).await;
    cluster.put(&agent, "/v1/kv/app/c", "1").await.unwrap();
    second.expect("set", "kv=app/", Some("app/c")).await;
    // With other watches it is another stream.
    let mut other = Reader::open(&cluster, &agent, "nodes", &second.last).await;
    let whole = other.expect("snapshot", "nodes", None).await;
    assert_eq!(whole["Reason"], "unknown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_agent_streams_through_whatever_server_there_is() {
    let cluster = Cluster::new();
    let mut server = cluster.agent(1, "server1", &["-server", "-bootstrap-expect=1"]);
    let client = cluster.client(4);
    cluster.leader(std::slice::from_ref(&server)).await;
    until("the client's way to the server", async || {
        let (status, _) = cluster.get(&client, "/v1/kv/app/a").await.ok()?;
        (status == 404).then_some(())
    })
    .await;
    let services: String = (0..100).map(|number| format!("&service=s{number}")).collect();
    let mut reader = Reader::open(&cluster, &client, &format!("kv=app/{services}"), "").await;
    for _ in 0..101 {
        assert_eq!(reader.next().await.0, "snapshot");
    }
    cluster.put(&client, "/v1/kv/app/a", "1").await.unwrap();
    reader.expect("set", "kv=app/", Some("app/a")).await;
    // The stream outlives the server, and misses nothing.
    server.kill();
    server.start();
    cluster.leader(std::slice::from_ref(&server)).await;
    cluster.put(&server, "/v1/kv/app/b", "1").await.unwrap();
    reader.expect("set", "kv=app/", Some("app/b")).await;
}
