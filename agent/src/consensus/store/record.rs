//! The form of one record: a format byte, a CRC32C over place and payload, the payload. The place is the key it is stored
//! under, so a record that turns up elsewhere does not open.

use crate::consensus::Snapshot;
use bytes::Bytes;

/// First byte of every record.
const FORMAT: u8 = 1;
const HEADER: usize = 5;

fn checksum(place: &[u8], payload: &[u8]) -> [u8; 4] {
    crc32c::crc32c_append(crc32c::crc32c(place), payload).to_le_bytes()
}

pub(super) fn seal(place: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEADER + payload.len());
    record.push(FORMAT);
    record.extend(checksum(place, payload));
    record.extend(payload);
    record
}

/// `None` when the record is damaged, misplaced or of another format.
pub(super) fn open<'r>(place: &[u8], record: &'r [u8]) -> Option<&'r [u8]> {
    let (header, payload) = record.split_first_chunk::<HEADER>()?;
    (header[0] == FORMAT && header[1..] == checksum(place, payload)).then_some(payload)
}

pub(super) fn chunk_place(index: u64, number: u64) -> [u8; 16] {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&index.to_le_bytes());
    place[8..].copy_from_slice(&number.to_le_bytes());
    place
}

/// The snapshot's handle and how many rows its state has.
pub(super) fn encode_snapshot(snapshot: &Snapshot, chunks: u64) -> Bytes {
    postcard::to_allocvec(&(snapshot, chunks)).expect("memory takes every value of our own types").into()
}

pub(super) fn decode_snapshot(payload: &[u8]) -> Option<(Snapshot, u64)> {
    match postcard::take_from_bytes(payload) {
        Ok((stored, [])) => Some(stored),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_opens_only_whole_and_in_its_place() {
        let record = seal(b"7", b"payload");
        assert_eq!(open(b"7", &record), Some(b"payload".as_slice()));
        assert_eq!(open(b"8", &record), None, "misplaced");
        for at in 0..record.len() {
            let mut damaged = record.clone();
            damaged[at] ^= 1;
            assert_eq!(open(b"7", &damaged), None, "byte {at}");
            assert_eq!(open(b"7", &record[..at]), None, "cut at {at}");
        }
    }
}
