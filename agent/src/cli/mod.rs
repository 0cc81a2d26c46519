//! The command line: Consul's verbs, flags, texts and exit codes. A verb is a file with a `command` for clap and a `run`
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

/// A verb or a group of verbs.
enum Verb {
    Leaf(fn() -> Command, Run),
    Group(&'static str, &'static str, &'static [Self]),
}

const VERBS: &[Verb] = &[
    Verb::Group(
        "catalog",
        "Looks into the catalog",
        &[
            Verb::Leaf(catalog::datacenters::command, catalog::datacenters::run),
            Verb::Leaf(catalog::nodes::command, catalog::nodes::run),
            Verb::Leaf(catalog::services::command, catalog::services::run),
        ],
    ),
    Verb::Leaf(debug::command, debug::run),
    Verb::Leaf(event::command, event::run),
    Verb::Leaf(force_leave::command, force_leave::run),
    Verb::Leaf(info::command, info::run),
    Verb::Leaf(join::command, join::run),
    Verb::Leaf(keygen::command, keygen::run),
    Verb::Group(
        "kv",
        "Reads and writes keys",
        &[
            Verb::Leaf(kv::delete::command, kv::delete::run),
            Verb::Leaf(kv::export::command, kv::export::run),
            Verb::Leaf(kv::get::command, kv::get::run),
            Verb::Leaf(kv::import::command, kv::import::run),
            Verb::Leaf(kv::put::command, kv::put::run),
        ],
    ),
    Verb::Leaf(leave::command, leave::run),
    Verb::Leaf(lock::command, lock::run),
    Verb::Leaf(maint::command, maint::run),
    Verb::Leaf(members::command, members::run),
    Verb::Leaf(monitor::command, monitor::run),
    Verb::Group(
        "operator",
        "Tools for those who run the cluster",
        &[
            Verb::Group(
                "autopilot",
                "How the leader tends the servers",
                &[
                    Verb::Leaf(operator::autopilot::get_config_command, operator::autopilot::get_config),
                    Verb::Leaf(operator::autopilot::set_config_command, operator::autopilot::set_config),
                    Verb::Leaf(operator::autopilot::state_command, operator::autopilot::state),
                ],
            ),
            Verb::Group(
                "raft",
                "The servers' consensus",
                &[
                    Verb::Leaf(operator::raft::list_peers_command, operator::raft::list_peers),
                    Verb::Leaf(operator::raft::recover_command, operator::raft::recover),
                    Verb::Leaf(operator::raft::remove_peer_command, operator::raft::remove_peer),
                    Verb::Leaf(operator::raft::transfer_leader_command, operator::raft::transfer_leader),
                ],
            ),
            Verb::Group(
                "usage",
                "How much the catalog holds",
                &[Verb::Leaf(operator::usage::instances_command, operator::usage::instances)],
            ),
        ],
    ),
    Verb::Leaf(rtt::command, rtt::run),
    Verb::Group(
        "services",
        "Registers services with the agent",
        &[
            Verb::Leaf(services::deregister::command, services::deregister::run),
            Verb::Leaf(services::register::command, services::register::run),
        ],
    ),
    Verb::Group(
        "snapshot",
        "Saves and restores the catalog",
        &[
            Verb::Leaf(snapshot::inspect_command, snapshot::inspect),
            Verb::Leaf(snapshot::restore_command, snapshot::restore),
            Verb::Leaf(snapshot::save_command, snapshot::save),
        ],
    ),
    Verb::Leaf(validate::command, validate::run),
    Verb::Leaf(version::command, version::run),
    Verb::Leaf(watch::command, watch::run),
];

impl Verb {
    fn command(&self) -> Command {
        match self {
            Self::Leaf(command, _) => command(),
            Self::Group(name, about, verbs) => Command::new(*name)
                .about(*about)
                .subcommand_required(true)
                .arg_required_else_help(true)
                .disable_help_subcommand(true)
                .subcommands(verbs.iter().map(Self::command)),
        }
    }
}

/// The whole tree.
pub(crate) fn root() -> Command {
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
        .subcommand(crate::config::flags::command())
        .subcommands(VERBS.iter().map(Verb::command))
}

/// Runs the command line of this process. The program's own name does not matter: a link called `consul` is as good.
#[must_use]
pub fn main() -> ExitCode {
    let root = root();
    let words: Result<Vec<String>, _> = std::env::args_os().skip(1).map(std::ffi::OsString::into_string).collect();
    let words = match words {
        Ok(words) => words,
        Err(word) => return emit(&Output::complaint(format!("the argument {word:?} is not UTF-8"), 1)),
    };
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
            Verb::Leaf(command, run) if command().get_name() == name => return run(inner, world),
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
                let list = root.clone().render_help();
                return Output::complaint(format!("There is no command {word:?}{hint}\n\n{list}"), 127);
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
                None => format!("{path} takes no argument {word:?}."),
            };
            Output::complaint(format!("{fault} All are listed by: {path} -h"), 1)
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
    let _ = std::io::stderr().lock().write_all(output.stderr.as_bytes());
    match printed {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::from(output.code),
    }
}

#[cfg(test)]
mod tests;
