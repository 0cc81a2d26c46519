//! A store as bytes, format 1: what lies on disk and goes to a server that lags.
//!
//! ```text
//! magic (8) | format u32 | frame*
//! frame   = length u32 | CRC32C of the payload u32 | CRC32C of the eight bytes before u32 | payload
//! payload = kind u8 | postcard: the header, or rows one after the other, or the trailer
//! ```
//! Numbers are little-endian. The first frame is the header, then come the tables in the order of [`Kind`], and the trailer
//! is last: how many rows each table has, and the CRC32C of every byte before its frame. Encoding is lazy, a frame at a
//! time, over a clone of the store, so it may run while the store moves on.

use super::{Scope, Store};
use crate::model::{Autopilot, Index};
use imbl::OrdMap;
use serde::{Deserialize, Serialize};
use std::ops::Bound;

pub(super) const MAGIC: [u8; 8] = *b"lictorSN";
pub(super) const FORMAT: u32 = 1;
pub(super) const PROLOGUE_LEN: usize = MAGIC.len() + size_of::<u32>();
pub(super) const FRAME_HEAD_LEN: usize = 3 * size_of::<u32>();

/// A frame ends with the first row that fills it.
const FRAME_FULL: usize = 64 * 1024;

/// What a frame holds. Kinds never go down within a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Header,
    Nodes,
    Names,
    Services,
    Checks,
    Coordinates,
    Keys,
    Tombstones,
    Sessions,
    Prepared,
    Delays,
    Authority,
    Staging,
    Staged,
    Trailer,
}

impl Kind {
    pub(super) const ALL: [Self; 15] = [
        Self::Header,
        Self::Nodes,
        Self::Names,
        Self::Services,
        Self::Checks,
        Self::Coordinates,
        Self::Keys,
        Self::Tombstones,
        Self::Sessions,
        Self::Prepared,
        Self::Delays,
        Self::Authority,
        Self::Staging,
        Self::Staged,
        Self::Trailer,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Header => "Header",
            Self::Nodes => "Node",
            Self::Names => "ServiceName",
            Self::Services => "Service",
            Self::Checks => "Check",
            Self::Coordinates => "Coordinate",
            Self::Keys => "KVS",
            Self::Tombstones => "Tombstone",
            Self::Sessions => "Session",
            Self::Prepared => "PreparedQuery",
            Self::Delays => "LockDelay",
            Self::Authority => "ConnectCA",
            Self::Staging => "Restore",
            Self::Staged => "RestoreStaged",
            Self::Trailer => "Trailer",
        }
    }
}

/// What a store is beside its rows.
#[derive(Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) index: Index,
    pub(super) time_ms: u64,
    pub(super) feature_level: u32,
    pub(super) lift: u64,
    pub(super) restored: Option<u64>,
    pub(super) scope: Option<Scope>,
    pub(super) nodes: Index,
    pub(super) services: Index,
    pub(super) services_list: Index,
    pub(super) services_extinct: Index,
    pub(super) checks: Index,
    pub(super) coordinates: Index,
    pub(super) keys: Index,
    pub(super) tombstones: Index,
    pub(super) sessions: Index,
    pub(super) prepared: Index,
    pub(super) next_number: u64,
    pub(super) autopilot: Autopilot,
}

/// By which a snapshot is known to be whole.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trailer {
    pub(super) nodes: u64,
    pub(super) names: u64,
    pub(super) services: u64,
    pub(super) checks: u64,
    pub(super) coordinates: u64,
    pub(super) keys: u64,
    pub(super) tombstones: u64,
    pub(super) sessions: u64,
    pub(super) prepared: u64,
    pub(super) delays: u64,
    pub(super) authority: bool,
    /// CRC32C of everything before the trailer's frame.
    pub(super) checksum: u32,
}

impl Store {
    /// The store as bytes, lazily, in pieces of about 64 KiB (a larger row makes a larger piece).
    pub fn chunks(&self) -> impl Iterator<Item = Vec<u8>> + Send + use<> {
        let mut prologue = MAGIC.to_vec();
        prologue.extend(FORMAT.to_le_bytes());
        let staging = self.staging.iter().map(|staging| encode(vec![Kind::Staging as u8], &staging.progress()));
        let staged =
            self.staging.clone().into_iter().flat_map(|staging| {
                staging.tables().map(|payload| [&[Kind::Staged as u8], payload.as_slice()].concat())
            });
        let payloads = self.tables().chain(staging.collect::<Vec<_>>()).chain(staged);
        let mut chunks = std::iter::once(prologue).chain(payloads.map(|payload| frame(&payload)));
        let mut checksum = 0;
        let mut store = Some(self.clone());
        std::iter::from_fn(move || {
            let chunk = chunks.next().or_else(|| {
                let trailer = store.take()?.trailer(checksum);
                Some(frame(&encode(vec![Kind::Trailer as u8], &trailer)))
            })?;
            checksum = crc32c::crc32c_append(checksum, &chunk);
            Some(chunk)
        })
    }

