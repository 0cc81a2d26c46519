//! `operator autopilot`: how the leader tends the servers, and how well they are.

use crate::cli::format::{self, Format};
use crate::cli::{Failure, Output, World, client};
use crate::config::flags::switch;
use crate::time::parse_duration;
use clap::{Arg, ArgMatches, Command};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write as _;

const PATH: &str = "/v1/operator/autopilot/configuration";

/// The settings as they are shown, by their names in the API.
const SETTINGS: [&str; 8] = [
    "CleanupDeadServers",
    "LastContactThreshold",
    "MaxTrailingLogs",
    "MinQuorum",
    "ServerStabilizationTime",
    "RedundancyZoneTag",
    "DisableUpgradeMigration",
    "UpgradeVersionTag",
];

pub(crate) fn get_config_arguments(command: Command) -> Command {
    client::server_options(command.arg(format::flag()))
}

pub(crate) fn get_config(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let format = Format::read(matches)?;
    let settings: Map<String, Value> =
        world.client(matches)?.get(PATH, &[]).map_err(Failure::doing("Error querying Autopilot configuration"))?;
    Ok(match format {
        Format::Pretty => Output::text(show_settings(&settings)),
        Format::Json => format::json(&settings),
    })
}

/// Spans are shown bare, texts that may be empty in quotes.
fn show_settings(settings: &Map<String, Value>) -> String {
    let shown = |name: &str| match settings.get(name) {
        Some(Value::String(text)) if !name.ends_with("Tag") => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    };
    SETTINGS.iter().fold(String::new(), |text, name| text + name + " = " + &shown(name) + "\n")
}

pub(crate) fn set_config_arguments(command: Command) -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let number = |name, help| option(name, "N", help).value_parser(clap::value_parser!(u64));
    let span = |name, help| {
        option(name, "DURATION", help).value_parser(|text: &str| parse_duration(text).map(|_| text.to_owned()))
    };
    client::server_options(
        command
            .after_help("What is not named stays as it is.")
            .arg(switch("cleanup-dead-servers", "Take servers that failed off the configuration"))
            .arg(span("last-contact-threshold", "Who is not heard for longer is not healthy"))
            .arg(number("max-trailing-logs", "Whose log is further behind is not healthy, and does not become a voter"))
            .arg(number("min-quorum", "Leave at least so many voters when one that failed is taken off"))
            .arg(span("server-stabilization-time", "How long a new server must have been well before it votes")),
    )
}

pub(crate) fn set_config(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let text = |name: &str| matches.get_one::<String>(name).map(|text| Value::from(text.as_str()));
    let number = |name: &str| matches.get_one::<u64>(name).map(|number| Value::from(*number));
    let given = [
        ("CleanupDeadServers", matches.get_one::<bool>("cleanup-dead-servers").map(|on| Value::from(*on))),
        ("LastContactThreshold", text("last-contact-threshold")),
        ("MaxTrailingLogs", number("max-trailing-logs")),
        ("MinQuorum", number("min-quorum")),
        ("ServerStabilizationTime", text("server-stabilization-time")),
    ];
    let given: Vec<_> = given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    if given.is_empty() {
        return Err(Failure::Usage("Nothing to set: name what is to change; see -help".to_owned()));
    }
    let client = world.client(matches)?;
    let mut settings: Map<String, Value> =
        client.get(PATH, &[]).map_err(Failure::doing("Error querying Autopilot configuration"))?;
    settings.extend(given);
    let index = settings.get("ModifyIndex").and_then(Value::as_u64).unwrap_or_default();
    let body = Value::Object(settings).to_string().into_bytes();
    let set = client
        .expect(reqwest::Method::PUT, PATH, &[("cas", index.to_string())], body)
        .and_then(|answer| client.parse::<bool>(&answer))
        .map_err(Failure::doing("Error setting Autopilot configuration"))?;
    if set {
        Ok(Output::line("Configuration updated!"))
    } else {
        Err(Failure::Refused("Configuration could not be atomically updated, please try again".to_owned()))
    }
}

pub(crate) fn state_arguments(command: Command) -> Command {
    client::server_options(command.arg(format::flag()))
}

