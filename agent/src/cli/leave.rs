//! `leave`: makes the agent say goodbye and stop.

use super::{Failure, Output, World, client};
use clap::{ArgMatches, Command};

pub(crate) fn arguments(command: Command) -> Command {
    client::options(command)
}

pub(crate) fn run(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    world
        .client(matches)?
        .expect(reqwest::Method::PUT, "/v1/agent/leave", &[], Vec::new())
        .map_err(Failure::doing("Error leaving"))?;
    Ok(Output::line("Graceful leave complete"))
}
