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
struct Agent {
    config: Config,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    node_name: String,
}

pub(crate) fn run(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    if matches.get_one::<bool>("wan") == Some(&true) {
        return Err(super::no_wan());
    }
    let nodes: Vec<&String> = matches.get_many("nodes").into_iter().flatten().collect();
    let (from, to) = match nodes[..] {
        [from] => (from, None),
        [from, to] => (from, Some(to)),
        _ => return Err(Failure::Usage("One or two node names must be specified".to_owned())),
    };
    let client = world.client(matches)?;
    let to = to.cloned().map_or_else(|| own_name(&client), Ok)?;
    let placed: Vec<Placed> =
        client.get("/v1/coordinate/nodes", &[]).map_err(Failure::doing("Error getting coordinates"))?;
    let seconds = place(&placed, from)?.distance(&place(&placed, &to)?);
    Ok(Output::line(format_args!("Estimated {from} <-> {to} rtt: {:.3} ms (using LAN coordinates)", seconds * 1000.0)))
}

fn own_name(client: &Client) -> Result<String, Failure> {
    let doing = Failure::doing("Unable to look up agent info");
    let Agent { config: Config { node_name } } = client.get("/v1/agent/self", &[]).map_err(doing)?;
    Ok(node_name)
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
