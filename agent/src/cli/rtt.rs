//! `rtt`: the round-trip time to be expected between two nodes.

use super::{Failure, Output, World, client};
use crate::config::flags::switch;
use clap::{Arg, ArgAction, ArgMatches, Command};
use client::Client;
use lictor_catalog::Coordinate;
use lictor_catalog::model::DIMENSIONS;
use serde::Deserialize;

pub(crate) fn arguments(command: Command) -> Command {
    client::options(
        command.args([
            switch("wan", "The nodes are servers, as node.datacenter, and the way between datacenters counts"),
            Arg::new("nodes")
                .value_name("NODE")
                .help("Two nodes, or one to measure from the agent's own")
                .action(ArgAction::Append),
        ]),
    )
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Placed {
    node: String,
    coord: Numbers,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Numbers {
    vec: [f64; DIMENSIONS],
    error: f64,
    adjustment: f64,
    height: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Datacenter {
    coordinates: Vec<Placed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Agent {
    config: Config,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    node_name: String,
    datacenter: String,
}

pub(crate) fn run(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let wan = matches.get_one::<bool>("wan") == Some(&true);
    let nodes: Vec<&String> = matches.get_many("nodes").into_iter().flatten().collect();
    let (from, to) = match nodes[..] {
        [from] => (from, None),
        [from, to] => (from, Some(to)),
        _ => return Err(Failure::Usage("One or two node names must be specified".to_owned())),
    };
    if wan && !nodes.iter().all(|node| node.contains('.')) {
        return Err(Failure::Usage("node names must be specified as <node name>.<datacenter> with -wan".to_owned()));
    }
    let client = world.client(matches)?;
    let to = to.cloned().map_or_else(|| own_name(&client, wan), Ok)?;
    let doing = || Failure::doing("Error getting coordinates");
    let placed: Vec<Placed> = if wan {
        let datacenters: Vec<Datacenter> = client.get("/v1/coordinate/datacenters", &[]).map_err(doing())?;
        datacenters.into_iter().flat_map(|datacenter| datacenter.coordinates).collect()
    } else {
        client.get("/v1/coordinate/nodes", &[]).map_err(doing())?
    };
    let seconds = place(&placed, from)?.distance(&place(&placed, &to)?);
    let network = if wan { "WAN" } else { "LAN" };
    Ok(Output::line(format_args!(
        "Estimated {from} <-> {to} rtt: {:.3} ms (using {network} coordinates)",
        seconds * 1000.0
    )))
}

fn own_name(client: &Client, wan: bool) -> Result<String, Failure> {
    let doing = Failure::doing("Unable to look up agent info");
    let Agent { config: Config { node_name, datacenter } } = client.get("/v1/agent/self", &[]).map_err(doing)?;
    Ok(if wan { format!("{node_name}.{datacenter}") } else { node_name })
}

/// Where the node is. Names are compared as the agent compares them, case-blind.
fn place(placed: &[Placed], node: &str) -> Result<Coordinate, Failure> {
    let found = placed.iter().find(|placed| placed.node.eq_ignore_ascii_case(node));
    let numbers = found.map(|placed| {
        let Numbers { vec, error, adjustment, height } = placed.coord;
        (vec, height, error, adjustment)
    });
    let place = numbers.and_then(|numbers| Coordinate::try_from(numbers).ok());
    place.ok_or_else(|| Failure::Refused(format!("Could not find a coordinate for node {node:?}")))
}
