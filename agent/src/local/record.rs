//! What of local state is kept on disk: one record per service, check and check state, so that damage to one costs one.
//!
//! A record is a line of text with the format number and a CRC32C, then a line of JSON. Writing it, atomically and durably, is
//! the runtime's work.

use crate::checks::CheckSpec;
use lictor_catalog::model::folded;
use lictor_catalog::{Service, Status};
use serde::{Deserialize, Serialize};

const FORMAT: u32 = 1;
const MAGIC: &str = "lictor-record";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    Service,
    Check,
    /// The last status of a check. Losing it costs a flap, not a registration.
    CheckState,
}

/// Names a record: what it is of, and the id it speaks of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    pub kind: RecordKind,
    /// Folded, as ids are compared.
    id: String,
}

impl RecordKey {
    #[must_use]
    pub fn new(kind: RecordKind, id: &str) -> Self {
        Self { kind, id: folded(id).into_owned() }
    }

    /// Which no other record has.
    #[must_use]
    pub fn name(&self) -> String {
        let kind = match self.kind {
            RecordKind::Service => "service",
            RecordKind::Check => "check",
            RecordKind::CheckState => "state",
        };
        format!("{kind}/{}", self.id)
    }
}

/// What a record holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Record {
    Service { service: Service, token: String },
    Check(Box<CheckSpec>),
    Maintenance { service_id: String, reason: String },
    State(State),
}

/// How a check fared when the agent stopped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) id: String,
    pub(super) status: Status,
    pub(super) output: String,
    /// Unix time until which a TTL check's last report counts.
    pub(super) expires_ms: Option<u64>,
    /// The boot in which it was seen: after a reboot nothing that was probed still proves anything.
    pub(super) boot: String,
}

/// A record that cannot be used. It is left in place until one of the same name is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    #[error("it is not a record of this agent, or its first line is damaged")]
    Header,
    #[error(
        "it has format {0}, this release reads format {FORMAT}: start the release that wrote it, or register again"
    )]
    Format(u32),
    #[error("its checksum does not match: it is damaged; register again what it held")]
    Checksum,
    #[error("it does not decode ({0}); register again what it held")]
    Body(String),
}

impl Record {
    pub(super) fn encode(&self) -> Vec<u8> {
        let body = serde_json::to_string(self).expect("records are plain values with string keys");
        format!("{MAGIC} {FORMAT} {:08x}\n{body}\n", crc32c::crc32c(body.as_bytes())).into_bytes()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        let text = str::from_utf8(bytes).map_err(|_not_text: std::str::Utf8Error| BadRecord::Header)?;
        let (header, body) = text.split_once('\n').ok_or(BadRecord::Header)?;
        let body = body.strip_suffix('\n').ok_or(BadRecord::Checksum)?;
        let fields: Vec<&str> = header.split(' ').collect();
        let [MAGIC, format, sum] = fields[..] else { return Err(BadRecord::Header) };
        let format = format.parse().map_err(|_not_number: std::num::ParseIntError| BadRecord::Header)?;
        if format != FORMAT {
            return Err(BadRecord::Format(format));
        }
        if u32::from_str_radix(sum, 16) != Ok(crc32c::crc32c(body.as_bytes())) {
            return Err(BadRecord::Checksum);
        }
        serde_json::from_str(body).map_err(|error| BadRecord::Body(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> Record {
        Record::State(State {
            id: "web".to_owned(),
            status: Status::Warning,
            output: "so so\n".to_owned(),
            expires_ms: Some(7),
            boot: "b".to_owned(),
        })
    }

    #[test]
    fn a_stored_record_of_format_one_still_reads() {
        let stored = "lictor-record 1 99d516d2\n{\"State\":{\"id\":\"web\",\"status\":\"Warning\",\"output\":\"so so\\n\",\"expires_ms\":7,\"boot\":\"b\"}}\n";
        assert_eq!(Record::decode(stored.as_bytes()), Ok(state()));
        assert_eq!(state().encode(), stored.as_bytes());
    }

    #[test]
    fn damage_is_told_from_age() {
        let good = state().encode();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x04;
            assert!(Record::decode(&bad).is_err(), "byte {at} was changed");
            assert!(Record::decode(&good[..at]).is_err(), "cut at {at}");
        }
        let newer = String::from_utf8(good).unwrap().replacen("record 1", "record 2", 1);
        assert_eq!(Record::decode(newer.as_bytes()), Err(BadRecord::Format(2)));
    }

    #[test]
    fn names_tell_kinds_and_ids_apart() {
        let name = |kind, id| RecordKey::new(kind, id).name();
        assert_eq!(name(RecordKind::Service, "Web-1"), "service/web-1");
        assert_eq!(name(RecordKind::Check, "service:a"), "check/service:a");
        assert_ne!(name(RecordKind::Check, "a"), name(RecordKind::CheckState, "a"));
    }
}
