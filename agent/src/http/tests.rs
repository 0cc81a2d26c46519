//! Whole calls against a small world: the text of a request in, the text of its answer out.

mod autopilot;
mod catalog;
mod connect;
mod locks;
mod paths;
mod prepared;
mod streams;
mod txn;
mod ui;

use super::answer::{self, Freshness};
use super::call::{Act, Call, Method, Plan, Read, Reply, Survey};
use super::params::Params;
use super::{Context, plan};
use crate::gossip::{Member, MemberStatus};
use crate::hub;
use crate::local::{Change, Refused};
use crate::metrics::Telemetry;
use crate::time::Instant;
use crate::view::{Facts, Health, Leader, LocalView, Server, View};
use lictor_catalog::model::{Check, CheckDefinition, Node, Service, ServiceAddress, Status};
use lictor_catalog::{Command, Deregister, Entry, Index, Outcome, PreparedCommand, Refusal, Register, SessionCommand};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const ID: Uuid = Uuid::from_u128(0x1111_2222_3333_4444_5555_6666_7777_8888);

struct World {
    view: View,
    local: LocalView,
    facts: Facts,
    /// Log time.
    time_ms: u64,
}

pub(crate) fn facts() -> Facts {
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
        kv_value_max: 64,
        txn_max: 32 << 10,
        session_ttl_min: Duration::from_secs(10),
        session_ttl_exact: false,
        debug_config: serde_json::json!({"Secret": "hidden"}),
        response_headers: vec![("X-Extra".to_owned(), "1".to_owned())],
        block_endpoints: vec!["/v1/agent/leave".to_owned()],
        write_from: Vec::new(),
        unprintable_paths: false,
        telemetry: Telemetry::default(),
    }
}

fn strings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn web() -> Service {
    Service {
        node: "n1".into(),
        id: "web".into(),
        name: "web".into(),
        tags: vec!["a<b".to_owned()],
        port: 80,
        meta: strings(&[("v", "1")]),
        ..Service::default()
    }
}

fn check_of(id: &str, service: &str, status: Status) -> Check {
    let (service_id, service_name) = (service.into(), service.into());
    let kind = "ttl".to_owned();
    Check {
        node: "n1".into(),
        id: id.into(),
        name: id.to_owned(),
        status,
        service_id,
        service_name,
        kind,
        ..Check::default()
    }
}

fn local() -> LocalView {
    let checks = [check_of("node", "", Status::Passing), check_of("service:web", "web", Status::Warning)];
    let api = Service { id: "api-1".into(), name: "api".into(), ..web() };
    let member = Member {
        id: ID,
        name: "n1".into(),
        address: ([127, 0, 0, 1], 8301).into(),
        status: MemberStatus::Alive,
        tags: strings(&[("role", "consul")]),
    };
    LocalView {
        members: Arc::new([member]),
        services: Arc::new([web(), api].into_iter().map(|s| (s.id.clone(), Arc::new(s))).collect()),
        checks: Arc::new(checks.into_iter().map(|c| (c.id.clone(), Arc::new(c))).collect()),
        node: Arc::new(Node { name: "n1".into(), meta: strings(&[("consul-version", "1.22.0")]), ..Node::default() }),
        events: Arc::from([]),
        place: None,
        health_score: 0,
    }
}

impl World {
    fn empty() -> Self {
        let server = Server {
            id: ID,
            name: "n1".into(),
            address: "127.0.0.1:8300".to_owned(),
            leader: true,
            voter: true,
            last_index: Index(9),
            health: Some(Health { healthy: true, last_contact: Some(Duration::ZERO), since: Instant(2_000_000_000) }),
        };
        let view = View {
            leader: Some(Leader { id: ID, rpc: ([127, 0, 0, 1], 8300).into() }),
            leading: true,
            lease_until: Some(Instant(u64::MAX)),
            caught_up: true,
            applied: Index(9),
            servers: Arc::new([server]),
            ..View::default()
        };
        Self { view, local: local(), facts: facts(), time_ms: 1 }
    }

    /// With one node, one service on it, and a check of each, all written at index 10.
    fn small() -> Self {
        let mut world = Self::empty();
        world.view.applied = Index(9);
        let definition = CheckDefinition {
            http: "http://x/?a&b".to_owned(),
            interval: Duration::from_secs(90),
            ..CheckDefinition::default()
        };
        let serf =
            Check { kind: String::new(), output: "fine".to_owned(), ..check_of("serfHealth", "", Status::Passing) };
        let of_web = Check {
            definition: Some(Box::new(definition)),
            interval: Duration::from_secs(10),
            ..check_of("service:web", "web", Status::Passing)
        };
        let tagged_addresses =
            BTreeMap::from([("lan".to_owned(), ServiceAddress { address: "10.0.0.2".to_owned(), port: 81 })]);
        let node = Node {
            id: Some(ID),
            name: "n1".into(),
            address: "10.0.0.1".to_owned(),
            tagged_addresses: strings(&[("lan", "10.0.0.1")]),
            ..Node::default()
        };
        let service = Some(Service { tagged_addresses, ..web() });
        let register = Register { node, skip_node_update: false, service, checks: vec![serf, of_web] };
        assert_eq!(world.apply(Command::Register(Box::new(register))), Outcome::Done);
        world
    }

    fn apply(&mut self, mut command: Command) -> Outcome {
        self.view.applied.0 += 1;
        // As the leader draws it.
        let id = Uuid::from_u128(u128::from(self.view.applied.0));
        match &mut command {
            Command::Session(SessionCommand::Create(session)) => session.id = id,
            Command::Prepared(PreparedCommand::Create(query)) => query.id = id,
            _ => {}
        }
        self.view.store.apply(self.view.applied, &Entry { time_ms: self.time_ms, id: 0, command }).outcome
    }

