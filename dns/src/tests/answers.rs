//! What is answered, by the examples of Consul's documents and the rules behind them.

use super::fixture::{ask, catalog, question, written};
use crate::message::Transport;
use crate::{Settings, domain};
use std::time::Duration;

const SOA: &str = "consul. 0 SOA ns.consul. hostmaster.consul. 1000 3600 600 86400 0";

const ONE: &str = "
    node n1 10.0.0.1 meta=consul-version:1.22.0
    service n1 consul consul 8300
    service n1 web web 8080 tags=v1
";

fn check_with(settings: &Settings, fixture: &str, query: &str, expected: &[&str]) {
    let store = catalog(fixture);
    let expected: Vec<String> = expected.iter().map(|line| line.replace("$SOA", SOA)).collect();
    for transport in [Transport::Udp, Transport::Tcp] {
        let (_, reply) = ask(&store, settings, &question(query), transport);
        assert_eq!(written(&reply), expected.join("\n"), "{query} {transport:?}");
        assert_eq!(reply.queries, question(query).queries);
    }
}

fn check(fixture: &str, query: &str, expected: &[&str]) {
    check_with(&Settings::default(), fixture, query, expected);
}

#[test]
fn the_documented_examples() {
    let n1 = "n1.node.dc1.consul.";
    let srv = |owner: &str| format!("{owner} 0 SRV 1 1 8080 {n1}");
    let beside =
        [&*format!("ad {n1} 0 A 10.0.0.1"), &*format!("ad {n1} 0 TXT consul-version=1.22.0")].map(str::to_owned);
    check(
        ONE,
        "n1.node.consul. A",
        &["NOERROR aa", "n1.node.consul. 0 A 10.0.0.1", "ad n1.node.consul. 0 TXT consul-version=1.22.0"],
    );
    check(ONE, "web.service.consul. A", &["NOERROR aa", "web.service.consul. 0 A 10.0.0.1"]);
    for name in ["v1.web.service.consul.", "_web._tcp.service.consul.", "_web._v1.service.consul.", "_web._tcp.consul."]
    {
        check(ONE, &format!("{name} SRV"), &["NOERROR aa", &srv(name), &beside[0], &beside[1]]);
    }
    let own = "node n1 10.0.0.1\nservice n1 web web 8080 addr=10.0.0.9";
    check(
        own,
        "web.service.consul. SRV",
        &[
            "NOERROR aa",
            "web.service.consul. 0 SRV 1 1 8080 0a000009.addr.dc1.consul.",
            "ad 0a000009.addr.dc1.consul. 0 A 10.0.0.9",
        ],
    );
    check(own, "0a000009.addr.consul. A", &["NOERROR aa", "0a000009.addr.consul. 0 A 10.0.0.9"]);
    check(ONE, "consul.service.consul. A", &["NOERROR aa", "consul.service.consul. 0 A 10.0.0.1"]);
    check(ONE, "web.service.dc2.consul. A", &["NXDOMAIN aa", "ns $SOA"]);
    check(ONE, "nope.service.consul. A", &["NXDOMAIN aa", "ns $SOA"]);
    check(ONE, "web.service.consul. AAAA", &["NOERROR aa", "ns $SOA"]);
    check(ONE, "1.0.0.10.in-addr.arpa. PTR", &["NOERROR aa", "1.0.0.10.in-addr.arpa. 0 PTR n1.node.dc1.consul."]);
}

#[test]
fn names_echo_their_spelling_and_stay_in_their_domain() {
    check(ONE, "WEB.Service.CONSUL. A", &["NOERROR aa", "WEB.Service.CONSUL. 0 A 10.0.0.1"]);
    let settings =
        Settings { alt_domain: domain("alt.example"), enable_additional_node_meta_txt: false, ..Settings::default() };
    check_with(
        &settings,
        ONE,
        "web.service.dc1.alt.example. SRV",
        &[
            "NOERROR aa",
            "web.service.dc1.alt.example. 0 SRV 1 1 8080 n1.node.dc1.alt.example.",
            "ad n1.node.dc1.alt.example. 0 A 10.0.0.1",
        ],
    );
    check_with(&settings, ONE, "n1.node.example. A", &["REFUSED"]);
}

#[test]
fn a_node_answers_whatever_its_health() {
    let nodes = "
        node n1 10.0.0.1 meta=k:v
        check n1 critical
        node n6 2001:db8::6
        node a.b 10.0.0.2
        node ext www.example.com
    ";
    let name = "n1.node.consul.";
    let (a, txt) = (format!("{name} 0 A 10.0.0.1"), format!("{name} 0 TXT k=v"));
    check(nodes, "n1.node.consul. ANY", &["NOERROR aa", &a, &txt]);
    check(nodes, "n1.node.consul. TXT", &["NOERROR aa", &txt]);
    check(nodes, "n1.node.consul. AAAA", &["NOERROR aa", &format!("ad {txt}")]);
    check(nodes, "n1.node.consul. SRV", &["NOERROR aa"]);
    check(nodes, "n1.node.consul. MX", &["NOERROR aa"]);
    check(nodes, "n6.node.consul. AAAA", &["NOERROR aa", "n6.node.consul. 0 AAAA 2001:db8::6"]);
    check(nodes, "A.B.node.consul. A", &["NOERROR aa", "A.B.node.consul. 0 A 10.0.0.2"]);
    check(nodes, "ext.node.consul. A", &["NOERROR aa", "ext.node.consul. 0 CNAME www.example.com."]);
    check(nodes, "n2.node.consul. A", &["NXDOMAIN aa", "ns $SOA"]);
    check(nodes, "n1.node.dc2.consul. A", &["NXDOMAIN aa", "ns $SOA"]);
}

