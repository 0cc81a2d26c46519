//! `event`: fires a user event.

use super::{Failure, Output, World, client};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::Deserialize;
use uuid::Uuid;

pub(crate) fn arguments(command: Command) -> Command {
    let word = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    client::server_options(command.args([
        word("name", "NAME", "What the event is called"),
        word("node", "REGEX", "Only for nodes whose names match"),
        word("service", "REGEX", "Only for nodes with a service whose name matches"),
        word("tag", "REGEX", "Only for nodes whose service, as of -service, has a tag that matches"),
        Arg::new("payload").value_name("PAYLOAD").help("What goes with it").action(ArgAction::Append),
    ]))
}

#[derive(Deserialize)]
struct Fired {
    #[serde(rename = "ID")]
    id: Uuid,
}

pub(crate) fn run(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let text = |name: &str| matches.get_one::<String>(name).filter(|text| !text.is_empty());
    let Some(name) = text("name") else {
        return Err(Failure::Usage("Event name must be specified".to_owned()));
    };
    if text("tag").is_some() && text("service").is_none() {
        return Err(Failure::Usage("Cannot provide tag filter without service filter.".to_owned()));
    }
    let mut payload = matches.get_many::<String>("payload").into_iter().flatten();
    let body = payload.next().map(|payload| payload.clone().into_bytes()).unwrap_or_default();
    if payload.next().is_some() {
        return Err(Failure::Usage("Too many command line arguments.".to_owned()));
    }
    let filters = ["node", "service", "tag"].into_iter();
    let query: Vec<(&str, String)> = filters.filter_map(|name| Some((name, text(name)?.clone()))).collect();
    let client = world.client(matches)?;
    let doing = || Failure::doing("Error firing event");
    let path = format!("/v1/event/fire/{}", client::escape(name));
    let answer = client.expect(reqwest::Method::PUT, &path, &query, body).map_err(doing())?;
    let fired: Fired = client.parse(&answer).map_err(doing())?;
    Ok(Output::line(format_args!("Event ID: {}", fired.id)))
}
