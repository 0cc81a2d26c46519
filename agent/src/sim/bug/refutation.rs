//! Gossip in which no incarnation ever rises: every one is written as zero on the way, and what a suspect says to refute is
//! lost. Packets and bodies are plain in the simulator, behind an envelope of a fixed length.

use crate::gossip::identity::Swim;
use crate::gossip::seal::HEADER;
use crate::gossip::wire::{self, Ask, Letter, Reply, Sync};
use bytes::Bytes;
use foca::{Member, Message};

/// `None` when it is lost.
pub(super) fn packet(bytes: Bytes) -> Option<Bytes> {
    match doctored(&bytes) {
        Some(Doctored::Lost) => None,
        Some(Doctored::Written(written)) => Some(written),
        None => Some(bytes),
    }
}

enum Doctored {
    Lost,
    Written(Bytes),
}

fn doctored(bytes: &[u8]) -> Option<Doctored> {
    let (envelope, payload) = bytes.split_at_checked(HEADER)?;
    let (length, rest) = payload.split_first_chunk::<2>()?;
    let (swim, items) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let mut swim = Swim::read(swim).ok()?;
    // To a member that nobody believes, every answer would be a new suspicion, and that a reason to tell three more.
    if swim.header.src_incarnation > 0 && swim.header.message == Message::Gossip {
        return Some(Doctored::Lost);
    }
    swim.header.src_incarnation = 0;
    for member in &mut swim.updates {
        *member = Member::new(*member.id(), 0, member.state());
    }
    let swim = swim.write().ok()?;
    let length = u16::try_from(swim.len()).ok()?.to_be_bytes();
    Some(Doctored::Written([envelope, &length, &swim, items].concat().into()))
}

/// A request or an answer.
pub(super) fn body(bytes: &[u8]) -> Option<Bytes> {
    let (envelope, payload) = bytes.split_at_checked(HEADER)?;
    // The second byte of the envelope says which it is; one is never read as the other.
    let payload = if envelope[1] == 1 {
        let mut letter = wire::read::<Letter<Ask>>(payload)?;
        match &mut letter.content {
            Ask::Join { sync, .. } | Ask::Sync { sync, .. } => flatten(sync),
            Ask::Ping { .. } => {}
        }
        wire::write(&letter)
    } else {
        let mut letter = wire::read::<Letter<Reply>>(payload)?;
        match &mut letter.content {
            Reply::State(sync) => flatten(sync),
            Reply::Pong { incarnation, .. } => *incarnation = 0,
            Reply::Wait | Reply::Refused(_) => {}
        }
        wire::write(&letter)
    };
    Some([envelope, &payload].concat().into())
}

fn flatten(sync: &mut Sync) {
    for row in &mut sync.rows {
        row.incarnation = 0;
    }
}
