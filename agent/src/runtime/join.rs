//! From names to members: resolves what `join` and `retry_join` were given, and keeps trying the latter.

use crate::effect::Answer;
use crate::runtime::clock;
use crate::runtime::handle::Handle;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Addresses tried for one join.
const ADDRESSES_MAX: usize = 64;
/// A name whose servers are silent is given up then.
const RESOLVE_WITHIN: Duration = Duration::from_secs(5);
/// The first pause of `retry_join`; it doubles up to `retry_interval`.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Gossip ends a try itself when nobody answers. It keeps one open while a living member holds our name, and enters when
/// that one is gone: until then there is no use in another try.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Turns `host`, `host:port`, `ip`, `ip:port` and `[v6]:port` into addresses.
///
/// # Errors
/// A sentence naming every name that could not be resolved, when none could.
pub async fn resolve(names: &[String], port: u16) -> Result<Vec<SocketAddr>, String> {
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for name in names {
        let name = name.trim();
        if let Ok(address) = name.parse::<SocketAddr>() {
            found.push(address);
        } else if let Ok(ip) = name.parse::<IpAddr>() {
            found.push(SocketAddr::new(ip, port));
        } else {
            let with_port = if name.contains(':') { name.to_owned() } else { format!("{name}:{port}") };
            match timeout(RESOLVE_WITHIN, tokio::net::lookup_host(&with_port)).await {
                Ok(Ok(addresses)) => found.extend(addresses),
                Ok(Err(error)) => problems.push(format!("{name:?} does not resolve: {error}")),
                Err(_late) => {
                    problems
                        .push(format!("{name:?} does not resolve: no name server answered within {RESOLVE_WITHIN:?}"));
                }
            }
        }
    }
    found.truncate(ADDRESSES_MAX);
    if found.is_empty() { Err(problems.join("; ")) } else { Ok(found) }
}

/// Joins through `names` until it works once. Gives up after `tries` (0: never), saying why.
///
/// # Errors
/// The last try's problem.
pub async fn keep_trying(
    handle: Arc<Handle>,
    names: Vec<String>,
    interval: Duration,
    tries: u32,
) -> Result<(), String> {
    let mut pause = FIRST_PAUSE.min(interval);
    let mut tried = 0;
    loop {
        let problem = match resolve(&names, handle.facts.serf_port).await {
            Ok(addresses) => match handle.join(addresses, clock::now() + PATIENCE).await {
                Answer::Joined(Ok(count)) => {
                    tracing::info!("joined the cluster through {count} of {names:?}");
                    return Ok(());
                }
                Answer::Joined(Err(problem)) => problem,
                _ => "the agent did not answer in time".to_owned(),
            },
            Err(problem) => problem,
        };
        tried += 1;
        if tries > 0 && tried >= tries {
            return Err(format!("retry_join gave up after {tried} tries (retry_max): {problem}"));
        }
        tracing::warn!("join failed, trying again in {pause:?}: {problem}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(interval);
    }
}
