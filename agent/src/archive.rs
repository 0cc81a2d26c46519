//! A backup of the catalog as one file, laid out as Consul's: a gzip'd tar with `meta.json`, `state.bin` and `SHA256SUMS`.
//!
//! `state.bin` is `Store::chunks`, whose frames have checksums of their own. Reading believes nothing: a backup is what is
//! whole, and is otherwise refused with what is wrong. This file knows readers and writers, not where they lead.

use crate::view::View;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use lictor_catalog::store::Census;
use lictor_catalog::{Damaged, Restore, Store};
use ring::digest::{self, Digest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use uuid::Uuid;

/// Bytes of an archive, packed or unpacked. Whoever restores one holds its rows in memory.
pub const ARCHIVE_MAX: u64 = 4 << 30;
/// Bytes of `meta.json`, and of `SHA256SUMS`.
const TEXT_MAX: u64 = 1 << 20;
const PIECE: usize = 64 << 10;

const META: &str = "meta.json";
const STATE: &str = "state.bin";
const SUMS: &str = "SHA256SUMS";

/// What `meta.json` says. The term is the number of the leadership that the backup was taken under.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Meta {
    pub version: u32,
    #[serde(rename = "ID")]
    pub id: String,
    pub index: u64,
    pub term: u64,
    pub configuration: Configuration,
    pub configuration_index: u64,
    /// Bytes of `state.bin`.
    pub size: u64,
}

/// The servers at that time: for whoever reads, as a restored backup does not change who they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Configuration {
    pub servers: Vec<Server>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Server {
    /// 0: a voter, 1: none.
    pub suffrage: u8,
    #[serde(rename = "ID")]
    pub id: Uuid,
    pub address: String,
}

/// A backup that proved to be whole.
#[derive(Debug)]
pub struct Backup {
    pub meta: Meta,
    pub store: Store,
    pub census: Census,
}

/// Why a file is no backup.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    #[error("the snapshot cannot be read: it is no gzip'd tar, or broken off ({0})")]
    Unreadable(#[from] io::Error),
    #[error("the snapshot is larger than {ARCHIVE_MAX} bytes")]
    TooLarge,
    #[error("the snapshot has no {0}, as Consul's and lictor's have")]
    Missing(&'static str),
    #[error("the snapshot holds {0:?}, or holds it twice: it was not written by lictor")]
    Unexpected(String),
    #[error("{0} of the snapshot does not have the checksum that SHA256SUMS names: it is damaged")]
    Checksum(&'static str),
    #[error("meta.json of the snapshot does not decode: {0}")]
    Meta(#[from] serde_json::Error),
    #[error("state.bin: {0}")]
    State(#[from] Damaged),
}

/// Writes a backup of what the view shows.
///
/// # Errors
/// Those of `out`.
pub fn pack(view: &View, out: impl Write) -> io::Result<()> {
    let store = view.store.without_staging();
    // A tar says how long a file is before it begins. Encoding twice costs time; keeping it all would cost memory.
    let size = store.chunks().map(|chunk| chunk.len() as u64).sum();
    let meta = serde_json::to_vec(&meta(view, size))?;
    let mut tar = tar::Builder::new(GzEncoder::new(out, Compression::fast()));
    let meta_sum = append(&mut tar, META, meta.len() as u64, meta.as_slice())?;
    let state_sum = append(&mut tar, STATE, size, Chunks { chunks: store.chunks(), chunk: Vec::new(), read: 0 })?;
    let sums = format!("{}  {META}\n{}  {STATE}\n", hex(&meta_sum), hex(&state_sum));
    append(&mut tar, SUMS, sums.len() as u64, sums.as_bytes())?;
    tar.into_inner()?.finish()?.flush()
}

fn meta(view: &View, size: u64) -> Meta {
    let server = |server: &crate::view::Server| Server {
        suffrage: u8::from(!server.voter),
        id: server.id,
        address: server.address.clone(),
    };
    Meta {
        version: 1,
        id: format!("{}-{}-{}", view.epoch, view.applied, view.store.time_ms()),
        index: view.applied.0,
        term: view.epoch,
        configuration: Configuration { servers: view.servers.iter().map(server).collect() },
        configuration_index: view.applied.0,
        size,
    }
}

fn append<W: Write>(tar: &mut tar::Builder<W>, name: &str, size: u64, content: impl Read) -> io::Result<Digest> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(size);
    header.set_mode(0o600);
    header.set_cksum();
    let mut content = Summed::new(content);
    tar.append(&header, &mut content)?;
    Ok(content.sum())
}

/// Reads a backup, and takes it for one only when all of it is sound.
///
/// # Errors
/// [`Unfit`].
pub fn unpack(input: impl Read) -> Result<Backup, Unfit> {
    let mut tar = tar::Archive::new(GzDecoder::new(input).take(ARCHIVE_MAX));
    let (mut meta, mut state, mut sums) = (None, None, None);
    for entry in tar.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.display().to_string();
        match name.as_str() {
            META if meta.is_none() => meta = Some(text(&mut entry)?),
            SUMS if sums.is_none() => sums = Some(text(&mut entry)?.0),
            STATE if state.is_none() => state = Some(read_state(&mut entry)?),
            _ => return Err(Unfit::Unexpected(name)),
        }
    }
    // To the very end, where gzip's own checksum is.
    let mut rest = tar.into_inner();
    io::copy(&mut rest, &mut io::sink())?;
    if rest.limit() == 0 {
        return Err(Unfit::TooLarge);
    }
    let (meta, meta_sum) = meta.ok_or(Unfit::Missing(META))?;
    let (state, state_sum) = state.ok_or(Unfit::Missing(STATE))?;
    let sums = sums.ok_or(Unfit::Missing(SUMS))?;
    let sums = String::from_utf8_lossy(&sums);
    let sums: BTreeMap<&str, &str> =
        sums.lines().filter_map(|line| line.split_once("  ")).map(|(sum, name)| (name, sum)).collect();
    for (name, sum) in [(META, meta_sum), (STATE, state_sum)] {
        if sums.get(name).copied() != Some(hex(&sum).as_str()) {
            return Err(Unfit::Checksum(name));
        }
    }
    let census = state.census();
    let store = state.finish()?.without_staging();
    store.is_whole()?;
    Ok(Backup { meta: serde_json::from_slice(&meta)?, store, census })
}

fn text(entry: &mut impl Read) -> Result<(Vec<u8>, Digest), Unfit> {
    let mut text = Vec::new();
    let mut entry = Summed::new(entry.take(TEXT_MAX + 1));
    entry.read_to_end(&mut text)?;
    if text.len() as u64 > TEXT_MAX {
        return Err(Unfit::TooLarge);
    }
    Ok((text, entry.sum()))
}

fn read_state(entry: &mut impl Read) -> Result<(Restore, Digest), Unfit> {
    let mut restore = Restore::new();
    let mut entry = Summed::new(entry);
    let mut piece = vec![0; PIECE];
    loop {
        match entry.read(&mut piece)? {
            0 => return Ok((restore, entry.sum())),
            len => restore.feed(&piece[..len])?,
        }
    }
}

/// What is read through it is summed up.
struct Summed<R> {
    inner: R,
    context: digest::Context,
}

impl<R> Summed<R> {
    fn new(inner: R) -> Self {
        Self { inner, context: digest::Context::new(&digest::SHA256) }
    }

    fn sum(self) -> Digest {
        self.context.finish()
    }
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(into)?;
        self.context.update(&into[..len]);
        Ok(len)
    }
}

/// Chunks of a store as one stream.
struct Chunks<I> {
    chunks: I,
    chunk: Vec<u8>,
    read: usize,
}

impl<I: Iterator<Item = Vec<u8>>> Read for Chunks<I> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.read == self.chunk.len() {
            let Some(chunk) = self.chunks.next() else { return Ok(0) };
            (self.chunk, self.read) = (chunk, 0);
        }
        let len = (&self.chunk[self.read..]).read(into)?;
        self.read += len;
        Ok(len)
    }
}

