//! `version`: lictor's own release, and the level of Consul that clients may count on.

use super::format::{self, Format};
use super::{Failure, Output, World};
use crate::view::{CONSUL_LEVEL, VERSION};
use clap::{ArgMatches, Command};
use serde_json::json;

pub(crate) fn arguments(command: Command) -> Command {
    command.args_override_self(true).arg(format::flag())
}

pub(crate) fn run(matches: &ArgMatches, _: &World) -> Result<Output, Failure> {
    Ok(match Format::read(matches)? {
        Format::Json => Output::line(machine()),
        Format::Pretty => Output::text(pretty()),
    })
}

fn pretty() -> String {
    format!(
        "lictor v{VERSION} (speaks Consul {CONSUL_LEVEL})\n\
         Protocol 2 spoken by default, understands 2 to 3 (agent will automatically use protocol >2 when speaking to \
         compatible agents)\n"
    )
}

/// Clients read `Version` to find out what they may ask for, so it is the level of Consul.
fn machine() -> String {
    let version = json!({
        "Version": CONSUL_LEVEL, "Revision": "", "Prerelease": "",
        "RPC": {"Default": 2, "Min": 2, "Max": 3},
        "Lictor": VERSION,
    });
    serde_json::to_string_pretty(&version).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn clients_see_consuls_level_and_people_see_both() {
        let json: serde_json::Value = serde_json::from_str(&super::machine()).expect("JSON");
        assert_eq!(json["Version"], "1.22.0");
        assert_eq!(json["RPC"]["Max"], 3);
        assert!(super::pretty().starts_with("lictor v0.1.0 (speaks Consul 1.22.0)\nProtocol 2 spoken"));
    }
}
