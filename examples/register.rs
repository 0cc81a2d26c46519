//! The life of a service: it registers with the agent beside it, is found by others once its check passes, and says
//! goodbye. Takes the agent's address from `CONSUL_HTTP_ADDR` (`127.0.0.1:8500` unless set).
#![expect(clippy::print_stdout, reason = "a program to watch")]

use reqwest::Client;
use serde_json::{Value, json};
use std::error::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // reqwest leaves the choice of cryptography to the program.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let agent = std::env::var("CONSUL_HTTP_ADDR").unwrap_or_else(|_| "127.0.0.1:8500".to_owned());
    let agent = format!("http://{}", agent.trim_start_matches("http://"));
    let http = Client::builder().no_proxy().build()?;

    // The service itself: whoever asks is told that all is well.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(serve(listener));

    let service = json!({
        "ID": format!("greeter-{port}"),
        "Name": "greeter",
        "Address": "127.0.0.1",
        "Port": port,
        "Tags": ["v1"],
        "Check": {
            "HTTP": format!("http://127.0.0.1:{port}/health"),
            "Interval": "5s",
            "Timeout": "1s",
            // If this program dies without a word, it is forgotten by and by.
            "DeregisterCriticalServiceAfter": "1m",
        },
    });
    let register = format!("{agent}/v1/agent/service/register");
    let registered = http.put(register).body(service.to_string()).send().await;
    registered.map_err(|error| format!("no agent at {agent}: {error}"))?.error_for_status()?;
    println!("registered greeter-{port}");

    for instance in healthy(&http, &agent, "greeter").await? {
        let service = &instance["Service"];
        println!("found {} at {}:{}", service["ID"], service["Address"], service["Port"]);
    }

    let deregister = format!("{agent}/v1/agent/service/deregister/greeter-{port}");
    http.put(deregister).send().await?.error_for_status()?;
    println!("deregistered greeter-{port}");
    Ok(())
}

/// The healthy instances of a service, as soon as there are any. No polling: a request that names the index of the last
/// answer is held by the agent until there is something newer, or until `wait` is over.
async fn healthy(http: &Client, agent: &str, name: &str) -> Result<Vec<Value>, Box<dyn Error>> {
    let mut index = "0".to_owned();
    loop {
        let url = format!("{agent}/v1/health/service/{name}?passing&index={index}&wait=60s");
        let response = http.get(url).send().await?.error_for_status()?;
        if let Some(newer) = response.headers().get("X-Consul-Index") {
            index = newer.to_str()?.to_owned();
        }
        let instances: Vec<Value> = response.json().await?;
        if !instances.is_empty() {
            return Ok(instances);
        }
    }
}

async fn serve(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nok\n").await;
    }
}
