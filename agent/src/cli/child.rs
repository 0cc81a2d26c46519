//! A program that the user named, run with our terminal and our signals.

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::task::Poll;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// What to run, as words of the command line.
pub(crate) struct Program {
    pub(crate) words: Vec<String>,
    /// Give the words to a shell, as one line.
    pub(crate) shell: bool,
}

/// What a program reads, and with whom it is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// A pipe of ours. The terminal's signals reach it by itself.
    Pipe,
    /// Our own input, which only those in our process group may read from a terminal.
    Ours,
    /// Nothing. It gets a process group of its own, so that what it starts is ended with it.
    Nothing,
}

impl Program {
    fn command(&self) -> Command {
        if self.shell {
            let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty());
            let mut command = Command::new(shell.unwrap_or_else(|| "/bin/sh".into()));
            command.arg("-c").arg(self.words.join(" "));
            return command;
        }
        let (program, arguments) = self.words.split_first().map_or(("", &[][..]), |(first, rest)| (first, rest));
        let mut command = Command::new(program);
        command.args(arguments);
        command
    }

    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(&self, variables: &[(&str, &str)], input: Input) -> io::Result<Running> {
        let mut command = self.command();
        command.envs(variables.iter().copied());
        match input {
            Input::Pipe => command.stdin(Stdio::piped()),
            Input::Ours => command.stdin(Stdio::inherit()),
            Input::Nothing => command.stdin(Stdio::null()).process_group(0),
        };
        let child = command.spawn()?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        Ok(Running { child, pid, leads_group: input == Input::Nothing })
    }

    /// Runs it to its end, with this input. Signals are its own meanwhile.
    ///
    /// # Errors
    /// When it cannot be started or waited for.
    pub(crate) async fn run(&self, variable: (&str, &str), input: &[u8], signals: &mut Signals) -> io::Result<Ended> {
        let mut running = self.start(&[variable], Input::Pipe)?;
        let stdin = running.child.stdin.take();
        let feed = async move {
            if let Some(mut stdin) = stdin {
                // A program need not read what it is given.
                let _ = stdin.write_all(input).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::pin!(feed);
        let mut asked = false;
        loop {
            tokio::select! {
                status = running.ended() => return status.map(|status| Ended { status, asked }),
                () = &mut feed => {}
                heard = signals.next() => {
                    asked |= matches!(heard, Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP);
                    running.signal(heard);
                }
            }
        }
    }
}

/// How a program came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// A signal that asks to end was heard meanwhile.
    pub(crate) asked: bool,
}

/// A program on its way.
pub(crate) struct Running {
    child: Child,
    /// `None` once it has ended.
    pid: Option<Pid>,
    leads_group: bool,
}

impl Running {
    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.pid = None;
        status
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid {
            // Whoever ended meanwhile needs no signal.
            let _ = if self.leads_group { killpg(pid, signal) } else { kill(pid, signal) };
        }
    }

    /// Ends it with this signal, or with SIGKILL when `grace` is over. Of what it has started nothing outlives it, if it had a
    /// process group of its own.
    pub(crate) async fn stop(&mut self, first: Signal, grace: Duration) -> io::Result<ExitStatus> {
        self.signal(first);
        let ended = tokio::time::timeout(grace, self.child.wait()).await;
        if ended.is_err() || self.leads_group {
            self.signal(Signal::SIGKILL);
        }
        match ended {
            Ok(status) => status,
            Err(_over) => self.child.wait().await,
        }
    }
}

/// The signals that a program of ours is to have. They end us no longer once this value was made, not even when it is gone:
/// whoever makes it listens to it to his own end.
pub(crate) struct Signals([(Signal, tokio::signal::unix::Signal); 5]);

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self([
            (Signal::SIGINT, signal(SignalKind::interrupt())?),
            (Signal::SIGTERM, signal(SignalKind::terminate())?),
            (Signal::SIGHUP, signal(SignalKind::hangup())?),
            (Signal::SIGUSR1, signal(SignalKind::user_defined1())?),
            (Signal::SIGUSR2, signal(SignalKind::user_defined2())?),
        ]))
    }

    pub(crate) async fn next(&mut self) -> Signal {
        std::future::poll_fn(|context| {
            let mut heard =
                self.0.iter_mut().filter_map(|(heard, stream)| stream.poll_recv(context).is_ready().then_some(*heard));
            heard.next().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}
