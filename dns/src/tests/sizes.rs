//! What is cut, and what is kept, by transport and by what the client can take.

use super::fixture::{ask, catalog, question};
use crate::Settings;
use crate::message::Transport::{self, Tcp, Udp};
use hickory_proto::op::Message;
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use hickory_proto::rr::{RData, RecordType};
use std::collections::BTreeSet;
use std::fmt::Write;

fn many(instances: usize) -> String {
    (0..instances).fold(String::new(), |mut text, n| {
        let (high, low) = (n / 250, n % 250 + 1);
        writeln!(text, "node n{n} 10.0.{high}.{low} meta=some-key:some-value\nservice n{n} web web 80")
            .expect("a String");
        text
    })
}

fn get(instances: usize, settings: &Settings, query: &str, transport: Transport) -> (Vec<u8>, Message) {
    ask(&catalog(&many(instances)), settings, &question(query), transport)
}

/// How many answers come back, of how many there are.
fn check(instances: usize, settings: &Settings, query: &str, transport: Transport, expected: usize) -> Message {
    let (bytes, reply) = get(instances, settings, query, transport);
    assert_eq!(reply.answers.len(), expected, "{query} {transport:?}");
    let limit = match (transport, query.split_whitespace().nth(2)) {
        (Tcp, _) => 65535,
        (Udp, None) => 512,
        (Udp, Some(size)) => size.parse::<usize>().expect("a size").max(512),
    };
    assert!(bytes.len() <= limit, "{query} {transport:?}: {} > {limit}", bytes.len());
    reply
}

#[test]
fn plain_udp_gets_three_answers() {
    let settings = Settings::default();
    check(2, &settings, "web.service.consul. A", Udp, 2);
    check(10, &settings, "web.service.consul. A", Udp, 3);
    let reply = check(10, &settings, "web.service.consul. SRV", Udp, 3);
    assert!(reply.additionals.iter().all(|record| record.record_type() == RecordType::A), "the metadata goes first");
    assert_eq!(reply.additionals.len(), 3, "and what the answers point to stays");
    check(10, &Settings { udp_answer_limit: 5, ..Settings::default() }, "web.service.consul. A", Udp, 5);
    check(20, &Settings { udp_answer_limit: 99, ..Settings::default() }, "web.service.consul. A", Udp, 8);
    check(20, &Settings { udp_answer_limit: 0, ..Settings::default() }, "web.service.consul. A", Udp, 1);
}

#[test]
fn plain_udp_counts_uncompressed_bytes() {
    // Each answer is 51 bytes uncompressed, each address 35 beside a header and question of 36: 8 would be 724.
    let reply = check(20, &Settings { udp_answer_limit: 8, ..Settings::default() }, "web.service.consul. SRV", Udp, 5);
    assert_eq!(reply.additionals.len(), 5);
}

#[test]
fn edns_gives_room() {
    let settings = Settings::default();
    check(10, &settings, "web.service.consul. A 512", Udp, 3);
    check(10, &settings, "web.service.consul. A 100", Udp, 3);
    check(10, &settings, "web.service.consul. A 4096", Udp, 10);
    check(20, &settings, "web.service.consul. SRV 4096", Udp, 20);
    let reply = check(200, &settings, "web.service.consul. SRV 4096", Udp, 65);
    let targets = reply.answers.iter().filter_map(|record| match &record.data {
        RData::SRV(srv) => Some(&srv.target),
        _ => None,
    });
    let targets: BTreeSet<_> = targets.collect();
    assert_eq!(reply.additionals.len(), targets.len());
    assert!(reply.additionals.iter().all(|record| targets.contains(&record.name)));
}

#[test]
fn tcp_gives_all_that_a_message_holds() {
    let settings = Settings::default();
    check(10, &settings, "web.service.consul. A", Tcp, 10);
    check(600, &settings, "web.service.consul. A", Tcp, 600);
    // The encoder compresses the first few hundred names only, so that 64 KiB are full before Consul's counts are reached.
    check(1100, &settings, "web.service.consul. SRV", Tcp, 718);
    check(4200, &settings, "web.service.consul. A", Tcp, 1989);
}

