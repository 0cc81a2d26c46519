//! `catalog datacenters`: their names.

use crate::cli::format::{self, Format};
use crate::cli::{Failure, Output, World, client};
use clap::{ArgMatches, Command};

pub(crate) fn arguments(command: Command) -> Command {
    client::server_options(command.arg(format::flag()))
}

pub(crate) fn run(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let format = Format::read(matches)?;
    let names: Vec<String> = world
        .client(matches)?
        .get("/v1/catalog/datacenters", &[])
        .map_err(Failure::doing("Error listing datacenters"))?;
    if format == Format::Json {
        return Ok(format::json(&names));
    }
    Ok(Output::text(names.into_iter().fold(String::new(), |all, name| all + &name + "\n")))
}
