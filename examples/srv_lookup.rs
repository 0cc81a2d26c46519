//! Finds a service by SRV through the DNS of the agent beside it, and spreads its connections over the instances as RFC 2782
//! says: the lowest priority first, by weight, the next one when one does not answer.
//!
//! `cargo run --example srv_lookup -- web`, with an agent at `CONSUL_HTTP_ADDR` (`127.0.0.1:8500` unless set; its DNS is at
//! port 8600 of the same address).
#![expect(clippy::print_stdout, reason = "a program to watch")]

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use rand::seq::IndexedRandom as _;
use std::collections::BTreeMap;
use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;

const CONNECTIONS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy)]
struct Instance {
    address: SocketAddr,
    priority: u16,
    weight: u16,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let service = std::env::args().nth(1).ok_or("usage: srv_lookup SERVICE")?;
    let agent = std::env::var("CONSUL_HTTP_ADDR").unwrap_or_else(|_| "127.0.0.1:8500".to_owned());
    let agent: SocketAddr = agent.trim_start_matches("http://").parse()?;
    let resolver = resolver(agent.ip())?;

    let name = format!("{service}.service.consul.");
    let instances = instances(&resolver, &name).await?;
    for Instance { address, priority, weight } in &instances {
        println!("{name} is at {address}, priority {priority}, weight {weight}");
    }
    let mut taken = BTreeMap::new();
    for _ in 0..CONNECTIONS {
        let stream = connect(&instances).await?;
        *taken.entry(stream.peer_addr()?).or_insert(0) += 1;
    }
    for (address, connections) in taken {
        println!("{connections} of {CONNECTIONS} connections went to {address}");
    }
    Ok(())
}

/// A resolver that asks this agent and nobody else; by TCP what is too long for UDP.
fn resolver(agent: IpAddr) -> Result<TokioResolver, Box<dyn Error>> {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = 8600;
        connection
    });
    let server = NameServerConfig::new(agent, true, connections.to_vec());
    let config = ResolverConfig::from_name_servers(vec![server]);
    Ok(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).build()?)
}

/// The healthy instances of a service. The agent leaves out those whose checks fail, and answers NXDOMAIN when none is left.
async fn instances(resolver: &TokioResolver, name: &str) -> Result<Vec<Instance>, Box<dyn Error>> {
    let lookup = match resolver.srv_lookup(name).await {
        Ok(lookup) => lookup,
        Err(error) if error.is_no_records_found() => return Err(format!("{name} has no healthy instance").into()),
        Err(error) => return Err(format!("the DNS of the agent did not answer: {error}").into()),
    };
    let mut found = Vec::new();
    for record in lookup.answers() {
        let RData::SRV(srv) = &record.data else { continue };
        for ip in resolver.lookup_ip(srv.target.clone()).await?.iter() {
            let address = SocketAddr::new(ip, srv.port);
            found.push(Instance { address, priority: srv.priority, weight: srv.weight });
        }
    }
    Ok(found)
}

/// A connection to one of them.
async fn connect(instances: &[Instance]) -> Result<TcpStream, Box<dyn Error>> {
    let mut left = instances.to_vec();
    loop {
        let first = left.iter().map(|instance| instance.priority).min().ok_or("no instance answers")?;
        let candidates: Vec<Instance> = left.iter().filter(|instance| instance.priority == first).copied().collect();
        // Weight 0 is chosen seldom, but it is chosen.
        let chosen = candidates.choose_weighted(&mut rand::rng(), |instance| f64::from(instance.weight).max(0.1))?;
        match tokio::time::timeout(PATIENCE, TcpStream::connect(chosen.address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            _ => left.retain(|instance| instance.address != chosen.address),
        }
    }
}