    fn plan(&self, call: &Call) -> Plan {
        let now = Instant(5_000_000_000);
        plan(&Context { view: &self.view, local: &self.local, facts: &self.facts, now }, call)
    }

    fn read(&self, read: &Read) -> Reply {
        let view = Arc::new(self.view.clone());
        let hub::Found { index, encoded, .. } =
            hub::find(&view, &self.local, &read.subject, &read.encoding, &self.facts.datacenter);
        answer::read_reply(read, index, &encoded, Freshness::of(&self.view, Instant(5_000_000_000)))
    }

    fn ask(&mut self, text: &str) -> Reply {
        let call = call(text);
        match self.plan(&call) {
            Plan::Answer(reply) => reply,
            Plan::Read(read) => self.read(&read),
            Plan::Write(command, answer) => {
                let outcome = self.apply(command);
                answer::write_reply(&outcome, answer, super::options::pretty(&self.facts, &call), "dc1")
            }
            Plan::Act(act) => Reply::text(200, format!("{act:?}")),
            Plan::Survey(Survey::Servers(report)) => {
                let now = Instant(5_000_000_000);
                let context = Context { view: &self.view, local: &self.local, facts: &self.facts, now };
                super::autopilot::report(&context, &call, report, 1_795_656_033_000)
            }
            Plan::Survey(survey) => Reply::text(200, format!("{survey:?}")),
            Plan::Stream(source) => Reply::text(200, format!("{source:?}")),
            Plan::Leaf(read) => Reply::text(200, format!("{read:?}")),
            Plan::Certify(request) => Reply::text(200, format!("{request:?}")),
            Plan::Leader => Reply::text(200, "to the leader"),
        }
    }
}

/// `METHOD /path?query`, and the body in the lines after it.
fn call(text: &str) -> Call {
    let (head, body) = text.split_once('\n').unwrap_or((text, ""));
    let (method, target) = head.split_once(' ').expect("a method and a path");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let params = Params::parse_strict(query).expect("a query");
    Call { body: bytes::Bytes::copy_from_slice(body.as_bytes()), ..Call::new(Method::parse(method), path, params) }
}

fn shown(reply: &Reply) -> String {
    format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body))
}

#[track_caller]
fn check(text: &str, world: &mut World, expected: &str) {
    assert_eq!(shown(&world.ask(text)), expected, "{text}");
}

fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    reply.headers.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
}

const NODE: &str = r#"{"ID":"11112222-3333-4444-5555-666677778888","Node":"n1","Address":"10.0.0.1","Datacenter":"dc1","TaggedAddresses":{"lan":"10.0.0.1"},"Meta":{},"CreateIndex":10,"ModifyIndex":10}"#;
const SERVICE: &str = r#"{"ID":"web","Service":"web","Tags":["a\u003cb"],"Address":"","TaggedAddresses":{"lan":{"Address":"10.0.0.2","Port":81}},"Meta":{"v":"1"},"Port":80,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Proxy":{"Mode":"","MeshGateway":{},"Expose":{}},"Connect":{},"PeerName":"","CreateIndex":10,"ModifyIndex":10}"#;
const SERF: &str = r#"{"Node":"n1","CheckID":"serfHealth","Name":"serfHealth","Status":"passing","Notes":"","Output":"fine","ServiceID":"","ServiceName":"","ServiceTags":[],"Type":"","Interval":"0s","Timeout":"0s","ExposedPort":0,"Definition":{},"CreateIndex":10,"ModifyIndex":10}"#;
const CHECK: &str = r#"{"Node":"n1","CheckID":"service:web","Name":"service:web","Status":"passing","Notes":"","Output":"","ServiceID":"web","ServiceName":"web","ServiceTags":["a\u003cb"],"Type":"ttl","Interval":"10s","Timeout":"0s","ExposedPort":0,"Definition":{"Interval":"1m30s","HTTP":"http://x/?a\u0026b"},"CreateIndex":10,"ModifyIndex":10}"#;

