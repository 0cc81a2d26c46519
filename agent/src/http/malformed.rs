//! Requests as strangers may send them, once hyper has let them through: see [`crate::malformed`].

use super::call::{Act, Call, Plan, Reply};
use super::params::Params;
use super::{Context, answer, plan, wire};
use crate::gossip::{Member, MemberStatus};
use crate::hub;
use crate::malformed::{Verdict, survives};
use crate::rpc;
use crate::time::Instant;
use crate::view::{Facts, Leader, LocalView, View};
use bytes::Bytes;
use lictor_catalog::{Check, Command, Entry, Index, Node, Outcome, Service, Store};
use serde::de::IgnoredAny;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const ID: Uuid = Uuid::from_u128(1);

/// A request as text, its target as the request line has it. The handler of its route decides; what it decides on is
/// carried out.
pub(crate) fn call(bytes: &[u8]) -> Verdict {
    let call = read(bytes)?;
    survives(&call, rpc::encode, rpc::decode);
    let world = World::new();
    match plan(&world.context(), &call) {
        Plan::Answer(reply) => is_sound(&reply),
        Plan::Read(read) => {
            assert!(
                read.blocking.is_none_or(|blocking| blocking.wait <= world.facts.max_query_time),
                "waits are bounded"
            );
            let found = hub::find(&world.view, &world.local, &read.subject, &read.encoding, "dc1");
            is_sound(&answer::read_reply(&read, found.index, &found.encoded, answer::Freshness::default()))
        }
        Plan::Write(command, how) => written(&world.view.store, command, how),
        Plan::Act(Act::Local(change)) => crate::local::malformed::change(*change),
        Plan::Act(Act::Fire(announcement)) => {
            is_sound(&answer::fired(crate::gossip::malformed::fire(*announcement), false))
        }
        // Whatever else is asked for is words, no longer than the request.
        _ => Ok(()),
    }
}

/// The body of a transaction. If one operation fails, a snapshot carries the same rows as before.
pub(crate) fn transaction(bytes: &[u8]) -> Verdict {
    let request = [b"PUT /v1/txn\n\n", bytes].concat();
    let world = World::new();
    if let Plan::Write(command, _) = plan(&world.context(), &read(&request)?) {
        let mut store = world.view.store.clone();
        let applied = store.apply(Index(99), &Entry { time_ms: 1, id: 1, command });
        if let Outcome::Txn(Err(failures)) = &applied.outcome {
            assert!(!failures.is_empty() && applied.touched.watches.is_empty(), "all or nothing");
            let rows = |store: &Store| store.tables().skip(1).collect::<Vec<_>>();
            assert_eq!(rows(&store), rows(&world.view.store), "all or nothing");
        }
    }
    call(&request)
}

/// `METHOD target`, headers as `name: value`, an empty line, the body.
fn read(bytes: &[u8]) -> Result<Call, String> {
    let at = bytes.windows(2).position(|pair| pair == b"\n\n").ok_or("no empty line after the head")?;
    let (head, body) = (&bytes[..at], &bytes[at + 2..]);
    let head = str::from_utf8(head).map_err(|error| error.to_string())?;
    let mut lines = head.split('\n');
    let (method, target) = lines.next().and_then(|line| line.split_once(' ')).ok_or("no request line")?;
    let mut request = http::Request::builder().method(method).uri(target);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        request = request.header(name, value);
    }
    let request = request.body(()).map_err(|error| error.to_string())?;
    let (call, ()) = crate::runtime::http::call(request, None).ok_or("the query string does not parse")?;
    assert_eq!(Params::parse_strict(&call.params.encode()).map(|again| again.encode()), Some(call.params.encode()));
    Ok(Call { body: Bytes::copy_from_slice(body), ..call })
}

/// The reply's status says whether the request was accepted.
fn is_sound(reply: &Reply) -> Verdict {
    assert!((200..600).contains(&reply.status), "a status that HTTP has: {}", reply.status);
    let json = reply.headers.iter().any(|(name, value)| name == "content-type" && value == "application/json");
    if json {
        let text = str::from_utf8(&reply.body).expect("JSON is UTF-8");
        serde_json::from_str::<IgnoredAny>(text).expect("JSON that reads");
    }
    match reply.status {
        200..400 => Ok(()),
        status => Err(format!("{status} {}", str::from_utf8(&reply.body).expect("errors are text"))),
    }
}

