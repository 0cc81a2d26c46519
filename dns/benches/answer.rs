//! A question in, a reply out, in bytes: what a core can answer when the network costs nothing.

use divan::{Bencher, black_box};
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::{A, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};
use lictor_catalog::store::Scope;
use lictor_catalog::{Command, Entry, Index, Node, Register, Service, Store};
use lictor_dns::message::{Transport, respond};
use lictor_dns::{Settings, Source, Unavailable};
use std::sync::Arc;

fn main() {
    divan::main();
}

struct Whole(Arc<Store>);

impl Source for Whole {
    type Held = Arc<Store>;
    fn load(&self, _: &Scope) -> Result<Option<Arc<Store>>, Unavailable> {
        Ok(Some(Arc::clone(&self.0)))
    }
    async fn fetch(&self, _: Scope) -> Result<Arc<Store>, Unavailable> {
        Err(Unavailable)
    }
    fn now_unix(&self) -> u32 {
        0
    }
}

fn source(instances: usize) -> Whole {
    let mut store = Store::default();
    for n in 0..instances {
        let name = format!("node{n}");
        let node =
            Node { name: name.as_str().into(), address: format!("10.0.{}.{}", n / 250, n % 250), ..Node::default() };
        let service = Service {
            node: name.as_str().into(),
            id: "web".into(),
            name: "web".into(),
            port: 8080,
            ..Service::default()
        };
        let register = Register { node, service: Some(service), ..Register::default() };
        let command = Command::Register(Box::new(register));
        store.apply(Index(n as u64 + 1), &Entry { time_ms: 0, id: 0, command });
    }
    Whole(Arc::new(store))
}

fn bench(bencher: Bencher<'_, '_>, instances: usize, name: &str, kind: RecordType) {
    let source = source(instances);
    let settings = Settings::default();
    let mut message = Message::new(1, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    let bytes = message.to_vec().expect("encodes");
    let mut out = Vec::new();
    let mut turn = 0u64;
    bencher.bench_local(|| {
        let mut dice = |sides| {
            turn = turn.wrapping_add(1);
            turn % sides
        };
        respond(black_box(&bytes), Transport::Udp, &settings, &source, &mut dice, &mut out);
        black_box(out.len())
    });
}

#[divan::bench(args = [3, 100, 5000])]
fn srv(bencher: Bencher<'_, '_>, instances: usize) {
    bench(bencher, instances, "web.service.consul.", RecordType::SRV);
}

/// The floor: the same decoder and encoder around three records that are only copied.
#[divan::bench]
fn srv_bare(bencher: Bencher<'_, '_>) {
    let mut message = Message::new(1, MessageType::Query, OpCode::Query);
    let owner = Name::from_ascii("web.service.consul.").expect("a name");
    message.add_query(Query::query(owner.clone(), RecordType::SRV));
    let bytes = message.to_vec().expect("encodes");
    let (mut answers, mut additionals) = (Vec::new(), Vec::new());
    for n in 0..3 {
        let target = Name::from_ascii(format!("node{n}.node.dc1.consul.")).expect("a name");
        let srv = RData::SRV(SRV::new(1, 1, 8080, target.clone()));
        answers.push(Record::from_rdata(owner.clone(), 0, srv));
        additionals.push(Record::from_rdata(target, 0, RData::A(A::new(10, 0, 0, n))));
    }
    let mut out = Vec::new();
    bencher.bench_local(|| {
        let asked = Message::from_vec(black_box(&bytes)).expect("decodes");
        let mut reply = Message::response(asked.metadata.id, OpCode::Query);
        reply.queries = asked.queries;
        reply.answers.extend(answers.iter().cloned());
        reply.additionals.extend(additionals.iter().cloned());
        out.clear();
        reply.emit(&mut BinEncoder::new(&mut out)).expect("encodes");
        black_box(out.len())
    });
}

#[divan::bench(args = [3])]
fn a(bencher: Bencher<'_, '_>, instances: usize) {
    bench(bencher, instances, "web.service.consul.", RecordType::A);
}

#[divan::bench(args = [3])]
fn absent(bencher: Bencher<'_, '_>, instances: usize) {
    bench(bencher, instances, "nope.service.consul.", RecordType::A);
}
