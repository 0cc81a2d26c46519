//! `kv put`: writes one value, perhaps only if nothing changed or while a session holds the key.

use crate::cli::{Failure, Output, World, client};
use crate::config::flags::switch;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Arg, ArgMatches, Command, value_parser};

pub(crate) fn arguments(command: Command) -> Command {
    let number = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("N").help(help).value_parser(value_parser!(u64))
    };
    client::server_options(
        command.args([
            switch("acquire", "Lock the key for -session"),
            switch("base64", "The value is in base64"),
            switch("cas", "Write only if the key is still at -modify-index; at 0, only if it is new"),
            number("flags", "A number kept with the value"),
            number("modify-index", "The index that -cas compares with"),
            switch("release", "Unlock the key that -session holds"),
            super::sequencer(),
            Arg::new("session").long("session").value_name("ID").help("Session for -acquire and -release"),
            super::positional()
                .value_names(["KEY", "VALUE | @FILE | -"])
                .help("The key, and its value, a file that holds it, or standard input")
                .num_args(1..),
        ]),
    )
}

pub(crate) fn run(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let on = |name: &str| matches.get_one::<bool>(name) == Some(&true);
    let words = super::words(matches, 2)?;
    let key = words.first().map_or("", |key| key.strip_prefix('/').unwrap_or(key));
    if key.is_empty() {
        return Err(Failure::Usage("Error! Missing KEY argument".to_owned()));
    }
    let mut query = Vec::new();
    query.extend(matches.get_one::<u64>("flags").filter(|flags| **flags != 0).map(|n| ("flags", n.to_string())));
    let index = matches.get_one::<u64>("modify-index");
    if on("cas") {
        // An index of 0 says "only if it is new", so it has to be said.
        let Some(index) = index else {
            return Err(Failure::Usage("Must specify -modify-index with -cas!".to_owned()));
        };
        query.push(("cas", index.to_string()));
    } else if index.is_some() {
        return Err(Failure::Usage("Cannot specify -modify-index without -cas!".to_owned()));
    }
    let session = matches.get_one::<String>("session").filter(|id| !id.is_empty());
    if on("acquire") || on("release") {
        let Some(session) = session else {
            let text = "Error! Missing -session (required with -acquire and -release)";
            return Err(Failure::Usage(text.to_owned()));
        };
        if on("acquire") && on("release") {
            return Err(Failure::Usage("Error! Cannot specify both -acquire and -release".to_owned()));
        }
        query.push((if on("acquire") { "acquire" } else { "release" }, session.clone()));
    }
    query.extend(super::fence(matches));
    let value = read_value(words.get(1).map_or("", String::as_str), on("base64"))?;
    let client = world.client(matches)?;
    let doing = || Failure::doing("Error! Failed writing data");
    let body = client.expect(reqwest::Method::PUT, &super::path(key), &query, value).map_err(doing())?;
    let done: bool = client.parse(&body).map_err(doing())?;
    outcome(key, done, on("acquire"), on("release"), on("cas"))
}

fn outcome(key: &str, done: bool, acquire: bool, release: bool, cas: bool) -> Result<Output, Failure> {
    match (done, acquire, release, cas) {
        (true, true, ..) => Ok(Output::line(format_args!("Success! Lock acquired on: {key}"))),
        (true, _, true, _) => Ok(Output::line(format_args!("Success! Lock released on: {key}"))),
        (true, ..) => Ok(Output::line(format_args!("Success! Data written to: {key}"))),
        (false, true, ..) => Err(Failure::Refused("Error! Did not acquire lock".to_owned())),
        (false, _, true, _) => Err(Failure::Refused("Error! Did not release lock".to_owned())),
        (false, _, _, true) => Err(Failure::Refused(format!("Error! Did not write to {key}: CAS failed"))),
        (false, ..) => Err(Failure::Refused(format!("Error! Did not write to {key}"))),
    }
}

fn read_value(word: &str, base64: bool) -> Result<Vec<u8>, Failure> {
    let data = super::argument(word)?;
    if !base64 {
        return Ok(data);
    }
    STANDARD
        .decode(data.trim_ascii())
        .map_err(|error| Failure::Usage(format!("Error! Cannot base 64 decode data: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_its_words() {
        let check = |done, acquire, release, cas, expected: &str| {
            let text = match outcome("k", done, acquire, release, cas) {
                Ok(output) => String::from_utf8_lossy(&output.stdout).trim_end().to_owned(),
                Err(failure) => failure.to_string(),
            };
            assert_eq!(text, expected);
        };
        check(true, false, false, false, "Success! Data written to: k");
        check(true, true, false, false, "Success! Lock acquired on: k");
        check(true, false, true, false, "Success! Lock released on: k");
        check(false, false, false, true, "Error! Did not write to k: CAS failed");
        check(false, true, false, false, "Error! Did not acquire lock");
        check(false, false, true, false, "Error! Did not release lock");
    }

    #[test]
    fn values_are_given_in_three_ways() {
        assert_eq!(read_value("plain", false).expect("a value"), b"plain");
        assert_eq!(read_value("aGk=", true).expect("a value"), b"hi");
        assert!(read_value("!", true).is_err());
        assert!(read_value("@/nowhere/at/all", false).is_err());
    }
}
