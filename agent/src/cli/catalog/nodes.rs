//! `catalog nodes`: all nodes, or those that have a service.

use crate::cli::format::{self, Format};
use crate::cli::{Failure, Output, World, client, table};
use crate::config::flags::switch;
use clap::{Arg, ArgMatches, Command};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(crate) fn arguments(command: Command) -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    client::server_options(command.args([
        switch("detailed", "Show whole ids, tagged addresses and metadata"),
        text("filter", "EXPRESSION", "Only nodes that match"),
        text("near", "NODE", "Sort by round-trip time from this node; _agent is the agent's own"),
        super::node_meta_flag(),
        text("service", "NAME", "Only nodes with this service"),
        format::flag(),
    ]))
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
struct Node {
    #[serde(rename = "ID")]
    id: String,
    node: String,
    address: String,
    datacenter: String,
    tagged_addresses: Option<BTreeMap<String, String>>,
    #[serde(alias = "NodeMeta")]
    meta: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "Node")]
    node: Node,
}

pub(crate) fn run(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let text = |name: &str| matches.get_one::<String>(name).filter(|text| !text.is_empty());
    let mut query = super::node_meta(matches)?;
    query.extend(text("near").map(|near| ("near", near.clone())));
    query.extend(text("filter").map(|filter| ("filter", filter.clone())));
    let format = Format::read(matches)?;
    let client = world.client(matches)?;
    let doing = || Failure::doing("Error listing nodes");
    let mut nodes: Vec<Node> = match text("service") {
        Some(service) => {
            let path = format!("/v1/health/service/{}", client::escape(service));
            let entries: Vec<Entry> = client.get(&path, &query).map_err(doing())?;
            entries.into_iter().map(|entry| entry.node).collect()
        }
        None => client.get("/v1/catalog/nodes", &query).map_err(doing())?,
    };
    // A node may have several instances of a service; -near has already sorted them.
    let mut seen = std::collections::BTreeSet::new();
    nodes.retain(|node| seen.insert((node.id.clone(), node.node.clone())));
    if text("near").is_none() {
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
    }
    if format == Format::Json {
        return Ok(format::json(&nodes));
    }
    Ok(show(&nodes, matches.get_one::<bool>("detailed") == Some(&true), world.bold))
}

fn show(nodes: &[Node], detailed: bool, bold: bool) -> Output {
    if nodes.is_empty() {
        return Output::complaint("No nodes match the given query - try expanding your search.", 0);
    }
    let pairs = |map: &Option<BTreeMap<String, String>>| {
        map.iter().flatten().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
    };
    let row = |node: &Node| {
        let id = if detailed { node.id.clone() } else { node.id.chars().take(8).collect() };
        let mut row = vec![node.node.clone(), id, node.address.clone(), node.datacenter.clone()];
        if detailed {
            row.extend([pairs(&node.tagged_addresses), pairs(&node.meta)]);
        }
        row
    };
    let heads: &[&str] = if detailed {
        &["Node", "ID", "Address", "DC", "TaggedAddresses", "Meta"]
    } else {
        &["Node", "ID", "Address", "DC"]
    };
    Output::text(table::render(heads, &nodes.iter().map(row).collect::<Vec<_>>(), bold))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_tables() {
        let nodes: Vec<Node> = serde_json::from_str(
            r#"[{"ID":"8f246b77-f3e1-ff88-5b48-8ec93abf3e05","Node":"n1","Address":"10.0.0.1","Datacenter":"dc1",
                 "TaggedAddresses":{"lan":"10.0.0.1","wan":"1.1.1.1"},"Meta":null}]"#,
        )
        .expect("nodes");
        let text = |output: Output| String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(text(show(&nodes, false, false)), "Node  ID        Address   DC\nn1    8f246b77  10.0.0.1  dc1\n");
        let long = text(show(&nodes, true, false));
        assert!(long.ends_with("8ec93abf3e05  10.0.0.1  dc1  lan=10.0.0.1, wan=1.1.1.1\n"), "{long}");
        let none = show(&[], false, false);
        assert_eq!(
            (none.code, none.stderr.as_str()),
            (0, "No nodes match the given query - try expanding your search.\n")
        );
    }
}
