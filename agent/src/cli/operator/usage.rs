//! `operator usage`: how much the catalog holds.

use crate::cli::format::{self, Format};
use crate::cli::{Failure, Output, World, client};
use crate::config::flags::switch;
use clap::{ArgMatches, Command};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Spaces between columns, as Consul has them in these tables.
const GAP: usize = 6;

pub(crate) fn instances_arguments(command: Command) -> Command {
    client::server_options(
        command
            .after_help("Billable are those that are neither of the mesh nor the servers' own: nobody sends a bill.")
            .args([
                switch("billable", "Only billable instances"),
                switch("connect", "Only instances of the mesh"),
                switch("all-datacenters", "Of all datacenters"),
            ])
            .arg(format::flag()),
    )
}

#[derive(Deserialize)]
struct Report {
    #[serde(rename = "Usage")]
    usage: BTreeMap<String, Usage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Usage {
    services: u64,
    connect_service_instances: BTreeMap<String, u64>,
    billable_service_instances: u64,
}

/// What is shown of it.
#[derive(Clone, Copy)]
struct Shown {
    billable: bool,
    connect: bool,
    datacenters: bool,
}

pub(crate) fn instances(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let on = |name: &str| matches.get_one::<bool>(name) == Some(&true);
    if on("billable") && on("connect") {
        return Err(Failure::Usage("Cannot specify both -billable and -connect flags".to_owned()));
    }
    let shown = Shown { billable: !on("connect"), connect: !on("billable"), datacenters: on("all-datacenters") };
    let format = Format::read(matches)?;
    let query: &[_] = if shown.datacenters { &[("global", String::new())] } else { &[] };
    let doing = "Error fetching usage information";
    let client = world.client(matches)?;
    let answer: Value = client.get("/v1/operator/usage", query).map_err(Failure::doing(doing))?;
    match format {
        Format::Json => Ok(format::json(&answer)),
        Format::Pretty => Report::deserialize(&answer)
            .map(|report| Output::text(show(&report.usage, shown)))
            .map_err(|error| Failure::doing(doing)(client.strange(&error))),
    }
}

fn show(usage: &BTreeMap<String, Usage>, shown: Shown) -> String {
    let mut text = String::new();
    if shown.billable {
        let total: u64 = usage.values().map(|usage| usage.billable_service_instances).sum();
        text += &format!("Billable Service Instances Total: {total}\n");
        for (datacenter, usage) in usage {
            text += &format!("{datacenter} Billable Service Instances: {}\n", usage.billable_service_instances);
        }
        let services = usage.values().map(|usage| usage.services).sum::<u64>().to_string();
        let rows = usage.iter().map(|(datacenter, usage)| {
            [datacenter.clone(), usage.services.to_string(), usage.billable_service_instances.to_string()]
        });
        text += "\nBillable Services\n";
        text += &table("Services", rows, ["Total".to_owned(), services, total.to_string()], shown.datacenters);
        text += "\n";
    }
    if shown.connect {
        let counts = usage.iter().flat_map(|(datacenter, usage)| {
            usage.connect_service_instances.iter().map(move |(kind, count)| (datacenter, kind, *count))
        });
        let total: u64 = counts.clone().map(|(_, _, count)| count).sum();
        let rows = counts.map(|(datacenter, kind, count)| [datacenter.clone(), kind.clone(), count.to_string()]);
        text += "Connect Services\n";
        text += &table("Type", rows, ["Total".to_owned(), String::new(), total.to_string()], shown.datacenters);
    }
    text
}

/// The datacenter of each row, and the total of all, are shown only `by_datacenter`.
fn table(head: &str, rows: impl Iterator<Item = [String; 3]>, total: [String; 3], by_datacenter: bool) -> String {
    let mut lines = vec![["Datacenter", head, "Service instances"].map(str::to_owned)];
    lines.extend(rows);
    if by_datacenter {
        lines.extend([Default::default(), total]);
    }
    let first = usize::from(!by_datacenter);
    let widest = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default() + GAP;
    let widths = [widest(0), widest(1), 0];
    let line = |cells: &[String; 3]| {
        let cells = cells.iter().zip(widths).skip(first);
        let line: String = cells.map(|(cell, width)| format!("{cell:width$}")).collect();
        line.trim_end().to_owned() + "\n"
    };
    lines.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(services: u64, billable: u64, proxies: u64) -> Usage {
        let kinds = [("connect-native", 1), ("connect-proxy", proxies), ("terminating-gateway", 0)];
        Usage {
            services,
            connect_service_instances: kinds.map(|(kind, count)| (kind.to_owned(), count)).into(),
            billable_service_instances: billable,
        }
    }

    #[test]
    fn one_datacenter() {
        let usage = BTreeMap::from([("dc1".to_owned(), usage(10, 20, 3))]);
        let expected = "\
Billable Service Instances Total: 20
dc1 Billable Service Instances: 20

Billable Services
Services      Service instances
10            20

Connect Services
Type                     Service instances
connect-native           1
connect-proxy            3
terminating-gateway      0
";
        assert_eq!(show(&usage, Shown { billable: true, connect: true, datacenters: false }), expected);
    }

    #[test]
    fn all_datacenters() {
        let usage = BTreeMap::from([("dc1".to_owned(), usage(10, 20, 3)), ("dc2".to_owned(), usage(23, 33, 8))]);
        let shown = Shown { billable: true, connect: false, datacenters: true };
        let billable = "\
Billable Service Instances Total: 53
dc1 Billable Service Instances: 20
dc2 Billable Service Instances: 33

Billable Services
Datacenter      Services      Service instances
dc1             10            20
dc2             23            33

Total           33            53

";
        assert_eq!(show(&usage, shown), billable);
        let connect = show(&usage, Shown { billable: false, connect: true, ..shown });
        assert!(connect.starts_with("Connect Services\nDatacenter      Type                     Service"), "{connect}");
        assert!(connect.ends_with("\n\nTotal                                    13\n"), "{connect}");
    }
}
