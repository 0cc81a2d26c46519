use super::feed::{Feed, Shape, Strange};
use super::{Place, Subscription, Watch};
use crate::http::call::{Call, Method, Reply};
use crate::http::params::Params;

fn call(path: &str) -> Call {
    Call::new(Method::Get, path, Params::default())
}

fn watch(name: &str, shape: Shape) -> Watch {
    Watch { name: name.to_owned(), shape, read: call(name) }
}

fn subscription(last: Option<Option<Place>>) -> Subscription {
    Subscription { watches: vec![watch("kv=a", Shape::Keys), watch("service=web", Shape::Health)], last }
}

/// Keys with values, as the endpoint shows them.
fn keys(pairs: &[(&str, u32)]) -> Reply {
    let rows: Vec<String> = pairs.iter().map(|(key, value)| format!("{{\"Key\":{key:?},\"Value\":{value}}}")).collect();
    Reply::json(format!("[{}]", rows.join(",")))
}

/// The events of a text, each as `number kind data` without the watch.
fn events(text: &str) -> Vec<String> {
    let event = |text: &str| {
        let lines: Vec<&str> = text.lines().collect();
        let number = lines[0].strip_prefix("id: 00000000000000ab-").expect("an id of this stream");
        let kind = lines[1].strip_prefix("event: ").expect("a kind");
        let data: Vec<&str> = lines[2..].iter().map(|line| line.strip_prefix("data: ").expect("data")).collect();
        format!("{number} {kind} {}", data.join("\n"))
    };
    text.split_terminator("\n\n").map(event).collect()
}

struct Bench(Feed);

impl Bench {
    fn new() -> Self {
        Self(Feed::new(0xab, subscription(None)))
    }

    #[track_caller]
    fn check(&mut self, pairs: &[(&str, u32)], expected: &[&str]) {
        let told = events(&self.0.answered(0, &keys(pairs)).expect("rows"));
        let told: Vec<String> = told.iter().map(|event| event.replace("\"Watch\":\"kv=a\",", "")).collect();
        assert_eq!(told, expected);
    }

    #[track_caller]
    fn resume(&mut self, number: u64, expected: bool) {
        let Subscription { watches, .. } = subscription(None);
        assert_eq!(self.0.resume(Place { stream: 0xab, number }, &watches), expected, "from {number}");
    }
}

