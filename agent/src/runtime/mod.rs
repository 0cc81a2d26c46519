//! The world outside: tokio, hyper, the disk, processes, signals and clocks. It turns the world into events and effects
//! into the world, and is the only place that may.

pub mod assemble;
pub mod clock;
pub mod connect;
pub mod core;
pub mod datadir;
pub mod disk;
pub mod dispatch;
pub mod dns;
pub mod figures;
pub mod files;
pub mod gossip;
pub mod handle;
pub mod http;
pub mod hub;
pub mod join;
pub mod log;
pub mod machine;
pub mod mailbox;
pub mod meter;
pub mod monitor;
pub mod pieces;
pub mod probe;
pub mod records;
pub mod rpc;
pub mod silence;
pub mod sockets;
pub mod watch;
pub mod world;

use crate::agent;
use crate::cli::banner;
use crate::config::Resolved;
use crate::effect::{Answer, Ending};
use crate::http::call::Act;
use assemble::Running;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A leave that takes longer is cut short. The agent ends it by itself before that.
const LEAVE_PATIENCE: Duration = Duration::from_secs(agent::LEAVE_PATIENCE.as_secs() + 5);
/// Answers given last, such as the one to `leave`, have this long to reach their askers.
const LAST_WORDS: Duration = Duration::from_millis(50);
/// What is under way when the agent stops has this long to end.
const STOP_PATIENCE: Duration = Duration::from_millis(500);

/// Runs an agent until it is told to end. The exit code is Consul's: 0 after a graceful leave, else 1.
#[must_use]
pub fn run(config: Resolved) -> ExitCode {
    let monitor = log::start(config.log.level, config.log.json);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    // Without a provider reqwest refuses to build any client.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, usize::from).max(2))
        .thread_name("worker")
        .max_blocking_threads(64)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("the system gives no threads: {error}")),
    };
    let code = runtime.block_on(async {
        match assemble::start(&config, monitor).await {
            Ok(running) => {
                print(&banner(&config, Some(running.node_id)));
                let pid_file = PidFile::write(config.pid_file.as_deref());
                let code = until_the_end(config, running).await;
                drop(pid_file);
                code
            }
            Err(problem) => refuse(&problem),
        }
    });
    runtime.shutdown_timeout(STOP_PATIENCE);
    code
}

#[expect(clippy::print_stdout, reason = "the banner is for whoever started the agent")]
fn print(text: &str) {
    println!("{text}");
}

fn refuse(problem: &str) -> ExitCode {
    give_up(&format!("==> lictor does not start: {problem}"))
}

#[expect(clippy::print_stderr, reason = "whoever started the agent must see why there is none")]
fn give_up(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::FAILURE
}

/// `pid_file`: names this process while it runs.
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: Option<&Path>) -> Option<Self> {
        let path = path?;
        match std::fs::write(path, format!("{}\n", std::process::id())) {
            Ok(()) => Some(Self(path.to_owned())),
            Err(error) => {
                tracing::error!("pid_file {} is not written: {error}", path.display());
                None
            }
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What ends an agent from outside.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

async fn until_the_end(config: Resolved, mut running: Running) -> ExitCode {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return refuse(&format!("signals cannot be waited for: {error}")),
    };
    loop {
        let leaves = tokio::select! {
            _ = signals.interrupt.recv() => !config.skip_leave_on_interrupt,
            _ = signals.terminate.recv() => config.leave_on_terminate,
            _ = signals.hangup.recv() => {
                tracing::warn!("reload on SIGHUP is not built yet: restart the agent to apply a changed configuration");
                continue;
            }
            ending = running.endings.recv() => {
                tokio::time::sleep(LAST_WORDS).await;
                return running.stop(ended(ending)).await;
            }
        };
        if !leaves {
            match config.dev {
                true => tracing::info!("stops; what it held in memory is gone"),
                false => tracing::info!("stops without leaving: the others will see it as failed until it comes back"),
            }
            return running.stop(ExitCode::FAILURE).await;
        }
        return leave(running, signals).await;
    }
}

/// Says farewell first. A second signal, or too long a farewell, cuts it short.
async fn leave(mut running: Running, mut signals: Signals) -> ExitCode {
    let handle = Arc::clone(&running.handle);
    let code = tokio::select! {
        answer = handle.act(Act::Leave, clock::now() + LEAVE_PATIENCE) => left(&answer),
        ending = running.endings.recv() => ended(ending),
        _ = signals.interrupt.recv() => ExitCode::FAILURE,
        _ = signals.terminate.recv() => ExitCode::FAILURE,
    };
    running.stop(code).await
}

/// Only who said farewell has left.
fn left(answer: &Answer) -> ExitCode {
    if *answer == Answer::Done {
        return ExitCode::SUCCESS;
    }
    tracing::error!("stops without a farewell, the others will see it as failed: the leave came to {answer:?}");
    ExitCode::FAILURE
}

fn ended(ending: Option<Ending>) -> ExitCode {
    match ending {
        Some(Ending::Left) | None => ExitCode::SUCCESS,
        Some(Ending::Fatal(problem)) => {
            tracing::error!("{problem}");
            give_up(&format!("==> lictor stops: {problem}"))
        }
    }
}
