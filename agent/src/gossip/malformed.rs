//! Packets, requests and answers as strangers may send them, before the seal and behind it: see [`crate::malformed`].

use super::core::Gossip;
use super::identity::{Identity, Swim};
use super::output::Output;
use super::seal::{Kind, Seal};
use super::wire::{self, Ask, Item, Letter, Reply};
use super::{Announcement, GossipConfig, JoinError, NotFired, UserEvent};
use crate::dice::Dice;
use crate::malformed::{Seeds, Verdict, survives};
use crate::time::Instant;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

const NOW: Instant = Instant(1_000_000_000_000);
/// Timers that are let run afterwards: a few rounds of probing, some seconds of time.
const TIMERS: usize = 32;

/// What comes in before anybody knows whether it is ours. What opens, closes and opens again as the same.
pub(crate) fn envelope(bytes: &[u8]) -> Verdict {
    let mut unopened = None;
    let mut accepted = false;
    for key in [None, Some([7; 16].as_slice()), Some(&[7; 24]), Some(&[7; 32])] {
        let mut seal = Seal::new(key, "dc1", "", [0; 12]).expect("lengths that AES has");
        for kind in [Kind::Packet, Kind::Request, Kind::Answer] {
            match seal.open(kind, bytes) {
                Ok(payload) => {
                    let closed = seal.close(kind, &payload);
                    survives(&payload, |_| &closed, |bytes| seal.open(kind, bytes));
                    accepted = true;
                }
                Err(why) => unopened = Some(why),
            }
        }
    }
    if accepted { Ok(()) } else { Err(format!("{unopened:?}")) }
}

pub(crate) fn envelopes() -> Seeds {
    let close = |key: Option<&[u8]>, kind| {
        Seal::new(key, "dc1", "", [0; 12]).expect("a length that AES has").close(kind, b"payload")
    };
    vec![
        ("plain_packet", close(None, Kind::Packet)),
        ("plain_request", close(None, Kind::Request)),
        ("sealed_packet", close(Some(&[7; 16]), Kind::Packet)),
        ("sealed_answer", close(Some(&[7; 32]), Kind::Answer)),
    ]
}

/// A packet behind the seal, as a member of the cluster could send it.
pub(crate) fn packet(payload: &[u8]) -> Verdict {
    if let Some((swim, items)) = wire::split(payload) {
        for item in &items {
            survives(item, wire::write, |bytes| wire::read::<Item>(bytes).ok_or(()));
        }
        if let Ok(swim) = Swim::read(swim) {
            let written = swim.write().expect("what was read can be written");
            let again = Swim::read(&written).expect("what was written can be read");
            assert_eq!((again.header, again.updates), (swim.header, swim.updates), "written and read again");
        }
    }
    let mut gossip = pair().0;
    let sealed = gossip.seal.close(Kind::Packet, payload);
    gossip.packet(NOW, identity(2).address, &sealed);
    let counts = gossip.counts();
    lives_on(&mut gossip, payload.len());
    if counts.packets_refused + counts.packets_malformed == 0 {
        Ok(())
    } else {
        Err("counted as malformed and dropped".to_owned())
    }
}

pub(crate) fn packets() -> Seeds {
    let (mut first, mut second) = pair();
    second.leave(NOW);
    let mut payloads = Vec::new();
    for gossip in [&mut first, &mut second] {
        for _ in 0..TIMERS {
            let Some(due) = gossip.deadline() else { break };
            gossip.timer(due);
            payloads.extend(gossip.outputs().into_iter().filter_map(|output| match output {
                Output::Packet { bytes, .. } => Seal::open(&gossip.seal, Kind::Packet, &bytes).ok(),
                _ => None,
            }));
        }
    }
    payloads.sort_by_key(Vec::len);
    payloads.dedup();
    let names = ["shortest", "short", "long", "longest"];
    let event = wire::write(&Item::Event(sample_event()));
    let mut packet = vec![0, 0];
    assert!(wire::append(&mut packet, &event, 1400), "an event fits into a packet");
    let mut place = vec![0, 0];
    let item = wire::write(&Item::Place(super::vivaldi::origin()));
    assert!(wire::append(&mut place, &item, 1400), "a place fits into a packet");
    let step = (payloads.len() - 1) as f64 / (names.len() - 1) as f64;
    names
        .into_iter()
        .enumerate()
        .map(|(at, name)| (name, payloads[(at as f64 * step) as usize].clone()))
        .chain([("event", packet), ("place", place)])
        .collect()
}

/// Fires what somebody asked for, at an agent that another one hears.
pub(crate) fn fire(announcement: Announcement) -> Result<Arc<UserEvent>, NotFired> {
    let (mut first, mut second) = pair();
    let fired = first.fire(NOW, announcement)?;
    let packets = first.deadline().map(|due| first.timer(due)).into_iter().flat_map(|()| first.outputs());
    for packet in packets.collect::<Vec<_>>() {
        if let Output::Packet { bytes, .. } = packet {
            second.packet(NOW, identity(1).address, &bytes);
        }
    }
    let heard = second.outputs().into_iter().any(|output| matches!(output, Output::Heard(heard) if heard == fired));
    assert!(heard, "what is fired is heard");
    Ok(fired)
}

