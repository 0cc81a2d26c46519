//! Prepared queries: as they are written, shown, refused and carried out.

use super::{CHECK, NODE, SERF, SERVICE, World, call, check, header, shown};
use crate::http::call::{Plan, Subject};
use lictor_catalog::{Execution, Query};

const FIRST: &str = "00000000-0000-0000-0000-00000000000b";
const SECOND: &str = "00000000-0000-0000-0000-00000000000c";

/// A definition as it is shown, with this name, `Template`, `Service` and indexes.
fn definition(name: &str, template: &str, service: &str, index: (u64, u64)) -> String {
    format!(
        r#"{{"ID":"{FIRST}","Name":"{name}","Session":"","Token":"","Template":{template},"Service":{service},"DNS":{{"TTL":""}},"CreateIndex":{},"ModifyIndex":{}}}"#,
        index.0, index.1
    )
}

const NO_TEMPLATE: &str = r#"{"Type":"","Regexp":"","RemoveEmptyTags":false}"#;

/// A `Service` of which only the name is set.
fn plain(service: &str) -> String {
    format!(
        r#"{{"Service":"{service}","Failover":{{"NearestN":0,"Datacenters":null,"Targets":null}},"OnlyPassing":false,"IgnoreCheckIDs":null,"Near":"","Tags":null,"NodeMeta":null,"ServiceMeta":null,"Connect":false}}"#
    )
}

