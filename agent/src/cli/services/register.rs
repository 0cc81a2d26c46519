//! `services register`: from files, or from flags.

use crate::cli::{Failure, Output, World, client};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

pub(crate) fn arguments(command: Command) -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let many =
        |name: &'static str, value: &'static str, help: &'static str| text(name, value, help).action(ArgAction::Append);
    client::options(command.args([
        text("address", "ADDRESS", "Where the service listens; the node's address if not given"),
        text("id", "ID", "Id of this instance; its name if not given"),
        text("kind", "KIND", "connect-proxy, mesh-gateway, …"),
        many("meta", "KEY=VALUE", "Metadata (repeatable)"),
        text("name", "NAME", "Name of the service"),
        text("port", "PORT", "Port of the service").value_parser(value_parser!(u16)),
        many("tag", "TAG", "Tag (repeatable)"),
        many("tagged-address", "TAG=ADDRESS:PORT", "Address for a network (repeatable)"),
        super::files_argument(),
    ]))
}

pub(crate) fn run(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let paths: Vec<PathBuf> = matches.get_many("files").into_iter().flatten().cloned().collect();
    let named = matches.get_one::<String>("name").is_some();
    let definitions = match (paths.is_empty(), named) {
        (true, false) => {
            let text = "Service registration requires at least one file, or -name; see -help";
            return Err(Failure::Usage(text.to_owned()));
        }
        (false, true) => return Err(Failure::Usage("Give files or flags, not both".to_owned())),
        (true, true) => vec![("the flags".to_owned(), from_flags(matches)?)],
        // All are found valid before the first is sent.
        (false, false) => super::read(&paths)?,
    };
    let client = world.client(matches)?;
    let mut lines = String::new();
    for (file, definition) in &definitions {
        let name = super::text(definition, "name").unwrap_or_default();
        let body = definition.to_string().into_bytes();
        client
            .expect(reqwest::Method::PUT, "/v1/agent/service/register", &[], body)
            .map_err(Failure::doing(format!("Error registering service {name:?} of {file}")))?;
        lines.push_str(&format!("Registered service: {name}\n"));
    }
    Ok(Output::text(lines))
}

fn from_flags(matches: &ArgMatches) -> Result<Value, Failure> {
    let text = |flag: &str| matches.get_one::<String>(flag).cloned();
    let many = |flag: &str| matches.get_many::<String>(flag).into_iter().flatten();
    let mut definition = Map::new();
    for (flag, key) in [("name", "Name"), ("id", "ID"), ("address", "Address"), ("kind", "Kind")] {
        if let Some(value) = text(flag) {
            definition.insert(key.to_owned(), value.into());
        }
    }
    if let Some(port) = matches.get_one::<u16>("port") {
        definition.insert("Port".to_owned(), (*port).into());
    }
    let tags: Vec<&String> = many("tag").collect();
    if !tags.is_empty() {
        definition.insert("Tags".to_owned(), json!(tags));
    }
    let bad = |flag: &str, value: &str, form: &str| Failure::Usage(format!("-{flag}={value}: write {form}"));
    let mut meta = Map::new();
    for pair in many("meta") {
        let (key, value) = pair.split_once('=').ok_or_else(|| bad("meta", pair, "key=value"))?;
        meta.insert(key.to_owned(), value.into());
    }
    if !meta.is_empty() {
        definition.insert("Meta".to_owned(), meta.into());
    }
    let mut tagged = Map::new();
    for pair in many("tagged-address") {
        let wrong = || bad("tagged-address", pair, "tag=address:port");
        let (tag, address) = pair.split_once('=').ok_or_else(wrong)?;
        let (address, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().map_err(|_not_a_port| wrong())?;
        let address = address.trim_start_matches('[').trim_end_matches(']');
        tagged.insert(tag.to_owned(), json!({"Address": address, "Port": port}));
    }
    if !tagged.is_empty() {
        definition.insert("TaggedAddresses".to_owned(), tagged.into());
    }
    Ok(Value::Object(definition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_a_definition() {
        let argv = ["--name=web", "--port=80", "--tag=a", "--tag=b", "--meta=k=v=w", "--tagged-address=lan=[::1]:8080"];
        let matches =
            arguments(Command::new("register")).no_binary_name(true).try_get_matches_from(argv).expect("flags");
        let expected = json!({"Name": "web", "Port": 80, "Tags": ["a", "b"], "Meta": {"k": "v=w"},
                              "TaggedAddresses": {"lan": {"Address": "::1", "Port": 8080}}});
        assert_eq!(from_flags(&matches).expect("a definition"), expected);
        let matches =
            arguments(Command::new("register")).no_binary_name(true).try_get_matches_from(["--meta=k"]).expect("flags");
        assert_eq!(from_flags(&matches).expect_err("bad").to_string(), "-meta=k: write key=value");
    }
}