pub(crate) fn state(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let format = Format::read(matches)?;
    let state: Value = world
        .client(matches)?
        .get("/v1/operator/autopilot/state", &[])
        .map_err(Failure::doing("Error retrieving Autopilot state"))?;
    match format {
        Format::Json => Ok(format::json(&state)),
        Format::Pretty => State::deserialize(&state)
            .map(|state| Output::text(show_state(&state)))
            .map_err(|error| Failure::Refused(format!("the agent's answer is not what was expected: {error}"))),
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct State {
    healthy: bool,
    failure_tolerance: u64,
    optimistic_failure_tolerance: u64,
    servers: BTreeMap<String, Server>,
    leader: Option<String>,
    voters: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Server {
    name: String,
    address: String,
    node_status: String,
    version: String,
    last_contact: String,
    last_term: u64,
    last_index: u64,
    healthy: bool,
    status: String,
    meta: BTreeMap<String, String>,
    node_type: String,
}

fn show_state(state: &State) -> String {
    let State { healthy, failure_tolerance, optimistic_failure_tolerance, servers, leader, voters } = state;
    let leader = leader.as_deref().unwrap_or_default();
    let mut text = format!(
        "Healthy:                      {healthy}\nFailure Tolerance:            {failure_tolerance}\n\
         Optimistic Failure Tolerance: {optimistic_failure_tolerance}\nLeader:                       {leader}\nVoters:\n"
    );
    for voter in voters {
        text += &format!("   {voter}\n");
    }
    text += "Servers:\n";
    for (id, server) in servers {
        let rows = [
            ("Name", server.name.clone()),
            ("Address", server.address.clone()),
            ("Version", server.version.clone()),
            ("Status", server.status.clone()),
            ("Node Type", server.node_type.clone()),
            ("Node Status", server.node_status.clone()),
            ("Healthy", server.healthy.to_string()),
            ("Last Contact", server.last_contact.clone()),
            ("Last Term", server.last_term.to_string()),
            ("Last Index", server.last_index.to_string()),
        ];
        text += &format!("   {id}\n");
        for (name, value) in rows {
            // Writing to memory never fails.
            let _ = writeln!(text, "      {:<14} {value}", format!("{name}:"));
        }
        text += "      Meta\n";
        for (key, value) in &server.meta {
            text += &format!("         {key:?}: {value:?}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn settings() {
        let settings = serde_json::from_str(
            r#"{"CleanupDeadServers":true,"LastContactThreshold":"200ms","MaxTrailingLogs":250,"MinQuorum":0,
                "ServerStabilizationTime":"10s","RedundancyZoneTag":"","DisableUpgradeMigration":false,
                "UpgradeVersionTag":"","CreateIndex":4,"ModifyIndex":4}"#,
        )
        .expect("settings");
        let expected = "\
CleanupDeadServers = true
LastContactThreshold = 200ms
MaxTrailingLogs = 250
MinQuorum = 0
ServerStabilizationTime = 10s
RedundancyZoneTag = \"\"
DisableUpgradeMigration = false
UpgradeVersionTag = \"\"
";
        assert_eq!(super::show_settings(&settings), expected);
    }

    #[test]
    fn state() {
        let state = serde_json::from_str(
            r#"{"Healthy":true,"FailureTolerance":0,"OptimisticFailureTolerance":0,"Leader":"i1","Voters":["i1"],
                "Servers":{"i1":{"ID":"i1","Name":"a","Address":"10.0.0.1:8300","NodeStatus":"alive","Version":"1.22.0",
                "LastContact":"0s","LastTerm":2,"LastIndex":9,"Healthy":true,"StableSince":"2026-11-26T01:20:30Z",
                "ReadReplica":false,"Status":"leader","Meta":{"dc":"dc1"},"NodeType":"voter"}}}"#,
        )
        .expect("a state");
        let expected = "\
Healthy:                      true
Failure Tolerance:            0
Optimistic Failure Tolerance: 0
Leader:                       i1
Voters:
   i1
Servers:
   i1
      Name:          a
      Address:       10.0.0.1:8300
      Version:       1.22.0
      Status:        leader
      Node Type:     voter
      Node Status:   alive
      Healthy:       true
      Last Contact:  0s
      Last Term:     2
      Last Index:    9
      Meta
         \"dc\": \"dc1\"
";
        assert_eq!(super::show_state(&state), expected);
    }
}
