//! Bytes in, bytes out: decodes a question, has it answered, fits and encodes the reply. UDP and TCP both go through here.

use crate::answer::{self, Answer};
use crate::name::{Asked, Subject};
use crate::settings::Settings;
use crate::source::{Source, Unavailable};
use crate::trim::{Fit, trim};
use hickory_proto::op::{Edns, Header, HeaderCounts, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder, NameEncoding};
use lictor_catalog::Store;
use lictor_catalog::store::Scope;
use std::net::IpAddr;

/// The least that a question and a record take in a message: a root name and the fixed fields.
const QUESTION_MIN: usize = 5;
const RECORD_MIN: usize = 11;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// Who sent a message, and how.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    pub transport: Transport,
    /// Absent where nobody knows.
    pub address: Option<IpAddr>,
}

impl From<Transport> for Asker {
    fn from(transport: Transport) -> Self {
        Self { transport, address: None }
    }
}

/// What a received message is.
#[derive(Debug)]
pub enum Read {
    /// Not to be answered: no DNS at all, or itself a reply. Answering replies would make two servers talk for ever.
    Drop,
    /// Answered without looking at the catalog.
    Reply(Message),
    Ask(Box<Question>),
}

/// A question that was read, and how its reply must look.
#[derive(Clone, Debug)]
pub struct Question {
    metadata: Metadata,
    query: Query,
    asked: Asked,
    edns: Option<Edns>,
    asker: Asker,
}

/// What became of a message.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing is to be sent.
    Dropped,
    /// The reply is written.
    Replied,
    /// The catalog must be asked first; [`finish`] then writes the reply.
    Fetch(Box<Question>, Scope),
}

/// Answers `message` into `out`, without waiting.
pub fn respond<S: Source>(
    message: &[u8],
    asker: impl Into<Asker>,
    settings: &Settings,
    source: &S,
    dice: &mut impl FnMut(u64) -> u64,
    out: &mut Vec<u8>,
) -> Outcome {
    let question = match read(message, asker, settings) {
        Read::Drop => return Outcome::Dropped,
        Read::Reply(reply) => {
            encode(&reply, true, out);
            return Outcome::Replied;
        }
        Read::Ask(question) => question,
    };
    let Some(scope) = question.scope() else {
        let reply = question.reply(&Store::default(), settings, source.now_unix(), dice);
        encode(&reply, !settings.disable_compression, out);
        return Outcome::Replied;
    };
    match source.load(&scope) {
        Ok(Some(store)) => finish(&question, Ok(&store), settings, source.now_unix(), dice, out),
        Ok(None) => return Outcome::Fetch(question, scope),
        Err(unavailable) => finish(&question, Err(unavailable), settings, 0, dice, out),
    }
    Outcome::Replied
}

/// Writes the reply to a question whose part of the catalog has come, or has not.
pub fn finish(
    question: &Question,
    store: Result<&Store, Unavailable>,
    settings: &Settings,
    now_unix: u32,
    dice: &mut impl FnMut(u64) -> u64,
    out: &mut Vec<u8>,
) {
    let reply = match store {
        Ok(store) => question.reply(store, settings, now_unix, dice),
        Err(Unavailable) => question.failure(),
    };
    encode(&reply, !settings.disable_compression, out);
}

/// Decodes a message. Never panics, and allocates in proportion to the message only.
#[must_use]
pub fn read(message: &[u8], asker: impl Into<Asker>, settings: &Settings) -> Read {
    let mut decoder = BinDecoder::new(message);
    let Ok(header) = Header::read(&mut decoder) else { return Read::Drop };
    if header.metadata.message_type == MessageType::Response {
        return Read::Drop;
    }
    let metadata = reply_metadata(&header.metadata);
    if header.metadata.op_code != OpCode::Query {
        return Read::Reply(refusal(metadata, ResponseCode::NotImp));
    }
    let decoded = if is_plausible(header.counts, message.len()) { Message::from_vec(message).ok() } else { None };
    let Some((query, edns)) = decoded.and_then(|message| Some((message.queries.into_iter().next()?, message.edns)))
    else {
        return Read::Reply(refusal(metadata, ResponseCode::FormErr));
    };
    let asked = Asked::parse(query.name(), query.query_type(), settings);
    Read::Ask(Box::new(Question { metadata, query, asked, edns: edns.as_ref().map(echo), asker: asker.into() }))
}

