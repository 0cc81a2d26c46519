//! Questions as bytes, and answers about names and addresses that anybody may have registered.

use super::{Seeds, Verdict};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use lictor_catalog::model::ServiceAddress;
use lictor_catalog::store::Scope;
use lictor_catalog::{Command, Entry, Index, Node, Register, Service, Store};
use lictor_dns::message::{Outcome, Transport, respond};
use lictor_dns::{Settings, Source, Unavailable};

/// A message, over UDP and over TCP: the reply, if any, decodes, carries the question's id, fits its transport, is not
/// more than ten times the question beyond what the client said it takes, and is itself not answered.
pub(super) fn message(bytes: &[u8]) -> Verdict {
    let store = super::catalog::small();
    let mut accepted = false;
    for transport in [Transport::Udp, Transport::Tcp] {
        let Some(reply) = asked(bytes, transport, &store) else { continue };
        accepted |= reply_is_sound(bytes, &reply, transport);
    }
    if accepted { Ok(()) } else { Err("dropped, or answered by a code alone".to_owned()) }
}

/// Whether the reply has more than a header to say.
fn reply_is_sound(question: &[u8], reply: &[u8], transport: Transport) -> bool {
    let decoded = Message::from_vec(reply).expect("a reply decodes");
    assert_eq!(reply[..2], question[..2], "the id comes back");
    assert!(reply.len() <= usize::from(u16::MAX), "it fits a length of two bytes");
    if transport == Transport::Udp {
        let taken = decoded.edns.as_ref().map_or(512, |edns| usize::from(edns.max_payload()).max(512));
        assert!(reply.len() <= taken, "{} bytes for a client that takes {taken}", reply.len());
    }
    let again = decoded.to_vec().expect("what decodes encodes");
    let again = Message::from_vec(&again).expect("what was encoded decodes");
    assert_eq!(again.answers, decoded.answers, "encoded and decoded again");
    assert_eq!(asked(reply, transport, &Store::default()), None, "a reply is not answered");
    !decoded.queries.is_empty()
}

fn asked(bytes: &[u8], transport: Transport, store: &Store) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let source = Whole(store.clone());
    match respond(bytes, transport, &Settings::default(), &source, &mut |_| 0, &mut out) {
        Outcome::Dropped => None,
        Outcome::Replied => Some(out),
        Outcome::Fetch(..) => panic!("the source has it all"),
    }
}

pub(super) fn messages() -> Seeds {
    let mut seeds: Seeds = [
        ("service", "web.service.consul.", RecordType::A, None),
        ("service_srv", "_web._tcp.service.consul.", RecordType::SRV, Some(4096)),
        ("service_tag_dc", "a.web.service.dc1.consul.", RecordType::ANY, None),
        ("node", "n1.node.consul.", RecordType::TXT, Some(512)),
        ("node_aaaa", "n1.node.consul.", RecordType::AAAA, None),
        ("address", "0a000001.addr.consul.", RecordType::A, None),
        ("reverse", "1.0.0.10.in-addr.arpa.", RecordType::PTR, None),
        ("soa", "consul.", RecordType::SOA, None),
        ("ns", "consul.", RecordType::NS, Some(1232)),
        ("outside", "example.com.", RecordType::A, None),
        ("query", "geo-web.query.consul.", RecordType::SRV, Some(1232)),
        ("virtual", "web.virtual.consul.", RecordType::A, None),
    ]
    .into_iter()
    .map(|(label, name, kind, edns)| (label, question(name, kind, edns).expect("a sound question")))
    .collect();
    seeds.sort();
    seeds
}

fn question(name: &str, kind: RecordType, size: Option<u16>) -> Option<Vec<u8>> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).ok()?, kind));
    if let Some(size) = size {
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        message.set_edns(edns);
    }
    message.to_vec().ok()
}

/// A registration as lines: service, node, node address, service address, tag, key and value of metadata. Whatever they
/// are, questions about them get answers that decode.
pub(super) fn catalog(bytes: &[u8]) -> Verdict {
    let text = str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let mut lines = text.split('\n').map(str::to_owned);
    let mut line = || lines.next().unwrap_or_default();
    let (service, node, address) = (line(), line(), line());
    let (service_address, tag, key, value) = (line(), line(), line(), line());
    if service.is_empty() || node.is_empty() {
        return Err("a service and a node have names".to_owned());
    }
    let node = Node {
        name: node.as_str().into(),
        address,
        tagged_addresses: [("lan".to_owned(), service_address.clone())].into(),
        meta: [(key.clone(), value.clone())].into(),
        ..Node::default()
    };
    let service = Service {
        node: node.name.clone(),
        id: service.as_str().into(),
        name: service.as_str().into(),
        port: 80,
        address: service_address.clone(),
        tags: vec![tag.clone()],
        tagged_addresses: [("lan".to_owned(), ServiceAddress { address: service_address, port: 1 })].into(),
        meta: [(key, value)].into(),
        ..Service::default()
    };
    let mut store = super::catalog::small();
    let asked_for = [
        format!("{}.service.consul.", &*service.name),
        format!("{tag}.{}.service.consul.", &*service.name),
        format!("{}.node.consul.", &*node.name),
        format!("geo-{}.query.consul.", &*service.name),
        "1.0.0.10.in-addr.arpa.".to_owned(),
        "consul.".to_owned(),
    ];
    let register = Register { node, service: Some(service), ..Register::default() };
    store.apply(Index(9), &Entry { time_ms: 1, id: 1, command: Command::Register(Box::new(register)) });
    let mut accepted = false;
    for name in &asked_for {
        for kind in [RecordType::A, RecordType::AAAA, RecordType::SRV, RecordType::TXT, RecordType::ANY, RecordType::NS]
        {
            let Some(question) = question(name, kind, Some(1232)) else { continue };
            for transport in [Transport::Udp, Transport::Tcp] {
                let reply = asked(&question, transport, &store).expect("a question is answered");
                accepted |= reply_is_sound(&question, &reply, transport);
            }
        }
    }
    if accepted { Ok(()) } else { Err("no name that DNS can ask for".to_owned()) }
}

/// A source that has it all.
struct Whole(Store);

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
