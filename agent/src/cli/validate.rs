//! `validate`: reads configuration as the agent would, and starts nothing.

use super::{Failure, Output, World, host};
use crate::config::flags::switch;
use crate::config::{self, AgentArgs, Format, Host};
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
    check(&args, &host::gather(), matches.get_one::<bool>("quiet") == Some(&true))
}

/// Files are valid or not wherever they are looked at; what only this machine lacks is a warning.
fn check(args: &AgentArgs, here: &Host, quiet: bool) -> Result<Output, Failure> {
    let resolved = config::load(args.clone(), &Host::any())
        .map_err(|error| Failure::Refused(format!("Config validation failed: {error}")))?;
    let mut warnings = resolved.warnings;
    if let Err(error) = config::load(args.clone(), here) {
        warnings.push(format!("on this machine no agent would start with it: {error}"));
    }
    let output = if quiet { Output::default() } else { Output::line("Configuration is valid!") };
    let stderr = warnings.iter().map(|warning| format!("Warning: {warning}\n")).collect();
    Ok(Output { stderr, ..output })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_judged_and_not_the_machine() {
        let two = ["10.0.0.7", "10.0.0.8"].map(|ip| ("eth0".to_owned(), ip.parse().expect("an address")));
        let here = Host { hostname: "box".to_owned(), interfaces: two.into() };
        let said = |text: &str| {
            let args = AgentArgs { fragments: vec![text.to_owned()], ..AgentArgs::default() };
            check(&args, &here, true).map(|output| output.stderr).map_err(|failure| failure.to_string())
        };
        let fine = said("data_dir = \"/d\"").expect("valid");
        assert!(fine.starts_with("Warning: on this machine no agent would start with it: bind_addr: "), "{fine}");
        let elsewhere = said("data_dir = \"/d\" bind_addr = \"{{ GetInterfaceIP \\\"ens5\\\" }}\"").expect("valid");
        assert!(elsewhere.contains("no interface \"ens5\""), "{elsewhere}");
        let bad = said("service { name = \"web\" prot = 1 }\ndatacentre = \"x\"").expect_err("refused");
        assert_eq!(
            bad,
            "Config validation failed: 2 errors occurred:\n  \
             * -hcl fragment 1: invalid config key \"datacentre\"; did you mean \"datacenter\"?\n  \
             * -hcl fragment 1: invalid config key \"service.prot\"; did you mean \"service.port\"?"
        );
    }
}
