//! A queue: each item is taken by one consumer, once, in the order in which they were put.
//!
//! Consumers stand in line. The first takes the first item, or waits for one, and what it does is one transaction: the
//! item goes, the note of who has it comes, and the place in line is given up. A consumer that dies before has taken nothing.
//!
//! `cargo run --example queue -- put QUEUE ITEM…` and `cargo run --example queue -- take QUEUE NAME`; Ctrl-C ends a consumer.
#![expect(clippy::print_stdout, reason = "a program to watch")]

pub(crate) mod line;

use line::{Agent, Place, Result, Session, told_to_end};
use reqwest::StatusCode;
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let agent = Agent::nearby()?;
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["put", queue, ref items @ ..] => {
            for item in items {
                let key = agent.number(&format!("{queue}/items/"), "", item).await?;
                println!("put {key}");
            }
            Ok(())
        }
        ["take", queue, name] => {
            let session = Session::begin(&agent).await?;
            let consume = async {
                loop {
                    let number = take(&agent, &session, queue, name).await?;
                    println!("{name} has taken {number}");
                }
            };
            tokio::select! {
                failed = consume => failed,
                told = told_to_end() => {
                    told?;
                    session.end().await
                }
            }
        }
        _ => Err("usage: queue put QUEUE ITEM…, or queue take QUEUE NAME".into()),
    }
}

/// Takes the next item; its number.
pub(crate) async fn take(agent: &Agent, session: &Session, queue: &str, name: &str) -> Result<String> {
    let place = Place::take(session, &format!("{queue}/line/"), name).await?;
    place.first().await?;
    let items = format!("{queue}/items/");
    let mut index = "0".to_owned();
    let item = loop {
        let (keys, now) = agent.keys(&items, &index).await?;
        if let Some(item) = keys.into_iter().next() {
            break item;
        }
        index = now;
    };
    let number = item.trim_start_matches(&items).to_owned();
    let note = format!("{queue}/taken/{number}/{name}");
    let change = json!([
        {"KV": {"Verb": "delete", "Key": item}},
        {"KV": {"Verb": "set", "Key": note, "Value": ""}},
        {"KV": {"Verb": "delete", "Key": place.key}},
    ]);
    let sequencer = agent.sequencer(&place.key).await?;
    let answer = agent.write(&format!("/v1/txn?sequencer={sequencer}"), change.to_string()).await?;
    // If an answer was lost, the second try finds the place given up by the first.
    let done = answer.status() == StatusCode::CONFLICT && !agent.keys(&note, "0").await?.0.is_empty();
    if !done {
        answer.error_for_status()?;
    }
    Ok(number)
}