/// A request over TCP behind the seal. It is always answered, and the answer reads.
pub(crate) fn request(payload: &[u8]) -> Verdict {
    if let Some(letter) = wire::read::<Letter<Ask>>(payload) {
        survives(&letter, wire::write, |bytes| wire::read::<Letter<Ask>>(bytes).ok_or(()));
    }
    let mut gossip = pair().0;
    let sealed = gossip.seal.close(Kind::Request, payload);
    let answer = gossip.request(NOW, &sealed);
    let answer = gossip.seal.open(Kind::Answer, &answer).expect("an answer is sealed as the request was");
    let answer = wire::read::<Letter<Reply>>(&answer).expect("an answer reads").content;
    lives_on(&mut gossip, payload.len());
    match answer {
        Reply::Refused(why) => Err(why.to_string()),
        Reply::State(_) | Reply::Pong { .. } | Reply::Wait => Ok(()),
    }
}

pub(crate) fn requests() -> Seeds {
    let mut first = pair().0;
    first.take_event(sample_event());
    let join = dialled(&mut agent(3));
    let sync = Ask::Sync { target: identity(1).id, sync: first.state(NOW) };
    let ping = Ask::Ping { target: identity(1).id, suspected: Some((identity(1).counter, 0)) };
    vec![
        ("join", join.1),
        ("sync", wire::write(&Letter { number: 7, content: sync })),
        ("ping", wire::write(&Letter { number: 8, content: ping })),
    ]
}

/// The answer to a join behind the seal.
pub(crate) fn answer(payload: &[u8]) -> Verdict {
    if let Some(letter) = wire::read::<Letter<Reply>>(payload) {
        survives(&letter, wire::write, |bytes| wire::read::<Letter<Reply>>(bytes).ok_or(()));
    }
    let mut gossip = agent(3);
    let (dial, _) = dialled(&mut gossip);
    let sealed = gossip.seal.close(Kind::Answer, payload);
    gossip.answered(NOW, dial, Ok(Bytes::from(sealed)));
    let failure = gossip.outputs().into_iter().find_map(|output| match output {
        Output::JoinFailed { failures, .. } => failures.into_iter().next().map(|(_, error)| error),
        Output::JoinWaits { reason, .. } => Some(JoinError::Refused(reason)),
        _ => None,
    });
    lives_on(&mut gossip, payload.len());
    failure.map_or(Ok(()), |error| Err(error.to_string()))
}

pub(crate) fn answers() -> Seeds {
    let (mut first, mut asker) = (pair().0, agent(3));
    let (_, body) = dialled(&mut asker);
    let number = wire::read::<Letter<Ask>>(&body).expect("our own request").number;
    let sealed = first.seal.close(Kind::Request, &body);
    let state = first.request(NOW, &sealed);
    let state = first.seal.open(Kind::Answer, &state).expect("our own answer");
    vec![("state", state), ("wait", wire::write(&Letter { number, content: Reply::Wait }))]
}

fn sample_event() -> UserEvent {
    let filter = |text: &str| text.to_owned();
    UserEvent {
        id: Uuid::from_u128(77),
        time: 9,
        version: 1,
        announcement: Announcement {
            name: "deploy".to_owned(),
            payload: b"payload".to_vec(),
            node_filter: filter("^n"),
            service_filter: filter("web"),
            tag_filter: filter("v1"),
        },
    }
}

fn identity(number: u8) -> Identity {
    Identity { id: Uuid::from_u128(number.into()), counter: 1000, address: ([127, 0, 0, number], 8301).into() }
}

fn agent(number: u8) -> Gossip {
    let tags = BTreeMap::from([("role".to_owned(), "node".to_owned())]);
    let name = format!("n{number}").as_str().into();
    let config = GossipConfig::lan("dc1", [0; 12]);
    Gossip::new(config, identity(number), name, tags, Dice::new(number.into()), NOW).expect("no key is no bad key")
}

/// Asks `n1` to let it in: the dial, and the request behind the seal.
fn dialled(gossip: &mut Gossip) -> (u64, Vec<u8>) {
    gossip.join(NOW, vec![identity(1).address], 1);
    let dialled = gossip.outputs().into_iter().find_map(|output| match output {
        Output::Dial { dial, body, .. } => Some((dial, body)),
        _ => None,
    });
    let (dial, body) = dialled.expect("a join dials");
    (dial, gossip.seal.open(Kind::Request, &body).expect("our own request"))
}

/// Two that know each other.
fn pair() -> (Gossip, Gossip) {
    let (mut first, mut second) = (agent(1), agent(2));
    let (dial, body) = dialled(&mut second);
    let body = first.seal.close(Kind::Request, &body);
    let answer = first.request(NOW, &body);
    second.answered(NOW, dial, Ok(answer));
    assert_eq!((first.members().len(), second.members().len()), (2, 2), "they know each other");
    first.outputs();
    second.outputs();
    (first, second)
}

/// What was taken in neither stops it nor makes it say more than so much.
fn lives_on(gossip: &mut Gossip, input: usize) {
    let mut said = gossip.outputs().len();
    for _ in 0..TIMERS {
        let Some(due) = gossip.deadline() else { break };
        gossip.timer(due);
        said += gossip.outputs().len();
    }
    assert!(said <= 16 * TIMERS + input, "{said} outputs came of {input} bytes");
    assert!(!gossip.members().is_empty(), "it still knows itself");
}
