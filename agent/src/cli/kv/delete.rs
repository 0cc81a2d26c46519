//! `kv delete`: removes a key, or all under a prefix.

use crate::cli::{Failure, Output, World, client};
use crate::config::flags::switch;
use clap::{Arg, ArgMatches, Command, value_parser};

pub(crate) fn arguments(command: Command) -> Command {
    client::server_options(
        command.args([
            switch("cas", "Remove only if the key is still at -modify-index"),
            Arg::new("modify-index")
                .long("modify-index")
                .value_name("N")
                .help("The index that -cas compares with")
                .value_parser(value_parser!(u64)),
            switch("recurse", "Remove all keys under a prefix"),
            super::sequencer(),
            super::positional(),
        ]),
    )
}

pub(crate) fn run(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let on = |name: &str| matches.get_one::<bool>(name) == Some(&true);
    let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
    let words = super::words(matches, 1)?;
    let key = words.first().map_or("", |key| key.strip_prefix('/').unwrap_or(key));
    let index = matches.get_one::<u64>("modify-index").copied().filter(|index| *index != 0);
    match (on("cas"), on("recurse"), index) {
        _ if words.is_empty() => return usage("Error! Missing KEY argument"),
        // An empty key would be the whole store; with -recurse that may be meant, alone it cannot.
        _ if key.is_empty() && !on("recurse") => return usage("Error! Missing KEY argument"),
        (true, true, _) => return usage("Cannot specify both -cas and -recurse!"),
        (true, _, None) => return usage("Must specify -modify-index with -cas!"),
        (false, _, Some(_)) => return usage("Cannot specify -modify-index without -cas!"),
        _ => {}
    }
    let mut query = Vec::new();
    query.extend(on("recurse").then(|| ("recurse", String::new())));
    query.extend(index.map(|index| ("cas", index.to_string())));
    query.extend(super::fence(matches));
    let client = world.client(matches)?;
    let what = if on("recurse") { "prefix" } else { "key" };
    let doing = || Failure::doing(format!("Error! Did not delete {what} {key}"));
    let body = client.expect(reqwest::Method::DELETE, &super::path(key), &query, Vec::new()).map_err(doing())?;
    let done: bool = client.parse(&body).map_err(doing())?;
    match (done, on("recurse")) {
        (true, true) => Ok(Output::line(format_args!("Success! Deleted keys with prefix: {key}"))),
        (true, false) => Ok(Output::line(format_args!("Success! Deleted key: {key}"))),
        (false, _) if on("cas") => Err(Failure::Refused(format!("Error! Did not delete key {key}: CAS failed"))),
        (false, _) => Err(Failure::Refused(format!("Error! Did not delete {what} {key}"))),
    }
}