/// Whether so many entries can stand in a message of this size: the decoder reserves memory for as many as are claimed.
const fn is_plausible(counts: HeaderCounts, size: usize) -> bool {
    let records = counts.answers as usize + counts.authorities as usize + counts.additionals as usize;
    12 + counts.queries as usize * QUESTION_MIN + records * RECORD_MIN <= size
}

/// Id, opcode and RD come back as they were sent.
fn reply_metadata(query: &Metadata) -> Metadata {
    let mut metadata = Metadata::new(query.id, MessageType::Response, query.op_code);
    metadata.recursion_desired = query.recursion_desired;
    metadata
}

/// A reply that holds nothing but its header.
fn refusal(metadata: Metadata, code: ResponseCode) -> Message {
    let mut reply = Message::new(metadata.id, MessageType::Response, metadata.op_code);
    reply.metadata = metadata;
    reply.metadata.response_code = code;
    reply
}

/// The OPT record of the reply: the client's size, and its subnet with the scope of an answer that is good everywhere.
fn echo(asked: &Edns) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(asked.max_payload());
    if let Some(EdnsOption::Subnet(subnet)) = asked.option(EdnsCode::Subnet) {
        let mut subnet = *subnet;
        subnet.set_scope_prefix(0);
        edns.options_mut().insert(EdnsOption::Subnet(subnet));
    }
    edns
}

/// The answer is good for the client's subnet only: another may be nearer to others.
fn narrow(edns: &mut Edns) {
    if let Some(EdnsOption::Subnet(subnet)) = edns.option(EdnsCode::Subnet) {
        let mut subnet = *subnet;
        subnet.set_scope_prefix(subnet.source_prefix());
        edns.options_mut().remove(EdnsCode::Subnet);
        edns.options_mut().insert(EdnsOption::Subnet(subnet));
    }
}

impl Question {
    /// The part of the catalog that the answer needs; `None` when it needs none.
    #[must_use]
    pub fn scope(&self) -> Option<Scope> {
        self.asked.scope(self.query.query_type())
    }

    /// The reply, cut to what the client can take.
    #[must_use]
    pub fn reply(
        &self,
        store: &Store,
        settings: &Settings,
        now_unix: u32,
        dice: &mut impl FnMut(u64) -> u64,
    ) -> Message {
        let fit = Fit::new(self.asker.transport, self.edns.as_ref(), self.query.query_type(), settings);
        let question = (&self.query, &self.asked, self.source());
        let mut reply = self.with(answer::answer(store, settings, question, fit.room, now_unix, dice));
        let cut = trim(&mut reply, &fit);
        // Some answers are as good as all to most clients; none at all would say that there is no such record.
        reply.metadata.truncation = cut && (settings.enable_truncate || reply.answers.is_empty());
        reply
    }

    /// Who asks: a resolver may tell for whom (RFC 7871).
    fn source(&self) -> Option<IpAddr> {
        match self.edns.as_ref().and_then(|edns| edns.option(EdnsCode::Subnet)) {
            Some(EdnsOption::Subnet(subnet)) => Some(subnet.addr()),
            _ => self.asker.address,
        }
    }

    /// The reply when the catalog cannot be asked.
    #[must_use]
    pub fn failure(&self) -> Message {
        let ours = self.asked.subject != Subject::Outside;
        self.with(Answer::empty(ResponseCode::ServFail, ours))
    }

    fn with(&self, answer: Answer) -> Message {
        let mut reply = refusal(self.metadata, answer.code);
        reply.metadata.authoritative = answer.authoritative;
        reply.queries.push(self.query.clone());
        reply.answers = answer.answers;
        reply.authorities = answer.authorities;
        reply.additionals = answer.additionals;
        reply.edns.clone_from(&self.edns);
        if answer.code == ResponseCode::NoError && matches!(self.asked.subject, Subject::Prepared(_)) {
            reply.edns.iter_mut().for_each(narrow);
        }
        reply
    }
}

/// Writes `reply` into `out`; SERVFAIL when it cannot be written.
pub fn encode(reply: &Message, compress: bool, out: &mut Vec<u8>) {
    out.clear();
    let mut encoder = BinEncoder::new(out);
    if !compress {
        encoder.set_name_encoding(NameEncoding::Uncompressed);
    }
    if reply.emit(&mut encoder).is_err() {
        out.clear();
        let failure = refusal(reply.metadata, ResponseCode::ServFail);
        let written = failure.emit(&mut BinEncoder::new(out));
        debug_assert!(written.is_ok(), "a bare header always encodes");
    }
}
