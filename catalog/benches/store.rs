//! The pure parts under load: applying, asking, cloning, encoding.

use divan::{Bencher, black_box, counter::BytesCount};
use lictor_catalog::command::{Command, Entry, KvCommand, Register};
use lictor_catalog::model::{Node, Service, Status};
use lictor_catalog::{AllowAll, Check, Index, Query, Restore, Store};

fn main() {
    divan::main();
}

fn register(node: usize, name: &str) -> Entry {
    let id = format!("{name}-{node}");
    let check = |id: &str, service_id: &str| Check {
        id: id.into(),
        name: "check".to_owned(),
        status: Status::Passing,
        output: "HTTP GET http://127.0.0.1:8080/health: 200 OK".to_owned(),
        service_id: service_id.into(),
        ..Check::default()
    };
    let register = Register {
        node: Node {
            name: format!("node-{node:06}").into(),
            address: format!("10.{}.{}.{}", node >> 16, (node >> 8) & 255, node & 255),
            ..Node::default()
        },
        service: Some(Service {
            id: id.as_str().into(),
            name: name.into(),
            tags: vec!["v1".to_owned()],
            port: 8080,
            ..Service::default()
        }),
        checks: vec![check("serfHealth", ""), check(&format!("service:{id}"), &id)],
        skip_node_update: false,
    };
    Entry { time_ms: 0, id: 0, command: Command::Register(Box::new(register)) }
}

fn set(key: usize) -> Entry {
    let command = KvCommand::Set { key: format!("app/config/{key:07}"), value: vec![7; 100].into(), flags: 0 };
    Entry { time_ms: 0, id: 0, command: Command::Kv(command) }
}

/// `nodes` nodes with an instance of `web` and two checks each, among `others` nodes of other services, and `keys` keys.
fn filled(nodes: usize, others: usize, keys: usize) -> Store {
    let mut store = Store::default();
    let webs = (0..nodes).map(|node| register(node, "web"));
    let others = (nodes..nodes + others).map(|node| register(node, &format!("service-{}", node % 100)));
    for (at, entry) in webs.chain(others).chain((0..keys).map(set)).enumerate() {
        store.apply(Index(at as u64 + 1), &entry);
    }
    store
}

#[divan::bench]
fn apply_register(bencher: Bencher<'_, '_>) {
    let (mut store, mut at) = (filled(0, 10_000, 0), 20_000);
    bencher
        .with_inputs(|| {
            at += 1;
            (Index(at as u64), register(at, "web"))
        })
        .bench_local_values(|(index, entry)| store.apply(index, &entry));
}

#[divan::bench]
fn apply_register_unchanged(bencher: Bencher<'_, '_>) {
    let (mut store, entry, mut at) = (filled(3, 10_000, 0), register(1, "web"), 20_000);
    bencher.bench_local(|| {
        at += 1;
        store.apply(Index(at), &entry)
    });
}

#[divan::bench]
fn apply_kv_set(bencher: Bencher<'_, '_>) {
    let (mut store, mut at) = (filled(0, 0, 100_000), 100_000);
    bencher
        .with_inputs(|| {
            at += 1;
            (Index(at as u64), set(at))
        })
        .bench_local_values(|(index, entry)| store.apply(index, &entry));
}

/// As a server does it: a snapshot is published after each batch, so every write copies the paths it walks.
#[divan::bench]
fn apply_kv_set_and_publish(bencher: Bencher<'_, '_>) {
    let (mut store, mut at) = (filled(0, 0, 100_000), 100_000);
    let mut published = store.clone();
    bencher
        .with_inputs(|| {
            at += 1;
            (Index(at as u64), set(at))
        })
        .bench_local_values(|(index, entry)| {
            store.apply(index, &entry);
            published = store.clone();
        });
    black_box(published);
}

#[divan::bench(args = [3, 100])]
fn health_service(bencher: Bencher<'_, '_>, instances: usize) {
    let store = filled(instances, 10_000, 0);
    let query =
        Query::HealthService { name: "web".to_owned(), native: false, tags: vec![], meta: vec![], passing: true };
    bencher.bench_local(|| query.run(black_box(&store), &AllowAll));
}

#[divan::bench]
fn catalog_services(bencher: Bencher<'_, '_>) {
    let store = filled(0, 10_000, 0);
    bencher.bench_local(|| Query::Services { meta: vec![] }.run(black_box(&store), &AllowAll));
}

#[divan::bench]
fn kv_get(bencher: Bencher<'_, '_>) {
    let store = filled(0, 0, 100_000);
    let query = Query::KvGet { key: "app/config/0054321".to_owned() };
    bencher.bench_local(|| query.run(black_box(&store), &AllowAll));
}

#[divan::bench]
fn clone(bencher: Bencher<'_, '_>) {
    let store = filled(0, 10_000, 10_000);
    bencher.bench_local(|| black_box(&store).clone());
}

/// 100,000 rows: 20,000 nodes with a service and two checks, and 20,000 keys.
#[divan::bench(sample_count = 10)]
fn encode_100k_rows(bencher: Bencher<'_, '_>) {
    let store = filled(0, 20_000, 20_000);
    let bytes: usize = store.chunks().map(|chunk| chunk.len()).sum();
    bencher.counter(BytesCount::new(bytes)).bench_local(|| store.chunks().map(|chunk| chunk.len()).sum::<usize>());
}

#[divan::bench(sample_count = 10)]
fn restore_100k_rows(bencher: Bencher<'_, '_>) {
    let chunks: Vec<_> = filled(0, 20_000, 20_000).chunks().collect();
    let bytes: usize = chunks.iter().map(Vec::len).sum();
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        let mut restore = Restore::new();
        for chunk in &chunks {
            restore.feed(chunk).expect("fresh chunks are sound");
        }
        restore.finish()
    });
}
