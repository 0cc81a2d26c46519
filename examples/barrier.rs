//! Nobody goes on before so many have come. Who dies while waiting does not count.
//!
//! Whoever sees that all are there opens the barrier; the others wait for that one key. A barrier is for one use: give the next
//! another name.
//!
//! `cargo run --example barrier -- BARRIER COUNT NAME`, so many times.
#![expect(clippy::print_stdout, reason = "a program to watch")]

pub(crate) mod line;

use line::{Agent, Place, Result, Session, told_to_end};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(barrier), Some(count), Some(name)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: barrier BARRIER COUNT NAME".into());
    };
    let agent = Agent::nearby()?;
    let session = Session::begin(&agent).await?;
    let place = come(&session, &barrier, &name).await?;
    println!("{name} has come");
    tokio::select! {
        passed = pass(&agent, &place, &barrier, count.parse()?) => {
            passed?;
            println!("{name} goes on");
        }
        told = told_to_end() => told?,
    }
    session.end().await
}

pub(crate) async fn come(session: &Session, barrier: &str, name: &str) -> Result<Place> {
    Place::take(session, &format!("{barrier}/come/"), name).await
}

/// Waits until all have come.
pub(crate) async fn pass(agent: &Agent, place: &Place, barrier: &str, count: usize) -> Result<()> {
    let open = format!("{barrier}/open");
    // The last one to come sees all the others, or those who died meanwhile are missing and somebody else has to come.
    if agent.keys(&format!("{barrier}/come/"), "0").await?.0.len() >= count {
        let sequencer = agent.sequencer(&place.key).await?;
        let path = format!("/v1/kv/{open}?sequencer={sequencer}");
        agent.write(&path, String::new()).await?.error_for_status()?;
    }
    agent.until(&open, true).await
}
