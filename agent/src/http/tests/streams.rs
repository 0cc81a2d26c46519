//! What a stream of changes watches, and what it refuses to.

use super::{World, call, check, shown};
use crate::http::call::{Plan, Source};
use crate::http::watch::{Place, Watch};

#[test]
fn a_stream_names_its_watches() {
    let world = World::small();
    let watches = |text: &str| match world.plan(&call(text)) {
        Plan::Stream(Source::Watch(subscription)) => {
            let show = |watch: &Watch| format!("{} {}?{}", watch.name, watch.read.path, watch.read.params.encode());
            subscription.watches.iter().map(show).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(
        watches("GET /v1/watch?service=web&kv=a/b&key=c&checks=any&nodes&services&passing&stale&last-event-id=x"),
        [
            "service=web /v1/health/service/web?passing=&stale=",
            "kv=a/b /v1/kv/a%2Fb?passing=&recurse=&stale=",
            "key=c /v1/kv/c?passing=&stale=",
            "checks=any /v1/health/state/any?passing=&stale=",
            "nodes /v1/catalog/nodes?passing=&stale=",
            "services /v1/catalog/services?passing=&stale=",
        ]
    );
    assert_eq!(watches("GET /v1/watch?kv="), ["kv= /v1/kv/?recurse="]);
    let last = |text: &str| match world.plan(&call(text)) {
        Plan::Stream(Source::Watch(subscription)) => subscription.last,
        other => panic!("{other:?}"),
    };
    assert_eq!(last("GET /v1/watch?nodes"), None);
    assert_eq!(last("GET /v1/watch?nodes&last-event-id=hm"), Some(None));
    let place = Place { stream: 0xab, number: 3 };
    assert_eq!(last("GET /v1/watch?nodes&last-event-id=ab-2&last-event-id=ab-3"), Some(Some(place)));
    let many: String = (0..=2048).map(|number| format!("&key={number}")).collect();
    assert_eq!(watches(&format!("GET /v1/watch?{}", many.trim_start_matches("&key=0&"))).len(), 2048);
    let world = &mut World::small();
    for (text, expected) in [
        ("GET /v1/watch", "400 Nothing to watch: name something, as in /v1/watch?service=web&kv=app/"),
        ("GET /v1/watch?service=a&service=a", "400 service=a is named twice"),
        ("GET /v1/watch?service=", "400 service=: Missing service name"),
        ("GET /v1/watch?key=", "400 key=: Missing key name"),
        ("GET /v1/watch?key=%01", "400 key=\u{1}: no path can hold that name"),
        ("GET /v1/watch?nodes=x", "400 nodes takes no value; to watch one service, say service=x"),
        (
            "GET /v1/watch?checks=ill",
            "400 checks=ill: Invalid check state \"ill\": use any, passing, warning or critical",
        ),
        (
            "GET /v1/watch?nodes&passing&stale&consistent",
            "400 nodes: Cannot specify ?stale with ?consistent, conflicting semantics.",
        ),
        ("GET /v1/watch?nodes&dc=other", "500 nodes: No path to datacenter"),
        (
            "GET /v1/watch?nodes&index=5",
            "400 A stream takes no ?index and no ?wait: it begins with what is there and goes on",
        ),
        ("PUT /v1/watch?nodes", "405 method PUT not allowed"),
    ] {
        check(text, world, expected);
    }
    let unknown = shown(&world.ask("GET /v1/watch?servcie=a"));
    assert!(unknown.starts_with("400 Unknown parameter \"servcie\": a stream watches service=NAME"), "{unknown}");
    let filter = shown(&world.ask("GET /v1/watch?service=web&filter=Nope==1"));
    assert!(filter.starts_with("400 service=web: Failed to create boolean expression evaluator"), "{filter}");
    let too_many = format!("GET /v1/watch?{many}");
    check(&too_many, world, "400 2049 watches are too many for one stream: at most 2048");
}
