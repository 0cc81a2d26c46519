//! `agent`: reads the configuration, greets, and hands over to the runtime.

use super::{Output, emit, host};
use crate::config::{self, HttpAddr, Resolved, flags};
use clap::ArgMatches;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;

pub(crate) fn run(matches: &ArgMatches) -> ExitCode {
    let loaded = flags::read(matches).and_then(|args| config::load(args, &host::gather()));
    match loaded {
        Ok(resolved) => crate::runtime::run(resolved),
        Err(error) => emit(&Output::complaint(format!("==> {error}"), 1)),
    }
}

/// What a starting agent shows: who and where it is, and a first thing to try. `node_id` may be found only by the runtime.
#[must_use]
pub fn banner(resolved: &Resolved, node_id: Option<uuid::Uuid>) -> String {
    let mut out =
        format!("==> lictor v{} walks ahead (speaks Consul {})\n", crate::view::VERSION, crate::view::CONSUL_LEVEL);
    let mut line = |label: &str, value: &str| {
        let _ = writeln!(out, "    {label:>12}: {value}");
    };
    line("Node", &resolved.node_name);
    if let Some(id) = node_id.or(resolved.node_id) {
        line("Node ID", &id.to_string());
    }
    line("Datacenter", &resolved.datacenter);
    line("Role", &role(resolved));
    line("HTTP", &list(&resolved.http));
    line("DNS", &list(&resolved.dns));
    line("Gossip", &reached(resolved.serf_lan, resolved.advertise));
    if resolved.server {
        line("RPC", &reached(resolved.server_rpc, resolved.advertise));
    }
    if let Some(path) = &resolved.data_dir {
        line("Data", &path.display().to_string());
    }
    if !resolved.config_paths.is_empty() {
        line(
            "Config",
            &resolved.config_paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "),
        );
    }
    line("Log level", resolved.log.level.name());
    line("Encryption", if resolved.encrypt.is_some() { "gossip" } else { "none" });
    out.push_str(&first_steps(resolved));
    out
}

fn role(resolved: &Resolved) -> String {
    let memory = if resolved.dev { ", everything in memory" } else { "" };
    match (resolved.server, resolved.bootstrap, resolved.bootstrap_expect) {
        (false, ..) => "client".to_owned(),
        (true, true, _) => format!("server, forms a cluster alone{memory}"),
        (true, false, 0) => "server, joins a cluster".to_owned(),
        (true, false, expect) => format!("server, forms a cluster when {expect} have met"),
    }
}

fn list(addresses: &[impl ToString]) -> String {
    if addresses.is_empty() {
        return "off".to_owned();
    }
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn reached(bound: SocketAddr, advertise: IpAddr) -> String {
    let advertised = SocketAddr::new(advertise, bound.port());
    if advertised == bound { bound.to_string() } else { format!("{bound}, advertised as {advertised}") }
}

/// Commands that work as they stand, against the addresses that this agent really has.
fn first_steps(resolved: &Resolved) -> String {
    let mut steps = Vec::new();
    match resolved.http.first() {
        Some(HttpAddr::Tcp(address)) => steps.push(format!("curl http://{}/v1/catalog/nodes", local(*address))),
        Some(HttpAddr::Unix(path)) => {
            steps.push(format!("curl --unix-socket {} http://localhost/v1/catalog/nodes", path.display()));
        }
        None => {}
    }
    if let Some(address) = resolved.dns.first() {
        let address = local(*address);
        let port = if address.port() == 53 { String::new() } else { format!(" -p {}", address.port()) };
        // consul.service exists wherever there is a server.
        let name = format!("consul.service.{}", resolved.dns_config.domain.trim_end_matches('.'));
        steps.push(format!("dig @{}{port} {name}", address.ip()));
    }
    if steps.is_empty() {
        return String::new();
    }
    format!("==> Try it:\n{}", steps.iter().fold(String::new(), |all, step| format!("{all}    {step}\n")))
}

/// Where somebody on this machine reaches a listener.
fn local(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AgentArgs, Host};

    #[track_caller]
    fn check(args: AgentArgs, expected: &str) {
        let host = Host { hostname: "box".to_owned(), interfaces: vec![("eth0".to_owned(), [10, 0, 0, 7].into())] };
        assert_eq!(banner(&config::load(args, &host).expect("a configuration"), None), expected);
    }

    #[test]
    fn the_first_steps_fit_the_addresses() {
        check(
            AgentArgs { dev: true, ..AgentArgs::default() },
            "==> lictor v0.1.0 walks ahead (speaks Consul 1.22.0)
            Node: box
      Datacenter: dc1
            Role: server, forms a cluster alone, everything in memory
            HTTP: 127.0.0.1:8500
             DNS: 127.0.0.1:8600
          Gossip: 127.0.0.1:8301
             RPC: 127.0.0.1:8300
       Log level: DEBUG
      Encryption: none
==> Try it:
    curl http://127.0.0.1:8500/v1/catalog/nodes
    dig @127.0.0.1 -p 8600 consul.service.consul
",
        );
        let settings = r#"data_dir = "/d" domain = "example." addresses { http = "unix:///run/l.sock" dns = "0.0.0.0" }
            ports { dns = 53 } node_id = "8f246b77-f3e1-ff88-5b48-8ec93abf3e05" encrypt = "MDEyMzQ1Njc4OWFiY2RlZg==""#;
        check(
            AgentArgs { fragments: vec![settings.to_owned()], ..AgentArgs::default() },
            "==> lictor v0.1.0 walks ahead (speaks Consul 1.22.0)
            Node: box
         Node ID: 8f246b77-f3e1-ff88-5b48-8ec93abf3e05
      Datacenter: dc1
            Role: client
            HTTP: unix:///run/l.sock
             DNS: 0.0.0.0:53
          Gossip: 0.0.0.0:8301, advertised as 10.0.0.7:8301
            Data: /d
       Log level: INFO
      Encryption: gossip
==> Try it:
    curl --unix-socket /run/l.sock http://localhost/v1/catalog/nodes
    dig @127.0.0.1 consul.service.example
",
        );
    }
}
