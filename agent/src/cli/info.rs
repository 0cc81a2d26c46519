//! `info`: what the agent tells about itself, for people who look for a fault.

use super::format::{self, Format};
use super::{Failure, Output, World, client};
use clap::{ArgMatches, Command};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;

pub(crate) fn arguments(command: Command) -> Command {
    client::options(command.arg(format::flag()))
}

type Stats = BTreeMap<String, BTreeMap<String, Value>>;

#[derive(Deserialize)]
struct Agent {
    #[serde(rename = "Stats", default)]
    stats: Option<Stats>,
}

pub(crate) fn run(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let format = Format::read(matches)?;
    let agent: Agent =
        world.client(matches)?.get("/v1/agent/self", &[]).map_err(Failure::doing("Error querying agent"))?;
    let stats = agent.stats.unwrap_or_default();
    Ok(match format {
        Format::Pretty => Output::text(show(&stats)),
        Format::Json => format::json(&stats),
    })
}

fn show(stats: &Stats) -> String {
    let mut out = String::new();
    for (section, values) in stats {
        let _ = writeln!(out, "{section}:");
        for (key, value) in values {
            let _ = match value {
                Value::String(text) => writeln!(out, "\t{key} = {text}"),
                other => writeln!(out, "\t{key} = {other}"),
            };
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn sections_and_keys_are_sorted() {
        let stats = serde_json::json!({"raft": {"term": "2", "state": "Leader"}, "agent": {"services": 1}});
        let text = super::show(&serde_json::from_value(stats).expect("stats"));
        assert_eq!(text, "agent:\n\tservices = 1\nraft:\n\tstate = Leader\n\tterm = 2\n");
    }
}
