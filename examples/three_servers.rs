//! One command, three servers and a client agent on addresses of their own, and a failover to watch: who leads, what is
//! known, the leader killed, how long writes stood still, who leads now, and the old leader catching up. Everything is
//! gone afterwards.
//!
//! `cargo run --release --example three_servers`
#![expect(clippy::print_stdout, reason = "a program to watch")]
#![expect(clippy::disallowed_methods, reason = "a stopwatch asks the clock")]

use lictor_examples::cluster::{Agent, Cluster, Result, until};
use serde_json::{Value, json};
use std::time::Instant;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    tokio::select! {
        shown = show() => shown,
        // Ends through here, so that the agents end, too.
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

async fn show() -> Result<()> {
    let cluster = Cluster::new()?;
    let begun = Instant::now();
    let mut servers = cluster.servers(3).await?;
    println!("Three servers, at {}, {} and {}.", servers[0].ip, servers[1].ip, servers[2].ip);
    let old = cluster.leader(&servers).await?;
    println!("{} leads, {:.1?} after the start.\n", servers[old].name, begun.elapsed());

    let client = cluster.client(4)?;
    until("the client agent", async || cluster.get(&client, "/v1/status/leader").await.ok()).await?;
    let service = json!({"Name": "db", "Port": 5432}).to_string();
    cluster.put(&client, "/v1/agent/service/register", service).await?;
    for server in &servers {
        let at = until("db at every server", async || instance(&cluster, server).await).await?;
        println!("{} knows: db is at {at}.", server.name);
    }
    cluster.write(&client, "color", "red").await?;
    println!("{} has written color = red.\n", client.name);

    println!("kill -9 {}", servers[old].name);
    let killed = Instant::now();
    servers[old].kill();
    cluster.write(&client, "color", "blue").await?;
    println!("Writes stood still for {:.1?}: {} has written color = blue.", killed.elapsed(), client.name);
    let new = cluster.leader(&servers).await?;
    println!("{} leads now.\n", servers[new].name);

    let begun = Instant::now();
    servers[old].start()?;
    // Stale: what this server itself has, whoever leads.
    let blue = async || cluster.get(&servers[old], "/v1/kv/color?raw&stale").await.ok().filter(|color| color == "blue");
    until("the newer color at the old leader", blue).await?;
    println!("{} is back, and {:.1?} after its start it knows: color = blue.", servers[old].name, begun.elapsed());
    Ok(())
}

/// Where this agent says that `db` is.
async fn instance(cluster: &Cluster, asked: &Agent) -> Option<String> {
    let body = cluster.get(asked, "/v1/health/service/db?passing&stale").await.ok()?;
    let found: Value = serde_json::from_str(&body).ok()?;
    let first = found.get(0)?;
    Some(format!("{}:{}", first["Node"]["Address"].as_str()?, first["Service"]["Port"]))
}
