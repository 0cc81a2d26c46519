//! How the servers are tended, how well they are, and how much there is.

use super::{ID, World, check, web};
use crate::time::Instant;
use crate::view::{Health, Server};
use lictor_catalog::model::ServiceKind;
use lictor_catalog::{Command, Node, Outcome, Register, Service};
use uuid::Uuid;

const CONFIGURATION: &str = "/v1/operator/autopilot/configuration";

#[test]
fn settings_are_shown_and_set() {
    let world = &mut World::empty();
    let shown = |cleanup: bool, quorum: u32, create: u64, modify: u64| {
        format!(
            r#"200 {{"CleanupDeadServers":{cleanup},"LastContactThreshold":"200ms","MaxTrailingLogs":250,"MinQuorum":{quorum},"ServerStabilizationTime":"10s","RedundancyZoneTag":"","DisableUpgradeMigration":false,"UpgradeVersionTag":"","CreateIndex":{create},"ModifyIndex":{modify}}}"#
        )
    };
    let get = format!("GET {CONFIGURATION}");
    check(&get, world, &shown(true, 0, 0, 0));
    let put = |query: &str, body: &str| format!("PUT {CONFIGURATION}{query}\n{body}");
    check(&put("", r#"{"CleanupDeadServers":false,"MinQuorum":3}"#), world, "200 true");
    check(&get, world, &shown(false, 3, 10, 10));
    check(&put("?cas=9", r#"{"MinQuorum":4}"#), world, "200 false");
    check(&get, world, &shown(false, 3, 10, 10));
    check(&put("?cas=10", r#"{"LastContactThreshold":200000000,"MinQuorum":4}"#), world, "200 true");
    check(&get, world, &shown(true, 4, 10, 12));
    check(&put("?cas=x", "{}"), world, r#"400 Error parsing cas value: "x" is no index"#);
    for (body, cause) in [
        ("", "EOF"),
        (r#"{"MinQuorum":true}"#, "MinQuorum: expected a number, got a boolean"),
        (r#"{"MinQuorum":4294967296}"#, "MinQuorum: 4294967296 is out of range 0 to 4294967295"),
        (r#"{"ServerStabilizationTime":"soon"}"#, r#"ServerStabilizationTime: "soon" is no duration"#),
    ] {
        let reply = world.ask(&put("", body));
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(reply.status == 400 && text.starts_with("Error parsing autopilot config: "), "{text}");
        assert!(body.contains("soon") || text.ends_with(cause), "{text}");
    }
    world.view.leading = false;
    check(&get, world, "200 to the leader");
    assert_eq!(world.ask(&format!("{get}?stale")).status, 200);
}

#[test]
fn the_leader_reports_on_the_servers() {
    let world = &mut World::empty();
    world.view.epoch = 3;
    let health = "GET /v1/operator/autopilot/health";
    let server = |healthy: bool, contact: &str, since: &str| {
        format!(
            r#"{{"ID":"{ID}","Name":"n1","Address":"127.0.0.1:8300","SerfStatus":"alive","Version":"","Leader":true,"LastContact":"{contact}","LastTerm":3,"LastIndex":9,"Healthy":{healthy},"Voter":true,"StableSince":"{since}"}}"#
        )
    };
    let well = server(true, "0s", "2026-11-26T01:20:30Z");
    check(health, world, &format!(r#"200 {{"Healthy":true,"FailureTolerance":0,"Servers":[{well}]}}"#));
    check(
        "GET /v1/operator/autopilot/state",
        world,
        &format!(
            r#"200 {{"Healthy":true,"FailureTolerance":0,"OptimisticFailureTolerance":0,"Servers":{{"{ID}":{{"ID":"{ID}","Name":"n1","Address":"127.0.0.1:8300","NodeStatus":"alive","Version":"","LastContact":"0s","LastTerm":3,"LastIndex":9,"Healthy":true,"StableSince":"2026-11-26T01:20:30Z","ReadReplica":false,"Status":"leader","Meta":{{"role":"consul"}},"NodeType":"voter"}}}},"Leader":"{ID}","Voters":["{ID}"]}}"#
        ),
    );

    // One of five that are well may fail besides the one that is not.
    let others = (2..6).map(|id| Server { id: Uuid::from_u128(id), leader: false, ..world.view.servers[0].clone() });
    let mut servers: Vec<Server> = world.view.servers.iter().cloned().chain(others).collect();
    let since = Instant(4_000_000_000);
    servers[4].health = Some(Health { healthy: false, last_contact: None, since });
    world.view.servers = servers.into();
    let reply = world.ask(health);
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    assert_eq!(reply.status, 429, "{text}");
    assert!(text.starts_with(r#"{"Healthy":false,"FailureTolerance":1,"#), "{text}");
    let unwell = r#""SerfStatus":"none","Version":"","Leader":false,"LastContact":"1s","LastTerm":3,"LastIndex":9,"Healthy":false,"Voter":true,"StableSince":"2026-11-26T01:20:32Z"}]}"#;
    assert!(text.ends_with(unwell), "{text}");
    world.view.leading = false;
    check(health, world, "200 to the leader");
}

#[test]
fn usage_counts_by_what_is_billed() {
    let world = &mut World::small();
    let proxy = Service { id: "p".into(), name: "p".into(), kind: ServiceKind::ConnectProxy, ..web() };
    let consul = Service { id: "consul".into(), name: "consul".into(), ..web() };
    for service in [proxy, consul] {
        let node = Node { name: "n1".into(), ..Node::default() };
        let register = Register { node, skip_node_update: true, service: Some(service), checks: vec![] };
        assert_eq!(world.apply(Command::Register(Box::new(register))), Outcome::Done);
    }
    let counts = r#""Nodes":1,"Services":3,"ServiceInstances":3,"ConnectServiceInstances":{"connect-proxy":1,"connect-native":0,"ingress-gateway":0,"mesh-gateway":0,"terminating-gateway":0,"api-gateway":0},"BillableServiceInstances":1"#;
    check("GET /v1/operator/usage", world, &format!(r#"200 {{"Usage":{{"dc1":{{{counts}}}}}}}"#));
}
