//! A catalog written down as text, and replies written out as text.

use crate::Settings;
use crate::message::{Outcome, Transport, respond};
use crate::source::{Source, Unavailable};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, Record, RecordType};
use lictor_catalog::model::{ServiceQuery, Template, Ttl, Weights};
use lictor_catalog::store::Scope;
use lictor_catalog::{
    Check, Command, Entry, Index, Node, Outcome as Applied, PreparedCommand, PreparedQuery, Register, Service, Status,
    Store,
};
use std::time::Duration;
use uuid::Uuid;

/// Lines: `node NAME ADDRESS [meta=KEY:VALUE]…`, `check NODE STATUS`, and
/// `service NODE ID NAME PORT [addr=…] [tags=a,b] [check=STATUS] [weights=PASSING/WARNING]`, and
/// `query NAME SERVICE [tags=a,!b] [near=NODE] [ttl=SECONDS] [template=REGEXP]`.
pub(crate) fn catalog(text: &str) -> Store {
    let mut store = Store::default();
    for (at, line) in text.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let index = Index(at as u64 + 1);
        let command = match &words[..] {
            ["query", name, service, ..] => {
                Command::Prepared(PreparedCommand::Create(Box::new(query(index, name, service, &words))))
            }
            words => Command::Register(Box::new(register(words))),
        };
        let applied = store.apply(index, &Entry { time_ms: 0, id: 0, command });
        assert!(matches!(applied.outcome, Applied::Done | Applied::Made(_)), "{line}: {:?}", applied.outcome);
    }
    store
}

fn options(words: &[&str], name: &str) -> Vec<String> {
    let start = format!("{name}=");
    words.iter().filter_map(|word| word.strip_prefix(&start)).map(str::to_owned).collect()
}

fn tags(words: &[&str]) -> Vec<String> {
    let tags = options(words, "tags").into_iter().next().unwrap_or_default();
    tags.split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

/// Its id is the index of its line.
fn query(index: Index, name: &str, service: &str, words: &[&str]) -> PreparedQuery {
    let option = |name: &str| options(words, name).into_iter().next();
    let ttl = option("ttl").map(|text| Ttl { span: Duration::from_secs(text.parse().expect("seconds")), text });
    let template = option("template")
        .map(|regexp| Template { prefix_match: true, regexp, remove_empty_tags: true })
        .unwrap_or_default();
    let near = option("near").unwrap_or_default();
    PreparedQuery {
        id: Uuid::from_u128(index.0.into()),
        name: name.to_owned(),
        template,
        service: ServiceQuery { service: service.to_owned(), tags: tags(words), near, ..ServiceQuery::default() },
        dns_ttl: ttl.unwrap_or_default(),
        ..PreparedQuery::default()
    }
}

fn register(words: &[&str]) -> Register {
    let options = |name: &str| options(words, name);
    let option = |name: &str| options(name).into_iter().next().unwrap_or_default();
    let status = |word: &str| Status::parse(word).expect("a status");
    let pair = |text: &str, by: char| text.split_once(by).map(|(a, b)| (a.to_owned(), b.to_owned())).expect("a pair");
    let known = |name: &str| Node { name: name.into(), ..Node::default() };
    match words {
        ["node", name, address, ..] => {
            let meta = options("meta").iter().map(|text| pair(text, ':')).collect();
            Register { node: Node { address: (*address).into(), meta, ..known(name) }, ..Register::default() }
        }
        ["check", node, word] => {
            let check = Check { node: (*node).into(), id: "node".into(), status: status(word), ..Check::default() };
            Register { node: known(node), skip_node_update: true, checks: vec![check], ..Register::default() }
        }
        ["service", node, id, name, port, ..] => {
            let weights = Some(option("weights")).filter(|text| !text.is_empty()).map(|text| {
                let (passing, warning) = pair(&text, '/');
                Weights { passing: passing.parse().expect("a weight"), warning: warning.parse().expect("a weight") }
            });
            let weights = weights.unwrap_or_default();
            let service = Service {
                node: (*node).into(),
                id: (*id).into(),
                name: (*name).into(),
                port: port.parse().expect("a port"),
                address: option("addr"),
                tags: tags(words),
                weights,
                ..Service::default()
            };
            let checks = options("check").into_iter().map(|word| Check {
                node: (*node).into(),
                id: format!("service:{id}").into(),
                service_id: (*id).into(),
                service_name: (*name).into(),
                status: status(&word),
                ..Check::default()
            });
            let checks = checks.collect();
            Register { node: known(node), skip_node_update: true, service: Some(service), checks }
        }
        _ => panic!("no such line: {words:?}"),
    }
}

/// A source that has it all, at second 1000.
pub(crate) struct Whole(pub(crate) Store);

impl Source for Whole {
    type Held = Box<Store>;

    fn load(&self, _: &Scope) -> Result<Option<Box<Store>>, Unavailable> {
        Ok(Some(Box::new(self.0.clone())))
    }

    async fn fetch(&self, _: Scope) -> Result<Box<Store>, Unavailable> {
        Err(Unavailable)
    }

    fn now_unix(&self) -> u32 {
        1000
    }
}

/// `NAME TYPE [size]`: with a size, the client speaks EDNS.
pub(crate) fn question(text: &str) -> Message {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let kind: RecordType = words[1].parse().expect("a type");
    message.add_query(Query::query(Name::from_ascii(words[0]).expect("a name"), kind));
    if let Some(size) = words.get(2) {
        let mut edns = Edns::new();
        edns.set_max_payload(size.parse().expect("a size"));
        message.set_edns(edns);
    }
    message
}

/// The bytes of the reply, and it decoded. The dice always show the first.
pub(crate) fn ask(store: &Store, settings: &Settings, question: &Message, transport: Transport) -> (Vec<u8>, Message) {
    let bytes = question.to_vec().expect("encodes");
    let mut out = Vec::new();
    let outcome = respond(&bytes, transport, settings, &Whole(store.clone()), &mut |_| 0, &mut out);
    assert!(matches!(outcome, Outcome::Replied), "{outcome:?}");
    let reply = Message::from_vec(&out).expect("decodes");
    assert_eq!(reply.metadata.id, question.metadata.id);
    assert_eq!(reply.metadata.message_type, MessageType::Response);
    assert!(reply.metadata.recursion_desired && !reply.metadata.recursion_available);
    (out, reply)
}

/// The reply as text: its code and flags, then its records by section.
pub(crate) fn written(reply: &Message) -> String {
    let code = match reply.metadata.response_code {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::FormErr => "FORMERR",
        _ => "OTHER",
    };
    let mut lines = vec![code.to_owned()];
    if reply.metadata.authoritative {
        lines[0].push_str(" aa");
    }
    if reply.metadata.truncation {
        lines[0].push_str(" tc");
    }
    let sections = [("", &reply.answers), ("ns ", &reply.authorities), ("ad ", &reply.additionals)];
    for (section, records) in sections {
        lines.extend(records.iter().map(|record| format!("{section}{}", line(record))));
    }
    lines.join("\n")
}

fn line(record: &Record) -> String {
    format!("{} {} {} {}", record.name, record.ttl, record.record_type(), record.data)
}
