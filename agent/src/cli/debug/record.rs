//! What is asked of the agent, and when. An answer that does not come is told and left out; only a directory that cannot be
//! written ends the recording.

use super::bundle::Bundle;
use super::{Wanted, complain, say};
use crate::cli::client::{Client, ClientError};
use crate::http::wire::rfc3339;
use crate::runtime::clock;
use crate::time::format_duration;
use std::io::{self, Write as _};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// The last interval may end so much after the whole duration.
const GRACE: Duration = Duration::from_secs(2);

/// What can be captured, by Consul's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Metrics,
    Logs,
    Host,
    Agent,
    Members,
}

impl Target {
    pub(super) const ALL: [Self; 5] = [Self::Metrics, Self::Logs, Self::Host, Self::Agent, Self::Members];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Logs => "logs",
            Self::Host => "host",
            Self::Agent => "agent",
            Self::Members => "members",
        }
    }

    /// `cluster` is what Consul called the members once.
    pub(super) fn named(name: &str) -> Option<Self> {
        let name = if name == "cluster" { "members" } else { name };
        Self::ALL.into_iter().find(|target| target.name() == name)
    }
}

/// How a recording came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    InTime,
    /// By a signal.
    Early,
}

/// A recording.
pub(super) struct Recorder<'a> {
    pub(super) client: &'a Client,
    pub(super) bundle: &'a Bundle,
    pub(super) wanted: &'a Wanted,
    pub(super) version: &'a str,
}

impl Recorder<'_> {
    /// Records for as long as it was asked to, or until SIGINT or SIGTERM.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) async fn record(&self) -> io::Result<Ended> {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let all = async {
            self.once().await?;
            if self.wants(Target::Metrics) || self.wants(Target::Logs) {
                tokio::try_join!(self.by_interval(), self.throughout())?;
            }
            Ok(Ended::InTime)
        };
        tokio::select! {
            ended = all => ended,
            _ = interrupt.recv() => Ok(Ended::Early),
            _ = terminate.recv() => Ok(Ended::Early),
        }
    }

    fn wants(&self, target: Target) -> bool {
        self.wanted.targets.contains(&target)
    }

    /// What is asked for only once.
    async fn once(&self) -> io::Result<()> {
        let index = serde_json::json!({
            "Version": 1,
            "AgentVersion": self.version,
            "Interval": format_duration(self.wanted.interval),
            "Duration": format_duration(self.wanted.duration),
            "Targets": self.wanted.targets.iter().map(|target| target.name()).collect::<Vec<_>>(),
        });
        self.bundle.file("index.json")?.write_all(format!("{index:#}\n").as_bytes())?;
        for (target, file, path) in [
            (Some(Target::Host), "host.json", "/v1/agent/host"),
            (Some(Target::Agent), "agent.json", "/v1/agent/self"),
            (Some(Target::Members), "members.json", "/v1/agent/members"),
            (None, "listpeers.json", "/v1/operator/raft/configuration"),
        ] {
            if target.is_none_or(|target| self.wants(target)) {
                match self.ask(path).await {
                    Ok(body) => self.bundle.file(file)?.write_all(&body)?,
                    Err(error) => complain(format_args!("{file} could not be captured: {error}")),
                }
            }
        }
        Ok(())
    }

    async fn ask(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        let answer = self.client.send(reqwest::Method::GET, path, &[("pretty", String::new())], Vec::new()).await?;
        if answer.status == 200 { Ok(answer.body) } else { Err(answer.refused()) }
    }

    /// Figures, one JSON object after the other.
    async fn by_interval(&self) -> io::Result<()> {
        let Wanted { duration, interval: length, .. } = self.wanted;
        let last = duration.as_nanos() / length.as_nanos().max(1);
        let mut beat = interval(*length);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let intervals = async {
            let mut file = if self.wants(Target::Metrics) { Some(self.bundle.file("metrics.json")?) } else { None };
            for number in 0..=last {
                beat.tick().await;
                if number == 0 {
                    say(format_args!("Beginning capture interval {} ({number})", now()));
                }
                if let Some(file) = &mut file {
                    match self.ask("/v1/agent/metrics").await {
                        Ok(body) => file.write_all(&body).and_then(|()| file.write_all(b"\n"))?,
                        Err(error) => {
                            complain(format_args!("Capture failed {} ({number}): {error}", now()));
                            continue;
                        }
                    }
                }
                say(format_args!("Capture successful {} ({number})", now()));
            }
            Ok(())
        };
        timeout(*duration + GRACE, intervals).await.unwrap_or(Ok(()))
    }

    /// The log, as it is written. When the agent is lost, it is looked for again after each interval.
    async fn throughout(&self) -> io::Result<()> {
        let query = [("loglevel", "TRACE".to_owned())];
        let following = async {
            let mut file = if self.wants(Target::Logs) { self.bundle.file("consul.log")? } else { return Ok(()) };
            loop {
                match self.client.open("/v1/agent/monitor", &query).await {
                    Ok(mut response) => {
                        while let Ok(Some(piece)) = response.chunk().await {
                            file.write_all(&piece)?;
                        }
                        complain("The agent ended its log, or was lost; it is looked for again");
                    }
                    Err(error) => complain(format_args!("consul.log could not be captured: {error}")),
                }
                sleep(self.wanted.interval).await;
            }
        };
        timeout(self.wanted.duration, following).await.unwrap_or(Ok(()))
    }
}

fn now() -> String {
    rfc3339(clock::unix_ms())
}
