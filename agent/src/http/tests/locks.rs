//! Sessions, the locks they hold, and the sequencers that prove it.

use super::{ID, World, call, check, header};
use crate::http::call::{Form, Plan};
use lictor_catalog::{Command, Deregister, SessionCommand};

const FIRST: &str = "00000000-0000-0000-0000-00000000000b";

fn session(id: &str, index: u64) -> String {
    format!(
        r#"{{"ID":"{id}","Name":"","Node":"n1","LockDelay":15000000000,"Behavior":"release","TTL":"","NodeChecks":["serfHealth"],"ServiceChecks":null,"CreateIndex":{index},"ModifyIndex":{index}}}"#
    )
}

/// Makes a session with this body at the next index, and says its id.
fn created(world: &mut World, body: &str) -> String {
    let reply = world.ask(&format!("PUT /v1/session/create\n{body}"));
    assert_eq!(reply.status, 200, "{reply:?}");
    let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    body["ID"].as_str().unwrap().to_owned()
}

#[test]
fn a_session_is_shown_as_consul_shows_it() {
    let world = &mut World::small();
    check("GET /v1/session/list", world, "200 []");
    check("PUT /v1/session/create", world, &format!(r#"200 {{"ID":"{FIRST}"}}"#));
    let shown = format!("200 [{}]", session(FIRST, 11));
    for path in ["list", "node/N1", &format!("info/{FIRST}")] {
        check(&format!("GET /v1/session/{path}"), world, &shown);
    }
    let full = r#"{"Name":"l","Node":"N1","LockDelay":"1500ms","NodeChecks":[],"ServiceChecks":[{"ID":"service:web","Namespace":""}],"Behavior":"delete","TTL":"60s"}"#;
    let full = created(world, full);
    let all = r#"","Name":"l","Node":"n1","LockDelay":1500000000,"Behavior":"delete","TTL":"60s","NodeChecks":[],"ServiceChecks":[{"ID":"service:web","Namespace":""}],"CreateIndex":12,"ModifyIndex":12}]"#;
    let all = format!(r#"200 [{{"ID":"{full}{all}"#);
    check(&format!("GET /v1/session/info/{full}"), world, &all);
    check(&format!("PUT /v1/session/renew/{full}"), world, &all);
    check("GET /v1/session/node/other", world, "200 []");
    check("GET /v1/session/info/nobody", world, "200 []");
    check(&format!("PUT /v1/session/destroy/{full}?pretty"), world, "200 true\n");
    check(&format!("PUT /v1/session/destroy/{full}"), world, "200 true");
    check("PUT /v1/session/destroy/nobody", world, "200 true");
    check(&format!("GET /v1/session/info/{full}"), world, "200 []");
    check("GET /v1/session/list", world, &shown);
}

#[test]
fn the_body_of_a_session_is_read_as_consul_reads_it() {
    let world = &mut World::small();
    for (body, field, shown) in [
        (r#"{"LockDelay":20}"#, "LockDelay", "20000000000"),
        (r#"{"LockDelay":1500}"#, "LockDelay", "1500"),
        (r#"{"LockDelay":"0s"}"#, "LockDelay", "0"),
        (r#"{"Checks":[]}"#, "NodeChecks", "[]"),
        (r#"{"NodeChecks":[]}"#, "NodeChecks", "[]"),
        (r#"{"Checks":["serfHealth"]}"#, "NodeChecks", r#"["serfHealth"]"#),
        (r#"{"serviceChecks":[{"id":"service:web"}]}"#, "NodeChecks", r#"["serfHealth"]"#),
        (r#"{"ServiceChecks":[]}"#, "ServiceChecks", "null"),
        (r#"{"Behavior":""}"#, "Behavior", r#""release""#),
        (r#"{"TTL":"10s"}"#, "TTL", r#""10s""#),
        (r#"{"TTL":"0"}"#, "TTL", r#""0""#),
        (r#"{"TTL":"24h"}"#, "TTL", r#""24h""#),
        (r#"{"Node":"","Unknown":1}"#, "Node", r#""n1""#),
    ] {
        let id = created(world, body);
        let reply = world.ask(&format!("GET /v1/session/info/{id}"));
        let rows: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(rows[0][field].to_string(), shown, "{body}");
        assert_eq!(rows[0].get("Checks"), None);
    }
}

#[test]
fn what_makes_no_session_is_refused_in_consuls_words() {
    let world = &mut World::small();
    let range = "must be between [10s=24h0m0s]";
    for (body, refusal) in [
        ("{", "400 Request decode failed: EOF while parsing an object at line 1 column 1"),
        ("[]", "400 Request decode failed: expected a JSON object, got a list"),
        (r#"{"Node":7}"#, "400 Request decode failed: Node: expected a string, got a number"),
        (r#"{"LockDelay":"x"}"#, "400 Request decode failed: LockDelay: time: invalid duration \"x\""),
        (r#"{"LockDelay":-1}"#, "400 Request decode failed: LockDelay: -1 is out of range 0 to 9223372036854775807"),
        (r#"{"ServiceChecks":["a"]}"#, "400 Request decode failed: expected a JSON object, got a string"),
        (r#"{"Node":"other"}"#, "500 Missing node registration"),
        (r#"{"NodeChecks":["none"]}"#, "500 Missing check 'none' registration"),
        (r#"{"ServiceChecks":[{"ID":"none"}]}"#, "500 Missing check 'none' registration"),
        (r#"{"Behavior":"keep"}"#, "500 Invalid Behavior setting 'keep'"),
        (r#"{"TTL":"x"}"#, "500 Session TTL 'x' invalid: time: invalid duration \"x\""),
        (r#"{"TTL":"9.9s"}"#, &format!("500 Invalid Session TTL '9900000000', {range}")),
        (r#"{"TTL":"24h0m1s"}"#, &format!("500 Invalid Session TTL '86401000000000', {range}")),
    ] {
        check(&format!("PUT /v1/session/create\n{body}"), world, refusal);
    }
    world.ask("PUT /v1/catalog/register\n{\"Node\":\"n1\",\"SkipNodeUpdate\":true,\"Check\":{\"Name\":\"serfHealth\",\"Status\":\"critical\"}}");
    check("PUT /v1/session/create", world, "500 Check 'serfHealth' is in critical state");
    check("GET /v1/session/list", world, "200 []");
    for (ask, refusal) in [
        ("PUT /v1/session/create?dc=other", "500 No path to datacenter"),
        ("PUT /v1/session/destroy/", "400 Missing session"),
        ("PUT /v1/session/renew/", "400 Missing session"),
        ("GET /v1/session/info/", "400 Missing session"),
        ("GET /v1/session/node/", "400 Missing node name"),
        ("PUT /v1/session/renew/nobody", "404 Session id 'nobody' not found"),
        (&format!("PUT /v1/session/renew/{FIRST}"), &format!("404 Session id '{FIRST}' not found")),
        ("GET /v1/session/list?index=x", "400 Invalid index"),
    ] {
        check(ask, world, refusal);
    }
}

#[test]
fn a_session_is_of_the_agent_that_was_asked_first() {
    let world = World::small();
    let node = |agent: Option<&str>| {
        let mut call = call("PUT /v1/session/create");
        call.agent = agent.map(Into::into);
        match world.plan(&call) {
            Plan::Write(Command::Session(SessionCommand::Create(session)), _) => session.node.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((node(None), node(Some("client"))), ("n1".to_owned(), "client".to_owned()));
    let forwarded = crate::rpc::Forwarded::of(&call("GET /v1/session/list"), &"first".into(), 1, 1);
    let again = crate::rpc::Forwarded::of(&forwarded.call, &"second".into(), 2, 1);
    assert_eq!(again.call.agent.as_deref(), Some("first"));
}

#[test]
fn a_session_lives_twice_its_ttl_unless_it_is_to_be_exact() {
    let mut world = World::small();
    for (exact, lives_s) in [(false, 40), (true, 20)] {
        world.facts.session_ttl_exact = exact;
        match world.plan(&call("PUT /v1/session/create\n{\"TTL\":\"20s\"}")) {
            Plan::Write(Command::Session(SessionCommand::Create(session)), _) => {
                assert_eq!((session.ttl.span.as_secs(), session.ttl.text.as_str()), (lives_s, "20s"));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_key_is_locked_and_given_back() {
    let world = &mut World::small();
    let (a, b) = (created(world, ""), created(world, ""));
    let entry = |lock_index, flags, session: &str, at| {
        let session = if session.is_empty() { String::new() } else { format!(r#","Session":"{session}""#) };
        format!(
            r#"200 [{{"LockIndex":{lock_index},"Key":"k","Flags":{flags},"Value":"dg=="{session},"CreateIndex":13,"ModifyIndex":{at}}}]"#
        )
    };
    check(&format!("PUT /v1/kv/k?acquire={a}&flags=7\nv"), world, "200 true");
    check("GET /v1/kv/k", world, &entry(1, 7, &a, 13));
    check(&format!("PUT /v1/kv/k?acquire={b}\nother"), world, "200 false");
    // Equal writes move nothing; that of the holder is another acquisition only when it changes the value.
    check(&format!("PUT /v1/kv/k?acquire={a}&flags=7\nv"), world, "200 true");
    check("PUT /v1/kv/k?flags=7\nv", world, "200 true");
    check("GET /v1/kv/k", world, &entry(1, 7, &a, 13));
    check(&format!("PUT /v1/kv/k?acquire={a}&flags=8\nv"), world, "200 true");
    check("PUT /v1/kv/k?flags=9\nv", world, "200 true");
    check("GET /v1/kv/k", world, &entry(1, 9, &a, 18));
    check(&format!("PUT /v1/kv/k?release={b}\nv"), world, "200 false");
    check("PUT /v1/kv/k?release=nobody\nv", world, "200 false");
    check(&format!("PUT /v1/kv/none?release={a}"), world, "200 false");
    check(&format!("PUT /v1/kv/k?release={a}&flags=9\nv"), world, "200 true");
    check("GET /v1/kv/k", world, &entry(1, 9, "", 21));
    check(&format!("PUT /v1/kv/k?release={a}&flags=9\nv"), world, "200 false");
    check(&format!("PUT /v1/kv/k?acquire={b}\nv"), world, "200 true");
    check("GET /v1/kv/k", world, &entry(2, 0, &b, 23));
    check("DELETE /v1/kv/k", world, "200 true");
    check(&format!("PUT /v1/kv/k?acquire={a}\nv"), world, "200 true");
    for (ask, refusal) in [
        ("PUT /v1/kv/k?acquire=s", "500 invalid session \"s\""),
        ("PUT /v1/kv/k?acquire=", "500 missing session"),
        ("PUT /v1/kv/k?release", "500 missing session"),
        (&format!("PUT /v1/kv/k?acquire={ID}"), &format!("500 invalid session \"{ID}\"")),
        ("PUT /v1/kv/k?acquire=a&release=b", "400 Conflicting flags: acquire=a&release=b\n"),
        (&format!("PUT /v1/kv/?acquire={a}"), "400 Missing key name"),
        (&format!("PUT /v1/kv/k?acquire={a}&flags=x"), "500 strconv.ParseUint: parsing \"x\": invalid syntax"),
    ] {
        check(ask, world, refusal);
    }
}

#[test]
fn what_a_session_held_stays_free_for_its_lock_delay() {
    let world = &mut World::small();
    let (a, b) = (created(world, ""), created(world, r#"{"Behavior":"delete","LockDelay":"2m","NodeChecks":[]}"#));
    check(&format!("PUT /v1/kv/kept?acquire={a}\nv"), world, "200 true");
    check(&format!("PUT /v1/kv/gone?acquire={b}\nv"), world, "200 true");
    // Its check fails, and it is one of two that need it not.
    world.apply(Command::Deregister(Deregister::Check("n1".into(), "serfHealth".into())));
    check("GET /v1/kv/kept?raw", world, "200 v");
    check("GET /v1/kv/gone?raw", world, "200 v");
    world.apply(Command::Session(SessionCommand::Destroy(b.parse().unwrap())));
    check("GET /v1/kv/gone", world, "404 ");
    let c = created(world, r#"{"NodeChecks":[]}"#);
    for (time_ms, kept, gone) in
        [(1, false, false), (15_000, false, false), (15_001, true, false), (60_001, true, true)]
    {
        world.time_ms = time_ms;
        check(&format!("PUT /v1/kv/kept?acquire={c}"), world, &format!("200 {kept}"));
        check(&format!("PUT /v1/kv/gone?acquire={c}"), world, &format!("200 {gone}"));
    }
}

#[test]
fn a_stale_sequencer_writes_nothing() {
    let world = &mut World::small();
    let (a, b) = (created(world, ""), created(world, ""));
    check("GET /v1/lock/sequencer/", world, "400 Missing key name");
    check("GET /v1/lock/sequencer/l/k", world, "404 ");
    check(&format!("PUT /v1/kv/l/k?acquire={a}"), world, "200 true");
    let first = format!("1.{a}.l/k");
    check(
        "GET /v1/lock/sequencer/l/k",
        world,
        &format!(r#"200 {{"Sequencer":"{first}","Key":"l/k","LockIndex":1,"Session":"{a}"}}"#),
    );
    let reply = world.ask("GET /v1/lock/sequencer/l/k");
    assert_eq!(header(&reply, "x-consul-index"), Some("13"));
    // It guards any key, and every kind of write.
    check(&format!("PUT /v1/kv/data?sequencer={first}\n1"), world, "200 true");
    check(&format!("PUT /v1/kv/data?cas=0&sequencer={first}\n1"), world, "200 false");
    check(&format!("PUT /v1/kv/l/k?release={a}&sequencer={first}"), world, "200 true");
    let nobody = "409 stale sequencer: nobody holds the lock on \"l/k\" any more";
    check(&format!("PUT /v1/kv/data?sequencer={first}\n2"), world, nobody);
    check("GET /v1/lock/sequencer/l/k", world, "404 ");
    check(&format!("PUT /v1/kv/l/k?acquire={b}"), world, "200 true");
    let second = format!("2.{b}.l/k");
    let other = format!("409 stale sequencer: the lock on \"l/k\" is now held under the sequencer {second}");
    for ask in [
        "PUT /v1/kv/data?",
        "PUT /v1/kv/data?cas=14&",
        "DELETE /v1/kv/data?",
        "DELETE /v1/kv/data?cas=14&",
        "DELETE /v1/kv/?recurse&",
    ] {
        check(&format!("{ask}sequencer={first}"), world, &other);
    }
    check("GET /v1/kv/data?raw", world, "200 1");
    check(&format!("DELETE /v1/kv/data?sequencer={second}"), world, "200 true");
    check("GET /v1/kv/data", world, "404 ");
    // Locked anew by the same session it is another lock.
    check(&format!("PUT /v1/kv/l/k?release={b}"), world, "200 true");
    check(&format!("PUT /v1/kv/l/k?acquire={b}"), world, "200 true");
    let third = format!("409 stale sequencer: the lock on \"l/k\" is now held under the sequencer 3.{b}.l/k");
    check(&format!("PUT /v1/kv/data?sequencer={second}"), world, &third);
    let bad = "400 Invalid sequencer: not a sequencer: expected <lock index>.<session>.<key>, as \
               /v1/lock/sequencer/<key> gives it";
    for text in ["", "x", "1", &format!("1.{b}"), &format!("+1.{b}.k"), "1.nobody.k"] {
        check(&format!("PUT /v1/kv/data?sequencer={}", text.replace('+', "%2B")), world, bad);
    }
    match world.plan(&call("GET /v1/lock/sequencer/l/k?index=9&wait=1s&consistent")) {
        Plan::Read(read) => assert!(read.blocking.is_some() && read.encoding.form == Form::Sequencer),
        other => panic!("{other:?}"),
    }
}
