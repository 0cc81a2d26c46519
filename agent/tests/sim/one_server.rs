//! One server: a service is registered, checked, and found by HTTP and DNS.

use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use lictor_agent::http::call::Method;
use lictor_agent::sim::{Endpoint, SECOND, Setup, World};
use lictor_dns::Settings;
use lictor_dns::answer::{Room, answer};
use lictor_dns::name::Asked;

/// The addresses that DNS gives for a name.
fn resolve(world: &World, name: &str) -> (ResponseCode, Vec<String>) {
    let settings = Settings::default();
    let name = Name::from_ascii(name).expect("a name");
    let query = Query::query(name.clone(), RecordType::A);
    let asked = Asked::parse(&name, RecordType::A, &settings);
    let store = &world.process(0).expect("it runs").view.store;
    let room = Room { answers_max: 100, edns: true };
    let found = answer(store, &settings, (&query, &asked, None), room, 0, &mut |_| 0);
    (found.code, found.answers.iter().map(|record| record.data.to_string()).collect())
}

fn passing(world: &mut World) -> usize {
    let reply = world.answer(0, Method::Get, "/v1/health/service/web?passing", "", SECOND).expect("an answer");
    let rows: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
    rows.as_array().map_or(0, Vec::len)
}

#[test]
fn registered_checked_resolved() {
    let mut world = World::started(Setup::new(1, 1, 0));
    assert!(world.run_until(10 * SECOND, |world| world.leader() == Some(0)), "one server leads itself");
    world.net.endpoints.insert("http://10.0.0.9/health".to_owned(), Endpoint::Open);
    let body = r#"{"Name":"web","Port":80,"Address":"10.0.0.9",
        "Check":{"HTTP":"http://10.0.0.9/health","Interval":"5s","Timeout":"1s"}}"#;
    let reply = world.answer(0, Method::Put, "/v1/agent/service/register", body, SECOND).expect("an answer");
    assert_eq!(reply.status, 200);
    assert!(world.run_until(20 * SECOND, |world| resolve(world, "web.service.consul.").1 == ["10.0.0.9"]));
    assert_eq!(passing(&mut world), 1);
    // The endpoint falls ill: nobody is sent there any more.
    world.net.endpoints.insert("http://10.0.0.9/health".to_owned(), Endpoint::Status(500));
    assert!(world.run_until(20 * SECOND, |world| resolve(world, "web.service.consul.").1.is_empty()));
    assert_eq!(passing(&mut world), 0);
    // A restart keeps it registered; once it is well again it is found again.
    world.crash(0, true);
    world.net.endpoints.insert("http://10.0.0.9/health".to_owned(), Endpoint::Status(204));
    world.start(0);
    assert!(world.run_until(30 * SECOND, |world| resolve(world, "web.service.consul.").1 == ["10.0.0.9"]));
}
