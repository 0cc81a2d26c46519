//! What foca knows a member by, and how its headers and members are written. Owns no state.

use bytes::{Buf, BufMut};
use foca::{Header, Message, State};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use uuid::Uuid;

/// One start of one agent. The UUID is the member; the counter says which of its starts is the latest, so an agent that
/// restarted or moved is still one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    pub id: Uuid,
    /// `max(stored + 1, wall clock in ms)` at the start; one more each time the member had to come back from the dead.
    pub counter: u64,
    /// Where it gossips, UDP and TCP.
    pub address: SocketAddr,
}

impl foca::Identity for Identity {
    type Addr = Uuid;

    fn renew(&self) -> Option<Self> {
        Some(Self { counter: self.counter.checked_add(1)?, ..*self })
    }

    fn addr(&self) -> Uuid {
        self.id
    }

    /// Equal counters at two addresses are two processes with one data directory. The order of the addresses decides,
    /// so that everybody keeps the same one until the clone is found out.
    fn win_addr_conflict(&self, other: &Self) -> bool {
        (self.counter, self.address) > (other.counter, other.address)
    }
}

/// Why foca's part of a packet could not be written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("gossip packet: no room left for this record")]
    NoRoom,
    #[error("gossip packet: unreadable record")]
    Unreadable,
}

/// foca's records in postcard. foca's own types have no serde here, so that a change in foca cannot change the wire.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Codec;

#[derive(Serialize, Deserialize)]
struct WireHeader {
    src: Identity,
    src_incarnation: u16,
    dst: Identity,
    message: WireMessage,
}

#[derive(Serialize, Deserialize)]
enum WireMessage {
    Ping(u8),
    Ack(u8),
    PingReq(Identity, u8),
    IndirectPing(Identity, u8),
    IndirectAck(Identity, u8),
    ForwardedAck(Identity, u8),
    Announce,
    Feed,
    Gossip,
    Broadcast,
    TurnUndead,
}

#[derive(Serialize, Deserialize)]
struct WireMember(Identity, u16, WireState);

/// foca's verdict on a member, as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WireState {
    Alive,
    Suspect,
    Down,
}

impl From<State> for WireState {
    fn from(state: State) -> Self {
        match state {
            State::Alive => Self::Alive,
            State::Suspect => Self::Suspect,
            State::Down => Self::Down,
        }
    }
}

impl From<WireState> for State {
    fn from(state: WireState) -> Self {
        match state {
            WireState::Alive => Self::Alive,
            WireState::Suspect => Self::Suspect,
            WireState::Down => Self::Down,
        }
    }
}

impl From<&Message<Identity>> for WireMessage {
    fn from(message: &Message<Identity>) -> Self {
        match *message {
            Message::Ping(n) => Self::Ping(n),
            Message::Ack(n) => Self::Ack(n),
            Message::PingReq { target, probe_number } => Self::PingReq(target, probe_number),
            Message::IndirectPing { origin, probe_number } => Self::IndirectPing(origin, probe_number),
            Message::IndirectAck { target, probe_number } => Self::IndirectAck(target, probe_number),
            Message::ForwardedAck { origin, probe_number } => Self::ForwardedAck(origin, probe_number),
            Message::Announce => Self::Announce,
            Message::Feed => Self::Feed,
            Message::Gossip => Self::Gossip,
            Message::Broadcast => Self::Broadcast,
            Message::TurnUndead => Self::TurnUndead,
        }
    }
}

impl From<WireMessage> for Message<Identity> {
    fn from(message: WireMessage) -> Self {
        match message {
            WireMessage::Ping(n) => Self::Ping(n),
            WireMessage::Ack(n) => Self::Ack(n),
            WireMessage::PingReq(target, probe_number) => Self::PingReq { target, probe_number },
            WireMessage::IndirectPing(origin, probe_number) => Self::IndirectPing { origin, probe_number },
            WireMessage::IndirectAck(target, probe_number) => Self::IndirectAck { target, probe_number },
            WireMessage::ForwardedAck(origin, probe_number) => Self::ForwardedAck { origin, probe_number },
            WireMessage::Announce => Self::Announce,
            WireMessage::Feed => Self::Feed,
            WireMessage::Gossip => Self::Gossip,
            WireMessage::Broadcast => Self::Broadcast,
            WireMessage::TurnUndead => Self::TurnUndead,
        }
    }
}

fn put(record: &impl Serialize, mut buf: impl BufMut) -> Result<(), CodecError> {
    let bytes = postcard::to_allocvec(record).map_err(|_error| CodecError::NoRoom)?;
    if bytes.len() > buf.remaining_mut() {
        return Err(CodecError::NoRoom);
    }
    buf.put_slice(&bytes);
    Ok(())
}

fn take<T: for<'a> Deserialize<'a>>(mut buf: impl Buf) -> Result<T, CodecError> {
    let chunk = buf.chunk();
    let before = chunk.len();
    let (record, rest) = postcard::take_from_bytes(chunk).map_err(|_error| CodecError::Unreadable)?;
    let used = before - rest.len();
    buf.advance(used);
    Ok(record)
}

impl foca::Codec<Identity> for Codec {
    type Error = CodecError;

    fn encode_header(&mut self, header: &Header<Identity>, buf: impl BufMut) -> Result<(), CodecError> {
        let Header { src, src_incarnation, dst, message } = header;
        let message = WireMessage::from(message);
        put(&WireHeader { src: *src, src_incarnation: *src_incarnation, dst: *dst, message }, buf)
    }

    fn decode_header(&mut self, buf: impl Buf) -> Result<Header<Identity>, CodecError> {
        let WireHeader { src, src_incarnation, dst, message } = take(buf)?;
        Ok(Header { src, src_incarnation, dst, message: message.into() })
    }

    fn encode_member(&mut self, member: &foca::Member<Identity>, buf: impl BufMut) -> Result<(), CodecError> {
        put(&WireMember(*member.id(), member.incarnation(), member.state().into()), buf)
    }

    fn decode_member(&mut self, buf: impl Buf) -> Result<foca::Member<Identity>, CodecError> {
        let WireMember(identity, incarnation, state) = take(buf)?;
        Ok(foca::Member::new(identity, incarnation, state.into()))
    }
}

/// foca's part of a packet, taken apart.
pub(crate) struct Swim {
    pub(crate) header: Header<Identity>,
    pub(crate) updates: Vec<foca::Member<Identity>>,
}

impl Swim {
    /// # Errors
    /// [`CodecError::Unreadable`] for anything that is not exactly one header and its updates.
    pub(crate) fn read(mut bytes: &[u8]) -> Result<Self, CodecError> {
        use foca::Codec as _;
        let header = Codec.decode_header(&mut bytes)?;
        let mut updates = Vec::new();
        if bytes.len() >= 2 && header.message != Message::Broadcast {
            for _ in 0..bytes.get_u16() {
                updates.push(Codec.decode_member(&mut bytes)?);
            }
        }
        if bytes.is_empty() { Ok(Self { header, updates }) } else { Err(CodecError::Unreadable) }
    }

    pub(crate) fn write(&self) -> Result<Vec<u8>, CodecError> {
        use foca::Codec as _;
        let mut bytes = Vec::new();
        Codec.encode_header(&self.header, &mut bytes)?;
        if !self.updates.is_empty() {
            bytes.put_u16(u16::try_from(self.updates.len()).map_err(|_error| CodecError::NoRoom)?);
            for update in &self.updates {
                Codec.encode_member(update, &mut bytes)?;
            }
        }
        Ok(bytes)
    }
}
