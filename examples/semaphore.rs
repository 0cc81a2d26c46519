//! At most so many inside at the same time, in the order in which they came.
//!
//! All wait in line at the door. Only the first of them watches those who are inside, so that somebody who leaves wakes one.
//!
//! `cargo run --example semaphore -- SEMAPHORE LIMIT NAME`, as often as you like; Ctrl-C leaves.
#![expect(clippy::print_stdout, reason = "a program to watch")]

mod line;

use line::{Agent, Place, Result, Session, told_to_end};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(semaphore), Some(limit), Some(name)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: semaphore SEMAPHORE LIMIT NAME".into());
    };
    let agent = Agent::nearby()?;
    let session = Session::begin(&agent).await?;
    let stay = async {
        let place = enter(&agent, &session, &semaphore, limit.parse()?, &name).await?;
        println!("{name} is in");
        place.lost().await
    };
    tokio::select! {
        done = stay => done?,
        told = told_to_end() => told?,
    }
    println!("{name} is out");
    session.end().await
}

/// Waits at the door until there is room.
async fn enter(agent: &Agent, session: &Session, semaphore: &str, limit: usize, name: &str) -> Result<Place> {
    let door = Place::take(session, &format!("{semaphore}/door/"), name).await?;
    println!("{name} is in line");
    door.first().await?;
    let inside = format!("{semaphore}/inside/");
    let mut index = "0".to_owned();
    loop {
        let (keys, now) = agent.keys(&inside, &index).await?;
        if keys.len() < limit {
            break;
        }
        index = now;
    }
    // Both places are of one session: who is not at the door any more cannot be inside either.
    let place = Place::take(session, &inside, name).await?;
    door.leave().await?;
    Ok(place)
}
