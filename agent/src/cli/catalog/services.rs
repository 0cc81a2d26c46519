//! `catalog services`: the names of all services, or of one node's.

use crate::cli::format::{self, Format};
use crate::cli::{Failure, Output, World, client, table};
use crate::config::flags::switch;
use clap::{Arg, ArgMatches, Command};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn arguments(command: Command) -> Command {
    client::server_options(command.args([
        Arg::new("node").long("node").value_name("NODE").help("Only services of this node, by name or id"),
        super::node_meta_flag(),
        switch("tags", "Show the services' tags"),
        format::flag(),
    ]))
}

type Names = BTreeMap<String, BTreeSet<String>>;

#[derive(Deserialize)]
struct NodeServices {
    #[serde(rename = "Services")]
    services: Option<BTreeMap<String, Instance>>,
}

#[derive(Deserialize)]
struct Instance {
    #[serde(rename = "Service")]
    service: String,
    #[serde(rename = "Tags")]
    tags: Option<Vec<String>>,
}

pub(crate) fn run(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let query = super::node_meta(matches)?;
    let format = Format::read(matches)?;
    let client = world.client(matches)?;
    let doing = || Failure::doing("Error listing services");
    let names: Names = match matches.get_one::<String>("node").filter(|node| !node.is_empty()) {
        None => {
            let found: BTreeMap<String, Option<BTreeSet<String>>> =
                client.get("/v1/catalog/services", &query).map_err(doing())?;
            found.into_iter().map(|(name, tags)| (name, tags.unwrap_or_default())).collect()
        }
        Some(node) => {
            let path = format!("/v1/catalog/node/{}", client::escape(node));
            let found: Option<NodeServices> = client.get(&path, &query).map_err(doing())?;
            let mut names = Names::new();
            for instance in found.and_then(|node| node.services).unwrap_or_default().into_values() {
                names.entry(instance.service).or_default().extend(instance.tags.unwrap_or_default());
            }
            names
        }
    };
    if format == Format::Json {
        return Ok(format::json(&names));
    }
    Ok(show(&names, matches.get_one::<bool>("tags") == Some(&true)))
}

fn show(names: &Names, tags: bool) -> Output {
    if names.is_empty() {
        return Output::complaint("No services match the given query - try expanding your search.", 0);
    }
    if !tags {
        return Output::text(names.keys().fold(String::new(), |all, name| all + &table::printable(name) + "\n"));
    }
    let joined = |tags: &BTreeSet<String>| tags.iter().map(String::as_str).collect::<Vec<_>>().join(",");
    let rows: Vec<Vec<String>> = names.iter().map(|(name, tags)| vec![name.clone(), joined(tags)]).collect();
    Output::text(table::render(&[], &rows, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_alone_or_with_tags() {
        let names: Names = serde_json::from_str(r#"{"web":["v2","v1"],"consul":[]}"#).expect("names");
        assert_eq!(show(&names, false).stdout, b"consul\nweb\n");
        assert_eq!(show(&names, true).stdout, b"consul\nweb     v1,v2\n");
        assert_eq!(show(&Names::new(), true).code, 0);
    }
}
