use super::*;
use clap::Command;
use lictor_catalog::model::Signing;
use proptest::prelude::*;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

fn host() -> Host {
    let interfaces = vec![
        ("lo".to_owned(), "127.0.0.1".parse().expect("an address")),
        ("eth0".to_owned(), "10.0.0.7".parse().expect("an address")),
    ];
    Host { hostname: "box".to_owned(), interfaces }
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/config/fixtures").join(name)
}

fn files(names: &[&str]) -> AgentArgs {
    AgentArgs { paths: names.iter().map(|name| fixture(name)).collect(), ..AgentArgs::default() }
}

fn fragments(texts: &[&str]) -> AgentArgs {
    AgentArgs { fragments: texts.iter().map(|text| (*text).to_owned()).collect(), ..AgentArgs::default() }
}

fn flags(argv: &[&str]) -> AgentArgs {
    let matches =
        flags::arguments(Command::new("agent")).no_binary_name(true).try_get_matches_from(argv).expect("flags");
    flags::read(&matches).expect("arguments")
}

#[track_caller]
fn loaded(args: AgentArgs) -> Resolved {
    load(args, &host()).expect("a configuration")
}

#[test]
fn the_command_is_sound() {
    Command::debug_assert(flags::arguments(Command::new("agent")));
}

#[test]
fn figures_are_named_and_filtered_as_configured() {
    let plain = loaded(AgentArgs { dev: true, ..AgentArgs::default() }).telemetry;
    assert_eq!((plain.prefix.as_str(), plain.hostname.as_str(), plain.prometheus), ("consul", "box", false));
    let text = r#"telemetry { metrics_prefix = "lictor" disable_hostname = true prometheus_retention_time = "24h"
                              prefix_filter = ["+lictor.raft", "-lictor.rpc"] filter_default = false }"#;
    let own = loaded(AgentArgs { dev: true, ..fragments(&[text]) });
    assert_eq!(own.warnings, [""; 0]);
    let own = own.telemetry;
    assert_eq!((own.prefix.as_str(), own.hostname.as_str(), own.prometheus), ("lictor", "", true));
    assert_eq!(own.filters, [("lictor.raft".to_owned(), true), ("lictor.rpc".to_owned(), false)]);
    assert!(!own.filter_default);
    let bad = fragments(&[r#"telemetry { prefix_filter = ["raft"] }"#]);
    let error = load(AgentArgs { dev: true, ..bad }, &host()).expect_err("no sign").to_string();
    assert!(error.contains("telemetry.prefix_filter") && error.contains("write +name or -name"), "{error}");
}

#[test]
fn a_documented_server_loads() {
    let server = loaded(files(&["server.hcl"]));
    assert_eq!(server.datacenter, "east-aws");
    assert_eq!(server.primary_datacenter, "east-aws");
    assert_eq!((server.server, server.bootstrap, server.bootstrap_expect), (true, false, 3));
    assert_eq!(server.node_name, "foobar");
    assert_eq!(server.bind.to_string(), "10.0.0.7");
    assert_eq!(server.advertise.to_string(), "10.0.0.7");
    let http: Vec<String> = server.http.iter().map(ToString::to_string).collect();
    assert_eq!(http, ["10.0.0.7:8501", "127.0.0.1:8501"]);
    assert_eq!(server.dns[0].to_string(), "10.0.0.7:53");
    assert_eq!(server.server_rpc.to_string(), "10.0.0.7:8300");
    assert_eq!(server.encrypt.as_deref(), Some(&b"0123456789abcdef"[..]));
    assert_eq!(server.retry_join, ["10.0.0.2", "10.0.0.3:8301"]);
    assert_eq!((server.leave_on_terminate, server.skip_leave_on_interrupt), (true, true));
    assert_eq!(server.log.level, LogLevel::Warn);
    assert_eq!(server.node_meta["rack"], "r1");
    assert_eq!(server.raft_multiplier, Some(2));
    assert_eq!(server.leave_drain_time, Duration::from_secs(1));
    assert_eq!(server.response_headers, [("Access-Control-Allow-Origin".to_owned(), "*".to_owned())]);
    assert_eq!(server.block_endpoints, ["/v1/debug"]);
    let dns = &server.dns_config;
    assert_eq!((dns.a_record_limit, dns.only_passing, dns.soa.min_ttl, dns.soa.refresh), (4, true, 60, 3600));
    assert_eq!(dns.service_ttl["web-*"], Duration::from_secs(30));
    assert_eq!((server.limits.kv_max_value_size, server.limits.txn_max_req_len), (1 << 20, 1 << 20));
    assert!(server.ui);
    let warnings = server.warnings.join("\n");
    assert!(warnings.contains("provider=aws"), "{warnings}");
    assert!(warnings.contains("not acted on yet: performance.leave_drain_time, recursors"), "{warnings}");
}

#[test]
fn every_key_of_the_clients_harness_is_accepted() {
    let server = loaded(files(&["harness.json"]));
    assert_eq!(server.node_id.expect("an id").to_string(), "6d7d2f4c-5b0f-4c34-9a3f-0c2a1f4b8a11");
    assert_eq!((server.bootstrap, server.bootstrap_expect, server.raft_multiplier), (true, 1, Some(1)));
    assert_eq!((server.datacenter.as_str(), server.primary_datacenter.as_str()), ("dc2", "dc1"));
    assert_eq!(server.http, [HttpAddr::Tcp("127.0.0.1:20002".parse().expect("an address"))]);
    assert_eq!(server.debug["SerfAdvertiseAddrLAN"], "tcp://127.0.0.1:20004");
    assert_eq!(server.debug["EncryptKey"], "hidden");
    assert!(!server.debug.to_string().contains("MDEyMzQ1"), "the key stays out of sight");
    assert!(server.warnings.iter().any(|warning| warning.contains("EVERY REQUEST IS ALLOWED")));
}

#[test]
fn dev_needs_nothing_and_can_be_overridden() {
    let dev = loaded(flags(&["--dev"]));
    assert_eq!((dev.server, dev.bootstrap, dev.dev, dev.data_dir.is_none()), (true, true, true, true));
    assert_eq!(dev.bind.to_string(), "127.0.0.1");
    assert_eq!((dev.ports.grpc, dev.raft_multiplier, dev.log.level), (Some(8502), Some(1), LogLevel::Debug));
    assert_eq!((dev.ui, dev.skip_leave_on_interrupt), (true, true));
    assert_eq!(dev.node_name, "box");
    assert_eq!(dev.warnings, Vec::<String>::new());
    let dev = loaded(flags(&["--dev", "--client=0.0.0.0", "--bind=10.0.0.7", "--http-port=-1", "--log-level=err"]));
    assert_eq!((dev.http.len(), dev.dns[0].to_string().as_str(), dev.log.level), (0, "0.0.0.0:8600", LogLevel::Error));
    assert_eq!(dev.advertise.to_string(), "10.0.0.7");
}

#[test]
fn a_client_has_consuls_defaults() {
    let client = loaded(flags(&["--data-dir=/d"]));
    assert_eq!((client.server, client.leave_on_terminate, client.skip_leave_on_interrupt), (false, true, false));
    assert_eq!((client.bind.to_string().as_str(), client.advertise.to_string().as_str()), ("0.0.0.0", "10.0.0.7"));
    assert_eq!((client.serf_wan, client.ports.grpc_tls, client.raft_multiplier), (None, None, None));
    assert_eq!(client.check_update_interval, Duration::from_secs(300));
    assert_eq!(client.reconnect_timeout, Duration::from_secs(72 * 3600));
    assert_eq!(client.dns_config.domain, "consul.");
}

#[test]
fn later_sources_win_lists_grow_and_maps_merge() {
    let base = "data_dir = \"/d\" log_level = \"warn\" retry_join = [\"a\"] node_meta { x = \"1\" y = \"1\" }";
    let over = "log_level = \"error\" retry_join = [\"b\"] node_meta { y = \"2\" } ports { dns = 53 }";
    let mut args = flags(&["--retry-join=c", "--retry-join=d", "--node-meta=z:3:4", "--dns-port=54", "--server"]);
    args.fragments = vec![base.to_owned(), over.to_owned()];
    let merged = loaded(args);
    assert_eq!(merged.log.level, LogLevel::Error);
    assert_eq!(merged.retry_join, ["a", "b", "c", "d"]);
    assert_eq!(json!(merged.node_meta), json!({"x": "1", "y": "2", "z": "3:4"}));
    assert_eq!(merged.ports.dns, Some(54));
    assert!(merged.server);
}

#[test]
fn files_and_directories_are_read_in_order() {
    let root = std::env::temp_dir().join(format!("lictor-config-{}", std::process::id()));
    let sub = root.join("conf.d");
    std::fs::create_dir_all(sub.join("deeper.hcl")).expect("made");
    let write = |path: PathBuf, text: &str| std::fs::write(path, text).expect("written");
    write(root.join("first.json"), "{\"DATACENTER\": \"first\", \"node_name\": \"first\"}");
    write(root.join("empty.json"), "");
    write(root.join("empty.hcl"), "\n");
    write(root.join("odd.conf"), "node_name = \"odd\"");
    write(sub.join("b.json"), "{\"node_name\": \"b\", \"retry_join\": [\"b\"]}");
    write(sub.join("a.hcl"), "node_name = \"a\"\nretry_join = [\"a\"]");
    write(sub.join("c.txt"), "this is not read");
    let flag = |name: &str, path: &str| format!("--config-{name}={}", root.join(path).display());
    let argv =
        [flag("file", "first.json"), flag("dir", "conf.d"), flag("file", "empty.json"), flag("file", "empty.hcl")];
    let mut argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    argv.push("--data-dir=/d");
    let read = loaded(flags(&argv));
    assert_eq!((read.datacenter.as_str(), read.node_name.as_str()), ("first", "b"));
    assert_eq!(read.retry_join, ["a", "b"]);
    let swapped = [argv[1], argv[0], "--data-dir=/d"];
    assert_eq!(loaded(flags(&swapped)).node_name, "first");
    let odd = flag("file", "odd.conf");
    let skipped = loaded(flags(&[&odd, "--data-dir=/d"]));
    assert_eq!((skipped.node_name.as_str(), skipped.warnings.len()), ("box", 1));
    assert_eq!(loaded(flags(&[&odd, "--data-dir=/d", "--config-format=hcl"])).node_name, "odd");
    write(root.join("bad.json"), "{\n  \"a\": }");
    let error = load(flags(&[&flag("file", "bad.json")]), &host()).expect_err("bad").to_string();
    assert_eq!(error, format!("{}:2:8: expected value", root.join("bad.json").display()));
    std::fs::remove_dir_all(root).expect("removed");
}

#[test]
fn definitions_gather_from_all_spellings() {
    let text = r#"
        service { name = "a" check { ttl = "1s" } check { ttl = "2s" } }
        services = [{ name = "b" }]
        services { name = "c" checks { ttl = "3s" } }
        check { name = "x" ttl = "9s" }
        checks = [{ name = "y" ttl = "9s" }]
    "#;
    let mut warnings = Vec::new();
    let (raw, _) = merge(fragments(&[text, "service { name = \"d\" }"]), &mut warnings).expect("merged");
    let list = |path: &str| {
        let mut list = raw.get(path).expect("there").value.clone();
        for definition in list.as_array_mut().expect("a list") {
            definition.as_object_mut().expect("an object").remove(raw::ORIGIN);
        }
        list
    };
    let expected = json!([{"name": "a", "checks": [{"ttl": "1s"}, {"ttl": "2s"}]}, {"name": "b"},
                          {"name": "c", "checks": [{"ttl": "3s"}]}, {"name": "d"}]);
    assert_eq!(list("services"), expected);
    assert_eq!(list("checks"), json!([{"name": "x", "ttl": "9s"}, {"name": "y", "ttl": "9s"}]));
}

#[track_caller]
fn check_refused(text: &str, expected: &str) {
    let base = "data_dir = \"/d\"";
    let error = load(fragments(&[base, text]), &host()).expect_err(text).to_string();
    assert!(error.contains(expected), "{text}\n  said: {error}\n  want: {expected}");
}

#[test]
fn each_mistake_is_named_with_its_remedy() {
    let here = "-hcl fragment 2: ";
    let check = |text: &str, expected: &str| check_refused(text, &format!("{here}{expected}"));
    check("datacentre = \"x\"", "invalid config key \"datacentre\"; did you mean \"datacenter\"?");
    check("ports { htpp = 1 }", "invalid config key \"ports.htpp\"; did you mean \"ports.http\"?");
    check("zzzzzzzzzzz = 1", "invalid config key \"zzzzzzzzzzz\"");
    check("server = \"yes\"", "server: expected true or false, got the text \"yes\"");
    check("ports { http = \"1\" }", "ports.http: expected a number, got the text \"1\"");
    check("ports = 1", "ports: expected a block, got 1");
    check("node_meta { a = 1 }", "node_meta.a: expected a text, got 1");
    check("retry_join = [1]", "retry_join: expected a list of texts, got a list");
    check("retry_interval = \"soon\"", "retry_interval = \"soon\": ");
    check("retry_interval = 30", "retry_interval: expected a duration such as \"10s\", got 30");
    check("datacenter = \"a.b\"", "datacenter = \"a.b\": may have letters, digits, - and _ only");
    check("node_id = \"x\"", "node_id = \"x\": must be a UUID");
    check("bind_addr = \"x\"", "bind_addr = \"x\": \"x\" is not an IP address");
    check("client_addr = \"{{ GetAllInterfaces }}\"", "client_addr = \"{{ GetAllInterfaces }}\": lictor knows only");
    check(
        "addresses { dns = \"unix:///x\" }",
        "addresses.dns = \"unix:///x\": a unix socket is possible only for HTTP",
    );
    check("advertise_addr = \"0.0.0.0\"", "advertise_addr = \"0.0.0.0\": nobody can be reached there");
    check("ports { http = 70000 }", "ports.http = 70000: must be a port from 1 to 65535");
    check("ports { server = -1 }", "ports.server = -1: cannot be switched off");
    check("encrypt = \"????\"", "encrypt = (hidden): is not base64");
    check("encrypt = \"aGVsbG8=\"", "encrypt = (hidden): has 5 bytes; a key has 16, 24 or 32");
    check("log_level = \"loud\"", "log_level = \"loud\": must be trace, debug");
    check("reconnect_timeout = \"1h\"", "reconnect_timeout = \"1h\": must be at least 8h");
    check(
        "performance { raft_multiplier = 11 }",
        "performance.raft_multiplier = 11: must be a whole number from 0 to 10",
    );
    check("domain = \"a b\"", "domain = \"a b\": is not a domain");
    check("default_query_time = \"1h\"", "default_query_time = \"1h\": must not be longer than max_query_time");
    check(
        "http_config { block_endpoints = [\"v1\"] }",
        "http_config.block_endpoints = [\"v1\"]: \"v1\" must begin with /",
    );
    check("http_config { response_headers { \"a b\" = \"\" } }", "http_config.response_headers = ");
    check("dns_config { service_ttl { x = \"y\" } }", "dns_config.service_ttl = {\"x\":\"y\"}: x: ");
    check_refused("a = 1\nb = = 1", "-hcl fragment 2:2:5: expected a value, found '='");
}

#[test]
fn all_mistakes_of_the_files_are_told_at_once_and_before_those_of_the_machine() {
    let text = "node_id = \"x\" bind_addr = \"{{ GetInterfaceIP \\\"eth9\\\" }}\" service { name = \"a\" port = -1 }";
    let error = load(fragments(&[text, "bootstrap = true"]), &host()).expect_err("wrong").to_string();
    let expected = "4 errors occurred:
  * -hcl fragment 1: service \"a\": port: -1 is out of range 0 to 65535
  * data_dir cannot be empty; set data_dir, give -data-dir=<path>, or use -dev to keep everything in memory
  * -hcl fragment 2: 'bootstrap = true' requires 'server = true'; add it (-server)
  * -hcl fragment 1: node_id = \"x\": must be a UUID of 36 characters, such as 8f246b77-f3e1-ff88-5b48-8ec93abf3e05";
    assert_eq!(error, expected);
    let text = "datacentre = 1 service { name = \"a\" prot = 1 } ports = 2";
    let error = load(fragments(&["a = = 1", text]), &host()).expect_err("wrong").to_string();
    assert_eq!(error.lines().count(), 5, "{error}");
}

#[test]
fn definitions_that_cannot_be_run_are_named_with_their_file() {
    let script = "data_dir = \"/d\" service { name = \"web\" check { args = [\"true\"] interval = \"1s\" } }";
    let error = load(fragments(&[script]), &host()).expect_err("no scripts").to_string();
    assert!(error.starts_with("-hcl fragment 1: service \"web\": check \"service:web\": it runs a program"), "{error}");
    let allowed = "enable_local_script_checks = true";
    assert_eq!(loaded(fragments(&[script, allowed])).services.len(), 1);
    let alias = "data_dir = \"/d\" check { name = \"a\" alias_service = \"web\" } services { name = \"web\" }";
    let said = loaded(fragments(&[alias, "service { id = \"WEB\" name = \"w\" }"])).warnings;
    let expected = [
        "-hcl fragment 2: service \"WEB\" takes the place of the one in -hcl fragment 1: both have this id",
        "-hcl fragment 1: check \"a\" is left out: this release does not run checks of kind alias yet",
    ];
    assert_eq!(said, expected);
}

#[test]
fn node_meta_is_refused_in_consuls_words() {
    let check = |pair: &str, expected: &str| check_refused(&format!("node_meta {{ {pair} }}"), expected);
    check("\"\" = \"x\"", "Key cannot be blank");
    check("\"a b\" = \"x\"", "Couldn't load metadata pair ('a b', 'x'): Key contains invalid characters");
    check(&format!("{} = \"x\"", "k".repeat(129)), "Key is too long (limit: 128 characters)");
    check("consul-x = \"y\"", "Key prefix 'consul-' is reserved for internal use");
    check(&format!("k = \"{}\"", "v".repeat(513)), "Value is too long (limit: 512 characters)");
    let many: String = (0..65).map(|n| format!("k{n} = \"v\"\n")).collect();
    check(&many, "has 65 keys; at most 64 are possible");
}

#[test]
fn settings_that_do_not_go_together() {
    check_refused("server = true bootstrap = true bootstrap_expect = 3", "mutually exclusive");
    check_refused("bootstrap = true", "'bootstrap = true' requires 'server = true'");
    check_refused("bootstrap_expect = 3", "'bootstrap_expect > 0' requires 'server = true'");
    check_refused("ports { http = 8600 }", "ports.dns and ports.http are both on 127.0.0.1:8600");
    check_refused("ports { dns = 8301 }", "ports.serf_lan and ports.dns are both on 0.0.0.0:8301");
    check_refused("server = true ports { serf_wan = 8301 }", "ports.serf_lan and ports.serf_wan are both on");
    let elsewhere = "data_dir = \"/d\" bind_addr = \"10.0.0.7\" ports { http = 8301 }";
    assert!(load(fragments(&[elsewhere]), &host()).is_ok(), "another address is another place");
    let error = load(AgentArgs::default(), &host()).expect_err("no directory").to_string();
    assert!(error.starts_with("data_dir cannot be empty"), "{error}");
    let one = loaded(fragments(&["data_dir = \"/d\" server = true bootstrap_expect = 1"]));
    assert_eq!((one.bootstrap, one.bootstrap_expect, one.warnings.len()), (true, 1, 1));
}

#[test]
fn flags_of_the_wrong_kind_are_named() {
    let check = |flag: &str, expected: &str| {
        let matches =
            flags::arguments(Command::new("agent")).no_binary_name(true).try_get_matches_from([flag]).expect("flags");
        assert_eq!(flags::read(&matches).expect_err(flag).to_string(), expected);
    };
    check("--http-port=x", "-http-port=x: not a whole number");
    check("--node-meta=x", "-node-meta=x: write key:value");
    check("--config-format=toml", "-config-format=toml: there are only hcl and json");
    assert!(
        flags::arguments(Command::new("agent")).no_binary_name(true).try_get_matches_from(["--server=maybe"]).is_err()
    );
    let last = flags(&["--node=a", "--node=b", "--server", "--server=0"]);
    let resolved = loaded(AgentArgs { fragments: vec!["data_dir = \"/d\"".to_owned()], ..last });
    assert_eq!((resolved.node_name.as_str(), resolved.server), ("b", false));
}

proptest! {
    #[test]
    fn no_text_makes_loading_panic(text in "(?s)(ports|dns_config|service|node_meta|data_dir|[a-z]{0,3}| |=|\\{|\\}|\\[|\\]|\"|[0-9]|-|,|\n|é){0,30}") {
        let _ = load(fragments(&[&text]), &host());
        for format in [Format::Hcl, Format::Json] {
            if let Ok(map) = file::parse("x", &text, format) {
                let _ = Raw::read("x", &map);
            }
        }
    }

    #[test]
    fn no_json_makes_loading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let text = String::from_utf8_lossy(&bytes);
        let _ = file::parse("x", &text, Format::Json);
    }
}