fn hex(digest: &Digest) -> String {
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lictor_catalog::{Command, Entry, Index, KvCommand};

    fn view() -> View {
        let mut store = Store::default();
        // Random: a flipped bit of what repeats itself may leave it as it was.
        let mut dice = crate::dice::Dice::new(1);
        for key in 0..200u64 {
            let value: Vec<u8> = (0..125).flat_map(|_| dice.number().to_be_bytes()).collect();
            let command = KvCommand::Set { key: format!("k/{key}"), value: value.into(), flags: 0 };
            store.apply(Index(key + 1), &Entry { time_ms: key, id: 0, command: Command::Kv(command) });
        }
        View { store, epoch: 3, applied: Index(205), ..View::default() }
    }

    fn packed() -> Vec<u8> {
        let mut bytes = Vec::new();
        pack(&view(), &mut bytes).expect("memory takes it");
        bytes
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let backup = unpack(packed().as_slice()).expect("sound");
        assert!(backup.store == view().store);
        assert_eq!((backup.meta.index, backup.meta.term, backup.meta.id.as_str()), (205, 3, "3-205-199"));
        assert!(backup.census.rows().any(|(name, rows, bytes)| name == "KVS" && rows == 200 && bytes > 200_000));
    }

    #[test]
    fn the_layout_is_consuls() {
        let packed = packed();
        let mut archive = tar::Archive::new(GzDecoder::new(packed.as_slice()));
        let names: Vec<_> = archive
            .entries()
            .expect("a tar")
            .map(|entry| entry.expect("whole").path().expect("a name").display().to_string())
            .collect();
        assert_eq!(names, [META, STATE, SUMS]);
    }

    #[test]
    fn whatever_is_damaged_is_refused() {
        let bytes = packed();
        for cut in (0..bytes.len()).step_by(bytes.len() / 50) {
            assert!(unpack(&bytes[..cut]).is_err(), "cut at {cut}");
            let mut flipped = bytes.clone();
            flipped[cut] ^= 0x10;
            // Gzip's header has a time and a system that nothing depends on.
            assert!(cut < 10 || unpack(flipped.as_slice()).is_err(), "flipped at {cut}");
        }
        assert!(unpack(&b"not a snapshot"[..]).is_err());
    }

    #[test]
    fn a_tar_with_other_contents_is_refused() {
        let rebuilt = |files: &[(&str, &[u8])]| {
            let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
            for (name, content) in files {
                append(&mut tar, name, content.len() as u64, *content).expect("memory takes it");
            }
            let bytes = tar.into_inner().and_then(GzEncoder::finish).expect("memory takes it");
            unpack(bytes.as_slice()).expect_err("unfit").to_string()
        };
        let state: Vec<u8> = view().store.chunks().flatten().collect();
        assert!(rebuilt(&[]).contains("no meta.json"));
        assert!(rebuilt(&[(META, b"{}"), (STATE, &state)]).contains("no SHA256SUMS"));
        assert!(rebuilt(&[(META, b"{}"), (STATE, &state), (SUMS, b"")]).contains("checksum"));
        assert!(rebuilt(&[(META, b"{}"), (META, b"{}")]).contains("holds \"meta.json\", or holds it twice"));
        assert!(rebuilt(&[("passwd", b"root")]).contains("holds \"passwd\""));
        assert!(rebuilt(&[(STATE, b"garbage garbage")]).contains("state.bin"));
    }
}
