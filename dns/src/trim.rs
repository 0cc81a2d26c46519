//! What fits: an answer is cut to the size its transport and its client can take, at record boundaries, by Consul's rules.

use crate::answer::Room;
use crate::message::Transport;
use crate::settings::Settings;
use hickory_proto::op::{Edns, Message, emit_message_parts};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};
use std::collections::BTreeSet;

/// What a client without EDNS takes (RFC 1035 §4.2.1).
const UDP_PLAIN: usize = 512;
/// The largest datagram that Consul sends, whatever the client claims.
const UDP_MAX: usize = 65467;
/// Consul keeps this much free in a datagram.
const UDP_SPARE: usize = 8;
/// Never more answers than this to a client without EDNS, whatever is configured.
const UDP_PLAIN_ANSWERS: usize = 8;
/// 64 KiB less the overhead of the message.
const TCP_MAX: usize = 65523;
/// More records do not fit in 64 KiB.
const TCP_ANSWERS: usize = 4096;
const TCP_ANSWERS_SRV: usize = 1024;
/// An answer is never smaller: a pointer, type, class, TTL, length, and an IPv4 address.
const ANSWER_MIN: usize = 16;

const HEADER: usize = 12;
/// Root, type, class, TTL and length of an OPT record.
const OPT_FIXED: usize = 11;
/// Code and length of an option.
const OPTION_FIXED: usize = 4;

/// The limits of one reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fit {
    pub(crate) room: Room,
    answers_max: usize,
    size_max: usize,
    /// Sizes are those of the compressed message; else of the plain one, which is the safer for old clients.
    compressed: bool,
}

impl Fit {
    pub(crate) fn new(transport: Transport, edns: Option<&Edns>, kind: RecordType, settings: &Settings) -> Self {
        let opt = edns.map_or(0, opt_size);
        let (answers_max, size_max, compressed) = match transport {
            Transport::Udp => {
                let limit = edns.map_or(UDP_PLAIN, |edns| usize::from(edns.max_payload())).clamp(UDP_PLAIN, UDP_MAX);
                let size_max = limit - UDP_SPARE.max(opt).min(limit);
                if limit == UDP_PLAIN {
                    (settings.udp_answer_limit.clamp(1, UDP_PLAIN_ANSWERS), size_max, false)
                } else {
                    (limit / ANSWER_MIN, size_max, !settings.disable_compression)
                }
            }
            Transport::Tcp => {
                let answers = if kind == RecordType::SRV { TCP_ANSWERS_SRV } else { TCP_ANSWERS };
                // hickory-server writes the bytes, always compressed.
                (answers, TCP_MAX - opt.min(TCP_MAX), true)
            }
        };
        // One more than may be sent is enough to know that something was cut off.
        let room = Room { answers_max: answers_max + 1, edns: edns.is_some() };
        Self { room, answers_max, size_max, compressed }
    }
}

/// Cuts `reply` to what fits; whether an answer was cut off. The last one goes only when it does not fit by itself: then
/// the client asks again over TCP.
pub(crate) fn trim(reply: &mut Message, fit: &Fit) -> bool {
    let answers = reply.answers.len();
    if answers > fit.answers_max {
        cut(reply, fit.answers_max);
    }
    if plain_size(reply, &reply.answers, &reply.authorities, &mut reply.additionals.iter()) <= fit.size_max {
        return reply.answers.len() < answers;
    }
    if reply.answers.len() > 1 && !fits(reply, reply.answers.len(), fit) {
        reply.authorities.clear();
        if !fits(reply, reply.answers.len(), fit) {
            cut(reply, most_that_fit(reply, fit));
        }
    }
    drop_extras(reply, fit);
    reply.answers.len() < answers
}

/// By bisection: how many answers fit, at least one.
fn most_that_fit(reply: &Message, fit: &Fit) -> usize {
    let (mut good, mut bad) = (1, reply.answers.len());
    while bad - good > 1 {
        let middle = good.midpoint(bad);
        if fits(reply, middle, fit) { good = middle } else { bad = middle }
    }
    good
}

