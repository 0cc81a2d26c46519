//! The answer to a question: a pure function of a store. Knows what to say; knows neither bytes nor their limits.

use crate::name::{Asked, Subject};
use crate::settings::Settings;
use crate::{node, record, reverse, servers, service};
use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::rdata::{CNAME, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use lictor_catalog::Store;
use std::net::IpAddr;

/// CNAMEs into our own domain are followed so far, as Consul does.
const LEVELS_MAX: u8 = 3;

/// So many records are given beside a CNAME to a client without EDNS.
const FOLLOWED_MAX: usize = 5;

/// The sections of an answer, before they are fitted to a transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub code: ResponseCode,
    pub authoritative: bool,
    pub answers: Vec<Record>,
    pub authorities: Vec<Record>,
    pub additionals: Vec<Record>,
}

impl Answer {
    pub(crate) const fn empty(code: ResponseCode, authoritative: bool) -> Self {
        Self { code, authoritative, answers: Vec::new(), authorities: Vec::new(), additionals: Vec::new() }
    }
}

/// What the client can take, so that no more is made than can be sent.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// More answers than this would be cut off anyway.
    pub answers_max: usize,
    pub edns: bool,
}

/// Everything that an answer is made from.
pub(crate) struct Ask<'a> {
    pub(crate) store: &'a Store,
    pub(crate) settings: &'a Settings,
    /// The domain that was asked; the answer's own names lie in it.
    pub(crate) domain: &'a Name,
    /// The name as it was asked: answers echo its spelling.
    pub(crate) owner: &'a Name,
    pub(crate) kind: RecordType,
    /// Who asks.
    pub(crate) source: Option<IpAddr>,
    pub(crate) room: Room,
    pub(crate) now_unix: u32,
    pub(crate) level: u8,
}

/// Answers `query` of `source`, which asks for what `asked` says. `store` must cover `asked.scope(..)`. `dice(n)` rolls below `n`.
pub fn answer(
    store: &Store,
    settings: &Settings,
    (query, asked, source): (&Query, &Asked, Option<IpAddr>),
    room: Room,
    now_unix: u32,
    dice: &mut impl FnMut(u64) -> u64,
) -> Answer {
    let ask = Ask {
        store,
        settings,
        domain: asked.domain(settings),
        owner: query.name(),
        kind: query.query_type(),
        source,
        room,
        now_unix,
        level: 0,
    };
    match (&asked.subject, ask.kind) {
        (_, RecordType::AXFR | RecordType::IXFR) => Answer::empty(ResponseCode::NotImp, false),
        (Subject::Outside, _) => Answer::empty(ResponseCode::Refused, false),
        (Subject::Reverse(address), _) => reverse::reverse(&ask, *address),
        (Subject::Bad, _) if is_arpa(ask.owner) => ask.not_found(),
        (_, RecordType::SOA) => servers::authority(&ask, dice),
        (_, RecordType::NS) => servers::name_servers(&ask, dice),
        _ => ask.look_up(asked, dice),
    }
}

fn is_arpa(name: &Name) -> bool {
    name.iter().next_back().is_some_and(|label| label.eq_ignore_ascii_case(b"arpa"))
}

impl<'a> Ask<'a> {
    fn look_up(&self, asked: &Asked, dice: &mut impl FnMut(u64) -> u64) -> Answer {
        match &asked.subject {
            // An address written in the name is the same everywhere.
            Subject::Address(address) => self.address(*address),
            // Other datacenters are asked by a later part; until then they are unknown.
            _ if asked.elsewhere.is_some() => self.not_found(),
            Subject::Node(name) => node::node(self, name),
            Subject::Service { name, tag } => service::service(self, name, tag.as_deref(), dice),
            Subject::Prepared(name) => service::prepared(self, name, dice),
            Subject::Domain
            | Subject::Connect(_)
            | Subject::Ingress(_)
            | Subject::Virtual(_)
            | Subject::Reverse(_)
            | Subject::Bad
            | Subject::Outside => self.not_found(),
        }
    }

    /// NXDOMAIN.
    pub(crate) fn not_found(&self) -> Answer {
        Answer { authorities: vec![self.soa()], ..Answer::empty(ResponseCode::NXDomain, true) }
    }

    /// The name exists, but has no record of the kind (RFC 2308 §2.2).
    pub(crate) fn no_data(&self) -> Answer {
        Answer { authorities: vec![self.soa()], ..self.nothing() }
    }

    /// NOERROR with no record at all.
    pub(crate) const fn nothing(&self) -> Answer {
        Answer::empty(ResponseCode::NoError, true)
    }

    pub(crate) fn soa(&self) -> Record {
        let soa = self.settings.soa;
        let under = |label: &[u8]| {
            let name = Name::new().append_label(label).and_then(|name| name.append_domain(self.domain));
            // A domain of full length leaves no room for a label before it; the domain itself is then the best name.
            name.unwrap_or_else(|_| self.domain.clone())
        };
        let seconds = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let data = SOA::new(
            under(b"ns"),
            under(b"hostmaster"),
            self.now_unix,
            seconds(soa.refresh),
            seconds(soa.retry),
            seconds(soa.expire),
            soa.min_ttl,
        );
        Record::from_rdata(self.domain.clone(), soa.min_ttl, RData::SOA(data))
    }

    /// The address that the name itself spells, in the answer or, for other kinds, beside it.
    fn address(&self, address: IpAddr) -> Answer {
        let record = record::address_record(self.owner.clone(), self.settings.node_ttl(), address);
        if record::wants(self.kind, address) {
            Answer { answers: vec![record], ..self.nothing() }
        } else {
            Answer { additionals: vec![record], ..self.nothing() }
        }
    }

    /// A CNAME for a host name that stands where an address is expected, and what it leads to within our own domain.
    pub(crate) fn alias(&self, host: &str, ttl: u32) -> Vec<Record> {
        let Some(target) = record::host_name(host) else { return Vec::new() };
        let mut records = vec![Record::from_rdata(self.owner.clone(), ttl, RData::CNAME(CNAME(target.clone())))];
        records.extend(self.follow(&target, ttl));
        records
    }

    /// The addresses behind a name of our own domain, as far as the store at hand tells.
    pub(crate) fn follow(&self, target: &Name, ttl: u32) -> Vec<Record> {
        if self.level >= LEVELS_MAX {
            return Vec::new();
        }
        let asked = Asked::parse(target, RecordType::ANY, self.settings);
        let covered = asked.scope(RecordType::ANY).is_none_or(|scope| self.store.covers(&scope));
        if !covered || matches!(asked.subject, Subject::Outside | Subject::Reverse(_)) {
            return Vec::new();
        }
        let inner = Ask {
            domain: asked.domain(self.settings),
            owner: target,
            kind: RecordType::ANY,
            level: self.level + 1,
            ..*self
        };
        let mut records = inner.look_up(&asked, &mut |_| 0).answers;
        records.retain(|record| matches!(record.data, RData::A(_) | RData::AAAA(_) | RData::CNAME(_)));
        if !self.room.edns {
            records.truncate(FOLLOWED_MAX);
        }
        for record in &mut records {
            record.ttl = ttl;
        }
        records
    }
}
