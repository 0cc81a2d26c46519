//! `validate`: reads configuration as the agent would, and starts nothing.

use super::{Failure, Output, World, host};
use crate::config::flags::switch;
use crate::config::{self, AgentArgs, Format};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::path::PathBuf;

pub(crate) fn arguments(command: Command) -> Command {
    command.args_override_self(true).args([
        switch("quiet", "Say nothing when all is well"),
        Arg::new("config-format").long("config-format").value_name("FORMAT").help("Read all files as hcl or as json"),
        Arg::new("paths")
            .value_name("PATH")
            .help("Files, or directories of them")
            .action(ArgAction::Append)
            .value_parser(value_parser!(PathBuf)),
    ])
}

pub(crate) fn run(matches: &ArgMatches, _: &World) -> Result<Output, Failure> {
    let paths: Vec<PathBuf> = matches.get_many("paths").into_iter().flatten().cloned().collect();
    if paths.is_empty() {
        return Err(Failure::Usage("Must specify at least one config file or directory".to_owned()));
    }
    let format = match matches.get_one::<String>("config-format").map(|name| (name, Format::named(name))) {
        Some((name, None)) => {
            return Err(Failure::Usage(format!("-config-format={name}: there are only hcl and json")));
        }
        Some((_, format)) => format,
        None => None,
    };
    let args = AgentArgs { paths, format, ..AgentArgs::default() };
    match config::load(args, &host::gather()) {
        Ok(resolved) => {
            let quiet = matches.get_one::<bool>("quiet") == Some(&true);
            let mut output = if quiet { Output::default() } else { Output::line("Configuration is valid!") };
            output.stderr = resolved.warnings.iter().map(|warning| format!("Warning: {warning}\n")).collect();
            Ok(output)
        }
        Err(error) => Err(Failure::Refused(format!("Config validation failed: {error}"))),
    }
}