/// What carrying out a query for `web` answers when it finds these nodes.
fn executed(nodes: &str) -> String {
    format!(r#"200 {{"Service":"web","Nodes":[{nodes}],"DNS":{{"TTL":""}},"Datacenter":"dc1","Failovers":0}}"#)
}

#[test]
fn a_query_is_written_shown_changed_and_deleted() {
    let world = &mut World::small();
    check("GET /v1/query", world, "200 []");
    let made = format!(r#"200 {{"ID":"{FIRST}"}}"#);
    check("POST /v1/query\n{\"Name\":\"my-web\",\"Service\":{\"Service\":\"web\"}}", world, &made);
    let one = format!("200 [{}]", definition("my-web", NO_TEMPLATE, &plain("web"), (11, 11)));
    for path in ["query", &format!("query/{FIRST}")] {
        check(&format!("GET /v1/{path}"), world, &one);
    }
    let body = r#"{"ID":"ignored","name":"my-web","Token":"t","Template":{"RemoveEmptyTags":true,"Regexp":"x"},"Service":{"service":"db","failover":{"NearestN":3,"Datacenters":["dc2","dc3"],"Targets":[]},"OnlyPassing":true,"IgnoreCheckIDs":["c"],"Near":"_agent","Tags":["a","!b"],"NodeMeta":{"consul-k":"v"},"ServiceMeta":{"x":"y"},"Connect":true},"DNS":{"TTL":"60s"}}"#;
    check(&format!("PUT /v1/query/{FIRST}\n{body}"), world, "200 ");
    let full = format!(
        r#"200 [{{"ID":"{FIRST}","Name":"my-web","Session":"","Token":"t","Template":{{"Type":"","Regexp":"x","RemoveEmptyTags":true}},"Service":{{"Service":"db","Failover":{{"NearestN":3,"Datacenters":["dc2","dc3"],"Targets":null}},"OnlyPassing":true,"IgnoreCheckIDs":["c"],"Near":"_agent","Tags":["a","!b"],"NodeMeta":{{"consul-k":"v"}},"ServiceMeta":{{"x":"y"}},"Connect":true}},"DNS":{{"TTL":"60s"}},"CreateIndex":11,"ModifyIndex":12}}]"#
    );
    check("GET /v1/query", world, &full);
    check(&format!("PUT /v1/query/{FIRST}\n{body}"), world, "200 ");
    check("GET /v1/query", world, &full);
    assert_eq!(header(&world.ask("GET /v1/query"), "x-consul-index"), Some("12"), "an equal write moves nothing");
    check(&format!("DELETE /v1/query/{FIRST}"), world, "200 ");
    let gone = world.ask(&format!("GET /v1/query/{FIRST}"));
    assert_eq!(shown(&gone), "404 Query not found");
    assert_eq!(header(&gone, "x-consul-index"), Some("14"), "deleting is a change");
    check("GET /v1/query", world, "200 []");
    let missing = format!("500 Cannot modify non-existent prepared query: '{FIRST}'");
    check(&format!("DELETE /v1/query/{FIRST}"), world, &missing);
    check(&format!("PUT /v1/query/{FIRST}\n{body}"), world, &missing);
}

#[test]
fn targets_and_sessions_are_kept() {
    let world = &mut World::small();
    world.ask("PUT /v1/session/create");
    let body = format!(
        r#"{{"Session":"{FIRST}","Service":{{"Service":"web","Failover":{{"Targets":[{{"Peer":"p"}},{{"Datacenter":"dc2"}}]}}}}}}"#
    );
    check(&format!("POST /v1/query\n{body}"), world, &format!(r#"200 {{"ID":"{SECOND}"}}"#));
    let reply = shown(&world.ask(&format!("GET /v1/query/{SECOND}")));
    assert!(reply.contains(&format!(r#""Name":"","Session":"{FIRST}""#)), "{reply}");
    assert!(reply.contains(r#""Targets":[{"Peer":"p","Datacenter":""},{"Peer":"","Datacenter":"dc2"}]"#), "{reply}");
    world.ask(&format!("PUT /v1/session/destroy/{FIRST}"));
    check("GET /v1/query", world, "200 []");
}

#[test]
fn a_query_is_carried_out_by_name_and_by_id() {
    let world = &mut World::small();
    world.ask("POST /v1/query\n{\"Name\":\"my-web\",\"Service\":{\"Service\":\"web\"}}");
    let found = executed(&format!(r#"{{"Node":{NODE},"Service":{SERVICE},"Checks":[{SERF},{CHECK}]}}"#));
    for name in ["my-web", "MY-WEB", FIRST] {
        check(&format!("GET /v1/query/{name}/execute?limit=3&near=_agent&index=99"), world, &found);
    }
    check("GET /v1/query/my-web/execute?limit=0&connect=false", world, &found);
    check("GET /v1/query/my-web/execute?limit=-1", world, &found);
    check("GET /v1/query/my-web/execute?connect=true", world, &executed(""));
    assert_eq!(
        header(&world.ask("GET /v1/query/my-web/execute?stale"), "x-consul-effective-consistency"),
        Some("stale")
    );
    world.ask("PUT /v1/catalog/register\n{\"Node\":\"n1\",\"SkipNodeUpdate\":true,\"Check\":{\"CheckID\":\"service:web\",\"ServiceID\":\"web\",\"Status\":\"critical\"}}");
    check("GET /v1/query/my-web/execute", world, &executed(""));
    world.ask(&format!(
        "PUT /v1/query/{FIRST}\n{{\"Name\":\"my-web\",\"Service\":{{\"Service\":\"web\",\"IgnoreCheckIDs\":[\"service:web\"],\"Failover\":{{\"Datacenters\":[\"dc9\"]}}}}}}"
    ));
    let reply = shown(&world.ask("GET /v1/query/my-web/execute"));
    assert!(reply.contains(r#""Node":"n1""#) && reply.ends_with(r#""Datacenter":"dc1","Failovers":0}"#), "{reply}");
    for name in ["nobody", SECOND] {
        check(&format!("GET /v1/query/{name}/execute"), world, "404 Query not found");
        check(&format!("GET /v1/query/{name}/explain"), world, "404 Query not found");
    }
}

#[test]
fn who_asks_is_told_to_whoever_carries_it_out() {
    let world = World::small();
    let mut asked = call("GET /v1/query/a/b/execute?near=_ip&limit=7&connect=1&stale&index=5");
    (asked.agent, asked.source) = (Some("client".into()), Some([10, 0, 0, 7].into()));
    let Plan::Read(read) = world.plan(&asked) else { panic!("a read") };
    assert_eq!(read.blocking, None, "nobody waits for it");
    let execution = Execution {
        name: "a/b".to_owned(),
        near: "_ip".to_owned(),
        agent: "client".to_owned(),
        source: asked.source,
        connect: true,
        limit: 7,
        seed: 0,
    };
    assert_eq!(read.subject, Subject::Catalog(Query::Execute(execution)));
    let Plan::Read(read) = world.plan(&call("GET /v1/query?index=5")) else { panic!("a read") };
    assert!(read.blocking.is_some(), "lists are waited for");
}

#[test]
fn templates_are_filled_in_from_the_name() {
    let world = &mut World::small();
    let body = r#"{"Name":"geo-","Template":{"Type":"name_prefix_match","Regexp":"^geo-(.*?)-(.*)$","RemoveEmptyTags":true},"Service":{"Service":"${match(1)}","Tags":["${match(2)}","${agent.segment}"],"Near":"${name.suffix}"}}"#;
    check(&format!("POST /v1/query\n{body}"), world, &format!(r#"200 {{"ID":"{FIRST}"}}"#));
    let template = r#"{"Type":"name_prefix_match","Regexp":"^geo-(.*?)-(.*)$","RemoveEmptyTags":true}"#;
    let service = plain("web").replace(r#""Near":"","Tags":null"#, r#""Near":"web-v1","Tags":["v1"]"#);
    let explained = format!(r#"200 {{"Query":{}}}"#, definition("geo-", template, &service, (11, 11)));
    check("GET /v1/query/geo-web-v1/explain", world, &explained);
    check("GET /v1/query/geo-web-v1/execute", world, &executed(""));
    let reply = shown(&world.ask("GET /v1/query/geo-web-a%3Cb/execute"));
    assert!(reply.starts_with(r#"200 {"Service":"web","Nodes":[{"Node":"#), "{reply}");
    check("GET /v1/query/other/execute", world, "404 Query not found");
    check(&format!("GET /v1/query/{FIRST}/explain"), world, "404 Query not found");
}

#[test]
fn what_makes_no_query_is_refused_in_consuls_words() {
    let world = &mut World::small();
    world.ask("POST /v1/query\n{\"Name\":\"taken\",\"Service\":{\"Service\":\"web\"}}");
    let template = |fields: &str| {
        format!(r#"{{"Template":{{"Type":"name_prefix_match"{fields}}},"Service":{{"Service":"web"}}}}"#)
    };
    world.ask(&format!("POST /v1/query\n{}", template("")));
    let web = r#""Service":{"Service":"web"}"#;
    let compiling = "500 failed compiling template:";
    for (body, refusal) in [
        ("", "400 Request decode failed: EOF"),
        ("[]", "400 Request decode failed: expected a JSON object, got a list"),
        (r#"{"Name":7}"#, "400 Request decode failed: Name: expected a string, got a number"),
        (r#"{"Service":"web"}"#, "400 Request decode failed: Service: expected an object, got a string"),
        (r#"{"Service":{"Tags":"a"}}"#, "400 Request decode failed: Tags: expected a list, got a string"),
        (
            r#"{"Service":{"Failover":{"Targets":[1]}}}"#,
            "400 Request decode failed: expected a JSON object, got a number",
        ),
        (
            r#"{"Service":{"Failover":{"NearestN":1.5}}}"#,
            "400 Request decode failed: NearestN: expected a whole number of 64 bits, got another number",
        ),
        (r#"{"DNS":{"TTL":10}}"#, "400 Request decode failed: TTL: expected a string, got a number"),
        (r#"{"ID":"x"}"#, "500 ID must be empty when creating a new prepared query"),
        (&format!("{{{web}}}"), "500 Invalid prepared query: Must be bound to a session"),
        (r#"{"Name":"q"}"#, "500 Invalid prepared query: Must provide a Service name to query"),
        (
            r#"{"Name":"q","Token":"<hidden>"}"#,
            "500 Invalid prepared query: Bad Token '<hidden>', it looks like a query definition with a redacted token was submitted",
        ),
        (
            r#"{"Name":"q","Service":{"Service":"web","Failover":{"NearestN":-1}}}"#,
            "500 Invalid prepared query: Bad NearestN '-1', must be >= 0",
        ),
        (
            r#"{"Name":"q","Service":{"Service":"web","Failover":{"NearestN":1,"Targets":[{"Peer":"p"}]}}}"#,
            "500 Invalid prepared query: Targets cannot be populated with NearestN or Datacenters",
        ),
        (
            r#"{"Name":"q","Service":{"Service":"web","NodeMeta":{"":"v"}}}"#,
            "500 Invalid prepared query: Couldn't load metadata pair ('', 'v'): Key cannot be blank",
        ),
        (
            &format!(r#"{{"Name":"q",{web},"DNS":{{"TTL":"x"}}}}"#),
            "500 Invalid prepared query: Bad DNS TTL 'x': time: invalid duration \"x\"",
        ),
        (
            &format!(r#"{{"Name":"q",{web},"DNS":{{"TTL":"-1s"}}}}"#),
            "500 Invalid prepared query: DNS TTL '-1000000000', must be >=0",
        ),
        (&format!(r#"{{"Session":"nobody",{web}}}"#), "500 invalid session \"nobody\""),
        (&format!(r#"{{"Session":"{FIRST}",{web}}}"#), &format!("500 invalid session \"{FIRST}\"")),
        (&format!(r#"{{"Name":"TAKEN",{web}}}"#), "500 name 'TAKEN' aliases an existing query name"),
        (&format!(r#"{{"Name":"{FIRST}",{web}}}"#), &format!("500 name '{FIRST}' aliases an existing query ID")),
        (&template(""), "500 a query template with an empty name already exists"),
        (&format!(r#"{{"Template":{{"Type":"x"}},{web}}}"#), &format!("{compiling} Bad Template.Type 'x'")),
        (&template(r#","Regexp":"(""#), &format!("{compiling} Bad Regexp: found open group without closing ')'")),
        (
            r#"{"Name":"q","Template":{"Type":"name_prefix_match"},"Service":{"Service":"${nope}"}}"#,
            &format!("{compiling} Bad evaluation for '${{nope}}' in Service.Service: unknown variable accessed: nope"),
        ),
    ] {
        check(&format!("POST /v1/query\n{body}"), world, refusal);
    }
    for (ask, refusal) in [
        ("POST /v1/query?dc=other\n{}", "500 No path to datacenter"),
        ("PUT /v1/query/nobody\n{}", "500 Cannot modify non-existent prepared query: 'nobody'"),
        ("DELETE /v1/query/nobody", "500 Cannot modify non-existent prepared query: 'nobody'"),
        ("GET /v1/query/", "400 Missing query ID"),
        ("GET /v1/query/nobody", "404 Query not found"),
        ("GET /v1/query/taken", "404 Query not found"),
        ("GET /v1/query//execute", "400 Missing query ID"),
        ("PUT /v1/query/", "400 Missing query ID"),
        ("PUT /v1/query/taken/execute", "405 method PUT not allowed"),
        ("DELETE /v1/query/taken/explain", "405 method DELETE not allowed"),
        ("PUT /v1/query", "405 method PUT not allowed"),
        ("POST /v1/query/taken", "405 method POST not allowed"),
        ("GET /v1/query/taken/execute?limit=x", "500 Bad limit: strconv.Atoi: parsing \"x\": invalid syntax"),
        (
            "GET /v1/query/taken/execute?limit=99999999999999999999",
            "500 Bad limit: strconv.Atoi: parsing \"99999999999999999999\": value out of range",
        ),
        (
            "GET /v1/query/taken/execute?connect=x",
            "400 Error parsing 'connect' value: strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
        (
            "GET /v1/query/taken/execute?stale&consistent",
            "400 Cannot specify ?stale with ?consistent, conflicting semantics.",
        ),
        ("GET /v1/query/taken/execute?dc=other", "500 No path to datacenter"),
        ("GET /v1/query?index=x", "400 Invalid index"),
    ] {
        check(ask, world, refusal);
    }
}
