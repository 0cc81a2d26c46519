//! A question in, a reply out, in bytes: what a core can answer when the network costs nothing.

use divan::{Bencher, black_box};
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
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

#[divan::bench(args = [3])]
fn a(bencher: Bencher<'_, '_>, instances: usize) {
    bench(bencher, instances, "web.service.consul.", RecordType::A);
}

#[divan::bench(args = [3])]
fn absent(bencher: Bencher<'_, '_>, instances: usize) {
    bench(bencher, instances, "nope.service.consul.", RecordType::A);
}