/// What is not an answer is given only if it fits, and the last answer too: a datagram larger than the client takes helps
/// nobody.
fn drop_extras(reply: &mut Message, fit: &Fit) {
    if fits(reply, reply.answers.len(), fit) {
        return;
    }
    reply.additionals.retain(|record| !matches!(record.data, RData::TXT(_)));
    if fits(reply, reply.answers.len(), fit) {
        return;
    }
    reply.additionals.clear();
    if !fits(reply, reply.answers.len(), fit) {
        reply.answers.clear();
    }
}

fn cut(reply: &mut Message, answers: usize) {
    reply.answers.truncate(answers);
    let needed = needed(&reply.answers, &reply.additionals);
    let mut needed = needed.into_iter();
    reply.additionals.retain(|_| needed.next().unwrap_or(false));
}

/// For each additional record, whether one of `answers` points to it. Metadata is not pointed to.
fn needed(answers: &[Record], additionals: &[Record]) -> Vec<bool> {
    let mut targets: BTreeSet<&Name> = answers.iter().filter_map(|record| points_to(&record.data)).collect();
    additionals
        .iter()
        .map(|record| {
            let needed = !matches!(record.data, RData::TXT(_)) && targets.contains(&record.name);
            if needed && let Some(further) = points_to(&record.data) {
                targets.insert(further);
            }
            needed
        })
        .collect()
}

fn points_to(data: &RData) -> Option<&Name> {
    match data {
        RData::SRV(srv) => Some(&srv.target),
        RData::CNAME(cname) => Some(&cname.0),
        RData::NS(ns) => Some(&ns.0),
        _ => None,
    }
}

/// Whether the reply fits with only so many of its answers.
fn fits(reply: &Message, answers: usize, fit: &Fit) -> bool {
    let kept = &reply.answers[..answers];
    let whole = answers == reply.answers.len();
    let needed = if whole { vec![true; reply.additionals.len()] } else { needed(kept, &reply.additionals) };
    let mut beside = reply.additionals.iter().zip(needed).filter_map(|(record, needed)| needed.then_some(record));
    if fit.compressed {
        compressed_size(reply, kept, &mut beside).is_some_and(|size| size <= fit.size_max)
    } else {
        plain_size(reply, kept, &reply.authorities, &mut beside) <= fit.size_max
    }
}

/// `None`: larger than any message.
fn compressed_size<'r>(
    reply: &'r Message,
    answers: &'r [Record],
    mut beside: &mut dyn Iterator<Item = &'r Record>,
) -> Option<usize> {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    let written = emit_message_parts(
        &reply.metadata,
        &mut reply.queries.iter(),
        &mut answers.iter(),
        &mut reply.authorities.iter(),
        &mut beside,
        None,
        None,
        &mut encoder,
    );
    // The encoder leaves out what does not fit in a message, and says so by the TC bit.
    written.is_ok_and(|header| !header.metadata.truncation || reply.metadata.truncation).then_some(bytes.len())
}

fn plain_size(
    reply: &Message,
    answers: &[Record],
    authorities: &[Record],
    beside: &mut dyn Iterator<Item = &Record>,
) -> usize {
    let questions: usize = reply.queries.iter().map(|query| name_size(query.name()) + 4).sum();
    let records: usize = answers.iter().chain(authorities).map(record_size).sum();
    HEADER + questions + records + beside.map(record_size).sum::<usize>()
}

fn opt_size(edns: &Edns) -> usize {
    let option = match edns.option(EdnsCode::Subnet) {
        Some(EdnsOption::Subnet(subnet)) => OPTION_FIXED + usize::from(subnet.len()),
        _ => 0,
    };
    OPT_FIXED + option
}

fn name_size(name: &Name) -> usize {
    if name.is_root() { 1 } else { name.len() + 1 }
}

fn record_size(record: &Record) -> usize {
    let data = match &record.data {
        RData::A(_) => 4,
        RData::AAAA(_) => 16,
        RData::SRV(srv) => 6 + name_size(&srv.target),
        RData::CNAME(name) => name_size(&name.0),
        RData::NS(name) => name_size(&name.0),
        RData::PTR(name) => name_size(&name.0),
        RData::SOA(soa) => name_size(&soa.mname) + name_size(&soa.rname) + 20,
        RData::TXT(txt) => txt.txt_data.iter().map(|part| 1 + part.len()).sum(),
        other => other.to_bytes().map_or(0, |bytes| bytes.len()),
    };
    name_size(&record.name) + 10 + data
}