#[test]
fn truncation_is_told_when_enabled() {
    let told = Settings { enable_truncate: true, ..Settings::default() };
    for (instances, settings, query, transport, expected) in [
        (10, &Settings::default(), "web.service.consul. A", Udp, false),
        (10, &told, "web.service.consul. A", Udp, true),
        (3, &told, "web.service.consul. A", Udp, false),
        (10, &told, "web.service.consul. A 4096", Udp, false),
        (10, &told, "web.service.consul. A", Tcp, false),
    ] {
        let (_, reply) = get(instances, settings, query, transport);
        assert_eq!(reply.metadata.truncation, expected, "{query} {transport:?}");
    }
}

#[test]
fn compression_is_a_switch() {
    let (compressed, _) = get(3, &Settings::default(), "web.service.consul. A", Udp);
    let plain = Settings { disable_compression: true, ..Settings::default() };
    let (plain, reply) = get(3, &plain, "web.service.consul. A", Udp);
    assert_eq!((compressed.len(), plain.len()), (36 + 3 * 16, 36 + 3 * 34));
    assert_eq!(reply.answers.len(), 3);
}

#[test]
fn metadata_that_does_not_fit_is_left_out() {
    let meta: String = (0..30).map(|n| format!(" meta=a-rather-long-key-{n}:value")).collect();
    let store = catalog(&format!("node n1 10.0.0.1{meta}"));
    let (bytes, reply) = ask(&store, &Settings::default(), &question("n1.node.consul. A"), Udp);
    assert!(bytes.len() <= 512);
    assert_eq!((reply.answers.len(), reply.additionals.len()), (1, 0));
    let (_, reply) = ask(&store, &Settings::default(), &question("n1.node.consul. A"), Tcp);
    assert_eq!(reply.additionals.len(), 30);
}

#[test]
fn edns_is_echoed_with_its_subnet() {
    let mut asked = question("web.service.consul. A 1232");
    let subnet = ClientSubnet::new([192, 0, 2, 0].into(), 24, 24);
    asked.edns.as_mut().expect("set").options_mut().insert(EdnsOption::Subnet(subnet));
    for instances in [1, 0] {
        let (_, reply) = ask(&catalog(&many(instances)), &Settings::default(), &asked, Udp);
        let edns = reply.edns.expect("echoed");
        assert_eq!(edns.max_payload(), 1232);
        let Some(EdnsOption::Subnet(found)) = edns.option(EdnsCode::Subnet) else { panic!("no subnet") };
        assert_eq!((found.addr(), found.source_prefix(), found.scope_prefix()), (subnet.addr(), 24, 0));
    }
    let (_, reply) = get(1, &Settings::default(), "web.service.consul. A", Udp);
    assert!(reply.edns.is_none());
}

#[test]
fn every_instance_gets_its_turn() {
    use super::fixture::Whole;
    use crate::message::respond;
    let source = Whole(catalog(&many(10)));
    let bytes = question("web.service.consul. A").to_vec().expect("encodes");
    let (mut seen, mut state, mut out) = (BTreeSet::new(), 1u64, Vec::new());
    for _ in 0..200 {
        let mut dice = |sides: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % sides
        };
        respond(&bytes, Udp, &Settings::default(), &source, &mut dice, &mut out);
        let reply = Message::from_vec(&out).expect("decodes");
        let given = reply.answers.iter().filter_map(|record| match record.data {
            RData::A(address) => Some(address.0),
            _ => None,
        });
        let given: BTreeSet<_> = given.collect();
        assert_eq!(given.len(), 3, "no instance twice");
        seen.extend(given);
    }
    assert_eq!(seen.len(), 10);
}

#[test]
fn one_answer_that_is_too_large_is_asked_for_again_over_tcp() {
    let store = catalog(&format!("node n1 10.0.0.1 meta=k:{}", "v".repeat(1300)));
    let asked = |transport| ask(&store, &Settings::default(), &question("n1.node.consul. TXT 1232"), transport);
    let (bytes, reply) = asked(Udp);
    assert!(bytes.len() <= 1232, "{}", bytes.len());
    assert_eq!((reply.answers.len(), reply.metadata.truncation), (0, true));
    let (_, reply) = asked(Tcp);
    assert_eq!((reply.answers.len(), reply.metadata.truncation), (1, false));
}
