//! The paused leader: it sleeps through an election and a write, wakes, and is asked at once. Whatever it answers to a
//! default or a consistent read must be what was written meanwhile. A stale read may be old, but must say how old.

#![expect(clippy::disallowed_methods, reason = "a stopwatch asks the clock")]

use crate::nemesis::signal;
use lictor_examples::cluster::{Agent, Cluster, Result, until};
use nix::sys::signal::Signal;
use reqwest::{Client, StatusCode};
use std::time::{Duration, Instant};

/// A reader that gets no answer has seen nothing stale.
const PATIENCE: Duration = Duration::from_secs(5);

/// The header counts whole milliseconds.
const CLOCK: Duration = Duration::from_millis(2);

/// What was seen in all rounds.
#[derive(Debug, Default)]
pub struct Seen {
    pub rounds: u32,
    pub fresh: u32,
    /// Refused or not answered.
    pub unanswered: u32,
    /// Stale reads that showed an old value, and said that they were as old as that.
    pub admitted: u32,
}

/// # Errors
/// Whatever went wrong, a stale answer above all.
pub async fn rounds(cluster: &Cluster, servers: &[Agent], count: u32) -> Result<Seen> {
    let mut seen = Seen::default();
    for round in 0..count {
        one(cluster, servers, round, &mut seen).await.map_err(|error| format!("round {round}: {error}"))?;
        seen.rounds += 1;
    }
    Ok(seen)
}

async fn one(cluster: &Cluster, servers: &[Agent], round: u32, seen: &mut Seen) -> Result<()> {
    let before = cluster.leader(servers).await?;
    let old = format!("{round}-old");
    let new = format!("{round}-new");
    let write = async |agent: &Agent, value: &str| {
        until("a write to be accepted", async || {
            let body = value.to_owned();
            cluster.put(agent, "/v1/kv/paused", body).await.ok().filter(|body| body.trim() == "true")
        })
        .await
    };
    write(&servers[before], &old).await?;
    let paused = &servers[before];
    signal(paused, Signal::SIGSTOP)?;
    let other = &servers[(before + 1) % servers.len()];
    let written = write(other, &new).await;
    let Err(error) = written else { return wake(paused, &new, Instant::now(), seen).await };
    signal(paused, Signal::SIGCONT)?;
    Err(error)
}

/// Half of the reads lie in its sockets when it wakes, half come right after.
async fn wake(paused: &Agent, new: &str, written: Instant, seen: &mut Seen) -> Result<()> {
    let http = Client::builder().no_proxy().timeout(PATIENCE).build()?;
    let ask = |query: &'static str| {
        let request = http.get(paused.url(&format!("/v1/kv/paused?raw{query}")));
        tokio::spawn(async move { (query, tell(request).await) })
    };
    let queries = ["", "&consistent", "&stale", "", "&consistent", "&stale"];
    let mut reads: Vec<_> = queries.map(ask).into();
    // The requests are on their way as soon as the runtime has nothing else to do; the sleeper's kernel takes them.
    tokio::time::sleep(Duration::from_millis(20)).await;
    // Whatever it answers, it answers after this: a value older than the write is at least so old.
    let age = written.elapsed();
    signal(paused, Signal::SIGCONT)?;
    reads.extend(queries.map(ask));
    for read in reads {
        let (query, answer) = read.await?;
        let Some(Answer { value, last_contact }) = answer else {
            seen.unanswered += 1;
            continue;
        };
        if value == new {
            seen.fresh += 1;
        } else if query != "&stale" {
            return Err(format!("a read with {query:?} showed {value:?} after {new:?} was acknowledged").into());
        } else if last_contact < age.saturating_sub(CLOCK) {
            return Err(format!("a stale read claimed to be {last_contact:?} old and was {age:?} old").into());
        } else {
            seen.admitted += 1;
        }
    }
    Ok(())
}

struct Answer {
    value: String,
    last_contact: Duration,
}

async fn tell(request: reqwest::RequestBuilder) -> Option<Answer> {
    let response = request.send().await.ok().filter(|response| response.status() == StatusCode::OK)?;
    let header = |name| response.headers().get(name)?.to_str().ok().map(str::to_owned);
    header("x-consul-knownleader")?;
    let last_contact = Duration::from_millis(header("x-consul-lastcontact")?.parse().ok()?);
    Some(Answer { value: response.text().await.ok()?, last_contact })
}
