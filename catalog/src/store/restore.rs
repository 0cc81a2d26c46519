//! Bytes back into a store, in whatever pieces they come, believing none of them.

use super::Store;
use super::kv::Tombstone;
use super::nodes::NodeRow;
use super::sessions::SessionRow;
use super::snapshot::{FORMAT, FRAME_HEAD_LEN, Header, Kind, MAGIC, PROLOGUE_LEN, Trailer};
use super::staging::Staging;
use crate::model::{Check, Index, KvEntry, Node, NodeCoordinate, NodeName, Service, Session, folded};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// No frame is longer: a row of this length would have been an entry of the log of this length.
const FRAME_LEN_MAX: usize = 1 << 28;

/// No log reaches so far; sums of indexes below it do not overflow.
const INDEX_MAX: u64 = 1 << 62;

/// How much is taken in before whole frames are looked for, so that little is held beside the frame at hand.
const PIECE_LEN: usize = 64 * 1024;

/// Builds a store out of [`Store::chunks`]. Nothing of it can be seen before the whole snapshot proved to be sound.
pub struct Restore {
    builder: Builder,
    buffer: Vec<u8>,
    /// CRC32C of every byte that has left the buffer; `None` before the prologue was read.
    checksum: Option<u32>,
    census: Census,
    /// Damage once found stays: what follows it must not pass for a snapshot.
    damaged: Option<Damaged>,
}

/// A store being built of payloads.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Builder {
    pub(super) store: Store,
    /// Of what kind the last payload was; `None` before the first.
    at: Option<Kind>,
}

/// What a snapshot is made of: for each kind of row its name, how many there are, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census([(u64, u64); Kind::ALL.len()]);

impl Census {
    /// The kinds of which there are any. Names as Consul has them, where it has such rows.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, u64, u64)> + use<'_> {
        let all = Kind::ALL.into_iter().zip(self.0);
        all.filter(|(_, (rows, _))| *rows > 0).map(|(kind, (rows, bytes))| (kind.name(), rows, bytes))
    }
}

/// Why bytes are no snapshot. The store being built is lost; fetch the snapshot again, from another server or backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// It holds a part of a catalog only.
    Partial,
    /// Its index is beyond what any log reaches.
    Index,
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
            Self::Partial => "it holds a part of a catalog only",
            Self::Index => "its index is beyond what any log reaches",
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
        Self {
            builder: Builder::default(),
            buffer: Vec::new(),
            checksum: None,
            census: Census::default(),
            damaged: None,
        }
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
        match (self.damaged, self.builder.at) {
            (Some(damaged), _) => Err(damaged),
            (None, Some(Kind::Trailer)) => Ok(self.builder.store),
            (None, _) => Err(Damaged::Truncated),
        }
    }

    /// What came so far.
    #[must_use]
    pub const fn census(&self) -> Census {
        self.census
    }

    /// How many bytes were used up.
    fn digest(&mut self, bytes: &[u8]) -> Result<usize, Damaged> {
        let mut used = 0;
        let mut checksum = match self.checksum {
            Some(checksum) => checksum,
            None => {
                let Some(prologue) = bytes.first_chunk::<PROLOGUE_LEN>() else { return Ok(0) };
                used = PROLOGUE_LEN;
                begin(prologue)?
            }
        };
        loop {
            self.checksum = Some(checksum);
            let rest = &bytes[used..];
            if self.builder.at == Some(Kind::Trailer) && !rest.is_empty() {
                return Err(Damaged::Trailing);
            }
            let Some(payload) = whole_frame(rest)? else { return Ok(used) };
            let rows = self.builder.take(payload, checksum)?;
            if let Some(kind) = self.builder.at {
                let (all, bytes) = &mut self.census.0[kind as usize];
                (*all, *bytes) = (*all + rows, *bytes + payload.len() as u64);
            }
            let len = FRAME_HEAD_LEN + payload.len();
            checksum = crc32c::crc32c_append(checksum, &rest[..len]);
            used += len;
        }
    }
}

/// The checksum of a sound prologue.
fn begin(prologue: &[u8; PROLOGUE_LEN]) -> Result<u32, Damaged> {
    if !prologue.starts_with(&MAGIC) {
        return Err(Damaged::Magic);
    }
    match number(prologue, MAGIC.len()) {
        FORMAT => Ok(crc32c::crc32c(prologue)),
        format => Err(Damaged::Format(format)),
    }
}

impl Builder {
    pub(super) const fn begun(&self) -> bool {
        self.at.is_some()
    }