#[test]
fn first_the_whole_then_what_differs() {
    let mut bench = Bench::new();
    let whole = r#"1 snapshot {"Reason":"start","Rows":[{"Key":"a","Value":1},{"Key":"b","Value":1}]}"#;
    bench.check(&[("a", 1), ("b", 1)], &[whole]);
    bench.check(&[("a", 1), ("b", 1)], &[]);
    bench.check(
        &[("a", 2), ("c", 1)],
        &[
            r#"2 delete {"Key":"b"}"#,
            r#"3 set {"Key":"a","Row":{"Key":"a","Value":2}}"#,
            r#"4 set {"Key":"c","Row":{"Key":"c","Value":1}}"#,
        ],
    );
    bench.check(&[("a", 2), ("b", 1), ("c", 1)], &[r#"5 set {"Key":"b","Row":{"Key":"b","Value":1}}"#]);
    let missing = bench.0.answered(0, &Reply::empty(404)).expect("a prefix that is gone");
    assert_eq!(events(&missing).len(), 3);
    bench.check(&[], &[]);
}

#[test]
fn who_comes_back_gets_what_he_missed_and_no_more() {
    let mut bench = Bench::new();
    bench.check(&[("a", 1), ("b", 1), ("c", 1)], &[
        r#"1 snapshot {"Reason":"start","Rows":[{"Key":"a","Value":1},{"Key":"b","Value":1},{"Key":"c","Value":1}]}"#,
    ]);
    bench.check(&[("a", 2), ("b", 1), ("c", 1)], &[r#"2 set {"Key":"a","Row":{"Key":"a","Value":2}}"#]);
    bench.check(&[("a", 2), ("c", 1)], &[r#"3 delete {"Key":"b"}"#]);
    bench.check(&[("a", 2), ("c", 2)], &[r#"4 set {"Key":"c","Row":{"Key":"c","Value":2}}"#]);
    bench.resume(4, true);
    bench.check(&[("a", 2), ("c", 2)], &[]);
    // The deletion and what followed were lost on the way; numbers are not used again.
    bench.resume(2, true);
    bench
        .check(&[("a", 2), ("c", 2)], &[r#"5 delete {"Key":"b"}"#, r#"6 set {"Key":"c","Row":{"Key":"c","Value":2}}"#]);
    // Meanwhile it came back, as it had been.
    bench.resume(2, true);
    bench.check(
        &[("a", 2), ("b", 1), ("c", 2)],
        &[r#"7 set {"Key":"b","Row":{"Key":"b","Value":1}}"#, r#"8 set {"Key":"c","Row":{"Key":"c","Value":2}}"#],
    );
    // Not even the whole had arrived.
    bench.resume(0, true);
    bench.check(&[("a", 2)], &[r#"9 snapshot {"Reason":"start","Rows":[{"Key":"a","Value":2}]}"#]);
}

#[test]
fn a_place_of_elsewhere_is_none() {
    let mut bench = Bench::new();
    bench.check(&[], &[r#"1 snapshot {"Reason":"start","Rows":[]}"#]);
    bench.resume(2, false);
    let Subscription { watches, .. } = subscription(None);
    assert!(!bench.0.resume(Place { stream: 0xac, number: 1 }, &watches));
    assert!(!bench.0.resume(Place { stream: 0xab, number: 1 }, &watches[..1]), "other watches");
    bench.resume(1, true);
    let mut other = Feed::new(0xab, subscription(Some(Some(Place { stream: 7, number: 1 }))));
    let told = other.answered(0, &keys(&[])).expect("rows");
    assert!(told.contains(r#""Reason":"unknown""#), "{told}");
}

#[test]
fn too_many_deletions_are_forgotten_and_said_so() {
    let mut bench = Bench::new();
    let all: Vec<(String, u32)> = (0..1200).map(|number| (format!("k{number:04}"), 1)).collect();
    let all: Vec<(&str, u32)> = all.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    // Not so many at once that the whole is sent instead.
    for rest in (0..=all.len()).step_by(100) {
        bench.0.answered(0, &keys(&all[rest..])).expect("rows");
    }
    assert_eq!(bench.0.len(), 1024, "the last deletions are remembered");
    bench.resume(1, false);
    bench.resume(176, false);
    bench.resume(1101, true);
    let told = events(&bench.0.answered(0, &keys(&[])).expect("rows"));
    assert_eq!(told.len(), 100);
    assert!(told[0].ends_with(r#" delete {"Watch":"kv=a","Key":"k1100"}"#), "{}", told[0]);
    bench.resume(277, true);
    let told = events(&bench.0.answered(0, &keys(&[])).expect("rows"));
    assert_eq!(told.len(), 1, "the whole of nothing is shorter than 924 deletions");
    assert!(told[0].ends_with(r#" snapshot {"Watch":"kv=a","Reason":"much","Rows":[]}"#), "{}", told[0]);
}

#[test]
fn when_much_changed_the_whole_is_sent() {
    let mut bench = Bench::new();
    let version = |version: u32, changed: usize| -> Vec<(String, u32)> {
        (0..300).map(|number| (format!("k{number:03}"), if number < changed { version } else { 1 })).collect()
    };
    let mut told = |rows: &[(String, u32)]| {
        let rows: Vec<(&str, u32)> = rows.iter().map(|(key, value)| (key.as_str(), *value)).collect();
        events(&bench.0.answered(0, &keys(&rows)).expect("rows"))
    };
    told(&version(1, 0));
    assert_eq!(told(&version(2, 150)).len(), 150, "half");
    let whole = told(&version(3, 151));
    assert_eq!(whole.len(), 1);
    assert!(whole[0].starts_with(r#"152 snapshot {"Watch":"kv=a","Reason":"much","Rows":[{"#), "{}", &whole[0][..60]);
    assert_eq!(told(&version(3, 151)), [""; 0]);
    assert_eq!(told(&version(3, 151)[..150]).len(), 150, "half of them went");
    let all = version(4, 300);
    told(&all);
    let whole = told(&all[..149]);
    assert_eq!(whole.len(), 1, "more than half of them went");
    assert!(whole[0].contains(r#" snapshot {"Watch":"kv=a","Reason":"much","Rows":[{"#), "{}", &whole[0][..60]);
}

#[test]
fn rows_are_named_by_what_they_are() {
    let instance = r#"{"Node":{"ID":"","Node":"a/b%"},"Service":{"ID":"web/1","Service":"web"},"Checks":[]}"#;
    for (shape, body, key) in [
        (Shape::Health, format!("[{instance}]"), "a%2Fb%25/web/1"),
        (Shape::Keys, r#"[{"LockIndex":0,"Key":"a\u003cb","Value":null}]"#.to_owned(), "a<b"),
        (Shape::Checks, r#"[{"Node":"n1","CheckID":"c1"}]"#.to_owned(), "n1/c1"),
        (Shape::Nodes, r#"[{"ID":"","Node":"n1"}]"#.to_owned(), "n1"),
        (Shape::Names, r#"{"web":["v1"]}"#.to_owned(), "web"),
    ] {
        let subscription = Subscription { watches: vec![watch("x", shape)], last: None };
        let mut feed = Feed::new(0xab, subscription);
        feed.answered(0, &Reply::json(body)).expect("rows");
        let empty = Reply::json(if shape == Shape::Names { "{}" } else { "[]" });
        let told = events(&feed.answered(0, &empty).expect("rows"));
        assert_eq!(told, [format!("2 delete {{\"Watch\":\"x\",\"Key\":{key:?}}}")], "{shape:?}");
        for broken in ["", "{", "7", r#"[{"X":1}]"#, "null"] {
            assert_eq!(feed.answered(0, &Reply::json(broken)), Err(Strange), "{shape:?} {broken}");
        }
        assert_eq!(feed.answered(9, &empty), Ok(String::new()), "a watch that is none");
    }
}

#[test]
fn indented_rows_are_lines_of_data() {
    let mut feed = Feed::new(0xab, subscription(None));
    let told = feed.answered(0, &Reply::json("[\n    {\n        \"Key\": \"a\"\n    }\n]\n")).expect("rows");
    assert!(told.lines().filter(|line| !line.is_empty()).all(|line| line.contains(": ")), "{told}");
    assert!(events(&told)[0].ends_with("\"Rows\":[\n    {\n        \"Key\": \"a\"\n    }\n]}"), "{told}");
}

#[test]
fn ids_are_read_as_they_are_written() {
    assert_eq!(Place::parse("00000000000000ab-17"), Some(Place { stream: 0xab, number: 17 }));
    for bad in ["", "-", "ab", "ab-", "-1", "xy-1", "ab--1", "1234567890123456789-1"] {
        assert_eq!(Place::parse(bad), None, "{bad}");
    }
}
