//! `lock`: runs a program while a lock is held, and ends it when the lock is lost. It prints by itself, as it runs on.

mod hold;
mod slots;

use super::child::{Input, Program, Running, Signals};
use super::client::Client;
use super::{Failure, Output, World, client};
use crate::config::flags::switch;
use crate::time::parse_duration;
use clap::{Arg, ArgMatches, Command, value_parser};
use hold::{Holder, LockError};
use nix::sys::signal::Signal;
use std::fmt::Display;
use std::future::Future;
use std::io::Write as _;
use std::time::Duration;

/// Between SIGTERM and SIGKILL: less than the lock's delay (15 s), which begins when the session ends and not before the program
/// was told to.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) fn arguments(command: Command) -> Command {
    let valued = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    client::leader_options(
        command
            .after_help(
                "The program has CONSUL_LOCK_HELD=true in its environment, and in LICTOR_LOCK_SEQUENCER what proves that it holds\n\
                 the lock: writes with ?sequencer= (lictor kv put -sequencer) are refused once it does so no longer.",
            )
            .args([
                valued("n", "N", "How many may hold at the same time; all must say the same")
                    .value_parser(value_parser!(i64))
                    .default_value("1"),
                valued("name", "NAME", "Name of the session; made of program and prefix if not given"),
                switch("child-exit-code", "Exit with 2 if the program fails; else its failure is only told"),
                valued("monitor-retry", "N", "How many failures of the agent in a row, a second apart, do not mean that the lock is lost")
                    .value_parser(value_parser!(i64))
                    .default_value("3"),
                switch("pass-stdin", "Let the program read our standard input"),
                switch("shell", "Give the program to a shell as one line; on if not given"),
                valued("timeout", "DURATION", "Give up when the lock could not be had for so long; never if not given")
                    .value_parser(parse_duration),
                valued("try", "DURATION", "Consul's old name of -timeout").value_parser(parse_duration),
                switch("verbose", "Say what is done"),
                Arg::new("words")
                    .value_names(["PREFIX", "PROGRAM"])
                    .help("What the lock's keys begin with, and what to run while it is held")
                    .num_args(0..)
                    .trailing_var_arg(true)
                    .allow_hyphen_values(true),
            ]),
    )
}

/// What the command line says.
struct Wanted {
    prefix: String,
    limit: u32,
    name: String,
    retries: u32,
    /// `None`: for ever.
    timeout: Option<Duration>,
    program: Program,
    input: Input,
    child_exit_code: bool,
    verbose: bool,
}

impl Wanted {
    fn read(matches: &ArgMatches) -> Result<Self, Failure> {
        let on = |name: &str| matches.get_one::<bool>(name).copied();
        let usage = |text: &str| Failure::Usage(text.to_owned());
        let number = |name: &str| matches.get_one::<i64>(name).and_then(|number| u32::try_from(*number).ok());
        let limit = number("n").filter(|limit| *limit > 0);
        let limit = limit.ok_or_else(|| usage("Lock holder limit must be positive"))?;
        let mut words = matches.get_many::<String>("words").into_iter().flatten().cloned();
        let prefix = slots::clean(&words.next().unwrap_or_default());
        let words: Vec<String> = words.collect();
        if prefix.is_empty() || words.is_empty() {
            return Err(usage("Key prefix and child command must be specified"));
        }
        let retries = number("monitor-retry").ok_or_else(|| usage("Number for 'monitor-retry' must be >= 0"))?;
        let name = matches.get_one::<String>("name").filter(|name| !name.is_empty()).cloned();
        let name = name.unwrap_or_else(|| format!("Consul lock for '{}' at '{prefix}'", words.join(" ")));
        let timeout = ["timeout", "try"].into_iter().find_map(|name| matches.get_one::<Duration>(name)).copied();
        Ok(Self {
            prefix,
            limit,
            name,
            retries,
            timeout: timeout.filter(|timeout| !timeout.is_zero()),
            program: Program { words, shell: on("shell") != Some(false) },
            input: if on("pass-stdin") == Some(true) { Input::Ours } else { Input::Nothing },
            child_exit_code: on("child-exit-code") == Some(true),
            verbose: on("verbose") == Some(true),
        })
    }

    fn say(&self, line: impl Display) {
        if self.verbose {
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        }
    }
}