    /// Takes one of [`Store::tables`]. After an error this builder is of no more use.
    pub(super) fn stage(&mut self, payload: &[u8]) -> Result<(), Damaged> {
        if payload.first().is_some_and(|kind| *kind >= Kind::Staging as u8) {
            return Err(Damaged::Frame);
        }
        self.take(payload, 0).map(drop)
    }

    /// Takes a payload that comes after bytes with this checksum, and says how many rows it had.
    fn take(&mut self, payload: &[u8], checksum: u32) -> Result<u64, Damaged> {
        let (&kind, rows) = payload.split_first().ok_or(Damaged::Frame)?;
        let kind = *Kind::ALL.get(usize::from(kind)).ok_or(Damaged::Frame)?;
        let in_order = match self.at {
            Some(last) => kind > Kind::Header && kind >= last,
            None => kind == Kind::Header,
        };
        if !in_order || rows.is_empty() {
            return Err(Damaged::Frame);
        }
        self.at = Some(kind);
        match kind {
            Kind::Header => self.take_header(one(rows)?).map(|()| 1),
            Kind::Nodes => each(rows, |(node, index)| self.take_node(node, index)),
            Kind::Names => each(rows, |(name, index): (Arc<str>, _)| self.store.services.set_name_index(name, index)),
            Kind::Services => each(rows, |service| self.take_service(service)),
            Kind::Checks => each(rows, |check| self.take_check(check)),
            Kind::Coordinates => each(rows, |placed| self.take_coordinate(placed)),
            Kind::Keys => each(rows, |entry: KvEntry<'_>| self.store.kv.insert(entry.into())),
            Kind::Tombstones => each(rows, |(key, index, time_ms): (Arc<str>, _, _)| {
                self.store.kv.bury(key, Tombstone { index, time_ms });
            }),
            Kind::Sessions => each(rows, |(session, renewed_ms)| self.take_session(session, renewed_ms)),
            Kind::Prepared => each(rows, |query| self.store.prepared.insert(Arc::new(query))),
            Kind::Delays => each(rows, |(key, until_ms)| self.store.delays.insert(key, until_ms)),
            Kind::Authority => {
                self.store.authority = Some(Arc::new(one(rows)?));
                Ok(1)
            }
            Kind::Staging => {
                self.store.staging = Some(Arc::new(Staging::resumed(&one(rows)?)));
                Ok(1)
            }
            Kind::Staged => {
                let staging = self.store.staging.as_mut().ok_or(Damaged::Frame)?;
                Arc::make_mut(staging).builder.stage(rows).map(|()| 1)
            }
            Kind::Trailer => self.take_trailer(&one(rows)?, checksum).map(|()| 1),
        }
    }

    fn take_header(&mut self, header: Header) -> Result<(), Damaged> {
        let store = &mut self.store;
        let Header {
            index,
            time_ms,
            feature_level,
            lift,
            restored,
            scope,
            nodes,
            services,
            services_list,
            services_extinct,
            checks,
            coordinates,
            keys,
            tombstones,
            sessions,
            prepared,
            next_number,
            autopilot,
        } = header;
        if index.0.saturating_add(lift) > INDEX_MAX {
            return Err(Damaged::Index);
        }
        (store.lift, store.restored) = (lift, restored);
        (store.index, store.time_ms, store.feature_level, store.scope) = (index, time_ms, feature_level, scope);
        store.nodes.index = nodes;
        (store.services.index, store.services.list_index) = (services, services_list);
        store.services.extinct = services_extinct;
        store.checks.index = checks;
        store.coordinates.index = coordinates;
        (store.kv.index, store.kv.tombstones_index, store.kv.next_number) = (keys, tombstones, next_number);
        store.sessions.index = sessions;
        store.prepared.index = prepared;
        store.autopilot = autopilot;
        Ok(())
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

    fn take_coordinate(&mut self, mut placed: NodeCoordinate) {
        self.share_node(&mut placed.node);
        self.store.coordinates.insert(Arc::new(placed));
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

    fn take_trailer(&self, trailer: &Trailer, checksum: u32) -> Result<(), Damaged> {
        if trailer.checksum != checksum {
            return Err(Damaged::Checksum);
        }
        if *trailer != self.store.trailer(checksum) {
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

fn each<'a, T: Deserialize<'a>>(mut bytes: &'a [u8], mut row: impl FnMut(T)) -> Result<u64, Damaged> {
    let mut count = 0;
    while !bytes.is_empty() {
        let Ok((value, rest)) = postcard::take_from_bytes(bytes) else { return Err(Damaged::Row) };
        row(value);
        (bytes, count) = (rest, count + 1);
    }
    Ok(count)
}
