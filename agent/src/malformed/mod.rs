//! Malformed input: every decoder of bytes from outside, and the property that it must have.
//!
//! A property takes bytes as whoever sends or wrote them could have made them. It panics if its decoder does, if what was
//! accepted does not survive being encoded and decoded again, or if what lies behind the decoder (a membership, an
//! engine, a store, a handler) is broken by it. Its verdict says whether the bytes were accepted.
//!
//! Each area's properties stand beside its decoders, in a file of this name; those of the other crates are here. A new
//! decoder is one line in [`DECODERS`]: `tests/malformed` then runs its corpus and mutations of it, within its
//! bounds, and insists on a fuzz target of its name in `fuzz/Cargo.toml`.
//!
//! What it never does: it is no part of the program, opens no socket or file, and reads no clock.

mod catalog;
mod dns;
mod rpc;

pub(crate) use catalog::small;

use crate::{cli, config, consensus, gossip, http, local, time};
use std::fmt::Debug;

/// Accepted, or refused for this reason.
pub type Verdict = Result<(), String>;

/// Inputs that the real encoders write, by name. Each must be accepted.
pub type Seeds = Vec<(&'static str, Vec<u8>)>;

/// One decoder.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    /// Names its corpus and its fuzz target.
    pub name: &'static str,
    pub property: fn(&[u8]) -> Verdict,
    /// For formats that nobody writes by hand.
    pub seeds: fn() -> Seeds,
    pub cost: Cost,
}

/// How many bytes the property may allocate in all, freed ones included, so that neither memory nor work can grow out of
/// proportion: what its fixture takes, and so much for each byte of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    pub fixed: u64,
    pub per_byte: u64,
}

const KIB: u64 = 1 << 10;

const fn decoder(
    name: &'static str,
    property: fn(&[u8]) -> Verdict,
    seeds: fn() -> Seeds,
    fixed_kib: u64,
    per_byte: u64,
) -> Decoder {
    Decoder { name, property, seeds, cost: Cost { fixed: fixed_kib * KIB, per_byte } }
}

/// For formats that people write: their corpus is all there is.
const fn by_hand() -> Seeds {
    Vec::new()
}

/// Every decoder.
pub static DECODERS: &[Decoder] = &[
    decoder(
        "bootstrap_letter",
        consensus::malformed::bootstrap_letter,
        consensus::malformed::bootstrap_letters,
        64,
        64,
    ),
    decoder("bootstrap_promise", consensus::malformed::promise, consensus::malformed::promises, 64, 64),
    decoder("catalog_entry", catalog::entry, catalog::entries, 256, 256),
    decoder("catalog_snapshot", catalog::snapshot, catalog::snapshots, 1024, 256),
    decoder("cli_answer", cli::malformed::answer, by_hand, 11264, 512),
    decoder("cli_arguments", cli::malformed::arguments, by_hand, 4096, 256),
    decoder("config_file", config::malformed::file, by_hand, 8192, 1024),
    decoder("config_hcl", config::malformed::hcl, by_hand, 64, 512),
    decoder("config_json", config::malformed::json, by_hand, 64, 1024),
    decoder("dns_catalog", dns::catalog, by_hand, 4096, 1024),
    decoder("dns_message", dns::message, dns::messages, 256, 256),
    decoder("duration", time::malformed::duration, by_hand, 16, 64),
    decoder("gossip_answer", gossip::malformed::answer, gossip::malformed::answers, 512, 256),
    decoder("gossip_envelope", gossip::malformed::envelope, gossip::malformed::envelopes, 64, 64),
    decoder("gossip_packet", gossip::malformed::packet, gossip::malformed::packets, 512, 256),
    decoder("gossip_request", gossip::malformed::request, gossip::malformed::requests, 512, 256),
    decoder("http_call", http::malformed::call, by_hand, 512, 512),
    decoder("http_json", http::malformed::json, by_hand, 64, 1024),
    decoder("http_transaction", http::malformed::transaction, by_hand, 1024, 1024),
    decoder("kv_import", cli::malformed::import, by_hand, 64, 256),
    decoder("local_record", local::malformed::record, local::malformed::records, 128, 256),
    decoder("lock_sequencer", catalog::sequencer, by_hand, 16, 64),
    decoder("log_row", consensus::malformed::log_row, consensus::malformed::log_rows, 4096, 64),
    decoder("query_template", catalog::template, by_hand, 4096, 4096),
    decoder("raft_letter", consensus::malformed::letter, consensus::malformed::letters, 1024, 256),
    decoder("raft_record", consensus::malformed::record, consensus::malformed::records, 512, 256),
    decoder("rpc_frames", rpc::frames, rpc::framed, 64, 64),
    decoder("rpc_message", rpc::message, rpc::messages, 64, 64),
];

/// Runs one decoder's property.
///
/// # Panics
/// If there is no decoder of that name, and if the property does not hold.
pub fn check(name: &str, bytes: &[u8]) {
    let decoder = DECODERS.iter().find(|decoder| decoder.name == name).expect("a decoder of that name");
    let _ = judge(decoder, bytes);
}

/// Runs a property, and looks at the refusal: it must say something, and not give back all it got and more.
///
/// # Panics
/// If the property does not hold.
pub fn judge(decoder: &Decoder, bytes: &[u8]) -> Verdict {
    let verdict = (decoder.property)(bytes);
    if let Err(reason) = &verdict {
        let reason = reason.trim();
        assert!(!reason.is_empty(), "{}: a refusal without a reason", decoder.name);
        assert!(reason.len() <= 8 * bytes.len() + 4096, "{}: a refusal of {} bytes", decoder.name, reason.len());
    }
    verdict
}

/// What was decoded is the same after another round.
#[track_caller]
pub(crate) fn survives<T, B, E>(value: &T, encode: impl Fn(&T) -> B, decode: impl Fn(&[u8]) -> Result<T, E>)
where
    T: PartialEq + Debug,
    B: AsRef<[u8]>,
    E: Debug,
{
    let again = decode(encode(value).as_ref()).expect("what was accepted is accepted again");
    assert_eq!(&again, value, "encoded and decoded again");
}
