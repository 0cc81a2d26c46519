//! Bytes back into a store, in whatever pieces they come, believing none of them.

use super::Store;
use super::kv::Tombstone;
use super::nodes::NodeRow;
use super::sessions::SessionRow;
use super::snapshot::{FORMAT, FRAME_HEAD_LEN, Header, Kind, MAGIC, PROLOGUE_LEN, Trailer};
use crate::model::{Check, Index, KvEntry, Node, NodeName, Service, Session, folded};
use serde::Deserialize;
use std::fmt;
use std::sync::Arc;

/// No frame is longer: a row of this length would have been an entry of the log of this length.
const FRAME_LEN_MAX: usize = 1 << 28;

/// How much is taken in before whole frames are looked for, so that little is held beside the frame at hand.
const PIECE_LEN: usize = 64 * 1024;

/// Builds a store out of [`Store::chunks`]. Nothing of it can be seen before the whole snapshot proved to be sound.
pub struct Restore {
    store: Store,
    buffer: Vec<u8>,
    /// CRC32C of every byte that has left the buffer.
    checksum: u32,
    /// What was read last; `None` before the prologue was.
    at: Option<At>,
    /// Damage once found stays: what follows it must not pass for a snapshot.
    damaged: Option<Damaged>,
}

#[derive(Clone, Copy, PartialEq)]
enum At {
    Prologue,
    Frame(Kind),
}

/// Why bytes are no snapshot. The store being built is lost; fetch the snapshot again, from another server or backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damaged {
    /// It does not begin as a snapshot does.
    Magic,
    /// It has a format that this release does not read.
    Format(u32),
    /// A frame's or the whole snapshot's bytes are not those that were written.
    Checksum,
    /// A frame is longer than any can be, of no known kind, or out of order.
    Frame,
    /// A row does not decode.
    Row,
    /// There are not as many rows as there were.
    Count,
    /// It ends too early.
    Truncated,
    /// Something follows its end.
    Trailing,
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = match self {
            Self::Magic => "it does not begin as a snapshot of the catalog does",
            Self::Format(format) => {
                return write!(
                    f,
                    "the snapshot has format {format}, this release reads format {FORMAT}: upgrade this server to the release of the others"
                );
            }
            Self::Checksum => "its bytes are not those that were written",
            Self::Frame => "a frame is too long, of no known kind, or out of order",
            Self::Row => "a row does not decode",
            Self::Count => "it does not have as many rows as were written",
            Self::Truncated => "it ends too early",
            Self::Trailing => "something follows its end",
        };
        write!(f, "the snapshot is damaged: {cause}; fetch it again from another server or backup")
    }
}

impl std::error::Error for Damaged {}

impl Default for Restore {
    fn default() -> Self {
        Self::new()
    }
}