#[test]
fn the_catalog_is_shown_as_consul_shows_it() {
    let world = &mut World::small();
    check("GET /v1/catalog/datacenters", world, r#"200 ["dc1"]"#);
    check("GET /v1/catalog/nodes", world, &format!("200 [{NODE}]"));
    check("GET /v1/catalog/nodes?node-meta=a:b", world, "200 []");
    check("GET /v1/catalog/services", world, r#"200 {"web":["a\u003cb"]}"#);
    check("GET /v1/catalog/node/n1", world, &format!(r#"200 {{"Node":{NODE},"Services":{{"web":{SERVICE}}}}}"#));
    check("GET /v1/catalog/node-services/n1", world, &format!(r#"200 {{"Node":{NODE},"Services":[{SERVICE}]}}"#));
    check("GET /v1/catalog/node/other", world, "200 null");
    check("GET /v1/catalog/node-services/other", world, r#"200 {"Node":null,"Services":[]}"#);
    check("GET /v1/catalog/service/other", world, "200 []");
    check(
        "GET /v1/catalog/service/web?tag=a%3Cb",
        world,
        r#"200 [{"ID":"11112222-3333-4444-5555-666677778888","Node":"n1","Address":"10.0.0.1","Datacenter":"dc1","TaggedAddresses":{"lan":"10.0.0.1"},"NodeMeta":{},"ServiceKind":"","ServiceID":"web","ServiceName":"web","ServiceTags":["a\u003cb"],"ServiceAddress":"","ServiceTaggedAddresses":{"lan":{"Address":"10.0.0.2","Port":81}},"ServiceWeights":{"Passing":1,"Warning":1},"ServiceMeta":{"v":"1"},"ServicePort":80,"ServiceSocketPath":"","ServiceEnableTagOverride":false,"ServiceProxy":{"Mode":"","MeshGateway":{},"Expose":{}},"ServiceConnect":{},"ServiceLocality":null,"CreateIndex":10,"ModifyIndex":10}]"#,
    );
}

#[test]
fn health_is_shown_as_consul_shows_it() {
    let world = &mut World::small();
    let entry = format!(r#"200 [{{"Node":{NODE},"Service":{SERVICE},"Checks":[{SERF},{CHECK}]}}]"#);
    check("GET /v1/health/service/web", world, &entry);
    check("GET /v1/health/service/web?passing&index=1&wait=10s&near=_agent", world, &entry);
    check("GET /v1/health/service/other?passing=false", world, "200 []");
    check("GET /v1/health/node/n1", world, &format!("200 [{SERF},{CHECK}]"));
    check("GET /v1/health/checks/web", world, &format!("200 [{CHECK}]"));
    check("GET /v1/health/state/any", world, &format!("200 [{SERF},{CHECK}]"));
    check("GET /v1/health/state/critical", world, "200 []");
    check("GET /v1/health/state/critical?pretty", world, "200 []\n");
    let reply = world.ask("GET /v1/health/service/web?stale");
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-consul-index", "10"),
        ("x-consul-knownleader", "true"),
        ("x-consul-lastcontact", "0"),
        ("x-consul-effective-consistency", "stale"),
        ("x-consul-query-backend", "blocking-query"),
    ] {
        assert_eq!(header(&reply, name), Some(value), "{name}");
    }
    let finished = answer::finish(reply, &world.facts);
    assert_eq!(header(&finished, "vary"), Some("Accept-Encoding"));
    assert_eq!(header(&finished, "x-consul-default-acl-policy"), Some("allow"));
    assert_eq!(header(&finished, "x-extra"), Some("1"));
}

#[test]
fn a_follower_tells_how_long_it_has_not_heard_the_leader() {
    let mut world = World::small();
    (world.view.leading, world.view.heard, world.view.leader) = (false, Instant(2_000_000_000), None);
    let reply = world.ask("GET /v1/catalog/nodes?stale");
    assert_eq!(header(&reply, "x-consul-lastcontact"), Some("3000"));
    assert_eq!(header(&reply, "x-consul-knownleader"), Some("false"));
    let consistency = |text: &str| match world.plan(&call(text)) {
        Plan::Read(read) => format!("{:?}", read.consistency),
        other => format!("{other:?}"),
    };
    assert_eq!(consistency("GET /v1/kv/a?max_stale=10s"), "Stale");
    assert_eq!(consistency("GET /v1/kv/a?max_stale=1s"), "Default");
    assert_eq!(consistency("GET /v1/kv/a?consistent"), "Consistent");
}

#[test]
fn a_leader_whose_lease_ran_out_does_not_pass_for_one() {
    let mut world = World::small();
    let freshness = |world: &mut World| {
        let reply = world.ask("GET /v1/catalog/nodes?stale");
        let shown = |name| header(&reply, name).map(str::to_owned);
        (shown("x-consul-knownleader").unwrap(), shown("x-consul-lastcontact").unwrap())
    };
    world.view.lease_until = Some(Instant(5_100_000_000));
    assert_eq!(freshness(&mut world), ("true".to_owned(), "0".to_owned()));
    // The quorum confirmed it last a while before that lease ended.
    (world.view.lease_until, world.view.heard) = (Some(Instant(2_400_000_000)), Instant(2_000_000_000));
    assert_eq!(freshness(&mut world), ("false".to_owned(), "3000".to_owned()));
}

#[test]
fn keys_are_written_read_and_deleted() {
    let world = &mut World::empty();
    check("GET /v1/kv/?keys", world, "200 []");
    check("GET /v1/kv/?recurse", world, "404 ");
    check("PUT /v1/kv/a%2Fb?flags=42\nhello", world, "200 true");
    check("PUT /v1/kv/a/c\n", world, "200 true");
    check("PUT /v1/kv/a/b?cas=0\nno", world, "200 false");
    let (index, flags) = (10, 42);
    let ab = format!(
        r#"{{"LockIndex":0,"Key":"a/b","Flags":{flags},"Value":"aGVsbG8=","CreateIndex":{index},"ModifyIndex":{index}}}"#
    );
    let ac = r#"{"LockIndex":0,"Key":"a/c","Flags":0,"Value":null,"CreateIndex":11,"ModifyIndex":11}"#;
    check("GET /v1/kv/a/b", world, &format!("200 [{ab}]"));
    check("GET /v1/kv/a?recurse&raw", world, &format!("200 [{ab},{ac}]"));
    check("GET /v1/kv/a?keys&separator=/", world, r#"200 ["a/"]"#);
    check("GET /v1/kv/none?keys", world, "404 ");
    let raw = world.ask("GET /v1/kv/a/b?raw");
    assert_eq!(shown(&raw), "200 hello");
    assert_eq!(header(&raw, "content-type"), Some("text/plain"));
    assert_eq!(header(&raw, "x-content-type-options"), Some("nosniff"));
    assert_eq!(header(&raw, "content-security-policy"), Some("sandbox"));
    assert_eq!(header(&raw, "x-consul-effective-consistency"), None);
    check("DELETE /v1/kv/a/b?cas=3", world, "200 false");
    check("DELETE /v1/kv/a/b?cas=10&pretty", world, "200 true\n");
    check("DELETE /v1/kv/?recurse", world, "200 true");
    let missing = world.ask("GET /v1/kv/a/c");
    assert_eq!((missing.status, missing.body.len()), (404, 0));
    assert_ne!(header(&missing, "x-consul-index"), Some("0"));
    assert!(header(&missing, "x-consul-index").is_some());
}

#[test]
fn registering_by_hand_fills_in_what_is_left_out() {
    let world = &mut World::empty();
    let body = r#"{"Node":"ext","Address":"10.9.9.9","service":{"Service":"db","Weights":null},
        "Check":{"Name":"up","ServiceID":"db","Definition":{"TCP":"x:1","Interval":"5s"}},
        "Checks":[{"CheckID":"n","Node":"EXT","Status":"passing"}]}"#;
    check(&format!("PUT /v1/catalog/register\n{body}"), world, "200 true");
    let store = &world.view.store;
    let db = store.service("ext", "db").expect("registered");
    assert_eq!((db.weights.passing, db.weights.warning), (1, 1));
    let up = store.check("ext", "up").expect("registered");
    assert_eq!((up.status, up.kind.as_str(), &*up.service_name), (Status::Critical, "tcp", "db"));
    assert_eq!(store.check("ext", "n").expect("registered").status, Status::Passing);
    let missing = r#"{"Node":"ext","Address":"a","Check":{"Name":"x","ServiceID":"nope"}}"#;
    check(&format!("PUT /v1/catalog/register\n{missing}"), world, "500 Missing service registration");
    let shown = String::from_utf8(world.ask("GET /v1/catalog/nodes").body.to_vec()).expect("UTF-8");
    assert!(shown.starts_with(
        r#"[{"ID":"","Node":"ext","Address":"10.9.9.9","Datacenter":"dc1","TaggedAddresses":null,"Meta":{},"#
    ));
    check("PUT /v1/catalog/deregister\n{\"Node\":\"ext\",\"ServiceID\":\"db\"}", world, "200 true");
    check("PUT /v1/catalog/deregister\n{\"Node\":\"nobody\"}", world, "200 true");
    assert!(world.view.store.service("ext", "db").is_none());
    assert!(matches!(
        world.plan(&call("PUT /v1/catalog/deregister\n{\"node\":\"ext\",\"CheckID\":\"n\"}")),
        Plan::Write(Command::Deregister(Deregister::Check(..)), _)
    ));
}

#[test]
fn the_agent_speaks_of_itself() {
    let world = &mut World::empty();
    let member = r#"{"Name":"n1","Addr":"127.0.0.1","Port":8301,"Tags":{"role":"consul"},"Status":1,"ProtocolMin":1,"ProtocolMax":5,"ProtocolCur":2,"DelegateMin":2,"DelegateMax":5,"DelegateCur":4}"#;
    check("GET /v1/agent/members", world, &format!("200 [{member}]"));
    check("GET /v1/agent/members?wan=1", world, "200 []");
    let version = env!("CARGO_PKG_VERSION");
    let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
    let stats = format!(
        r#"{{"agent":{{"checks":"2","services":"2"}},"build":{{"lictor":"{version}","version":"1.22.0"}},"consul":{{"leader":"true","leader_addr":"127.0.0.1:8300","server":"true"}},"raft":{{"applied_index":"9","caught_up":"true","last_contact":"0","num_peers":"0","protocol_version":"3","state":"Leader","voters":"1"}},"runtime":{{"arch":"{arch}","os":"{os}"}},"serf_lan":{{"encrypted":"false","failed":"0","health_score":"0","left":"0","members":"1"}}}}"#
    );
    check(
        "GET /v1/agent/self",
        world,
        &format!(
            r#"200 {{"Config":{{"Datacenter":"dc1","PrimaryDatacenter":"dc1","NodeName":"n1","NodeID":"{ID}","Revision":"lictor-{version}","Server":true,"Version":"1.22.0","BuildDate":"1970-01-01T00:00:01Z"}},"DebugConfig":{{"Secret":"hidden"}},"Coord":null,"Member":{member},"Stats":{stats},"Meta":{{"consul-version":"1.22.0"}}}}"#
        ),
    );
    check("GET /v1/status/leader", world, r#"200 "127.0.0.1:8300""#);
    check("GET /v1/status/peers", world, r#"200 ["127.0.0.1:8300"]"#);
    check(
        "GET /v1/operator/raft/configuration",
        world,
        &format!(
            r#"200 {{"Servers":[{{"ID":"{ID}","Node":"n1","Address":"127.0.0.1:8300","Leader":true,"ProtocolVersion":"3","Voter":true,"LastIndex":9}}],"Index":9}}"#
        ),
    );
    world.view.leader = None;
    check("GET /v1/status/leader", world, r#"200 """#);
    world.view.leading = false;
    check("GET /v1/operator/raft/configuration", world, "200 to the leader");
    assert_eq!(world.ask("GET /v1/operator/raft/configuration?stale").status, 200);
}

#[test]
fn what_only_the_runtime_knows_is_asked_of_it() {
    let world = &mut World::empty();
    check("GET /v1/agent/host", world, "200 Host");
    check("GET /v1/agent/metrics", world, "200 Metrics { prometheus: false }");
    check("GET /v1/agent/metrics?format=json", world, "200 Metrics { prometheus: false }");
    let refused = "415 Prometheus is not enabled since its retention time is not positive";
    check("GET /v1/agent/metrics?format=prometheus", world, refused);
    world.facts.telemetry.prometheus = true;
    check("GET /v1/agent/metrics?format=prometheus", world, "200 Metrics { prometheus: true }");
    for (accept, prometheus) in [
        ("application/openmetrics-text; version=1.0.0", true),
        ("text/html, text/plain;version=0.4.0", true),
        ("text/plain", false),
        ("application/json", false),
    ] {
        let call = Call { accept: accept.to_owned(), ..call("GET /v1/agent/metrics") };
        assert_eq!(world.plan(&call), Plan::Survey(Survey::Metrics { prometheus }), "{accept}");
    }
    check("GET /v1/agent/metrics/stream", world, "200 Figures");
    check("GET /v1/agent/monitor", world, "200 Log { level: Info, json: false }");
    check("GET /v1/agent/monitor?loglevel=debug&logjson", world, "200 Log { level: Debug, json: true }");
    check("GET /v1/agent/monitor?loglevel=loud", world, "400 Unknown log level: loud");
}

#[test]
fn several_tags_and_several_pairs_of_node_meta_must_all_match() {
    let world = &mut World::empty();
    for (node, rack, tags) in [("a", "1", r#"["v1","blue"]"#), ("b", "1", r#"["v1"]"#), ("c", "2", r#"["v1","blue"]"#)]
    {
        let meta = format!(r#"{{"rack":"{rack}","room":"x:y"}}"#);
        let body = format!(
            r#"{{"Node":"{node}","Address":"10.0.0.1","NodeMeta":{meta},"Service":{{"Service":"web","Tags":{tags}}}}}"#
        );
        check(&format!("PUT /v1/catalog/register\n{body}"), world, "200 true");
    }
    for (query, expected) in [
        ("tag=v1", "abc"),
        ("tag=v1&tag=blue", "ac"),
        ("tag=blue&tag=v1&node-meta=rack:1", "a"),
        ("tag=green&tag=v1", ""),
        ("node-meta=rack:1&node-meta=room:x:y", "ab"),
        ("node-meta=rack:1&node-meta=rack:2", ""),
    ] {
        for path in ["catalog/service", "health/service"] {
            let rows: serde_json::Value =
                serde_json::from_slice(&world.ask(&format!("GET /v1/{path}/web?{query}")).body).expect("JSON");
            let node = |row: &serde_json::Value| {
                row["Node"]["Node"].as_str().or_else(|| row["Node"].as_str()).map(str::to_owned)
            };
            let nodes: String = rows.as_array().expect("a list").iter().filter_map(node).collect();
            assert_eq!(nodes, expected, "{path}?{query}");
        }
    }
    for (path, expected) in [("catalog/nodes?node-meta=rack:2", 1), ("catalog/services?node-meta=rack:3", 0)] {
        let rows: serde_json::Value =
            serde_json::from_slice(&world.ask(&format!("GET /v1/{path}")).body).expect("JSON");
        let count = rows.as_array().map(Vec::len).or_else(|| rows.as_object().map(serde_json::Map::len));
        assert_eq!(count, Some(expected), "{path}");
    }
}

#[test]
fn the_agent_shows_what_it_owns() {
    let world = &mut World::empty();
    let web = r#"{"ID":"web","Service":"web","Tags":["a\u003cb"],"Meta":{"v":"1"},"Port":80,"Address":"","Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Datacenter":"dc1"}"#;
    let api = web.replace(r#""ID":"web","Service":"web""#, r#""ID":"api-1","Service":"api""#);
    check("GET /v1/agent/services", world, &format!(r#"200 {{"api-1":{api},"web":{web}}}"#));
    let one = world.ask("GET /v1/agent/service/web?wait=1s&hash=x");
    let hash = header(&one, "x-consul-contenthash").expect("a hash").to_owned();
    let with_hash = web.replace(r#","Datacenter""#, &format!(r#","ContentHash":"{hash}","Datacenter""#));
    assert_eq!(shown(&one), format!("200 {with_hash}"));
    check("GET /v1/agent/service/x", world, "404 unknown service ID: x");
    let waits = |path: &str| match world.plan(&call(&format!("GET /v1/agent/service/{path}"))) {
        Plan::Read(read) => {
            read.blocking.map(|blocking| (format!("{:x}", blocking.min_index.0), blocking.wait.as_secs()))
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(waits(&format!("web?hash={hash}")), Some((hash.clone(), 300)));
    assert_eq!(waits(&format!("web?hash={hash}&wait=11m")), Some((hash.clone(), 600)));
    for at_once in ["web", "web?hash=", "web?hash=x", "x?hash=1"] {
        assert_eq!(waits(at_once), None, "{at_once}");
    }
    check("GET /v1/agent/service/web?wait=soon", world, "400 Invalid wait time");
    let check_json = |id: &str, service: &str, status: &str| {
        format!(
            r#"{{"Node":"n1","CheckID":"{id}","Name":"{id}","Status":"{status}","Notes":"","Output":"","ServiceID":"{service}","ServiceName":"{service}","ServiceTags":[],"Type":"ttl","Interval":"0s","Timeout":"0s","ExposedPort":0,"Definition":{{}},"CreateIndex":0,"ModifyIndex":0}}"#
        )
    };
    let (node, of_web) = (check_json("node", "", "passing"), check_json("service:web", "web", "warning"));
    check("GET /v1/agent/checks", world, &format!(r#"200 {{"node":{node},"service:web":{of_web}}}"#));
    let fare = |status: &str, service: &str, checks: &str| {
        format!(r#"{{"AggregatedStatus":"{status}","Service":{service},"Checks":{checks}}}"#)
    };
    let sick = fare("warning", web, &format!("[{node},{of_web}]"));
    check("GET /v1/agent/health/service/id/web", world, &format!("429 {sick}"));
    check("GET /v1/agent/health/service/name/web", world, &format!("429 [{sick}]"));
    check("GET /v1/agent/health/service/id/api-1?format=text", world, "200 passing");
    check("GET /v1/agent/health/service/id/x", world, &format!("404 {}", fare("critical", "null", "null")));
    check("GET /v1/agent/health/service/name/x", world, "404 []");
    check("GET /v1/agent/health/service/name/x?format=text", world, "404 ServiceName x Not Found");
    let reply = world.ask("GET /v1/agent/health/service/id/x?format=text");
    assert_eq!(header(&reply, "x-consul-reason"), Some("ServiceId x not found"));
    let mut checks = (*world.local.checks).clone();
    checks.insert("_node_maintenance".into(), Arc::new(check_of("_node_maintenance", "", Status::Critical)));
    world.local.checks = Arc::new(checks);
    check("GET /v1/agent/health/service/id/web?format=text", world, "503 maintenance");
}

#[test]
fn the_agent_is_told_what_to_do() {
    let world = &mut World::empty();
    world.facts.block_endpoints.clear();
    let plans = |text: &str, expected: Act| assert_eq!(world.plan(&call(text)), Plan::Act(expected), "{text}");
    let local = |change| Act::Local(Box::new(change));
    let update =
        |status, output: &str| local(Change::UpdateCheck { id: "a/b".into(), status, output: output.to_owned() });
    plans("PUT /v1/agent/check/pass/a/b?note=fine+so", update(Status::Passing, "fine so"));
    plans("PUT /v1/agent/check/warn/a%2Fb", update(Status::Warning, ""));
    plans("PUT /v1/agent/check/fail/a/b", update(Status::Critical, ""));
    plans("PUT /v1/agent/check/update/a/b\n{\"status\":\"warning\",\"Output\":\"o\"}", update(Status::Warning, "o"));
    plans("PUT /v1/agent/check/deregister/x", local(Change::DeregisterCheck("x".into())));
    plans("PUT /v1/agent/service/deregister/x", local(Change::DeregisterService("x".into())));
    plans("PUT /v1/agent/maintenance?enable=true&reason=r", local(Change::NodeMaintenance(Some("r".to_owned()))));
    plans("PUT /v1/agent/maintenance?enable=F", local(Change::NodeMaintenance(None)));
    plans(
        "PUT /v1/agent/service/maintenance/web?enable=1",
        local(Change::ServiceMaintenance("web".into(), Some(String::new()))),
    );
    plans("PUT /v1/agent/join/10.0.0.1:8301", Act::Join(vec!["10.0.0.1:8301".to_owned()]));
    plans("PUT /v1/agent/leave", Act::Leave);
    plans("PUT /v1/agent/force-leave/n1?prune", Act::ForceLeave { node: "n1".to_owned(), prune: true });
    plans("PUT /v1/agent/force-leave/n1.dc1?wan", Act::ForceLeave { node: "n1".to_owned(), prune: false });
}

#[test]
fn mistakes_are_answered_in_consuls_words() {
    let world = &mut World::small();
    let long = "x".repeat(65);
    let long_put = format!("PUT /v1/kv/a\n{long}");
    let filters = "400 Failed to create boolean expression evaluator: 1:2: expected an operator: ==, !=, is, in, contains \
                   or matches";
    let link = "https://developer.hashicorp.com/docs/agent/config/config-files#kv_max_value_size";
    let too_large = format!("413 Request body(65 bytes) too large, max size: 64 bytes. See {link}.");
    for (text, expected) in [
        ("GET /v1/nothing", "404 Invalid URL path: not a recognized HTTP API endpoint\n"),
        (
            "GET /nothing",
            "404 Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'\n",
        ),
        ("GET /", "200 Consul Agent: UI disabled. This release of lictor has no web page; the API begins at /v1/."),
        ("GET /v1/kv/a%01", "400 "),
        ("GET /v1/kv/a%C2%A0b", "400 "),
        ("GET /v1/kv/é%CC%81", "404 "),
        ("GET /v1/kv/%zz", "400 invalid URL escape or encoding in \"/v1/kv/%zz\""),
        ("GET /v1/kv/%FF", "400 invalid URL escape or encoding in \"/v1/kv/%FF\""),
        ("PUT /v1/agent/leave", "403 Endpoint is blocked by agent configuration"),
        ("POST /v1/kv/a", "405 method POST not allowed"),
        ("HEAD /v1/agent/self", "405 method HEAD not allowed"),
        ("PATCH /v1/agent/self", "405 method PATCH not allowed"),
        ("OPTIONS /v1/kv/a", "200 "),
        ("GET /v1/kv/", "400 Missing key name"),
        ("GET /v1/kv", "400 Missing key name"),
        ("PUT /v1/kv/\nx", "400 Missing key name"),
        ("PUT /v1/kv/a?cas=1&acquire=b\nx", "400 Conflicting flags: acquire=b&cas=1\n"),
        ("DELETE /v1/kv/a?recurse&cas=1", "400 Conflicting flags: cas=1&recurse=\n"),
        ("PUT /v1/kv/a?flags=x", "500 strconv.ParseUint: parsing \"x\": invalid syntax"),
        (
            "PUT /v1/kv/a?cas=99999999999999999999",
            "500 strconv.ParseUint: parsing \"99999999999999999999\": value out of range",
        ),
        (&long_put, &too_large),
        ("GET /v1/kv/a?index=x", "400 Invalid index"),
        ("GET /v1/kv/a?index=-1", "400 Invalid index"),
        ("GET /v1/kv/a?wait=x", "400 Invalid wait time"),
        ("GET /v1/agent/service/web?wait=x", "400 Invalid wait time"),
        ("GET /v1/kv/a?max_stale=x", "400 Invalid max_stale value \"x\""),
        ("GET /v1/kv/a?stale&consistent", "400 Cannot specify ?stale with ?consistent, conflicting semantics."),
        ("GET /v1/kv/a?cached&consistent", "400 Cannot specify ?cached with ?consistent, conflicting semantics."),
        ("GET /v1/kv/a?dc=other", "500 No path to datacenter"),
        ("GET /v1/kv/a?ns=x", "400 Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise feature"),
        (
            "GET /v1/catalog/nodes?partition=x",
            "400 Invalid query parameter: \"partition\" - Partitions are a Consul Enterprise feature",
        ),
        ("GET /v1/kv/a?ns=default&partition=Default", "404 "),
        ("GET /v1/health/service/web?peer=x", "200 []"),
        ("GET /v1/catalog/service/web?peer=x&pretty", "200 []\n"),
        ("GET /v1/status/leader?dc=other", "500 No path to datacenter"),
        ("PUT /v1/catalog/deregister\n{\"Datacenter\":\"other\",\"Node\":\"n\"}", "500 No path to datacenter"),
        ("GET /v1/health/service/web?filter=a", filters),
        ("GET /v1/agent/services?filter=a", filters),
        ("GET /v1/health/service/web?passing=x", "400 Invalid value for ?passing"),
        ("GET /v1/health/service/", "400 Missing service name"),
        ("GET /v1/health/node/", "400 Missing node name"),
        ("GET /v1/health/state/", "400 Missing check state"),
        ("GET /v1/catalog/service/", "400 Missing service name"),
        ("GET /v1/catalog/node/", "400 Missing node name"),
        ("PUT /v1/catalog/register\n", "400 Request decode failed: EOF"),
        ("PUT /v1/catalog/register\n[]", "400 Request decode failed: expected a JSON object, got a list"),
        ("PUT /v1/catalog/register\n{\"Node\":1}", "400 Request decode failed: Node: expected a string, got a number"),
        (
            "PUT /v1/catalog/register\n{\"Node\":\"n\",\"Address\":\"a\",\"Service\":{\"Service\":\"s\",\"ModifyIndex\":\"1\"}}",
            "400 Request decode failed: ModifyIndex: expected a number, got a string",
        ),
        ("PUT /v1/catalog/register\n{}", "500 Must provide node"),
        ("PUT /v1/catalog/register\n{\"Node\":\"n\"}", "500 Must provide address if SkipNodeUpdate is not set"),
        (
            "PUT /v1/catalog/register\n{\"Node\":\"n\",\"Address\":\"a\",\"Service\":{\"ID\":\"x\"}}",
            "500 Must provide service name with ID",
        ),
        (
            "PUT /v1/catalog/register\n{\"Node\":\"n\",\"Address\":\"a\",\"Service\":{\"Service\":\"x\",\"Address\":\"::\"}}",
            "500 Invalid service address",
        ),
        (
            "PUT /v1/catalog/register\n{\"Node\":\"n\",\"Address\":\"a\",\"Check\":{\"Name\":\"c\",\"Node\":\"m\"}}",
            "500 check node \"m\" does not match node \"n\"",
        ),
        (
            "PUT /v1/catalog/register\n{\"Node\":\"n\",\"Address\":\"a\",\"Check\":{\"Name\":\"c\",\"Status\":\"ok\"}}",
            "400 Status for checks must 'passing', 'warning', 'critical'",
        ),
        (
            "PUT /v1/catalog/register\n{\"Node\":\"n\",\"Address\":\"a\",\"Service\":{\"Service\":\"x\",\"Port\":-1}}",
            "400 Request decode failed: Port: -1 is out of range 0 to 65535",
        ),
        ("PUT /v1/catalog/deregister\n{}", "500 Must provide node"),
        ("PUT /v1/agent/maintenance", "400 Missing value for enable"),
        ("PUT /v1/agent/maintenance?enable=x", "400 Invalid value for enable: \"x\""),
        ("PUT /v1/agent/service/maintenance/?enable=x", "400 Missing service ID"),
        ("PUT /v1/agent/check/update/x\n{\"Status\":\"ok\"}", "400 Invalid check status: 'ok'"),
        ("PUT /v1/agent/force-leave/x", "500 agent: No node found with name 'x'"),
        ("GET /v1/agent/health/service/id/", "400 Missing serviceID"),
        ("GET /v1/agent/health/service/name/", "400 Missing service Name"),
    ] {
        check(text, world, expected);
    }
    let bad_id = world.ask("PUT /v1/catalog/register\n{\"Node\":\"n\",\"Address\":\"a\",\"ID\":\"x\"}");
    assert!(shown(&bad_id).starts_with("500 Bad node ID: "));
    let bad_json = world.ask("PUT /v1/catalog/register\n{\"Node\":");
    assert!(shown(&bad_json).starts_with("400 Request decode failed: "));
    assert_eq!(header(&world.ask("POST /v1/kv/a"), "allow"), Some("OPTIONS,GET,PUT,DELETE"));
    assert_eq!(header(&world.ask("OPTIONS /v1/agent/self"), "allow"), Some("OPTIONS,GET"));
    world.facts.ui = true;
    assert_eq!(header(&world.ask("GET /"), "location"), Some("/ui/"));
    let elsewhere = world.ask("GET /v1//kv/a/../b%2F%2Fc?recurse&separator=/");
    assert_eq!(elsewhere.status, 301);
    assert_eq!(header(&elsewhere, "location"), Some("/v1/kv/b%2F%2Fc?recurse=&separator=%2F"));
    check("PUT //v1/agent/leave", world, "301 ");
    check("PUT /v1/kv/%2Flead\n1", world, "200 true");
    assert!(world.view.store.key("/lead").is_some());
    let cached = Call { cache_control: "max-age=x".to_owned(), ..call("GET /v1/catalog/nodes") };
    assert_eq!(world.plan(&cached), Plan::Answer(Reply::text(400, "Invalid Cache-Control header.")));
}

#[test]
fn waiting_is_bounded_and_index_zero_does_not_wait() {
    let world = World::empty();
    let blocking = |text: &str| match world.plan(&call(text)) {
        Plan::Read(read) => read.blocking.map(|blocking| (blocking.min_index.0, blocking.wait.as_secs())),
        other => panic!("{other:?}"),
    };
    assert_eq!(blocking("GET /v1/kv/a?index=0&wait=5s"), None);
    assert_eq!(blocking("GET /v1/kv/a?index=7"), Some((7, 300)));
    assert_eq!(blocking("GET /v1/kv/a?index=7&wait=5000ms"), Some((7, 5)));
    assert_eq!(blocking("GET /v1/kv/a?index=7&wait=2h"), Some((7, 600)));
}

#[test]
fn refusals_have_consuls_words_and_codes() {
    let (node, holder) = ("n1".into(), "n2".into());
    assert_eq!(
        answer::refusal_text(&Refusal::IdTaken { id: ID, node, holder }),
        format!("failed inserting node: node ID \"{ID}\" for node \"n1\" aliases existing node \"n2\"")
    );
    for (refused, expected) in [
        (
            Refused::UnknownService("x".to_owned()),
            "404 Unknown service ID \"x\". Ensure that the service ID is passed, not the service name.",
        ),
        (Refused::NoServiceToMaintain("x".to_owned()), "404 No service registered with ID \"x\""),
        (Refused::NoSuchServiceForCheck("x".to_owned()), "404 ServiceID \"x\" does not exist"),
        (Refused::NotTtl("x".to_owned()), "500 CheckID \"x\" does not have associated TTL"),
    ] {
        assert_eq!(shown(&answer::local_reply(Err(refused))), expected);
    }
    assert_eq!(shown(&answer::local_reply(Ok(()))), "200 ");
}

fn paths() -> impl Strategy<Value = String> {
    let known = proptest::sample::select(super::route::ROUTES).prop_map(|route| route.pattern);
    prop_oneof![
        (known, "[a-z%/0-9]{0,8}").prop_map(|(pattern, id)| pattern.path(&id)),
        "/v1/kv/\\PC{0,12}",
        "\\PC{0,16}"
    ]
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let key = proptest::sample::select(&[
        "Node",
        "Address",
        "Service",
        "Check",
        "Checks",
        "ID",
        "Port",
        "Tags",
        "Weights",
        "Definition",
        "Header",
        "Interval",
        "TaggedAddresses",
        "Proxy",
        "Connect",
        "Kind",
        "NodeMeta",
        "Status",
        "Name",
        "Locality",
    ]);
    let leaf = prop_oneof![
        Just("null".to_owned()),
        "-?[0-9]{1,20}",
        "\"[a-z0-9]{0,6}\"",
        Just("\"10s\"".to_owned()),
        Just("{\"a\":[]}".to_owned())
    ];
    let object = |value: BoxedStrategy<String>| {
        let pair = (key.clone(), value).prop_map(|(key, value)| format!("{key:?}:{value}"));
        proptest::collection::vec(pair, 0..6).prop_map(|pairs| format!("{{{}}}", pairs.join(",")))
    };
    let inner =
        prop_oneof![leaf.clone(), object(leaf.clone().boxed()), object(leaf.boxed()).prop_map(|o| format!("[{o}]"))];
    prop_oneof![object(inner.boxed()).prop_map(String::into_bytes), proptest::collection::vec(any::<u8>(), 0..32)]
}

proptest! {
    #[test]
    fn nothing_that_is_sent_makes_a_handler_panic(
        method in proptest::sample::select(&["GET", "PUT", "DELETE", "POST", "OPTIONS"]),
        path in paths(),
        query in "([a-z_-]{0,8}=?[a-z0-9:%.]{0,4}&?){0,4}",
        body in bodies(),
    ) {
        let world = World::small();
        let call = Call { body: body.into(), ..Call::new(Method::parse(method), path, Params::parse(&query)) };
        match world.plan(&call) {
            Plan::Read(read) => prop_assert!(world.read(&read).status < 500),
            Plan::Write(command, _) => {
                let mut world = world;
                world.apply(command);
            }
            Plan::Answer(_)
            | Plan::Act(_)
            | Plan::Survey(_)
            | Plan::Stream(_)
            | Plan::Leaf(_)
            | Plan::Certify(_)
            | Plan::Leader => {}
        }
    }
}
