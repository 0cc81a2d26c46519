//! What Consul's web page reads.

use super::{CHECK, SERF, SERVICE, World, check, check_of, header, web};
use crate::http::call::{Consistency, Plan};
use lictor_catalog::model::{Connect, ServiceKind};
use lictor_catalog::{Check, Command, Node, Outcome, Register, Service, Status};

const UI: &str = "GET /v1/internal/ui";
const DUMP: &str = r#"{"ID":"11112222-3333-4444-5555-666677778888","Node":"n1","Address":"10.0.0.1","TaggedAddresses":{"lan":"10.0.0.1"},"Meta":{}"#;

fn register(world: &mut World, node: &str, service: Option<Service>, checks: Vec<Check>) {
    let node = Node { name: node.into(), address: "10.0.0.9".to_owned(), ..Node::default() };
    let skip_node_update = world.view.store.node(&node.name).is_some();
    let register = Register { node, skip_node_update, service, checks };
    assert_eq!(world.apply(Command::Register(Box::new(register))), Outcome::Done);
}

fn named(name: &str) -> Service {
    Service { id: name.into(), name: name.into(), tags: vec![], ..web() }
}

/// The services as `services` shows them, without what all have in common.
fn listed(world: &mut World, query: &str) -> String {
    let reply = world.ask(&format!("{UI}/services{query}"));
    let text = String::from_utf8_lossy(&reply.body).replace(r#","GatewayConfig":{},"TransparentProxy""#, r#","T""#);
    text.replace(r#""Datacenter":"dc1","#, "").replace(r#","ConnectedWithGateway":false"#, "")
}

#[test]
fn a_node_is_shown_with_all_that_is_on_it() {
    let world = &mut World::small();
    let n1 = format!(r#"{DUMP},"Services":[{SERVICE}],"Checks":[{SERF},{CHECK}]}}"#);
    check(&format!("{UI}/nodes"), world, &format!("200 [{n1}]"));
    check(&format!("{UI}/node/N1"), world, &format!("200 {n1}"));
    check(&format!("{UI}/node/other"), world, "404 ");
    check(&format!("{UI}/node/"), world, "400 Missing node name");
    register(world, "ext", None, vec![]);
    let ext =
        r#"{"ID":"","Node":"ext","Address":"10.0.0.9","TaggedAddresses":null,"Meta":{},"Services":[],"Checks":[]}"#;
    check(&format!("{UI}/nodes"), world, &format!("200 [{ext},{n1}]"));
    assert_eq!(header(&world.ask(&format!("{UI}/nodes")), "x-consul-index"), Some("11"));
    assert_eq!(header(&world.ask(&format!("{UI}/node/n1")), "x-consul-index"), Some("10"));
    for (filter, kept) in [
        ("Node==ext", ext),
        ("Services.Service==web", &n1),
        ("Checks.Status==passing+and+Meta+is+empty", &n1),
        ("web+in+Checks.ServiceName", &n1),
        ("Checks+is+empty", ext),
    ] {
        check(&format!("{UI}/nodes?filter={filter}"), world, &format!("200 [{kept}]"));
    }
    let reply = world.ask(&format!("{UI}/nodes?filter=Datacenter==dc1"));
    assert!(
        reply.status == 400 && reply.body.starts_with(b"Failed to create boolean expression evaluator"),
        "{reply:?}"
    );
}

#[test]
fn services_are_summed_up() {
    let world = &mut World::small();
    check(
        &format!("{UI}/services"),
        world,
        r#"200 [{"Name":"web","Datacenter":"dc1","Tags":["a\u003cb"],"Nodes":["n1"],"ExternalSources":null,"InstanceCount":1,"ChecksPassing":2,"ChecksWarning":0,"ChecksCritical":0,"GatewayConfig":{},"TransparentProxy":false,"ConnectNative":false,"ConnectedWithProxy":false,"ConnectedWithGateway":false}]"#,
    );
    // A second instance on the node and one elsewhere; the node's own check counts once.
    let second = Service { id: "web2".into(), tags: vec!["z".to_owned()], ..web() };
    register(world, "n1", Some(second), vec![check_of("late", "web2", Status::Critical)]);
    let mut native = named("web");
    native.connect = Connect { native: true };
    native.meta.insert("external-source".to_owned(), "nomad".to_owned());
    register(world, "n2", Some(Service { node: "n2".into(), ..native }), vec![]);
    let all = r#"[{"Name":"web","Tags":["a\u003cb","z"],"Nodes":["n1","n2"],"ExternalSources":["nomad"],"InstanceCount":3,"ChecksPassing":2,"ChecksWarning":0,"ChecksCritical":1,"T":false,"ConnectNative":true,"ConnectedWithProxy":false}]"#;
    assert_eq!(listed(world, ""), all);
    let one = r#"[{"Name":"web","Tags":null,"Nodes":["n2"],"ExternalSources":["nomad"],"InstanceCount":1,"ChecksPassing":0,"ChecksWarning":0,"ChecksCritical":0,"T":false,"ConnectNative":true,"ConnectedWithProxy":false}]"#;
    assert_eq!(listed(world, "?filter=Node.Node==n2"), one);
    assert_eq!(listed(world, "?filter=Service.Service==db"), "[]");
}

#[test]
fn a_proxy_counts_for_what_it_stands_before() {
    let world = &mut World::small();
    let proxy = |before: &str, settings: &str| Service {
        kind: ServiceKind::ConnectProxy,
        proxy: format!(r#"{{"DestinationServiceName":"{before}"{settings}}}"#),
        ..named(&format!("{before}-proxy"))
    };
    let to_web =
        r#","upstreams":[{"destination_name":"WEB"},{"DestinationName":"q","DestinationType":"prepared_query"}]"#;
    register(world, "n1", Some(named("db")), vec![]);
    register(world, "n1", Some(proxy("db", to_web)), vec![check_of("mesh", "db-proxy", Status::Warning)]);
    register(world, "n1", Some(proxy("web", r#","Mode":"transparent""#)), vec![]);
    register(world, "n1", Some(proxy("ghost", "")), vec![]);
    let text = listed(world, "");
    for expected in [
        r#"{"Name":"db","Tags":null,"Nodes":["n1"],"ExternalSources":null,"InstanceCount":1,"ChecksPassing":1,"ChecksWarning":1,"ChecksCritical":0,"T":false,"ConnectNative":false,"ConnectedWithProxy":true},"#,
        r#"{"Kind":"connect-proxy","Name":"db-proxy","Tags":null,"Nodes":["n1"],"ExternalSources":null,"InstanceCount":1,"ChecksPassing":1,"ChecksWarning":1,"ChecksCritical":0,"T":false,"#,
        r#"{"Name":"ghost","Datacenter":"","Tags":null,"Nodes":null,"ExternalSources":null,"InstanceCount":0,"#,
        r#""ChecksCritical":0,"T":true,"ConnectNative":false,"ConnectedWithProxy":true},{"Kind":"connect-proxy","Name":"web-proxy","#,
    ] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    let topology = |of: &str| format!("{UI}/service-topology/{of}?kind=");
    let neighbour = |name: &str, tags: &str, warnings: u8, transparent: bool| {
        format!(
            r#"[{{"Name":"{name}","Datacenter":"dc1","Tags":{tags},"Nodes":["n1"],"ExternalSources":null,"InstanceCount":1,"ChecksPassing":{},"ChecksWarning":{warnings},"ChecksCritical":0,"GatewayConfig":{{}},"TransparentProxy":{transparent},"ConnectNative":false,"Source":"proxy-registration","Intention":{{"DefaultAllow":true,"Allowed":true,"HasPermissions":false,"ExternalSource":"","HasExact":false}}}}]"#,
            2 - warnings
        )
    };
    let shown = |protocol: &str, transparent: bool, up: &str, down: &str| {
        format!(
            r#"200 {{"Protocol":"{protocol}","TransparentProxy":{transparent},"Upstreams":{up},"Downstreams":{down},"FilteredByACLs":false}}"#
        )
    };
    let (web, db) = (neighbour("web", r#"["a\u003cb"]"#, 0, true), neighbour("db", "null", 1, false));
    check(&topology("db"), world, &shown("tcp", false, &web, "[]"));
    check(&topology("web"), world, &shown("tcp", true, "[]", &db));
    check(&topology("nobody"), world, &shown("tcp", false, "[]", "[]"));
    check(&format!("{UI}/service-topology/gate?kind=ingress-gateway"), world, &shown("", false, "[]", "[]"));
    check(&format!("{UI}/service-topology/web"), world, "400 Missing service kind");
    check(&format!("{UI}/service-topology/"), world, "400 Missing service name");
    let refused = r#"400 Unsupported service kind "connect-proxy""#;
    check(&format!("{UI}/service-topology/web?kind=connect-proxy"), world, refused);
}

#[test]
fn the_overview_counts_by_state() {
    let world = &mut World::empty();
    let overview = format!("{UI}/catalog-overview");
    check(&overview, world, r#"200 {"Nodes":null,"Services":null,"Checks":null}"#);
    let world = &mut World::small();
    let second = Service { id: "web2".into(), ..web() };
    register(world, "n1", Some(second), vec![check_of("late", "web2", Status::Warning)]);
    register(world, "n2", None, vec![Check { node: "n2".into(), ..check_of("serfHealth", "", Status::Critical) }]);
    check(
        &overview,
        world,
        r#"200 {"Nodes":[{"Total":2,"Passing":1,"Warning":0,"Critical":1}],"Services":[{"Name":"web","Total":2,"Passing":1,"Warning":1,"Critical":0}],"Checks":[{"Name":"late","Total":1,"Passing":0,"Warning":1,"Critical":0},{"Name":"serfHealth","Total":2,"Passing":1,"Warning":0,"Critical":1},{"Name":"service:web","Total":1,"Passing":1,"Warning":0,"Critical":0}]}"#,
    );
}

#[test]
fn what_only_a_mesh_has_is_empty() {
    let world = &mut World::small();
    for path in ["gateway-services-nodes/gate", "gateway-intentions/gate", "exported-services?peer=far"] {
        check(&format!("{UI}/{path}"), world, "200 []");
    }
    check(&format!("{UI}/gateway-services-nodes/"), world, "400 Missing gateway name");
    check(&format!("{UI}/metrics-proxy/api/v1/query"), world, "404 UI is not enabled");
    world.facts.ui = true;
    check(&format!("{UI}/metrics-proxy/api/v1/query"), world, "404 Metrics proxy is not enabled");
}

#[test]
fn a_page_is_drawn_without_a_leader_too() {
    let mut world = World::small();
    let consistency = |world: &World, path: &str| match world.plan(&super::call(&format!("{UI}/{path}"))) {
        Plan::Read(read) => (read.consistency, read.blocking.is_some()),
        other => panic!("{other:?}"),
    };
    assert_eq!(consistency(&world, "nodes?index=3"), (Consistency::Default, true));
    world.view.leader = None;
    for path in ["nodes", "node/n1", "services", "catalog-overview"] {
        assert_eq!(consistency(&world, path), (Consistency::Stale, false), "{path}");
    }
}
