//! `operator raft`: the servers' consensus.

use crate::cli::format::{self, Format};
use crate::cli::{Failure, Output, World, client, table};
use crate::config::flags::switch;
use clap::{ArgMatches, Command};
use serde::{Deserialize, Serialize};

pub(crate) fn list_peers_command() -> Command {
    client::server_options(
        Command::new("list-peers")
            .about("Lists the servers of the configuration")
            .arg(switch("detailed", "Accepted; all columns are always shown"))
            .arg(format::flag()),
    )
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Configuration {
    servers: Vec<Server>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
struct Server {
    #[serde(rename = "ID")]
    id: String,
    node: String,
    address: String,
    leader: bool,
    protocol_version: String,
    voter: bool,
    last_index: u64,
}

pub(crate) fn list_peers(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let format = Format::read(matches)?;
    let configuration: Configuration = world
        .client(matches)?
        .get("/v1/operator/raft/configuration", &[])
        .map_err(Failure::doing("Error getting peers"))?;
    Ok(match format {
        Format::Pretty => Output::text(show(&configuration.servers, world.bold)),
        Format::Json => format::json(&configuration.servers),
    })
}

fn show(servers: &[Server], bold: bool) -> String {
    let leader = servers.iter().find(|server| server.leader).map(|server| server.last_index);
    let row = |server: &Server| {
        let trails = match leader {
            _ if server.leader => "-".to_owned(),
            Some(index) => match index.saturating_sub(server.last_index) {
                1 => "1 commit".to_owned(),
                behind => format!("{behind} commits"),
            },
            None => "-".to_owned(),
        };
        let name = if server.node.is_empty() { "(unknown)" } else { &server.node };
        vec![
            name.to_owned(),
            server.id.clone(),
            server.address.clone(),
            if server.leader { "leader" } else { "follower" }.to_owned(),
            server.voter.to_string(),
            if server.protocol_version.is_empty() { "3".to_owned() } else { server.protocol_version.clone() },
            server.last_index.to_string(),
            trails,
        ]
    };
    let heads = ["Node", "ID", "Address", "State", "Voter", "RaftProtocol", "Commit Index", "Trails Leader By"];
    table::render(&heads, &servers.iter().map(row).collect::<Vec<_>>(), bold)
}

#[cfg(test)]
mod tests {
    #[test]
    fn peers() {
        let servers = serde_json::from_str::<super::Configuration>(
            r#"{"Index":0,"Servers":[
                {"ID":"i1","Node":"a","Address":"10.0.0.1:8300","Leader":true,"ProtocolVersion":"3","Voter":true,"LastIndex":9},
                {"ID":"i2","Node":"","Address":"10.0.0.2:8300","Leader":false,"ProtocolVersion":"3","Voter":false,"LastIndex":8}]}"#,
        )
        .expect("a configuration")
        .servers;
        let expected = "\
Node       ID  Address        State     Voter  RaftProtocol  Commit Index  Trails Leader By
a          i1  10.0.0.1:8300  leader    true   3             9             -
(unknown)  i2  10.0.0.2:8300  follower  false  3             8             1 commit
";
        assert_eq!(super::show(&servers, false), expected);
    }
}
