//! `members`: who is there, as gossip knows it.

use super::format::{self, Format};
use super::table::{self, Tone};
use super::{Failure, Output, World, client};
use crate::config::flags::switch;
use clap::{Arg, ArgMatches, Command};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(crate) fn arguments(command: Command) -> Command {
    client::options(command.args([
        switch("detailed", "Show all tags"),
        switch("wan", "Show the servers of all datacenters"),
        Arg::new("status").long("status").value_name("REGEX").help("Show members of this status").default_value(".*"),
        Arg::new("segment").long("segment").value_name("NAME").help("Accepted for Consul Enterprise"),
        Arg::new("filter").long("filter").value_name("EXPRESSION").help("Show members that match"),
        format::flag(),
    ]))
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
struct Member {
    name: String,
    addr: String,
    port: u16,
    tags: Option<BTreeMap<String, String>>,
    status: u8,
    protocol_cur: u8,
}

pub(crate) fn run(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let pattern = matches.get_one::<String>("status").map_or(".*", String::as_str);
    let status = regex_lite::Regex::new(&format!("^(?:{pattern})$"))
        .map_err(|error| Failure::Usage(format!("Failed to compile status regexp: {error}")))?;
    let mut query = vec![("segment", "_all".to_owned())];
    if let Some(segment) = matches.get_one::<String>("segment") {
        query[0].1.clone_from(segment);
    }
    if matches.get_one::<bool>("wan") == Some(&true) {
        return Err(super::no_wan());
    }
    query.extend(matches.get_one::<String>("filter").map(|filter| ("filter", filter.clone())));
    let format = Format::read(matches)?;
    let client = world.client(matches)?;
    let found: Vec<Member> =
        client.get("/v1/agent/members", &query).map_err(Failure::doing("Error retrieving members"))?;
    let found = sorted(found, &status);
    let code = if found.is_empty() { NOBODY } else { 0 };
    if format == Format::Json {
        return Ok(Output { code, ..format::json(&found) });
    }
    let detailed = matches.get_one::<bool>("detailed") == Some(&true);
    let text = if found.is_empty() { String::new() } else { show(&found, detailed, world.bold) };
    Ok(Output { code, ..Output::text(text) })
}

/// The exit code when there is nobody to show, so that scripts can tell.
const NOBODY: u8 = 2;

fn sorted(mut members: Vec<Member>, status: &regex_lite::Regex) -> Vec<Member> {
    members.retain(|member| status.is_match(word(member.status)));
    members.sort_by(|a, b| a.name.cmp(&b.name));
    members
}

fn show(members: &[Member], detailed: bool, bold: bool) -> String {
    let rows: Vec<Vec<String>> =
        members.iter().map(|member| if detailed { tags(member) } else { row(member) }).collect();
    let heads: &[&str] = if detailed {
        &["Node", "Address", "Status", "Tags"]
    } else {
        &["Node", "Address", "Status", "Type", "Build", "Protocol", "DC", "Partition", "Segment"]
    };
    table::render_toned(heads, &rows, bold, |row| match row[2].as_str() {
        "failed" => Tone::Bad,
        "leaving" => Tone::Doubtful,
        "left" | "none" => Tone::Faint,
        _ => Tone::Plain,
    })
}

/// Serf's numbers.
const fn word(status: u8) -> &'static str {
    match status {
        1 => "alive",
        2 => "leaving",
        3 => "left",
        4 => "failed",
        _ => "none",
    }
}

fn address(member: &Member) -> String {
    if member.addr.contains(':') {
        format!("[{}]:{}", member.addr, member.port)
    } else {
        format!("{}:{}", member.addr, member.port)
    }
}

fn row(member: &Member) -> Vec<String> {
    let tags = member.tags.clone().unwrap_or_default();
    let tag = |name: &str| tags.get(name).cloned().unwrap_or_default();
    let (kind, segment) = match tag("role").as_str() {
        "consul" => ("server", "<all>".to_owned()),
        "node" => {
            ("client", Some(tag("segment")).filter(|name| !name.is_empty()).unwrap_or_else(|| "<default>".to_owned()))
        }
        _ => ("unknown", String::new()),
    };
    let or = |text: String, other: &str| if text.is_empty() { other.to_owned() } else { text };
    let build = tag("build").split(':').next().unwrap_or_default().to_owned();
    let protocol = or(tag("vsn"), &member.protocol_cur.to_string());
    let partition = or(tag("ap"), "default");
    let status = word(member.status).to_owned();
    let name = member.name.clone();
    vec![name, address(member), status, kind.to_owned(), or(build, "unknown"), protocol, tag("dc"), partition, segment]
}

fn tags(member: &Member) -> Vec<String> {
    let tags = member.tags.iter().flatten().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
    vec![member.name.clone(), address(member), word(member.status).to_owned(), tags]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBERS: &str = r#"[
        {"Name":"web-1","Addr":"10.0.0.9","Port":8301,"Status":4,"ProtocolCur":2,
         "Tags":{"role":"node","build":"1.22.0:abc","vsn":"2","dc":"dc1","segment":""}},
        {"Name":"a","Addr":"::1","Port":8301,"Status":1,"ProtocolCur":2,
         "Tags":{"role":"consul","build":"1.22.0","vsn":"2","dc":"dc1"}}]"#;

    #[track_caller]
    fn check(status: &str, detailed: bool, expected: &str) {
        let members = serde_json::from_str(MEMBERS).expect("members");
        let status = regex_lite::Regex::new(&format!("^(?:{status})$")).expect("a pattern");
        assert_eq!(show(&sorted(members, &status), detailed, false), expected);
    }

    #[test]
    fn tables() {
        check(
            ".*",
            false,
            "Node   Address        Status  Type    Build   Protocol  DC   Partition  Segment\n\
             a      [::1]:8301     alive   server  1.22.0  2         dc1  default    <all>\n\
             web-1  10.0.0.9:8301  failed  client  1.22.0  2         dc1  default    <default>\n",
        );
        check(
            "fail.*",
            true,
            "Node   Address        Status  Tags\n\
             web-1  10.0.0.9:8301  failed  build=1.22.0:abc,dc=dc1,role=node,segment=,vsn=2\n",
        );
    }

    #[test]
    fn a_failed_member_stands_out_on_a_terminal() {
        let members = serde_json::from_str(MEMBERS).expect("members");
        let every = regex_lite::Regex::new("").expect("a pattern");
        let text = show(&sorted(members, &every), false, true);
        let starts: Vec<&str> = text.lines().map(|line| line.get(..5).unwrap_or_default()).collect();
        assert_eq!(starts, ["\u{1b}[1mN", "a    ", "\u{1b}[31m"], "{text}");
    }
}
