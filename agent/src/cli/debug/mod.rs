//! `debug`: records for a while what an agent does, for whoever looks for a fault later and elsewhere. It prints by itself, as it
//! runs on.
//!
//! The layout is that of Consul's archives, as far as there is something to put there: Go's profiles are not.

mod bundle;
mod record;

use super::{Failure, Output, World, client};
use crate::config::flags::switch;
use crate::http::wire::rfc3339;
use crate::runtime::clock;
use crate::time::{format_duration, parse_duration};
use bundle::Bundle;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use record::{Recorder, Target};
use serde::Deserialize;
use std::fmt::Display;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

const DURATION_MIN: Duration = Duration::from_secs(10);
const INTERVAL_MIN: Duration = Duration::from_secs(5);

pub(crate) fn arguments(command: Command) -> Command {
    let valued = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    client::options(
        command
            .after_help(
                "Captures the agent's log from trace up, its figures at each interval (each for the ten seconds before), what it tells\n\
                 about itself, its members, its machine and the servers. Ctrl-C ends it early, with what was captured until then.\n\
                 Tokens and keys are hidden, but read through the archive before you give it away.",
            )
            .args([
                valued("duration", "DURATION", "How long to record, at least 10s")
                    .value_parser(parse_duration)
                    .default_value("5m"),
                valued("interval", "DURATION", "How often to capture the figures, at least 5s and no longer than -duration")
                    .value_parser(parse_duration)
                    .default_value("30s"),
                valued("output", "PATH", "Where to put it; consul-debug-<time>, in this directory, if not given"),
                switch("archive", "Pack it into a .tar.gz, instead of leaving a directory; on if not given"),
                valued("capture", "WHAT", "metrics, logs, host, agent or members (repeatable); all of them if not given")
                    .action(ArgAction::Append),
            ]),
    )
}

/// What the command line says.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    duration: Duration,
    interval: Duration,
    output: Option<PathBuf>,
    archive: bool,
    targets: Vec<Target>,
    /// Go's profiles were asked for too.
    profiles: bool,
}

impl Wanted {
    fn read(matches: &ArgMatches) -> Result<Self, Failure> {
        let invalid = |problem: String| Failure::Usage(format!("Capture validation failed: {problem}"));
        let span = |name: &str| matches.get_one::<Duration>(name).copied().unwrap_or_default();
        let (duration, mut interval) = (span("duration"), span("interval"));
        if matches.value_source("interval") == Some(ValueSource::DefaultValue) {
            interval = interval.min(duration).max(INTERVAL_MIN);
        }
        for (name, span, least) in [("duration", duration, DURATION_MIN), ("interval", interval, INTERVAL_MIN)] {
            if span < least {
                return Err(invalid(format!("{name} must be at least {}", format_duration(least))));
            }
        }
        if duration < interval {
            let (duration, interval) = (format_duration(duration), format_duration(interval));
            return Err(invalid(format!("duration ({duration}) must be longer than interval ({interval})")));
        }
        let names: Vec<&String> = matches.get_many("capture").into_iter().flatten().collect();
        let profiles = names.iter().any(|name| *name == "pprof");
        let mut targets = Vec::new();
        for name in names.into_iter().filter(|name| *name != "pprof") {
            let target = Target::named(name)
                .ok_or_else(|| invalid(format!("target not found: {name}; there are {}", list(&Target::ALL))))?;
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        match (targets.is_empty(), profiles) {
            (true, true) => return Err(invalid(NO_PROFILES.to_owned())),
            (true, false) => targets.extend(Target::ALL),
            (false, _) => {}
        }
        Ok(Self {
            duration,
            interval,
            output: matches.get_one::<String>("output").filter(|path| !path.is_empty()).map(PathBuf::from),
            archive: matches.get_one::<bool>("archive") != Some(&false),
            targets,
            profiles,
        })
    }
}

const NO_PROFILES: &str = "pprof is the profiler of Go programs, and lictor is none; on the agent's machine, \
                           \"perf record -g -p <pid>\" shows what it spends its time on";

fn list(targets: &[Target]) -> String {
    targets.iter().map(|target| target.name()).collect::<Vec<_>>().join(", ")
}

/// What `agent/self` must say.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Myself {
    config: Config,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    version: String,
}

