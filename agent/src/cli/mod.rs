//! The command line: Consul's verbs, flags, texts and exit codes. A verb is a file with `arguments` for clap and a `run`
//! that returns what to print; only this page prints, and `agent`, `debug`, `lock`, `monitor` and `watch`, which run on.
//!
//! Client verbs speak to an agent over HTTP as any other client does and know nothing of its insides.

mod absent;
mod agent;
mod argv;
mod catalog;
mod child;
mod client;
mod debug;
mod event;
mod force_leave;
mod format;
mod host;
mod info;
mod join;
mod keygen;
mod kv;
mod leave;
mod lock;
mod maint;
#[cfg(feature = "malformed")]
pub(crate) mod malformed;
mod members;
mod monitor;
mod operator;
mod progress;
mod rtt;
mod services;
mod snapshot;
mod table;
mod validate;
mod version;
mod watch;

pub use agent::banner;

use crate::nearest::nearest;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command};
use client::{Client, ClientError, Options};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// What a verb has to say, and its exit code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) code: u8,
}

impl Output {
    /// Lines as they are, on standard output.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { stdout: text.into().into_bytes(), ..Self::default() }
    }

    /// One line.
    pub(crate) fn line(text: impl std::fmt::Display) -> Self {
        Self::text(format!("{text}\n"))
    }

    pub(crate) fn complaint(text: impl std::fmt::Display, code: u8) -> Self {
        Self { stderr: format!("{text}\n"), code, ..Self::default() }
    }
}

/// Why a verb failed. Exit code 1.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The arguments make no sense together.
    #[error("{0}")]
    Usage(String),
    /// What was being done when the agent did not do it.
    #[error("{doing}: {source}")]
    Asking { doing: String, source: ClientError },
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It failed, and this may have been meant.
    #[error("{0}; did you mean {1:?}?")]
    Meant(Box<Self>, String),
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// The operation was refused, in Consul's words.
    #[error("{0}")]
    Refused(String),
}

impl Failure {
    /// For `map_err`: says what was being done.
    pub(crate) fn doing(doing: impl Into<String>) -> impl FnOnce(ClientError) -> Self {
        let doing = doing.into();
        move |source| Self::Asking { doing, source }
    }

    /// Adds what may have been meant, if anything.
    pub(crate) fn hint(self, meant: Option<String>) -> Self {
        match meant {
            Some(meant) => Self::Meant(Box::new(self), meant),
            None => self,
        }
    }
}

/// For verbs that Consul lets look beyond the datacenter.
pub(crate) fn no_wan() -> Failure {
    Failure::Usage("several datacenters are not here yet: leave -wan out to ask about this one".to_owned())
}

/// What a verb may know of its surroundings.
pub(crate) struct World {
    pub(crate) env: fn(&str) -> Option<String>,
    /// Standard output is a terminal and NO_COLOR is not set.
    pub(crate) bold: bool,
}

impl World {
    pub(crate) fn client(&self, matches: &ArgMatches) -> Result<Client, Failure> {
        Ok(Client::new(Options::read(matches, &self.env)?)?)
    }
}

type Run = fn(&ArgMatches, &World) -> Result<Output, Failure>;

