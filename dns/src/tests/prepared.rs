//! Prepared queries: `<name or id>.query`.

use super::fixture::{Whole, ask, catalog, question, written};
use crate::Settings;
use crate::message::{Asker, Transport, respond};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use lictor_catalog::Store;
use lictor_catalog::store::Scope;
use std::net::IpAddr;
use std::time::Duration;

const SOA: &str = "ns consul. 0 SOA ns.consul. hostmaster.consul. 1000 3600 600 86400 0";

const TEXT: &str = "
    node n1 10.0.0.1
    node n2 10.0.0.2
    node n3 10.0.0.3
    service n1 web web 8080 tags=v1
    service n2 web web 8080 tags=v1,old
    service n3 web web 8080 tags=v1 check=critical
    query my.web web tags=v1,!old ttl=10
    query near web near=n2
    query here web near=_agent
    query ip web near=_ip
    query none nothing
    query one web tags=v1,!old ttl=10
    query geo- ${match(1)} template=^geo-(.+)-[^-]+$
";

fn check(settings: &Settings, query: &str, expected: &[&str]) {
    let store = catalog(TEXT);
    // What a client agent is sent knows as much as the whole.
    let name = query.split(".query").next().expect("a name").trim_start_matches('_').trim_end_matches("._tcp");
    for store in [&store, &store.part(&Scope::Prepared(name.to_owned()))] {
        for transport in [Transport::Udp, Transport::Tcp] {
            let (_, reply) = ask(store, settings, &question(query), transport);
            assert_eq!(written(&reply), expected.join("\n"), "{query} {transport:?}");
        }
    }
}

#[test]
fn a_query_is_answered_as_a_service_is() {
    let settings = Settings {
        service_ttl: [("web".to_owned(), Duration::from_secs(5))].into(),
        node: "n1".to_owned(),
        ..Settings::default()
    };
    let check = |query: &str, expected: &[&str]| check(&settings, query, expected);
    check("my.web.query.consul. A", &["NOERROR aa", "my.web.query.consul. 10 A 10.0.0.1"]);
    check("MY.Web.query.dc1.consul. ANY", &["NOERROR aa", "MY.Web.query.dc1.consul. 10 A 10.0.0.1"]);
    check("my.web.query.consul. AAAA", &["NOERROR aa", SOA]);
    check("my.web.query.consul. TXT", &["NOERROR aa", SOA]);
    let srv = ["10 SRV 1 1 8080 n1.node.dc1.consul.", "ad n1.node.dc1.consul. 10 A 10.0.0.1"];
    let owned = |owner: &str| format!("{owner} {}", srv[0]);
    for owner in ["my.web.query.consul.", "_one._tcp.query.consul."] {
        check(&format!("{owner} SRV"), &["NOERROR aa", &owned(owner), srv[1]]);
    }
    check(
        "geo-web-eu.query.consul. A",
        &["NOERROR aa", "geo-web-eu.query.consul. 5 A 10.0.0.1", "geo-web-eu.query.consul. 5 A 10.0.0.2"],
    );
    let id = "00000000-0000-0000-0000-000000000007";
    check(&format!("{id}.query.consul. A"), &["NOERROR aa", &format!("{id}.query.consul. 10 A 10.0.0.1")]);
    for absent in ["none.query", "nope.query", "geo-db-eu.query", "my.web.query.dc2"] {
        check(&format!("{absent}.consul. A"), &["NXDOMAIN aa", SOA]);
    }
}

/// Who is first, whatever the dice say.
fn first(
    store: &Store,
    name: &str,
    settings: &Settings,
    address: Option<IpAddr>,
    subnet: Option<IpAddr>,
) -> Vec<String> {
    let mut message = question(&format!("{name}.query.consul. A 1232"));
    if let Some(subnet) = subnet {
        let edns = message.edns.as_mut().expect("it speaks EDNS");
        edns.options_mut().insert(EdnsOption::Subnet(ClientSubnet::new(subnet, 32, 0)));
    }
    let bytes = message.to_vec().expect("encodes");
    let mut firsts: Vec<String> = Vec::new();
    for seed in 0..40 {
        let (mut out, asker) = (Vec::new(), Asker { transport: Transport::Udp, address });
        respond(&bytes, asker, settings, &Whole(store.clone()), &mut |sides| seed % sides, &mut out);
        let reply = Message::from_vec(&out).expect("decodes");
        assert_eq!((reply.metadata.response_code, reply.answers.len()), (ResponseCode::NoError, 2));
        if let Some(EdnsOption::Subnet(subnet)) = reply.edns.as_ref().and_then(|edns| edns.option(EdnsCode::Subnet)) {
            assert_eq!(subnet.scope_prefix(), 32, "good for this client only");
        }
        firsts.push(reply.answers[0].data.to_string());
    }
    firsts.sort();
    firsts.dedup();
    firsts
}

#[test]
fn the_nearest_is_first_and_without_one_everybody_is_at_times() {
    let store = catalog(TEXT);
    let settings = Settings { node: "n1".to_owned(), ..Settings::default() };
    let [n1, n2] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse::<IpAddr>().expect("an address"));
    assert_eq!(first(&store, "near", &settings, None, None), ["10.0.0.2"]);
    assert_eq!(first(&store, "here", &settings, Some(n2), None), ["10.0.0.1"]);
    assert_eq!(first(&store, "ip", &settings, Some(n2), None), ["10.0.0.2"]);
    assert_eq!(first(&store, "ip", &settings, Some(n2), Some(n1)), ["10.0.0.1"], "whom the resolver asks for");
    assert_eq!(first(&store, "ip", &settings, None, None), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(first(&store, "geo-web-eu", &settings, None, None), ["10.0.0.1", "10.0.0.2"]);
}