#[test]
fn what_a_file_says_of_autopilot_and_connect_is_kept() {
    let bare = loaded(flags(&["--data-dir=/d"]));
    assert_eq!((bare.connect, &bare.autopilot), (true, &lictor_catalog::Autopilot::default()));
    let mut args = flags(&["--data-dir=/d", "--server"]);
    let block = "cleanup_dead_servers = false last_contact_threshold = \"1s\" max_trailing_logs = 9 min_quorum = 3 \
                 server_stabilization_time = \"3s\" upgrade_version_tag = \"v\"";
    args.fragments = vec![format!("connect {{ enabled = false }} autopilot {{ {block} }}")];
    let set = loaded(args);
    let autopilot = &set.autopilot;
    assert_eq!((set.connect, autopilot.cleanup_dead_servers, autopilot.max_trailing_logs), (false, false, 9));
    assert_eq!(
        (autopilot.last_contact_threshold, autopilot.server_stabilization_time),
        (Duration::from_secs(1), Duration::from_secs(3))
    );
    assert_eq!((autopilot.min_quorum, autopilot.upgrade_version_tag.as_str()), (3, "v"));
    assert_eq!((&set.debug["AutopilotMinQuorum"], &set.debug["ConnectEnabled"]), (&json!(3), &json!(false)));
    assert_eq!((bare.trust_domain, &bare.signing), (None, &Signing::default()));
    let domain = "11111111-2222-3333-4444-555555555555";
    for config in [
        format!("ca_provider = \"consul\" ca_config {{ cluster_id = \"{domain}\" leaf_cert_ttl = \"1h\" }}"),
        format!("ca_config = {{ ClusterID = \"{domain}\", LeafCertTTL = \"1h\", CSRMaxPerSecond = 9 }}"),
    ] {
        let text = format!("connect {{ {config} }}");
        let set = loaded(fragments(&["data_dir = \"/d\"", &text]));
        assert_eq!(set.trust_domain.map(|id| id.to_string()).as_deref(), Some(domain));
        assert_eq!(set.signing, Signing { leaf_life: Duration::from_secs(3600), ..Signing::default() });
    }
    let check = |text: &str, expected: &str| check_refused(text, expected);
    check("autopilot { min_quorum = -1 }", "autopilot.min_quorum = -1: must be a whole number from 0 to 4294967295");
    check("autopilot { last_contact_threshold = \"soon\" }", "autopilot.last_contact_threshold = \"soon\"");
    check(
        "connect { ca_provider = \"vault\" }",
        "connect.ca_provider = \"vault\": unknown CA provider \"vault\": lictor has its own only",
    );
    check("connect { ca_config { leaf_cert_ttl = \"1m\" } }", "leaf cert TTL must be greater or equal than 1h0m0s");
    check("connect { ca_config { cluster_id = \"x\" } }", "cluster_id must be a UUID");
    check("connect { ca_config = 7 }", "connect.ca_config = 7: expected a JSON object, got a number");
}