    /// The payloads of the header and of the tables, as [`RestoreCommand::Stage`](crate::RestoreCommand::Stage) takes them.
    pub fn tables(&self) -> impl Iterator<Item = Vec<u8>> + Send + use<> {
        let store = self;
        std::iter::once(encode(vec![Kind::Header as u8], &store.header()))
            .chain(payloads(Kind::Nodes, store.nodes.rows().clone(), |buffer, _, row| {
                encode(buffer, &(&row.node, row.index))
            }))
            .chain(payloads(Kind::Names, store.services.names().clone(), |buffer, name, row| {
                encode(buffer, &(name, row.index))
            }))
            .chain(payloads(Kind::Services, store.services.rows().clone(), |buffer, _, row| encode(buffer, row)))
            .chain(payloads(Kind::Checks, store.checks.rows().clone(), |buffer, _, row| encode(buffer, row)))
            .chain(payloads(Kind::Coordinates, store.coordinates.rows().clone(), |buffer, _, row| encode(buffer, row)))
            .chain(payloads(Kind::Keys, store.kv.rows().clone(), |mut buffer, row, ()| {
                buffer.extend(row.packed());
                buffer
            }))
            .chain(payloads(Kind::Tombstones, store.kv.tombstones().clone(), |buffer, key, row| {
                encode(buffer, &(key, row.index, row.time_ms))
            }))
            .chain(payloads(Kind::Sessions, store.sessions.rows().clone(), |buffer, _, row| {
                encode(buffer, &(&row.session, row.renewed_ms))
            }))
            .chain(payloads(Kind::Prepared, store.prepared.rows().clone(), |buffer, _, row| encode(buffer, row)))
            .chain(payloads(Kind::Delays, store.delays.rows().clone(), |buffer, key, until_ms| {
                encode(buffer, &(key, until_ms))
            }))
            .chain(store.authority.clone().map(|authority| encode(vec![Kind::Authority as u8], &authority)))
    }

    /// A hash of everything in the store: FNV-1a over its encoded bytes. Servers that applied the same log agree on it.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let bytes = self.chunks().flatten();
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    fn header(&self) -> Header {
        Header {
            index: self.index,
            time_ms: self.time_ms,
            feature_level: self.feature_level,
            lift: self.lift,
            restored: self.restored,
            scope: self.scope.clone(),
            nodes: self.nodes.index,
            services: self.services.index,
            services_list: self.services.list_index,
            services_extinct: self.services.extinct,
            checks: self.checks.index,
            coordinates: self.coordinates.index,
            keys: self.kv.index,
            tombstones: self.kv.tombstones_index,
            sessions: self.sessions.index,
            prepared: self.prepared.index,
            next_number: self.kv.next_number,
            autopilot: self.autopilot.clone(),
        }
    }

    pub(super) fn trailer(&self, checksum: u32) -> Trailer {
        Trailer {
            nodes: self.nodes.len() as u64,
            names: self.services.names().len() as u64,
            services: self.services.len() as u64,
            checks: self.checks.len() as u64,
            coordinates: self.coordinates.len() as u64,
            keys: self.kv.len() as u64,
            tombstones: self.kv.tombstones().len() as u64,
            sessions: self.sessions.len() as u64,
            prepared: self.prepared.len() as u64,
            delays: self.delays.rows().len() as u64,
            authority: self.authority.is_some(),
            checksum,
        }
    }
}

/// The rows of one table, as many to a payload as fill a frame. Each payload is found anew by the last key before it.
fn payloads<K: Ord + Clone, V: Clone>(
    kind: Kind,
    table: OrdMap<K, V>,
    write: fn(Vec<u8>, &K, &V) -> Vec<u8>,
) -> impl Iterator<Item = Vec<u8>> {
    let mut done: Option<K> = None;
    std::iter::from_fn(move || {
        let from = done.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut payload = vec![kind as u8];
        let mut last = None;
        for (key, row) in table.range::<_, K>((from, Bound::Unbounded)) {
            payload = write(payload, key, row);
            last = Some(key);
            if payload.len() >= FRAME_FULL {
                break;
            }
        }
        done = Some(last?.clone());
        Some(payload)
    })
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("a row came through the log, whose entries are far below 4 GiB");
    let mut frame = Vec::with_capacity(FRAME_HEAD_LEN + payload.len());
    frame.extend(len.to_le_bytes());
    frame.extend(crc32c::crc32c(payload).to_le_bytes());
    frame.extend(crc32c::crc32c(&frame).to_le_bytes());
    frame.extend(payload);
    frame
}

fn encode<T: Serialize>(buffer: Vec<u8>, row: &T) -> Vec<u8> {
    postcard::to_extend(row, buffer).expect("a row is a plain value and memory is the only sink")
}
