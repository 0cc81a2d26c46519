//! `force-leave`: declares that a failed member has left.

use super::{Failure, Output, World, client};
use crate::config::flags::switch;
use crate::nearest::nearest;
use clap::{Arg, ArgAction, ArgMatches, Command};
use client::{Client, ClientError};

pub(crate) fn arguments(command: Command) -> Command {
    client::options(command.args([
        switch("prune", "Forget the member altogether, also one that has left"),
        switch("wan", "The name is that of a server of another datacenter: name.datacenter"),
        Arg::new("node").value_name("NODE").help("The member, by its name").action(ArgAction::Append),
    ]))
}

pub(crate) fn run(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let nodes: Vec<&String> = matches.get_many("node").into_iter().flatten().collect();
    let [node] = nodes[..] else {
        return Err(Failure::Usage("A single node name must be specified to force leave.".to_owned()));
    };
    let flags = ["prune", "wan"].into_iter().filter(|name| matches.get_one::<bool>(name) == Some(&true));
    let query: Vec<(&str, String)> = flags.map(|name| (name, String::new())).collect();
    let client = world.client(matches)?;
    let path = format!("/v1/agent/force-leave/{}", client::escape(node));
    match client.expect(reqwest::Method::PUT, &path, &query, Vec::new()) {
        Ok(_) => Ok(Output::default()),
        Err(error) => {
            let refused = matches!(error, ClientError::Status { .. });
            let hint = if refused { nearest_member(&client, node) } else { None };
            Err(Failure::doing("Error force leaving")(error).hint(hint))
        }
    }
}

/// A member that may have been meant; none if there is one of just that name.
fn nearest_member(client: &Client, node: &str) -> Option<String> {
    let members: Vec<serde_json::Value> = client.get("/v1/agent/members", &[]).ok()?;
    let names: Vec<&str> = members.iter().filter_map(|member| member["Name"].as_str()).collect();
    if names.iter().any(|name| name.eq_ignore_ascii_case(node)) {
        return None;
    }
    nearest(node, names).map(str::to_owned)
}
