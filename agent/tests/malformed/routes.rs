//! Every endpoint of the route table, with ids, parameters and bodies that nobody should send.

use crate::corpus::measured;
use lictor_agent::http::route::{Body, ROUTES};
use lictor_agent::malformed::DECODERS;

const IDS: &[&str] = &[
    "",
    "web",
    ".",
    "..",
    "../../etc/passwd",
    "%2e%2e%2f%2e%2e",
    "%2F",
    "%00",
    "%ff%fe",
    "%",
    "%zz",
    "a//b",
    "geo-web/execute",
    "geo-web/explain",
    "a%20b",
    "web/",
    "%e2%80%a8",
    "%F0%9F%8E%83",
    "web?pretty",
    "web%3Fpretty",
];

const QUERIES: &[&str] = &[
    "",
    "?index=18446744073709551615&wait=9999999h",
    "?index=18446744073709551616",
    "?index=-1&wait=-1s",
    "?stale&consistent",
    "?stale=&max_stale=1e9s",
    "?cas=x&flags=-1",
    "?recurse&keys&raw&separator=%00",
    "?passing=maybe&tag=&tag=&node-meta=:&node-meta=a:b:c",
    "?limit=-9223372036854775808&near=_ip&connect=2",
    "?enable=2&reason=%ff",
    "?dc=dc2&token=%00&filter=(",
    "?;",
    "?a=%",
    "?&&&===",
];

const BODIES: &[&str] = &[
    "",
    "{",
    "{}",
    "[]",
    "null",
    "\"\u{0}\"",
    "{\"Name\":null,\"name\":\"a\",\"NAME\":\"b\"}",
    "{\"Name\":\"w\",\"Name\":7}",
    "{\"Name\":\"w\",\"Port\":-1}",
    "{\"Name\":\"w\",\"Port\":1e300}",
    "{\"Name\":\"w\",\"Check\":{\"Interval\":9223372036854775808,\"TTL\":\"9223372036854775807ns\"}}",
    "{\"Name\":\"..\",\"ID\":\"../../x\",\"Check\":{\"TTL\":\"1s\",\"CheckID\":\"%2f\"}}",
    "{\"Node\":\"\\u0000\",\"Address\":\"\\ud800\"}",
    "{\"Node\":\"n1\",\"Address\":\"x\",\"Service\":{\"Service\":\"\\u202e\"},\"Check\":{\"Name\":\"c\",\"Status\":\"passing\"}}",
    "{\"Node\":\"n1\",\"Address\":\"x\",\"ID\":\"not-a-uuid\"}",
    "{\"Name\":\"q\",\"Service\":{\"Service\":\"${match(9)}\",\"Failover\":{\"NearestN\":1e300}}}",
    "{\"Name\":\"q\",\"Template\":{\"Type\":\"name_prefix_match\",\"Regexp\":\"(a{999}){999}\"},\"Service\":{\"Service\":\"${\"}}",
    "{\"Status\":\"passing\",\"Output\":\"\\u0000\\u001b[2J\"}",
];

#[test]
fn every_endpoint_answers_whatever_it_is_asked() {
    let decoder = DECODERS.iter().find(|decoder| decoder.name == "http_call").unwrap();
    for target in ["/v1/openapi.json", "/v1/openapi.json?pretty"] {
        // What is made once a process is not any input's cost.
        let _ = (decoder.property)(format!("GET {target}\n\n").as_bytes());
    }
    let mut accepted = 0;
    for route in ROUTES {
        let ids = if route.pattern.id().is_some() { IDS } else { &IDS[..1] };
        let bodies = if route.body == Body::None { &BODIES[..1] } else { BODIES };
        for id in ids {
            for query in QUERIES {
                for body in bodies {
                    let call = format!("{} {}{query}\n\n{body}", route.method.as_str(), route.pattern.path(id));
                    accepted += usize::from(measured(decoder, call.as_bytes()).is_ok());
                }
            }
        }
    }
    assert!(accepted > ROUTES.len(), "the plain ones are accepted");
}
