//! Messages that nobody should send.

use super::fixture::{Whole, catalog, question, written};
use crate::Settings;
use crate::message::{Outcome, Transport, respond};
use crate::source::{Source, Unavailable};
use hickory_proto::op::{Message, OpCode};
use lictor_catalog::Store;
use lictor_catalog::store::Scope;
use proptest::prelude::*;

fn answer(bytes: &[u8]) -> Option<Vec<u8>> {
    let source = Whole(catalog("node n1 10.0.0.1\nservice n1 web web 80"));
    let mut out = Vec::new();
    match respond(bytes, Transport::Udp, &Settings::default(), &source, &mut |_| 0, &mut out) {
        Outcome::Dropped => None,
        Outcome::Replied => Some(out),
        Outcome::Fetch(..) => panic!("the source has it all"),
    }
}

fn check(bytes: &[u8], expected: Option<&str>) {
    let reply = answer(bytes).map(|reply| written(&Message::from_vec(&reply).expect("decodes")));
    assert_eq!(reply.as_deref(), expected, "{bytes:?}");
}

#[test]
fn replies_are_not_answered() {
    let bytes = question("web.service.consul. A").to_vec().expect("encodes");
    let reply = answer(&bytes).expect("answered");
    check(&reply, None);
    // Nor is a reply that does not decode: the error would be answered by an error, and so on.
    check(&reply[..reply.len() - 1], None);
    check(&[], None);
    check(&bytes[..11], None);
}

#[test]
fn what_does_not_decode_is_refused_by_its_header() {
    let bytes = question("web.service.consul. A").to_vec().expect("encodes");
    check(&bytes[..12], Some("FORMERR"));
    check(&bytes[..20], Some("FORMERR"));
    let mut empty = bytes[..12].to_vec();
    empty[5] = 0;
    check(&empty, Some("FORMERR"));
    let mut greedy = bytes.clone();
    greedy[4..12].fill(0xff);
    check(&greedy, Some("FORMERR"));
    let mut update = question("web.service.consul. A");
    update.metadata.op_code = OpCode::Notify;
    check(&update.to_vec().expect("encodes"), Some("NOTIMP"));
}

#[test]
fn a_catalog_that_cannot_be_asked_is_a_failure_not_an_empty_truth() {
    struct Gone;
    impl Source for Gone {
        type Held = Box<Store>;
        fn load(&self, _: &Scope) -> Result<Option<Box<Store>>, Unavailable> {
            Err(Unavailable)
        }
        async fn fetch(&self, _: Scope) -> Result<Box<Store>, Unavailable> {
            Err(Unavailable)
        }
        fn now_unix(&self) -> u32 {
            0
        }
    }
    let mut out = Vec::new();
    for (query, expected) in [
        ("web.service.consul. A", "SERVFAIL aa"),
        ("consul. SOA", "SERVFAIL aa"),
        ("0a000001.addr.consul. A", "NOERROR aa\n0a000001.addr.consul. 0 A 10.0.0.1"),
        ("example.com. A", "REFUSED"),
    ] {
        let bytes = question(query).to_vec().expect("encodes");
        respond(&bytes, Transport::Udp, &Settings::default(), &Gone, &mut |_| 0, &mut out);
        assert_eq!(written(&Message::from_vec(&out).expect("decodes")), expected, "{query}");
    }
}

proptest! {
    /// Whatever comes: no panic, and a reply, if any, that decodes, carries the id, and is itself not answered.
    #[test]
    fn noise_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        reply_is_sound(&bytes)?;
    }

    #[test]
    fn damaged_questions_do_no_harm(
        name in "[a-z0-9_.-]{0,40}",
        kind in any::<u16>(),
        changes in proptest::collection::vec((0usize..80, any::<u8>()), 0..6),
    ) {
        let mut bytes = question("web.service.consul. SRV 1232").to_vec().expect("encodes");
        let labels: Vec<&str> = name.split('.').filter(|label| !label.is_empty()).collect();
        let mut asked: Vec<u8> = bytes[..12].to_vec();
        for label in labels.iter().chain(&["service", "consul"]) {
            asked.push(label.len() as u8);
            asked.extend_from_slice(label.as_bytes());
        }
        asked.push(0);
        asked.extend_from_slice(&kind.to_be_bytes());
        asked.extend_from_slice(&bytes.split_off(bytes.len() - 13));
        for (at, value) in changes {
            if let Some(byte) = asked.get_mut(at) {
                *byte = value;
            }
        }
        reply_is_sound(&asked)?;
    }
}

fn reply_is_sound(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Some(reply) = answer(bytes) {
        let decoded = Message::from_vec(&reply);
        prop_assert!(decoded.is_ok(), "{decoded:?}");
        prop_assert_eq!(&reply[..2], &bytes[..2]);
        prop_assert_eq!(answer(&reply), None);
    }
    Ok(())
}
