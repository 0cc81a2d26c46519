//! `maint`: takes the node, or a service on it, out of service and back, and shows what is out.

use super::format::{self, Format};
use super::table::printable;
use super::{Failure, Output, World, client};
use crate::config::flags::switch;
use crate::nearest::nearest;
use clap::{Arg, ArgMatches, Command};
use client::{Client, ClientError};
use lictor_catalog::model::{CheckId, NODE_MAINTENANCE};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;

pub(crate) fn arguments(command: Command) -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    client::options(command.after_help("Without -enable and -disable it shows what is in maintenance.").args([
        switch("enable", "Begin maintenance: whoever asks for healthy instances no longer gets it"),
        switch("disable", "End maintenance"),
        text("reason", "TEXT", "Why, for those who wonder; with -enable"),
        text("service", "ID", "A service of this agent, instead of the whole node"),
        format::flag(),
    ]))
}

pub(crate) fn run(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let on = |name: &str| matches.get_one::<bool>(name) == Some(&true);
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str).filter(|text| !text.is_empty());
    let usage = |problem: &str| Err(Failure::Usage(problem.to_owned()));
    let (enable, disable) = (on("enable"), on("disable"));
    if enable && disable {
        return usage("Only one of -enable or -disable may be provided");
    }
    if !enable && text("reason").is_some() {
        return usage("Reason may only be provided with -enable");
    }
    if !enable && !disable && text("service").is_some() {
        return usage("Service requires either -enable or -disable");
    }
    let format = Format::read(matches)?;
    let client = world.client(matches)?;
    if !enable && !disable {
        let found = look(&client)?;
        return Ok(match format {
            Format::Pretty => Output::text(show(&found)),
            Format::Json => format::json(&found),
        });
    }
    if enable && let Some(standing) = standing(look(&client)?, text("service")) {
        return Ok(Output::line(standing));
    }
    turn(&client, enable, text("service"), text("reason"))
}

/// That it is out already: the agent keeps the first reason, and whoever gives another must know.
fn standing(found: Vec<Out>, service: Option<&str>) -> Option<String> {
    found.into_iter().find_map(|out| match (out, service) {
        (Out::Node { reason, .. }, None) => {
            Some(format!("Node maintenance is enabled already: {reason} (-disable it first to give another reason)"))
        }
        (Out::Service { id, reason }, Some(service)) if id == service => Some(format!(
            "Service maintenance is enabled already for {id:?}: {reason} (-disable it first to give another reason)"
        )),
        _ => None,
    })
}

fn turn(client: &Client, enable: bool, service: Option<&str>, reason: Option<&str>) -> Result<Output, Failure> {
    let mut query = vec![("enable", enable.to_string())];
    query.extend(reason.map(|reason| ("reason", reason.to_owned())));
    let (path, what) = match service {
        None => ("/v1/agent/maintenance".to_owned(), "node"),
        Some(id) => (format!("/v1/agent/service/maintenance/{}", client::escape(id)), "service"),
    };
    let doing = format!("Error {} {what} maintenance", if enable { "enabling" } else { "disabling" });
    if let Err(error) = client.expect(reqwest::Method::PUT, &path, &query, Vec::new()) {
        return Err(match service {
            Some(id) if error.is_not_found() => Failure::doing(doing)(error).hint(nearest_service(client, id)),
            _ => Failure::doing(doing)(error),
        });
    }
    let word = if enable { "enabled" } else { "disabled" };
    Ok(Output::line(match service {
        None => format!("Node maintenance is now {word}"),
        Some(id) => format!("Service maintenance is now {word} for {id:?}"),
    }))
}

/// The id of a service on this agent that may have been meant.
pub(crate) fn nearest_service(client: &Client, id: &str) -> Option<String> {
    let services: BTreeMap<String, Value> = client.get("/v1/agent/services", &[]).ok()?;
    nearest(id, services.keys().map(String::as_str)).map(str::to_owned)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    #[serde(rename = "CheckID")]
    id: CheckId,
    #[serde(default)]
    notes: String,
    #[serde(rename = "ServiceID", default)]
    service: String,
}

/// What is in maintenance.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all_fields = "PascalCase")]
enum Out {
    Node {
        name: String,
        reason: String,
    },
    Service {
        #[serde(rename = "ID")]
        id: String,
        reason: String,
    },
}

fn look(client: &Client) -> Result<Vec<Out>, Failure> {
    let agent: Value = client.get("/v1/agent/self", &[]).map_err(Failure::doing("Error querying Consul agent"))?;
    let checks: Result<BTreeMap<String, Check>, ClientError> = client.get("/v1/agent/checks", &[]);
    let name = agent["Config"]["NodeName"].as_str().unwrap_or_default();
    Ok(out(checks.map_err(Failure::doing("Error getting checks"))?.into_values(), name))
}

/// The node first, then services by id.
fn out(checks: impl Iterator<Item = Check>, node: &str) -> Vec<Out> {
    let one = |check: Check| match &*check.id {
        NODE_MAINTENANCE => Some(Out::Node { name: node.to_owned(), reason: check.notes }),
        _ if check.id.is_maintenance() => Some(Out::Service { id: check.service, reason: check.notes }),
        _ => None,
    };
    checks.filter_map(one).collect()
}

fn show(found: &[Out]) -> String {
    let mut text = String::new();
    for out in found {
        let (head, label, name, reason) = match out {
            Out::Node { name, reason } => ("Node", "Name:  ", name, reason),
            Out::Service { id, reason } => ("Service", "ID:    ", id, reason),
        };
        let (name, reason) = (printable(name), printable(reason));
        let _ = writeln!(text, "{head}:\n  {label} {name}\n  Reason: {reason}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_is_shown_with_its_reason() {
        let checks: Vec<Check> = serde_json::from_value(serde_json::json!([
            {"CheckID": "_node_maintenance", "Notes": "disk swap"},
            {"CheckID": "_service_maintenance:web-1", "Notes": "upgrade", "ServiceID": "web-1"},
            {"CheckID": "service:web-1", "Notes": "", "ServiceID": "web-1"},
        ]))
        .expect("checks");
        let found = out(checks.into_iter(), "n1");
        let expected = "Node:\n  Name:   n1\n  Reason: disk swap\n\nService:\n  ID:     web-1\n  Reason: upgrade\n\n";
        assert_eq!(show(&found), expected);
        assert_eq!(show(&[]), "");
        let known = standing(found, Some("web-1")).expect("out already");
        assert!(known.starts_with("Service maintenance is enabled already for \"web-1\": upgrade ("), "{known}");
        assert_eq!(standing(Vec::new(), None), None);
    }
}