/// A verb or a group of verbs, by name, with what it is for.
enum Verb {
    Leaf(&'static str, &'static str, fn(Command) -> Command, Run),
    Group(&'static str, &'static str, &'static [Self]),
}

const VERBS: &[Verb] = &[
    Verb::Group(
        "catalog",
        "Looks into the catalog",
        &[
            Verb::Leaf(
                "datacenters",
                "Lists the datacenters",
                catalog::datacenters::arguments,
                catalog::datacenters::run,
            ),
            Verb::Leaf("nodes", "Lists the nodes", catalog::nodes::arguments, catalog::nodes::run),
            Verb::Leaf("services", "Lists the services", catalog::services::arguments, catalog::services::run),
        ],
    ),
    Verb::Leaf("debug", "Records for a while what the agent does, into an archive", debug::arguments, debug::run),
    Verb::Leaf("event", "Fires a user event at every agent", event::arguments, event::run),
    Verb::Leaf(
        "force-leave",
        "Makes the cluster take a failed member for one that has left",
        force_leave::arguments,
        force_leave::run,
    ),
    Verb::Leaf("info", "Shows what the agent tells about itself", info::arguments, info::run),
    Verb::Leaf("join", "Makes the agent join the members at these addresses", join::arguments, join::run),
    Verb::Leaf("keygen", "Makes a key for the encryption of gossip", keygen::arguments, keygen::run),
    Verb::Group(
        "kv",
        "Reads and writes keys",
        &[
            Verb::Leaf("delete", "Removes keys", kv::delete::arguments, kv::delete::run),
            Verb::Leaf(
                "export",
                "Shows all keys under a prefix as JSON, for kv import",
                kv::export::arguments,
                kv::export::run,
            ),
            Verb::Leaf("get", "Shows values", kv::get::arguments, kv::get::run),
            Verb::Leaf("import", "Writes the keys that kv export showed", kv::import::arguments, kv::import::run),
            Verb::Leaf("put", "Writes a value", kv::put::arguments, kv::put::run),
        ],
    ),
    Verb::Leaf("leave", "Makes the agent leave the cluster and stop", leave::arguments, leave::run),
    Verb::Leaf("lock", "Runs a program while a lock is held", lock::arguments, lock::run),
    Verb::Leaf("maint", "Takes the node or a service out of service and back", maint::arguments, maint::run),
    Verb::Leaf("members", "Lists the members of the cluster", members::arguments, members::run),
    Verb::Leaf("monitor", "Shows the agent's log as it is written, until Ctrl-C", monitor::arguments, monitor::run),
    Verb::Group(
        "operator",
        "Tools for those who run the cluster",
        &[
            Verb::Group(
                "autopilot",
                "How the leader tends the servers",
                &[
                    Verb::Leaf(
                        "get-config",
                        "Shows how the leader tends the servers",
                        operator::autopilot::get_config_arguments,
                        operator::autopilot::get_config,
                    ),
                    Verb::Leaf(
                        "set-config",
                        "Changes how the leader tends the servers",
                        operator::autopilot::set_config_arguments,
                        operator::autopilot::set_config,
                    ),
                    Verb::Leaf(
                        "state",
                        "Shows how well the servers are",
                        operator::autopilot::state_arguments,
                        operator::autopilot::state,
                    ),
                ],
            ),
            Verb::Group(
                "raft",
                "The servers' consensus",
                &[
                    Verb::Leaf(
                        "list-peers",
                        "Lists the servers of the configuration",
                        operator::raft::list_peers_arguments,
                        operator::raft::list_peers,
                    ),
                    Verb::Leaf(
                        "recover",
                        "Goes on after most servers were lost for good",
                        operator::raft::recover_arguments,
                        operator::raft::recover,
                    ),
                    Verb::Leaf(
                        "remove-peer",
                        "Takes a server off the configuration",
                        operator::raft::remove_peer_arguments,
                        operator::raft::remove_peer,
                    ),
                    Verb::Leaf(
                        "transfer-leader",
                        "Hands leadership to another server",
                        operator::raft::transfer_leader_arguments,
                        operator::raft::transfer_leader,
                    ),
                ],
            ),
            Verb::Group(
                "usage",
                "How much the catalog holds",
                &[Verb::Leaf(
                    "instances",
                    "Counts instances of services",
                    operator::usage::instances_arguments,
                    operator::usage::instances,
                )],
            ),
        ],
    ),
    Verb::Leaf("rtt", "Estimates the time of a round trip between two nodes", rtt::arguments, rtt::run),
    Verb::Group(
        "services",
        "Registers services with the agent",
        &[
            Verb::Leaf(
                "deregister",
                "Takes services off the agent",
                services::deregister::arguments,
                services::deregister::run,
            ),
            Verb::Leaf(
                "register",
                "Registers services with the agent",
                services::register::arguments,
                services::register::run,
            ),
        ],
    ),
    Verb::Group(
        "snapshot",
        "Saves and restores the catalog",
        &[
            Verb::Leaf(
                "inspect",
                "Shows what a saved snapshot holds, without an agent",
                snapshot::inspect_arguments,
                snapshot::inspect,
            ),
            Verb::Leaf(
                "restore",
                "Puts a saved snapshot in place of the whole catalog",
                snapshot::restore_arguments,
                snapshot::restore,
            ),
            Verb::Leaf("save", "Saves a snapshot of the catalog into a file", snapshot::save_arguments, snapshot::save),
        ],
    ),
    Verb::Leaf("validate", "Checks configuration files", validate::arguments, validate::run),
    Verb::Leaf("version", "Prints the version", version::arguments, version::run),
    Verb::Leaf(
        "watch",
        "Shows what is watched, or runs a program with it at each change",
        watch::arguments,
        watch::run,
    ),
];

impl Verb {
    fn command(&self, named: &impl Fn(&str) -> bool) -> Command {
        match *self {
            Self::Leaf(name, about, arguments, _) => leaf(name, about, arguments, named),
            Self::Group(name, about, verbs) => Command::new(name)
                .about(about)
                .subcommand_required(true)
                .arg_required_else_help(true)
                .disable_help_subcommand(true)
                .subcommands(verbs.iter().map(|verb| verb.command(named))),
        }
    }
}

/// One that nobody named is only there to be listed.
fn leaf(
    name: &'static str,
    about: &'static str,
    arguments: fn(Command) -> Command,
    named: &impl Fn(&str) -> bool,
) -> Command {
    let command = Command::new(name).about(about);
    if named(name) { arguments(command) } else { command }
}

/// All verbs, with the arguments of those that may have been named: those of all of them would be most of what an agent
/// has in memory.
pub(crate) fn root(named: impl Fn(&str) -> bool) -> Command {
    Command::new("lictor")
        .about("Service discovery and health checks, speaking Consul's API")
        .after_help(
            "Flags take one dash or two, as in -dev. All commands but agent, keygen, snapshot inspect, validate and version\n\
             ask the agent at -http-addr or CONSUL_HTTP_ADDR, or else at 127.0.0.1:8500. Begin with: lictor agent -dev",
        )
        // However long a help is, it stands beside its flag.
        .term_width(0)
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .subcommand(leaf("agent", "Runs the agent", crate::config::flags::arguments, &named))
        .subcommands(VERBS.iter().map(|verb| verb.command(&named)))
}

/// Runs the command line of this process. The program's own name does not matter: a link called `consul` is as good.
#[must_use]
pub fn main() -> ExitCode {
    let words: Result<Vec<String>, _> = std::env::args_os().skip(1).map(std::ffi::OsString::into_string).collect();
    let words = match words {
        Ok(words) => asking_for_help(words),
        Err(word) => return emit(&Output::complaint(format!("the argument {word:?} is not UTF-8"), 1)),
    };
    let root = root(|name| words.iter().any(|word| word == name));
    let argv = argv::normalise(&root, words);
    let matches = match parse(&root, &argv) {
        Ok(matches) => matches,
        Err(error) => return emit(&explain(&root, &argv, &error)),
    };
    if let Some(("agent", matches)) = matches.subcommand() {
        return agent::run(matches);
    }
    let bold = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let world = World { env: |name| std::env::var(name).ok(), bold };
    emit(&dispatch(VERBS, &matches, &world).unwrap_or_else(|failure| Output::complaint(failure, 1)))
}

/// `help kv get` asks as `kv get -h` does.
fn asking_for_help(mut words: Vec<String>) -> Vec<String> {
    if words.first().is_some_and(|word| word == "help") {
        words.remove(0);
        words.push("-h".to_owned());
    }
    words
}

/// The name comes first so that usage lines have it.
fn parse(root: &Command, argv: &[String]) -> Result<ArgMatches, clap::Error> {
    let name = root.get_name().to_owned();
    root.clone().try_get_matches_from(std::iter::once(&name).chain(argv))
}

fn dispatch(verbs: &[Verb], matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let Some((name, inner)) = matches.subcommand() else { return Err(Failure::Usage("no command".to_owned())) };
    for verb in verbs {
        match verb {
            Verb::Group(group, _, verbs) if *group == name => return dispatch(verbs, inner, world),
            Verb::Leaf(leaf, _, _, run) if *leaf == name => return run(inner, world),
            _ => {}
        }
    }
    Err(Failure::Usage(format!("no command {name:?}")))
}

/// Help, or what is wrong with the command line. Without a known command: the list of them, and 127.
fn explain(root: &Command, argv: &[String], error: &clap::Error) -> Output {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    match error.kind() {
        ErrorKind::DisplayHelp => Output::text(error.to_string()),
        ErrorKind::MissingSubcommand if argv.is_empty() => Output::complaint(root.clone().render_help(), 127),
        ErrorKind::InvalidSubcommand => {
            let word = text(ContextKind::InvalidSubcommand);
            let (command, path) = named(root, argv);
            let near = nearest(word, command.get_subcommands().map(Command::get_name));
            let hint = near.map_or_else(|| ".".to_owned(), |near| format!("; did you mean {near:?}?"));
            if std::ptr::eq(command, root) {
                if let Some(advice) = absent::advice(word) {
                    return Output::complaint(format!("There is no command {word:?}: {advice}."), 1);
                }
                return Output::complaint(
                    format!("There is no command {word:?}{hint} All are listed by: {path} -h"),
                    127,
                );
            }
            Output::complaint(format!("{path} has no command {word:?}{hint} All are listed by: {path} -h"), 1)
        }
        ErrorKind::UnknownArgument => {
            let (command, path) = named(root, argv);
            let word = text(ContextKind::InvalidArg);
            let fault = match word.strip_prefix("--") {
                // People write one dash, as all our texts do.
                Some(flag) => {
                    let near = nearest(flag, command.get_arguments().filter_map(clap::Arg::get_long));
                    let hint = near.map_or_else(|| ".".to_owned(), |near| format!("; did you mean -{near}?"));
                    format!("{path} has no flag -{flag}{hint}")
                }
                None if word.starts_with('-') => {
                    format!("{path} takes no argument {word:?} here: flags go before arguments.")
                }
                None => format!("{path} takes no argument {word:?}."),
            };
            Output::complaint(format!("{fault} All are listed by: {path} -h"), 1)
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let (_, path) = named(root, argv);
            // It comes as it stands in a usage line: --flag <VALUE>.
            let flag =
                text(ContextKind::InvalidArg).trim_start_matches('-').split([' ', '=', '[']).next().unwrap_or_default();
            let fault = match (text(ContextKind::InvalidValue), std::error::Error::source(error)) {
                ("", _) => format!("-{flag} needs a value."),
                (value, Some(cause)) if cause.is::<std::num::ParseIntError>() => {
                    format!("-{flag}={value}: not a whole number.")
                }
                (value, Some(cause)) => format!("-{flag}={value}: {cause}."),
                (value, None) => format!("-{flag}={value} is not possible."),
            };
            Output::complaint(format!("{fault} What it takes is told by: {path} -h"), 1)
        }
        _ => Output::complaint(error.to_string().trim_end(), 1),
    }
}

/// The command that the first words name, and how they name it.
fn named<'a>(root: &'a Command, argv: &[String]) -> (&'a Command, String) {
    let mut command = root;
    let mut path = root.get_name().to_owned();
    for word in argv {
        let Some(inner) = command.find_subcommand(word) else { break };
        command = inner;
        path = format!("{path} {word}");
    }
    (command, path)
}

/// A reader that went away (`lictor members | head -1`) is no failure of ours.
fn emit(output: &Output) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    let printed = stdout.write_all(&output.stdout).and_then(|()| stdout.flush());
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(output.stderr.as_bytes());
    match printed {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            let _ = writeln!(stderr, "Error writing to standard output: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::from(output.code),
    }
}

#[cfg(test)]
mod tests;
