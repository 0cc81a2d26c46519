//! `monitor`: shows the agent's log as it is written. It prints by itself, as it has no end of its own.

use super::{Failure, Output, World, client};
use crate::config::flags::switch;
use clap::{Arg, ArgMatches, Command};
use client::End;
use std::io::Write;

pub(crate) fn arguments(command: Command) -> Command {
    client::options(
        command.args([
            Arg::new("log-level")
                .long("log-level")
                .value_name("LEVEL")
                .help("From which level up: trace, debug, info, warn or error")
                .default_value("INFO"),
            switch("log-json", "Show lines as JSON objects"),
        ]),
    )
}

pub(crate) fn run(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let mut query = Vec::new();
    query.extend(matches.get_one::<String>("log-level").map(|level| ("loglevel", level.clone())));
    if matches.get_one::<bool>("log-json") == Some(&true) {
        query.push(("logjson", String::new()));
    }
    let mut stdout = std::io::stdout();
    let show = |piece: &[u8]| stdout.write_all(piece).and_then(|()| stdout.flush());
    let followed = world.client(matches)?.follow("/v1/agent/monitor", &query, show);
    match followed.map_err(Failure::doing("Error starting monitor"))? {
        End::Interrupted | End::NobodyReads => Ok(Output::default()),
        End::Remote => Ok(Output::complaint(
            "Remote side ended the monitor! This usually means that the\nremote side has exited or crashed.",
            1,
        )),
    }
}