pub(crate) fn run(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let wanted = Wanted::read(matches)?;
    let client = world.client(matches)?;
    let myself: Myself = client
        .get("/v1/agent/self", &[])
        .map_err(Failure::doing("Capture validation failed: error querying target agent"))?;
    let output = wanted
        .output
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("consul-debug-{}", rfc3339(clock::unix_ms()).replace(':', "-"))));
    let bundle = Bundle::create(&output, wanted.archive)?;
    if wanted.profiles {
        complain(format_args!("[WARN] Unable to capture pprof: {NO_PROFILES}"));
    }
    say("Starting debugger and capturing static information...");
    for (label, value) in [
        ("Agent Version", myself.config.version.clone()),
        ("Interval", format_duration(wanted.interval)),
        ("Duration", format_duration(wanted.duration)),
        ("Output", bundle.place().display().to_string()),
        ("Capture", list(&wanted.targets)),
    ] {
        add(format_args!("{label:>14}: '{value}'"));
    }
    let recorder = Recorder { client: &client, bundle: &bundle, wanted: &wanted, version: &myself.config.version };
    let recorded = client.block_on(recorder.record()).and_then(|ended| {
        if ended == record::Ended::Early {
            complain("Interrupted: what was captured until now is kept");
        }
        bundle.finish()
    });
    recorded.map_err(|error| {
        let left = bundle.directory().display();
        Failure::Refused(format!("Error writing what was captured: {error}; what there is of it is left in {left}"))
    })?;
    add(format_args!("Saved debug archive: {}", bundle.place().display()));
    Ok(Output::default())
}

/// A line of its own.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "==> {line}");
}

/// A line that belongs to the one before.
fn add(line: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "    {line}");
}

fn complain(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "==> {line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::argv;

    fn wanted(line: &str) -> Result<Wanted, String> {
        let root = Command::new("lictor").subcommand(arguments(Command::new("debug")));
        let argv = argv::normalise(&root, format!("debug {line}").split_whitespace().map(str::to_owned));
        let matches = root.try_get_matches_from(std::iter::once("lictor".to_owned()).chain(argv)).expect("flags");
        Wanted::read(matches.subcommand_matches("debug").expect("debug")).map_err(|failure| failure.to_string())
    }

    #[test]
    fn what_is_wanted_is_checked_before_anybody_is_asked() {
        let all = wanted("").expect("defaults");
        assert_eq!((all.duration, all.interval), (Duration::from_secs(300), Duration::from_secs(30)));
        assert_eq!((all.targets, all.archive, all.profiles, all.output), (Target::ALL.to_vec(), true, false, None));
        let some =
            wanted("-capture=logs -capture pprof -capture cluster -capture members -archive=false").expect("some");
        assert_eq!((some.targets, some.archive, some.profiles), (vec![Target::Logs, Target::Members], false, true));
        let short = wanted("-duration=10s").expect("the least there is");
        assert_eq!((short.duration, short.interval), (Duration::from_secs(10), Duration::from_secs(10)));
        for (line, complaint) in [
            ("-duration=9s", "duration must be at least 10s"),
            ("-interval=4s", "interval must be at least 5s"),
            ("-duration=10s -interval=11s", "duration (10s) must be longer than interval (11s)"),
            ("-capture=heap", "target not found: heap; there are metrics, logs, host, agent, members"),
            ("-capture=pprof", NO_PROFILES),
        ] {
            assert_eq!(wanted(line), Err(format!("Capture validation failed: {complaint}")), "{line}");
        }
    }
}