impl Restore {
    /// Begins with an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self { store: Store::default(), buffer: Vec::new(), checksum: 0, at: None, damaged: None }
    }

    /// Takes the next bytes, split anywhere. At most one frame is held back.
    ///
    /// # Errors
    /// [`Damaged`]: this restore is of no more use.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Damaged> {
        for piece in bytes.chunks(PIECE_LEN) {
            if let Some(damaged) = self.damaged {
                return Err(damaged);
            }
            self.buffer.extend_from_slice(piece);
            // Taken out so that rows can be read from it while the store is written.
            let mut buffer = std::mem::take(&mut self.buffer);
            let used = self.digest(&buffer).inspect_err(|damaged| self.damaged = Some(*damaged))?;
            buffer.drain(..used);
            self.buffer = buffer;
        }
        Ok(())
    }

    /// The store, now that every byte has come.
    ///
    /// # Errors
    /// [`Damaged`] when the snapshot is not whole.
    pub fn finish(self) -> Result<Store, Damaged> {
        match (self.damaged, self.at) {
            (Some(damaged), _) => Err(damaged),
            (None, Some(At::Frame(Kind::Trailer))) => Ok(self.store),
            (None, _) => Err(Damaged::Truncated),
        }
    }

    /// How many bytes were used up.
    fn digest(&mut self, bytes: &[u8]) -> Result<usize, Damaged> {
        let mut used = 0;
        if self.at.is_none() {
            let Some(prologue) = bytes.first_chunk::<PROLOGUE_LEN>() else { return Ok(0) };
            self.begin(prologue)?;
            used = PROLOGUE_LEN;
        }
        loop {
            let rest = &bytes[used..];
            if self.at == Some(At::Frame(Kind::Trailer)) && !rest.is_empty() {
                return Err(Damaged::Trailing);
            }
            let Some(payload) = whole_frame(rest)? else { return Ok(used) };
            self.take(payload)?;
            let len = FRAME_HEAD_LEN + payload.len();
            self.checksum = crc32c::crc32c_append(self.checksum, &rest[..len]);
            used += len;
        }
    }

    fn begin(&mut self, prologue: &[u8; PROLOGUE_LEN]) -> Result<(), Damaged> {
        if !prologue.starts_with(&MAGIC) {
            return Err(Damaged::Magic);
        }
        match number(prologue, MAGIC.len()) {
            FORMAT => {}
            format => return Err(Damaged::Format(format)),
        }
        self.checksum = crc32c::crc32c(prologue);
        self.at = Some(At::Prologue);
        Ok(())
    }

    fn take(&mut self, payload: &[u8]) -> Result<(), Damaged> {
        let (&kind, rows) = payload.split_first().ok_or(Damaged::Frame)?;
        let kind = *Kind::ALL.get(usize::from(kind)).ok_or(Damaged::Frame)?;
        let in_order = match self.at {
            Some(At::Frame(last)) => kind > Kind::Header && kind >= last,
            _ => kind == Kind::Header,
        };
        if !in_order {
            return Err(Damaged::Frame);
        }
        self.at = Some(At::Frame(kind));
        match kind {
            Kind::Header => self.take_header(one(rows)?),
            Kind::Nodes => each(rows, |(node, index)| self.take_node(node, index))?,
            Kind::Names => each(rows, |(name, index): (Arc<str>, _)| self.store.services.set_name_index(name, index))?,
            Kind::Services => each(rows, |service| self.take_service(service))?,
            Kind::Checks => each(rows, |check| self.take_check(check))?,
            Kind::Keys => each(rows, |entry: KvEntry<'_>| self.store.kv.insert(entry.into()))?,
            Kind::Tombstones => each(rows, |(key, index, time_ms): (Arc<str>, _, _)| {
                self.store.kv.bury(key, Tombstone { index, time_ms });
            })?,
            Kind::Sessions => each(rows, |(session, renewed_ms)| self.take_session(session, renewed_ms))?,
            Kind::Prepared => each(rows, |query| self.store.prepared.insert(Arc::new(query)))?,
            Kind::Delays => each(rows, |(key, until_ms)| self.store.delays.insert(key, until_ms))?,
            Kind::Authority => self.store.authority = Some(Arc::new(one(rows)?)),
            Kind::Trailer => self.take_trailer(&one(rows)?)?,
        }
        Ok(())
    }

    fn take_header(&mut self, header: Header) {
        let store = &mut self.store;
        let Header {
            index,
            time_ms,
            feature_level,
            scope,
            nodes,
            services,
            services_list,
            services_extinct,
            checks,
            keys,
            tombstones,
            sessions,
            prepared,
            next_number,
        } = header;
        (store.index, store.time_ms, store.feature_level, store.scope) = (index, time_ms, feature_level, scope);
        store.nodes.index = nodes;
        (store.services.index, store.services.list_index) = (services, services_list);
        store.services.extinct = services_extinct;
        store.checks.index = checks;
        (store.kv.index, store.kv.tombstones_index, store.kv.next_number) = (keys, tombstones, next_number);
        store.sessions.index = sessions;
        store.prepared.index = prepared;
    }

    fn take_node(&mut self, node: Node, index: Index) {
        self.store.nodes.insert(NodeRow { node: Arc::new(node), index });
    }

    fn take_service(&mut self, mut service: Service) {
        self.share_node(&mut service.node);
        service.name = self.store.services.shared(&service.name);
        self.store.services.insert(Arc::new(service));
    }

    fn take_check(&mut self, mut check: Check) {
        self.share_node(&mut check.node);
        let service = self.store.services.get(&folded(&check.node), &folded(&check.service_id));
        if let Some(service) = service.filter(|s| s.id == check.service_id && s.name == check.service_name) {
            check.service_id = service.id.clone();
            check.service_name = service.name.clone();
        }
        self.store.checks.insert(Arc::new(check));
    }

    fn take_session(&mut self, mut session: Session, renewed_ms: u64) {
        self.share_node(&mut session.node);
        self.store.sessions.insert(SessionRow { session: Arc::new(session), renewed_ms });
    }

    /// Rows on a node share the one copy of its name, as they did in the store that was encoded.
    fn share_node(&self, name: &mut NodeName) {
        if let Some(row) = self.store.nodes.get(&folded(name)).filter(|row| row.node.name == *name) {
            *name = row.node.name.clone();
        }
    }

    fn take_trailer(&mut self, trailer: &Trailer) -> Result<(), Damaged> {
        if trailer.checksum != self.checksum {
            return Err(Damaged::Checksum);
        }
        if *trailer != self.store.trailer(self.checksum) {
            return Err(Damaged::Count);
        }
        Ok(())
    }
}

/// The payload of the frame that `bytes` begin with, once all of it is there.
fn whole_frame(bytes: &[u8]) -> Result<Option<&[u8]>, Damaged> {
    let Some((head, rest)) = bytes.split_first_chunk::<FRAME_HEAD_LEN>() else { return Ok(None) };
    // The length is checked by itself: a damaged one must not have us wait for bytes that never come.
    if crc32c::crc32c(&head[..8]) != number(head, 8) {
        return Err(Damaged::Checksum);
    }
    let len = usize::try_from(number(head, 0)).ok().filter(|len| *len <= FRAME_LEN_MAX).ok_or(Damaged::Frame)?;
    let Some(payload) = rest.get(..len) else { return Ok(None) };
    if crc32c::crc32c(payload) != number(head, 4) {
        return Err(Damaged::Checksum);
    }
    Ok(Some(payload))
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes were cut out"))
}

fn one<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Damaged> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(Damaged::Row),
    }
}

fn each<'a, T: Deserialize<'a>>(mut bytes: &'a [u8], mut row: impl FnMut(T)) -> Result<(), Damaged> {
    while !bytes.is_empty() {
        let Ok((value, rest)) = postcard::take_from_bytes(bytes) else { return Err(Damaged::Row) };
        row(value);
        bytes = rest;
    }
    Ok(())
}
