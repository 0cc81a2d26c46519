//! Large inputs: what they cost grows with their size and no faster. They are made here, not stored.

use crate::corpus::{inputs, measured};
use lictor_agent::malformed::DECODERS;

const SIZE: usize = 64 << 10;

/// Each stored input again and again, and each half of it, up to the size.
#[test]
fn repetition_costs_in_proportion() {
    for decoder in DECODERS {
        for input in inputs(decoder) {
            let bytes = &input.bytes[..input.bytes.len().min(SIZE)];
            let half = bytes.len() / 2;
            for (head, piece, tail) in [
                (&[][..], bytes, &[][..]),
                (&bytes[..half], &bytes[half..], &[][..]),
                (&[][..], &bytes[..half], &bytes[half..]),
                (&bytes[..half], &bytes[half..(half + 1).min(bytes.len())], &bytes[half..]),
            ] {
                if !piece.is_empty() {
                    let _ = measured(decoder, &[head, &piece.repeat(SIZE / piece.len()), tail].concat());
                }
            }
        }
    }
}

#[track_caller]
fn check(decoder: &str, bytes: &[u8], accepted: bool) {
    let decoder = DECODERS.iter().find(|known| known.name == decoder).unwrap();
    let verdict = measured(decoder, bytes);
    assert_eq!(verdict.is_ok(), accepted, "{}: {verdict:?}", decoder.name);
}

#[test]
fn nesting_is_refused_before_the_stack_ends() {
    const DEEP: usize = 100_000;
    check("config_hcl", "a {".repeat(DEEP).as_bytes(), false);
    check("config_hcl", format!("a = {}", "[".repeat(DEEP)).as_bytes(), false);
    check("config_json", "{\"a\":".repeat(DEEP).as_bytes(), false);
    check("http_json", "[".repeat(DEEP).as_bytes(), false);
    let body = format!("PUT /v1/agent/service/register\n\n{}", "{\"Check\":".repeat(DEEP));
    check("http_call", body.as_bytes(), false);
}

#[test]
fn many_of_one_thing_are_read_once_each() {
    const MANY: usize = 20_000;
    let list = |open: &str, one: &str, close: &str| format!("{open}{}{close}", vec![one; MANY].join(","));
    check("config_hcl", "s { n = 1 }\n".repeat(MANY).as_bytes(), true);
    check("config_json", list("{", "\"a\":1", "}").as_bytes(), true);
    let keys: Vec<String> = (0..MANY).map(|at| format!("\"k{at}\":0")).collect();
    for route in ["agent/service/register", "agent/check/register", "catalog/register", "catalog/deregister"] {
        let call = format!("PUT /v1/{route}\n\n{{{}}}", keys.join(","));
        check("http_call", call.as_bytes(), false);
    }
    let tags = list("PUT /v1/agent/service/register\n\n{\"Name\":\"w\",\"Tags\":[", "\"t\"", "]}");
    check("http_call", tags.as_bytes(), true);
    let checks = list("PUT /v1/agent/service/register\n\n{\"Name\":\"w\",\"Checks\":[", r#"{"TTL":"1s"}"#, "]}");
    check("http_call", checks.as_bytes(), true);
    check("http_call", format!("GET /v1/catalog/nodes?{}\n\n", "stale&".repeat(5_000)).as_bytes(), true);
}

/// CVE-2025-11392 and its kin: a key is a key, however long and whatever it looks like.
#[test]
fn keys_of_sixty_four_kilobytes_are_keys() {
    let key = "../%2e%2e%2f".repeat(SIZE / 12);
    check("http_call", format!("PUT /v1/kv/{}\n\nvalue", &key[..60_000]).as_bytes(), true);
    check("catalog_entry", &vec![1; 4 * SIZE], false);
}
