//! What befalls the servers while clients work: drawn by a seed, each fault healed before the next one.

use lictor_agent::dice::Dice;
use lictor_examples::cluster::{Agent, Cluster, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::Duration;
use tokio::time::sleep;

/// Sends a signal to a running agent.
pub fn signal(agent: &Agent, signal: Signal) -> Result<()> {
    let pid = agent.pid().ok_or_else(|| format!("{} does not run", agent.name))?;
    Ok(kill(Pid::from_raw(i32::try_from(pid)?), signal)?)
}

fn between(dice: &mut Dice, least_ms: u64, most_ms: u64) -> Duration {
    Duration::from_millis(least_ms + dice.below(most_ms - least_ms + 1))
}

/// Torments the servers for about so long, and leaves them running. Tells what it did.
pub async fn torment(
    cluster: &Cluster,
    servers: &mut [Agent],
    dice: &mut Dice,
    lasts: Duration,
) -> Result<Vec<String>> {
    let mut left = lasts;
    let mut told = Vec::new();
    loop {
        let calm = between(dice, 500, 2000);
        let fault = between(dice, 2000, 5000);
        if left < calm + fault {
            sleep(left).await;
            return Ok(told);
        }
        left -= calm + fault;
        sleep(calm).await;
        let any = dice.below(servers.len() as u64) as usize;
        let leader = dice.below(2) == 0;
        let victim = if leader { cluster.leader(servers).await.unwrap_or(any) } else { any };
        let name = servers[victim].name.clone();
        match dice.below(10) {
            0..4 => {
                told.push(format!("{name} is killed, and back after {fault:?}"));
                servers[victim].kill();
                sleep(fault).await;
                servers[victim].start()?;
            }
            4..9 => {
                told.push(format!("{name} is paused for {fault:?}"));
                signal(&servers[victim], Signal::SIGSTOP)?;
                sleep(fault).await;
                signal(&servers[victim], Signal::SIGCONT)?;
            }
            _ => {
                told.push(format!("all are killed, and back after {fault:?}"));
                for server in servers.iter_mut() {
                    server.kill();
                }
                sleep(fault).await;
                servers.iter_mut().try_for_each(Agent::start)?;
            }
        }
    }
}