pub(crate) fn run(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let wanted = Wanted::read(matches)?;
    let client = world.client(matches)?;
    client
        .get::<serde::de::IgnoredAny>("/v1/agent/self", &[])
        .map_err(Failure::doing("Error querying Consul agent"))?;
    client.block_on(hold(&client, &wanted))
}

/// The whole way: session, slot, program, and everything given back, whatever happened.
async fn hold(client: &Client, wanted: &Wanted) -> Result<Output, Failure> {
    let Wanted { prefix, limit, .. } = wanted;
    match limit {
        1 => wanted.say(format_args!("Setting up lock at path: {prefix}/.lock")),
        _ => wanted.say(format_args!("Setting up semaphore (limit {limit}) at prefix: {prefix}")),
    }
    // From here on no signal ends us before the lock was given back.
    let mut signals = Signals::new().map_err(failed("Lock setup failed"))?;
    let (mut holder, life) = Holder::start(client, (prefix, *limit), &wanted.name, wanted.retries)
        .await
        .map_err(Failure::doing("Lock setup failed"))?;
    let outcome = {
        let ended = holder.keep_alive(life);
        tokio::pin!(ended);
        wanted.say("Attempting lock acquisition");
        let acquired = tokio::select! {
            biased;
            _ = signals.next() => None,
            error = &mut ended => Some(Err(error)),
            acquired = within(wanted.timeout, holder.acquire()) => acquired,
        };
        match acquired {
            Some(Ok(sequencer)) => {
                let lost = async {
                    tokio::select! {
                        biased;
                        error = ended => error,
                        error = holder.lost() => error,
                    }
                };
                hold_for(wanted, &sequencer, &mut signals, lost).await
            }
            Some(Err(error)) => Err(failed("Lock acquisition failed")(error)),
            None => Err(Failure::Refused("Shutdown triggered or timeout during lock acquisition".to_owned())),
        }
    };
    if outcome.is_err() {
        // What went wrong may do so again; if nothing can be given back, the session ends by itself.
        holder.retries = 0;
    }
    let released = holder.release().await;
    match &released {
        Ok(true) => wanted.say("Cleanup succeeded"),
        Ok(false) => wanted.say("Cleanup aborted, lock in use"),
        Err(_) => {}
    }
    // What went wrong first says more.
    outcome.and_then(|output| released.map(|_| output).map_err(failed("Lock release failed")))
}

/// Runs the program for as long as the lock is held.
async fn hold_for(
    wanted: &Wanted,
    sequencer: &str,
    signals: &mut Signals,
    lost: impl Future<Output = LockError>,
) -> Result<Output, Failure> {
    wanted.say("Starting handler");
    let variables = [("CONSUL_LOCK_HELD", "true"), ("LICTOR_LOCK_SEQUENCER", sequencer)];
    let mut running = wanted.program.start(&variables, wanted.input).map_err(failed("Error starting handler"))?;
    tokio::pin!(lost);
    let ended = loop {
        tokio::select! {
            biased;
            error = &mut lost => {
                wanted.say("Lock lost, killing child");
                stop(wanted, &mut running, Signal::SIGTERM).await?;
                return Err(failed("Lock lost")(error));
            }
            heard = signals.next() => match heard {
                Signal::SIGINT | Signal::SIGTERM => {
                    wanted.say("Shutdown triggered, killing child");
                    break stop(wanted, &mut running, heard).await?;
                }
                other => running.signal(other),
            },
            status = running.ended() => break status.map_err(failed("Error running handler"))?,
        }
    };
    wanted.say("Child terminated, releasing lock");
    if ended.success() {
        return Ok(Output::default());
    }
    let code = if wanted.child_exit_code { 2 } else { 0 };
    Ok(Output::complaint(format_args!("Error running handler: {ended}"), code))
}

async fn stop(wanted: &Wanted, running: &mut Running, signal: Signal) -> Result<std::process::ExitStatus, Failure> {
    let status = running.stop(signal, GRACE).await.map_err(failed("Error running handler"))?;
    wanted.say(format_args!("Child terminated: {status}"));
    Ok(status)
}

/// `None` when it took longer than this.
async fn within<F: Future>(limit: Option<Duration>, future: F) -> Option<F::Output> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, future).await.ok(),
        None => Some(future.await),
    }
}

fn failed<E: Display>(doing: &'static str) -> impl Fn(E) -> Failure {
    move |error| Failure::Refused(format!("{doing}: {error}"))
}
