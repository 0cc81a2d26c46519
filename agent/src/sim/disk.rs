//! A disk as bytes, below the real log store: what was synced stays, the rest may be lost, torn or kept by a crash.

use crate::dice::Dice;
use redb::StorageBackend;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a disk writes as a whole.
const SECTOR: usize = 512;

#[derive(Debug)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    Length(usize),
}

#[derive(Debug, Default)]
struct Image {
    synced: Vec<u8>,
    current: Vec<u8>,
    /// Since the last sync.
    pending: Vec<Change>,
    /// Rises with each crash; whoever mounted it before sees only errors.
    life: u64,
    /// After so many more calls the power goes.
    calls_left: Option<u64>,
    full: bool,
    sync_fails: bool,
    syncs: u64,
}

/// See the module's page. A handle: clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct ByteDisk(Arc<Mutex<Image>>);

/// A disk in use by one process.
#[derive(Debug)]
pub struct Mounted {
    disk: ByteDisk,
    life: u64,
}

impl ByteDisk {
    fn image(&self) -> MutexGuard<'_, Image> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[must_use]
    pub fn mount(&self) -> Mounted {
        Mounted { disk: self.clone(), life: self.image().life }
    }

    /// Nothing more can be written while it is full.
    pub fn fill(&self, full: bool) {
        self.image().full = full;
    }

    /// The next sync fails, and what it should have kept is as good as lost.
    pub fn fail_sync(&self) {
        self.image().sync_fails = true;
    }

    /// The power goes after so many more calls.
    pub fn doom(&self, calls: u64) {
        self.image().calls_left = Some(calls);
    }

    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.image().syncs
    }

    /// The process dies but the machine lives: everything written stays.
    pub fn kill(&self) {
        let mut image = self.image();
        image.life += 1;
        image.calls_left = None;
    }

    /// The power goes: of what was not synced, chance keeps what it likes.
    pub fn crash(&self, dice: &mut Dice) {
        let mut image = self.image();
        image.life += 1;
        image.calls_left = None;
        image.sync_fails = false;
        let pending = std::mem::take(&mut image.pending);
        let mut bytes = std::mem::take(&mut image.synced);
        let count = pending.len() as u64;
        // Nothing, everything, the first ones, or any of them.
        let kept = match dice.below(4) {
            0 => 0,
            1 => count,
            _ => dice.below(count + 1),
        };
        let any = dice.below(2) == 0;
        for (at, change) in pending.iter().enumerate() {
            let at = at as u64;
            match change {
                Change::Length(length) => {
                    if at < kept || (any && dice.below(2) == 0) {
                        bytes.resize(*length, 0);
                    }
                }
                Change::Write { offset, data } => {
                    for (number, sector) in data.chunks(SECTOR).enumerate() {
                        let lands = at < kept || ((any || at == kept) && dice.below(2) == 0);
                        let start = offset + number * SECTOR;
                        if let Some(room) = bytes.get_mut(start..start + sector.len()).filter(|_| lands) {
                            room.copy_from_slice(sector);
                        }
                    }
                }
            }
        }
        image.synced.clone_from(&bytes);
        image.current = bytes;
    }

    /// The medium rots while nobody writes: one bit of a sector flips, or all of it reads as zeros. Where.
    pub fn rot(&self, dice: &mut Dice) -> usize {
        let mut image = self.image();
        let sector = usize::try_from(dice.below((image.current.len() / SECTOR) as u64)).unwrap_or(0);
        let flipped = (dice.below(2) == 0).then(|| (dice.below(SECTOR as u64), dice.below(8)));
        let image = &mut *image;
        for bytes in [&mut image.synced, &mut image.current] {
            let Some(bytes) = bytes.get_mut(sector * SECTOR..(sector + 1) * SECTOR) else { continue };
            match flipped {
                Some((byte, bit)) => bytes[usize::try_from(byte).unwrap_or(0)] ^= 1 << bit,
                None => bytes.fill(0),
            }
        }
        sector
    }

    /// Whether nothing was ever written, or all of it went.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.image().current.is_empty()
    }

    /// Somebody emptied the directory.
    pub fn wipe(&self) {
        let mut image = self.image();
        let life = image.life + 1;
        *image = Image { life, ..Image::default() };
    }
}

impl Mounted {
    fn image(&self) -> io::Result<MutexGuard<'_, Image>> {
        let mut image = self.disk.image();
        if image.life != self.life || image.calls_left == Some(0) {
            return Err(io::Error::other("the power is gone"));
        }
        image.calls_left = image.calls_left.map(|left| left - 1);
        Ok(image)
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}

impl StorageBackend for Mounted {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.image().current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let image = self.disk.image();
        let start = place(offset)?;
        let found = image.current.get(start..start + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut image = self.image()?;
        let length = place(len)?;
        if image.full && length > image.current.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        image.current.resize(length, 0);
        image.pending.push(Change::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut image = self.image()?;
        if std::mem::take(&mut image.sync_fails) {
            return Err(io::Error::other("input/output error"));
        }
        let image = &mut *image;
        for change in image.pending.drain(..) {
            match change {
                Change::Length(length) => image.synced.resize(length, 0),
                Change::Write { offset, data } => image.synced[offset..offset + data.len()].copy_from_slice(&data),
            }
        }
        image.syncs += 1;
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut image = self.image()?;
        let start = place(offset)?;
        if image.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let end = start + data.len();
        if end > image.current.len() {
            // As a file does; redb grows it first.
            image.current.resize(end, 0);
            image.pending.push(Change::Length(end));
        }
        image.current[start..end].copy_from_slice(data);
        image.pending.push(Change::Write { offset: start, data: data.to_vec() });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_keeps_what_was_synced_and_nothing_that_was_never_written() {
        for seed in 0..200 {
            let disk = ByteDisk::default();
            let mounted = disk.mount();
            mounted.set_len(4096).expect("room");
            mounted.write(0, &[1; 1024]).expect("written");
            mounted.sync_data().expect("synced");
            mounted.write(512, &[2; 1024]).expect("written");
            disk.crash(&mut Dice::new(seed));
            assert!(mounted.write(0, &[3]).is_err(), "the old process is dead");
            let again = disk.mount();
            let mut bytes = [0; 2048];
            again.read(0, &mut bytes).expect("readable");
            assert!(bytes[..512].iter().all(|byte| *byte == 1));
            assert!(matches!(bytes[512], 1 | 2) && bytes[512..1024].iter().all(|byte| *byte == bytes[512]));
            assert!(matches!(bytes[1024], 0 | 2) && bytes[1536..].iter().all(|byte| *byte == 0));
        }
    }
}