#[test]
fn health_removes_instances() {
    let services = "
        node n1 10.0.0.1
        node n2 10.0.0.2
        node n3 10.0.0.3
        node n4 10.0.0.4
        service n1 web web 80 check=passing
        service n2 web web 80 check=warning weights=10/3
        service n3 web web 80 check=critical
        service n4 web web 80 check=passing
        check n4 critical
        service n3 db db 80 check=critical
    ";
    let a = |n: u8| format!("web.service.consul. 0 A 10.0.0.{n}");
    check(services, "web.service.consul. A", &["NOERROR aa", &a(1), &a(2)]);
    check(services, "db.service.consul. A", &["NXDOMAIN aa", "ns $SOA"]);
    let strict = Settings { only_passing: true, ..Settings::default() };
    check_with(&strict, services, "web.service.consul. A", &["NOERROR aa", &a(1)]);
    check(
        services,
        "web.service.consul. SRV",
        &[
            "NOERROR aa",
            "web.service.consul. 0 SRV 1 1 80 n1.node.dc1.consul.",
            "web.service.consul. 0 SRV 1 3 80 n2.node.dc1.consul.",
            "ad n1.node.dc1.consul. 0 A 10.0.0.1",
            "ad n2.node.dc1.consul. 0 A 10.0.0.2",
        ],
    );
}

#[test]
fn tags_choose_instances() {
    let services = "
        node n1 10.0.0.1
        service n1 a web 80 tags=Primary,v1.2
        service n1 b web 81 addr=10.0.0.9
    ";
    let answer = |name: &str| format!("{name} 0 A 10.0.0.1");
    for name in ["primary.web.service.consul.", "v1.2.web.service.consul.", "_web._PRIMARY.service.consul."] {
        check(services, &format!("{name} A"), &["NOERROR aa", &answer(name)]);
    }
    check(services, "_web._udp.service.consul. A", &["NXDOMAIN aa", "ns $SOA"]);
}

#[test]
fn one_record_for_each_address_and_each_place() {
    let services = "
        node n1 10.0.0.1 meta=k:v
        service n1 a web 80
        service n1 b web 80
        service n1 c web 81
        service n1 d web 80 addr=10.0.0.9
    ";
    let settings = Settings { udp_answer_limit: 8, ..Settings::default() };
    check_with(
        &settings,
        services,
        "web.service.consul. A",
        &["NOERROR aa", "web.service.consul. 0 A 10.0.0.1", "web.service.consul. 0 A 10.0.0.9"],
    );
    check_with(
        &settings,
        services,
        "web.service.consul. SRV",
        &[
            "NOERROR aa",
            "web.service.consul. 0 SRV 1 1 80 n1.node.dc1.consul.",
            "web.service.consul. 0 SRV 1 1 81 n1.node.dc1.consul.",
            "web.service.consul. 0 SRV 1 1 80 0a000009.addr.dc1.consul.",
            "ad n1.node.dc1.consul. 0 A 10.0.0.1",
            "ad n1.node.dc1.consul. 0 TXT k=v",
            "ad 0a000009.addr.dc1.consul. 0 A 10.0.0.9",
        ],
    );
    let limited = Settings { a_record_limit: 1, enable_additional_node_meta_txt: false, ..settings };
    check_with(&limited, services, "web.service.consul. ANY", &["NOERROR aa", "web.service.consul. 0 A 10.0.0.1"]);
}

#[test]
fn host_names_become_aliases_unless_there_are_addresses() {
    let services = "
        node n1 10.0.0.1
        node ext db.example.com
        service n1 a web 80 addr=www.example.com
        service n1 b web 80 addr=www2.example.com
        service n1 a mixed 80 addr=www.example.com
        service n1 m mixed 80
        service n1 own own 80 addr=own.service.consul
        service n1 in inner 80 addr=n1.node.consul
        service ext db db 5432
        service n1 l1 loop 80 addr=loop2.service.consul
        service n1 l2 loop2 80 addr=loop.service.consul
    ";
    let cname = |name: &str, to: &str| format!("{name}.service.consul. 0 CNAME {to}");
    check(services, "web.service.consul. A", &["NOERROR aa", &cname("web", "www2.example.com.")]);
    check(services, "mixed.service.consul. A", &["NOERROR aa", "mixed.service.consul. 0 A 10.0.0.1"]);
    check(services, "own.service.consul. A", &["NOERROR aa", "own.service.consul. 0 A 10.0.0.1"]);
    check(
        services,
        "inner.service.consul. A",
        &["NOERROR aa", &cname("inner", "n1.node.consul."), "n1.node.consul. 0 A 10.0.0.1"],
    );
    check(services, "db.service.consul. A", &["NOERROR aa", &cname("db", "db.example.com.")]);
    check(services, "db.service.consul. SRV", &["NOERROR aa", "db.service.consul. 0 SRV 1 1 5432 db.example.com."]);
    let (there, back) = (cname("loop", "loop2.service.consul."), cname("loop2", "loop.service.consul."));
    let settings = Settings { udp_answer_limit: 8, ..Settings::default() };
    check_with(&settings, services, "loop.service.consul. A", &["NOERROR aa", &there, &back, &there, &back]);
}

