//! Encoding of the answer that services ask for most, and planning of its call.

use divan::Bencher;
use divan::counter::BytesCount;
use lictor_agent::http::call::{Call, Encoding, Method};
use lictor_agent::http::params::Params;
use lictor_agent::http::wire::encode;
use lictor_catalog::model::{Check, Index, Node, Service, Status};
use lictor_catalog::query::Instance;
use lictor_catalog::{Query, Rows};
use std::sync::Arc;
use uuid::Uuid;

fn main() {
    divan::main();
}

fn instance(number: u64) -> Instance {
    let name = format!("node-{number}");
    let address = format!("10.0.0.{}", number % 256);
    let tags = ["lan", "lan_ipv4", "wan", "wan_ipv4"];
    let node = Node {
        id: Some(Uuid::from_u128(u128::from(number))),
        name: name.as_str().into(),
        address: address.clone(),
        tagged_addresses: tags.iter().map(|tag| ((*tag).to_owned(), address.clone())).collect(),
        meta: [("consul-network-segment", ""), ("consul-version", "1.22.0")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        create_index: Index(number),
        modify_index: Index(number),
    };
    let service = Service {
        node: node.name.clone(),
        id: format!("web-{number}").into(),
        name: "web".into(),
        tags: vec!["v1".to_owned(), "primary".to_owned()],
        address,
        port: 8080,
        create_index: Index(number),
        modify_index: Index(number),
        ..Service::default()
    };
    let check = |id: &str, service: &Service| Check {
        node: service.node.clone(),
        id: id.into(),
        name: "Service 'web' check".to_owned(),
        status: Status::Passing,
        output: "HTTP GET http://10.0.0.1:8080/health: 200 OK Output: ok".to_owned(),
        service_id: service.id.clone(),
        service_name: service.name.clone(),
        service_tags: service.tags.clone(),
        kind: "http".to_owned(),
        ..Check::default()
    };
    let checks = vec![Arc::new(check("serfHealth", &service)), Arc::new(check("service:web", &service))];
    Instance { node: Arc::new(node), service: Arc::new(service), checks }
}

#[divan::bench(args = [3, 100])]
fn health_service(bencher: Bencher<'_, '_>, instances: u64) {
    let query =
        Query::HealthService { name: "web".to_owned(), native: false, tags: vec![], meta: vec![], passing: true };
    let rows = Rows::Instances((0..instances).map(instance).collect());
    let size = encode(&query, &rows, &Encoding::default(), "dc1").body.len();
    bencher.counter(BytesCount::new(size)).bench(|| encode(&query, &rows, &Encoding::default(), "dc1"));
}

#[divan::bench]
fn find_route(bencher: Bencher<'_, '_>) {
    let call = Call::new(Method::Get, "/v1/health/service/web", Params::parse("passing"));
    let facts = lictor_agent::view::Facts {
        node_name: "n1".into(),
        node_id: Uuid::nil(),
        datacenter: "dc1".to_owned(),
        primary_datacenter: "dc1".to_owned(),
        server: true,
        dev: false,
        advertise: [127, 0, 0, 1].into(),
        serf_port: 8301,
        server_port: 8300,
        ui: false,
        connect: true,
        coordinates: true,
        encrypted: false,
        default_query_time: std::time::Duration::from_secs(300),
        max_query_time: std::time::Duration::from_secs(600),
        kv_value_max: 524_288,
        txn_max: 524_288,
        session_ttl_min: std::time::Duration::from_secs(10),
        session_ttl_exact: false,
        debug_config: serde_json::Value::Null,
        response_headers: Vec::new(),
        block_endpoints: Vec::new(),
        write_from: Vec::new(),
        unprintable_paths: false,
        telemetry: lictor_agent::metrics::Telemetry::default(),
    };
    bencher.bench(|| lictor_agent::http::route::find(&facts, divan::black_box(&call)));
}
