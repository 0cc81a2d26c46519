//! `join`: makes the agent meet others.

use super::{Failure, Output, World, client};
use crate::config::flags::switch;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::fmt::Write;

pub(crate) fn arguments(command: Command) -> Command {
    client::options(
        command.args([
            switch("wan", "Join the servers of another datacenter"),
            Arg::new("addresses")
                .value_name("ADDRESS")
                .help("Where members listen for gossip: a name or an IP address, with a port or without")
                .action(ArgAction::Append),
        ]),
    )
}

pub(crate) fn run(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let addresses: Vec<&String> = matches.get_many("addresses").into_iter().flatten().collect();
    if addresses.is_empty() {
        return Err(Failure::Usage("At least one address to join must be specified.".to_owned()));
    }
    let wan = matches.get_one::<bool>("wan") == Some(&true);
    let query: &[(&str, String)] = if wan { &[("wan", "1".to_owned())] } else { &[] };
    let client = world.client(matches)?;
    let mut joined = 0;
    let mut output = Output::default();
    for address in &addresses {
        let path = format!("/v1/agent/join/{}", client::escape(address));
        match client.expect(reqwest::Method::PUT, &path, query, Vec::new()) {
            Ok(_) => joined += 1,
            Err(error) => {
                let _ = writeln!(output.stderr, "Error joining address '{address}': {error}");
            }
        }
    }
    if joined == 0 {
        output.stderr.push_str("Failed to join any nodes.\n");
        output.code = 1;
    } else {
        output.stdout = format!("Successfully joined cluster by contacting {joined} nodes.\n").into_bytes();
    }
    Ok(output)
}
