//! `operator raft`: the servers' consensus.

use crate::cli::format::{self, Format};
use crate::cli::{Failure, Output, World, client, table};
use crate::config::flags::switch;
use clap::{Arg, ArgMatches, Command};
use serde::{Deserialize, Serialize};
use std::io::{IsTerminal, Write};

pub(crate) fn list_peers_arguments(command: Command) -> Command {
    client::server_options(
        command.arg(switch("detailed", "Accepted; all columns are always shown")).arg(format::flag()),
    )
}

pub(crate) fn remove_peer_arguments(command: Command) -> Command {
    client::server_options(
        command
            .after_help(
                "For a server that is gone for good: one that is alive joins again by itself, and one that says goodbye\n\
                 (lictor leave) is taken off by itself.",
            )
            .arg(Arg::new("id").long("id").value_name("ID").help("The server's id, as list-peers shows it"))
            .arg(Arg::new("address").long("address").value_name("IP:PORT").help("Or its address")),
    )
}

pub(crate) fn remove_peer(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let given = |name: &'static str| matches.get_one::<String>(name).map(|value| (name, value.clone()));
    let (name, value) = match (given("id"), given("address")) {
        (Some(one), None) | (None, Some(one)) => one,
        (Some(_), Some(_)) => return Err(Failure::Usage("cannot give both an address and id".to_owned())),
        (None, None) => return Err(Failure::Usage("an address or id is required for the peer to remove".to_owned())),
    };
    world
        .client(matches)?
        .expect(reqwest::Method::DELETE, "/v1/operator/raft/peer", &[(name, value.clone())], Vec::new())
        .map_err(Failure::doing("Error removing peer"))?;
    Ok(Output::line(format_args!("Removed peer with {name} {value:?}")))
}

pub(crate) fn transfer_leader_arguments(command: Command) -> Command {
    client::server_options(
        command.arg(Arg::new("id").long("id").value_name("ID").help("To this server; without it, to the best")),
    )
}

pub(crate) fn transfer_leader(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let id = matches.get_one::<String>("id").map(|id| ("id", id.clone()));
    world
        .client(matches)?
        .expect(reqwest::Method::POST, "/v1/operator/raft/transfer-leader", id.as_slice(), Vec::new())
        .map_err(Failure::doing("Error transferring leadership"))?;
    Ok(Output::line("Success"))
}

pub(crate) fn recover_arguments(command: Command) -> Command {
    client::options(
        command
            .after_help(
                "Run it on a server that survived. It says what would be given up and asks before anything changes. It refuses\n\
                 while a majority is alive, and on a server that knows less than another survivor.",
            )
            .arg(
                Arg::new("confirm")
                    .long("confirm")
                    .value_name("CODE")
                    .help("Do it without asking; the code is shown by a run without this flag"),
            ),
    )
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Prospect {
    given_up: Vec<String>,
    to_empty: Vec<String>,
    index: u64,
    confirm: String,
}

pub(crate) fn recover(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let client = world.client(matches)?;
    let path = "/v1/operator/raft/recover";
    let prospect: Prospect = client.get(path, &[]).map_err(Failure::doing("Nothing is recovered"))?;
    let plan = plan(&prospect);
    let code = match matches.get_one::<String>("confirm") {
        Some(code) => code.clone(),
        None if agreed(&plan) => prospect.confirm,
        None => {
            let again =
                format!("Nothing was changed. To go on: lictor operator raft recover -confirm={}\n", prospect.confirm);
            return Ok(Output::text(format!("{plan}\n{again}")));
        }
    };
    client
        .expect(reqwest::Method::PUT, path, &[("confirm", code)], Vec::new())
        .map_err(Failure::doing("Nothing is recovered"))?;
    let mut done =
        "Recovered: this server leads. Add new servers; each becomes a voter once it has been well for ten seconds.\n"
            .to_owned();
    for survivor in &prospect.to_empty {
        done += &format!("Empty the directory raft in the data directory of {survivor} and start it again.\n");
    }
    Ok(Output::text(done))
}

fn plan(prospect: &Prospect) -> String {
    let mut text =
        format!("This server goes on as the only voter, with everything up to index {}.\n\n", prospect.index);
    for server in &prospect.given_up {
        text += &format!("  given up:  {server}\n");
    }
    for server in &prospect.to_empty {
        text += &format!("  to empty:  {server} (alive, stops by itself, joins anew with an empty directory raft)\n");
    }
    text + "\nWhat only the servers that are given up had acknowledged is lost. They must not come back with their old data;\n\
            should they, they stop as soon as they see this one.\n"
}

/// Asks whoever sits at the terminal; without one nobody agrees.
fn agreed(plan: &str) -> bool {
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    if !stdin.is_terminal() || !stderr.is_terminal() {
        return false;
    }
    let asked = write!(stderr, "{plan}\nGo on? Type yes: ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    asked.is_ok() && stdin.read_line(&mut answer).is_ok() && answer.trim() == "yes"
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
