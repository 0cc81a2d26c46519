//! A program that the user named, run with our terminal and our signals.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io;
use std::process::{ExitStatus, Stdio};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

/// What to run, as words of the command line.
pub(crate) struct Program {
    pub(crate) words: Vec<String>,
    /// Give the words to a shell, as one line.
    pub(crate) shell: bool,
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

    /// Runs it to its end, with this input. Signals that would end us are its own meanwhile.
    ///
    /// # Errors
    /// When it cannot be started or waited for.
    pub(crate) async fn run(&self, variable: (&str, String), input: &[u8]) -> io::Result<ExitStatus> {
        let mut child = self.command().env(variable.0, variable.1).stdin(Stdio::piped()).spawn()?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let stdin = child.stdin.take();
        let feed = async move {
            if let Some(mut stdin) = stdin {
                // A program need not read what it is given.
                let _ = stdin.write_all(input).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::pin!(feed);
        loop {
            let heard = tokio::select! {
                status = child.wait() => return status,
                () = &mut feed => continue,
                _ = interrupt.recv() => Signal::SIGINT,
                _ = terminate.recv() => Signal::SIGTERM,
                _ = hangup.recv() => Signal::SIGHUP,
            };
            if let Some(pid) = pid {
                let _ = kill(pid, heard);
            }
        }
    }
}