#[test]
fn what_has_no_effect_yet_is_said_and_what_has_is_kept() {
    let said = |text: &str| loaded(fragments(&["data_dir = \"/d\"", text])).warnings.join("; ");
    let quiet =
        "ports { https = -1 grpc = 0 } discovery_max_stale = \"0s\" limits { request_limits { mode = \"disabled\" } }";
    assert_eq!(said(quiet), "");
    let loud =
        "ports { https = 8501 } raft_trailing_logs = 9 discovery_max_stale = \"5s\" watches = [{ type = \"key\" }]";
    assert_eq!(
        said(loud),
        "-hcl fragment 2: accepted and not acted on yet: discovery_max_stale, ports.https, raft_trailing_logs, watches"
    );
    assert!(said("serf_lan_allowed_cidrs = [\"10.0.0.0/8\"]").contains("members of EVERY network are let in"));
    let text = "http_config { allow_write_http_from = [\"127.0.0.0/8\"] } tagged_addresses { lan = \"10.9.9.9\" }";
    let kept = loaded(fragments(&["data_dir = \"/d\"", text]));
    assert_eq!((kept.write_from.len(), kept.tagged_addresses["lan"].as_str()), (1, "10.9.9.9"));
    assert_eq!(kept.warnings, Vec::<String>::new());
    check_refused(
        "http_config { allow_write_http_from = [\"127.0.0.1\"] }",
        "http_config.allow_write_http_from = [\"127.0.0.1\"]: \"127.0.0.1\" is not a network; write an address",
    );
}