#[test]
fn types_without_records_say_so() {
    for kind in ["MX", "TXT", "PTR"] {
        check(ONE, &format!("web.service.consul. {kind}"), &["NOERROR aa", "ns $SOA"]);
    }
    check(ONE, "0a000009.addr.consul. AAAA", &["NOERROR aa", "ad 0a000009.addr.consul. 0 A 10.0.0.9"]);
    check(
        ONE,
        "20010db8000000000000000000000001.addr.consul. AAAA",
        &["NOERROR aa", "20010db8000000000000000000000001.addr.consul. 0 AAAA 2001:db8::1"],
    );
}

#[test]
fn the_authorities_are_named() {
    let servers = "
        node s1 10.0.0.1
        node s_2 10.0.0.2
        node s3 2001:db8::3
        node s4 10.0.0.4
        node s5 10.0.0.5
        service s1 consul consul 8300
        service s_2 consul consul 8300
        service s3 consul consul 8300
        service s4 consul consul 8300
        service s5 consul consul 8300
    ";
    let ns = |n: u8| format!("consul. 0 NS s{n}.node.dc1.consul.");
    let glue = |n: u8, rest: &str| format!("ad s{n}.node.dc1.consul. 0 {rest}");
    let glue = [glue(1, "A 10.0.0.1"), glue(3, "AAAA 2001:db8::3"), glue(4, "A 10.0.0.4")];
    for name in ["consul.", "web.service.consul.", "anything.consul."] {
        let expected = ["NOERROR aa", &ns(1), &ns(3), &ns(4), &glue[0], &glue[1], &glue[2]];
        check(servers, &format!("{name} NS"), &expected);
        let authority = [1, 3, 4].map(|n| format!("ns {}", ns(n)));
        let expected = ["NOERROR aa", SOA, &authority[0], &authority[1], &authority[2], &glue[0], &glue[1], &glue[2]];
        check(servers, &format!("{name} SOA"), &expected);
    }
}

#[test]
fn addresses_lead_back_to_nodes_first() {
    let services = "
        node n1 10.0.0.1
        node n6 2001:db8::6
        service n1 web web 80 addr=10.0.0.9
    ";
    check(
        services,
        "9.0.0.10.in-addr.arpa. PTR",
        &["NOERROR aa", "9.0.0.10.in-addr.arpa. 0 PTR web.service.dc1.consul."],
    );
    let six = "6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.";
    check(services, &format!("{six} PTR"), &["NOERROR aa", &format!("{six} 0 PTR n6.node.dc1.consul.")]);
    check(services, "8.0.0.10.in-addr.arpa. PTR", &["NXDOMAIN aa", "ns $SOA"]);
    check(services, "10.in-addr.arpa. PTR", &["NXDOMAIN aa", "ns $SOA"]);
}

#[test]
fn what_we_do_not_do() {
    check(ONE, "example.com. A", &["REFUSED"]);
    check(ONE, "example.com. SOA", &["REFUSED"]);
    check(ONE, "consul. AXFR", &["NOTIMP"]);
    for name in ["web.connect", "web.ingress", "web.virtual", "web.query", "web", "a.service.b.c.d"] {
        check(ONE, &format!("{name}.consul. A"), &["NXDOMAIN aa", "ns $SOA"]);
    }
}

#[test]
fn ttls_are_configured() {
    let settings = Settings {
        node_ttl: Duration::from_secs(7),
        service_ttl: [("we*".to_owned(), Duration::from_secs(9))].into(),
        soa: crate::Soa { min_ttl: 5, refresh: 1, retry: 2, expire: 3 },
        enable_additional_node_meta_txt: false,
        ..Settings::default()
    };
    check_with(&settings, ONE, "n1.node.consul. A", &["NOERROR aa", "n1.node.consul. 7 A 10.0.0.1"]);
    check_with(
        &settings,
        ONE,
        "web.service.consul. SRV",
        &[
            "NOERROR aa",
            "web.service.consul. 9 SRV 1 1 8080 n1.node.dc1.consul.",
            "ad n1.node.dc1.consul. 9 A 10.0.0.1",
        ],
    );
    check_with(
        &settings,
        ONE,
        "nope.consul. A",
        &["NXDOMAIN aa", "ns consul. 5 SOA ns.consul. hostmaster.consul. 1000 1 2 3 5"],
    );
}