/// A command that a handler made is applied by every server.
fn written(store: &Store, command: Command, how: super::call::WriteAnswer) -> Verdict {
    let entry = Entry { time_ms: 1, id: 1, command };
    survives(&entry, Entry::encode, Entry::decode);
    let mut store = store.clone();
    let applied = store.apply(Index(99), &entry);
    for query in [
        "/v1/catalog/nodes",
        "/v1/catalog/services",
        "/v1/health/state/any",
        "/v1/kv/?recurse",
        "/v1/session/list",
        "/v1/query",
        "/v1/connect/ca/roots",
        "/v1/query/geo-web/explain",
        "/v1/query/geo-web/execute",
    ] {
        let world = World {
            view: Arc::new(View { store: store.clone(), ..World::new().view.as_ref().clone() }),
            ..World::new()
        };
        let call = read(format!("GET {query}\n\n").as_bytes()).expect("a sound request");
        if let Plan::Read(read) = plan(&world.context(), &call) {
            let found = hub::find(&world.view, &world.local, &read.subject, &read.encoding, "dc1");
            let _ = is_sound(&answer::read_reply(&read, found.index, &found.encoded, answer::Freshness::default()));
        }
    }
    is_sound(&answer::write_reply(&applied.outcome, how, false, "dc1"))
}

/// Any JSON, written in Go's habits: it reads as what it was, indented or not.
pub(crate) fn json(bytes: &[u8]) -> Verdict {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let world = World::new();
    for target in ["/v1/agent/self", "/v1/agent/self?pretty"] {
        let call = read(format!("GET {target}\n\n").as_bytes()).expect("a sound request");
        let written = wire::json(&world.context(), &call, &value);
        let again: Value = serde_json::from_slice(&written).expect("it reads");
        assert_eq!(without_fractions(&again), without_fractions(&value), "written and read again");
    }
    Ok(())
}

/// Fractions are not read to the last digit.
fn without_fractions(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => Value::Null,
        Value::Array(list) => list.iter().map(without_fractions).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), without_fractions(value))).collect(),
        other => other.clone(),
    }
}

struct World {
    view: Arc<View>,
    local: LocalView,
    facts: Facts,
}

impl World {
    fn new() -> Self {
        let view = View {
            store: crate::malformed::small(),
            leader: Some(Leader { id: ID, rpc: ([127, 0, 0, 1], 8300).into() }),
            leading: true,
            caught_up: true,
            applied: Index(9),
            ..View::default()
        };
        Self { view: Arc::new(view), local: local(), facts: facts() }
    }

    fn context(&self) -> Context<'_> {
        Context { view: &self.view, local: &self.local, facts: &self.facts, now: Instant(1) }
    }
}

fn local() -> LocalView {
    let web = Service { node: "n1".into(), id: "web".into(), name: "web".into(), port: 80, ..Service::default() };
    let check = Check { node: "n1".into(), id: "c".into(), service_id: "web".into(), ..Check::default() };
    let member = Member {
        id: ID,
        name: "n1".into(),
        address: ([127, 0, 0, 1], 8301).into(),
        status: MemberStatus::Alive,
        tags: BTreeMap::new(),
    };
    LocalView {
        members: Arc::new([member]),
        services: Arc::new([(web.id.clone(), Arc::new(web))].into()),
        checks: Arc::new([(check.id.clone(), Arc::new(check))].into()),
        node: Arc::new(Node { name: "n1".into(), ..Node::default() }),
        events: Arc::from([]),
        place: None,
        health_score: 0,
    }
}

fn facts() -> Facts {
    Facts {
        node_name: "n1".into(),
        node_id: ID,
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
        default_query_time: Duration::from_secs(300),
        max_query_time: Duration::from_secs(600),
        kv_value_max: 512 << 10,
        txn_max: 512 << 10,
        session_ttl_min: Duration::from_secs(10),
        session_ttl_exact: false,
        debug_config: Value::Null,
        response_headers: Vec::new(),
        block_endpoints: Vec::new(),
        write_from: Vec::new(),
        unprintable_paths: false,
        telemetry: crate::metrics::Telemetry::default(),
    }
}
