//! One leader among many candidates, in the order in which they came. The next one leads as soon as the leader ends, or when
//! its session does if it was killed.
//!
//! `cargo run --example leader_election -- ELECTION NAME`, as often as you like; Ctrl-C steps down.
#![expect(clippy::print_stdout, reason = "a program to watch")]

mod line;

use line::{Agent, Place, Result, Session, told_to_end};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(election), Some(name)) = (args.next(), args.next()) else {
        return Err("usage: leader_election ELECTION NAME".into());
    };
    let agent = Agent::nearby()?;
    let session = Session::begin(&agent).await?;
    tokio::select! {
        done = stand(&agent, &session, &election, &name) => done?,
        told = told_to_end() => told?,
    }
    println!("{name} steps down");
    session.end().await
}

/// Stands for election, and leads until the place is lost.
async fn stand(agent: &Agent, session: &Session, election: &str, name: &str) -> Result<()> {
    let place = Place::take(session, &format!("{election}/candidates/"), name).await?;
    println!("{name} is a candidate");
    let woken = place.first().await?;
    // All that the leader writes carries this, and is refused once another one leads.
    let sequencer = agent.sequencer(&place.key).await?;
    let path = format!("/v1/kv/{election}/leader?sequencer={sequencer}");
    agent.write(&path, name.to_owned()).await?.error_for_status()?;
    println!("{name} leads, woken {woken} times");
    place.lost().await
}
