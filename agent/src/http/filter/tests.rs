use super::shape::{CHECK, HEALTH, MEMBER, SERVICE};
use super::*;
use proptest::prelude::*;
use serde_json::json;

fn service() -> Value {
    json!({
        "ID": "web-1", "Service": "web", "Tags": ["v1", "eu"], "Meta": {"version": "1.2", "a b": "c"}, "Port": 8080,
        "Address": "", "Weights": {"Passing": 10, "Warning": 1}, "EnableTagOverride": false,
        "TaggedAddresses": {"lan": {"Address": "10.0.0.1", "Port": 80}},
        "Proxy": {"Upstreams": [{"DestinationName": "db"}]}, "Connect": {},
    })
}

#[track_caller]
fn check(row: &Value, fields: Fields, expressions: &[(&str, bool)]) {
    for (expression, kept) in expressions {
        match Filter::compile(expression, fields) {
            Ok(filter) => assert_eq!(filter.keeps(row), *kept, "{expression}"),
            Err(bad) => panic!("{expression}: {bad}"),
        }
    }
}

#[test]
fn services_are_told_apart() {
    check(
        &service(),
        SERVICE,
        &[
            ("Service == web", true),
            (r#"Service == "web""#, true),
            ("Service == `web`", true),
            ("Service != web", false),
            ("web in Service", true),
            (r#"Service contains "we""#, true),
            ("Service not contains we", false),
            ("Service matches `^w.b$`", true),
            (r#"Service not matches "^x""#, true),
            ("Tags contains v1", true),
            ("v1 in Tags and eu in Tags", true),
            ("v2 not in Tags", true),
            ("v2 in Tags or v1 in Tags", true),
            ("Tags is empty", false),
            ("Tags is not empty", true),
            ("Tags matches `^v[0-9]`", true),
            ("Port == 8080", true),
            ("Port != 8080", false),
            ("Weights.Passing == 10", true),
            ("EnableTagOverride == false", true),
            ("Connect.Native == true", false),
            ("Kind == ``", true),
            ("Kind is empty", true),
            ("Address is empty", true),
            (r#"Meta.version == "1.2""#, true),
            (r#"Meta["a b"] == c"#, true),
            (r#""/Meta/version" == "1.2""#, true),
            ("version in Meta", true),
            ("Meta contains nothing", false),
            ("Meta.nothing == x", false),
            ("Meta.nothing == ``", false),
            ("Meta.nothing != x", true),
            ("Meta.nothing is empty", true),
            ("Meta.nothing not matches `.`", true),
            ("x not in Meta.nothing", true),
            ("TaggedAddresses.lan.Port == 80", true),
            (r#"TaggedAddresses.wan.Address == "10.0.0.1""#, false),
            ("Proxy.Upstreams.DestinationName == db", true),
            ("not Service == web", false),
            ("not not Service == web", true),
            ("not (Service == web and Port == 1)", true),
            ("Service == x and Service == x or Service == web", true),
            ("Service == web or Service == x and Service == x", true),
            ("(Service == web or Service == x) and Service == x", false),
            ("not Service == x and Service == web", true),
            ("\n Service\t==   web\n", true),
        ],
    );
}

#[test]
fn any_element_of_a_list_of_objects_is_enough() {
    let entry = json!({"Node": {"Node": "n1", "Meta": {"rack": "r1"}, "TaggedAddresses": null}, "Service": service(),
                       "Checks": [{"Status": "passing", "CheckID": "a"}, {"Status": "critical", "CheckID": "b"}]});
    check(
        &entry,
        HEALTH,
        &[
            ("Checks.Status == critical", true),
            ("Checks.Status == warning", false),
            ("Checks.Status != passing", true),
            ("not Checks.Status == critical", false),
            ("Checks is not empty", true),
            ("Node.Meta.rack == r1 and Service.Meta.version matches `^1`", true),
            ("lan in Node.TaggedAddresses", false),
            ("Node.TaggedAddresses is empty", true),
        ],
    );
    check(&json!({"Checks": []}), HEALTH, &[("Checks.Status == critical", false), ("Checks is empty", true)]);
    check(&json!({"Status": 1, "Tags": {"role": "consul"}}), MEMBER, &[("Status == 1 and Tags.role == consul", true)]);
    check(
        &json!({"Definition": {}}),
        CHECK,
        &[("Definition.HTTP is empty", true), ("Definition.TCPUseTLS == false", true)],
    );
}

#[test]
fn mistakes_say_where_and_what() {
    for (expression, expected) in [
        ("Service", "1:8: expected an operator: ==, !=, is, in, contains or matches"),
        ("Service = web", "1:9: expected == here"),
        ("Service == dc-1", "1:14: expected \"and\", \"or\" or the end"),
        ("Service == 1.2.3", "1:12: put this value in double quotes"),
        ("Service == web and", "1:19: expected a selector or a value"),
        ("(Service == web", "1:16: expected \")\""),
        ("Service == web)", "1:15: expected \"and\", \"or\" or the end"),
        ("Service == \"web", "1:12: a string begins here and does not end"),
        ("Service == `web", "1:12: a raw string begins here and does not end"),
        (r#"Service == "\q""#, "1:14: this escape is not known; there are \\\" \\\\ \\n \\r \\t"),
        ("Service is web", "1:12: expected \"empty\""),
        ("é == web", "1:1: 'é' cannot stand here; put values in double quotes"),
        ("Meta[x] == 1", "1:6: expected a key in double quotes"),
        ("\"Service\" == web", "1:1: a selector has no quotes, or is a JSON pointer such as \"/Meta/version\""),
        ("Service.X == web", "Selector \"Service.X\" is not valid: \"Service\" is a text and has no fields"),
        ("Weights.X == 1", "Selector \"Weights.X\" is not valid: there is no field \"X\"; there are Passing, Warning"),
        ("Port == web", "\"web\" is not a whole number, which selector \"Port\" is compared as"),
        ("EnableTagOverride == 1", "\"1\" is not true or false, which selector \"EnableTagOverride\" is compared as"),
        ("Port is empty", "Invalid match operator \"is empty\" for selector \"Port\", which is a whole number"),
        ("Tags == v1", "Invalid match operator \"==\" for selector \"Tags\", which is a list of texts"),
        ("Weights contains 1", "Invalid match operator \"contains\" for selector \"Weights\", which is an object"),
    ] {
        let bad = Filter::compile(expression, SERVICE).expect_err(expression).to_string();
        assert_eq!(bad, format!("Failed to create boolean expression evaluator: {expected}"), "{expression}");
    }
    let pattern = Filter::compile("Service matches `(`", SERVICE).expect_err("a pattern").to_string();
    assert!(pattern.contains("\"(\" is not a regular expression"), "{pattern}");
}

#[test]
fn what_is_too_large_is_refused() {
    let deep = "(".repeat(5_000) + "Port == 1" + &")".repeat(5_000);
    assert!(Filter::compile(&deep, SERVICE).expect_err("deep").to_string().contains("more than 64 levels"));
    let nots = "not ".repeat(3_000) + "Port == 1";
    assert!(Filter::compile(&nots, SERVICE).expect_err("deep").to_string().contains("more than 64 levels"));
    let long = "Port == 1 and ".repeat(2_000) + "Port == 1";
    assert!(Filter::compile(&long, SERVICE).expect_err("long").to_string().contains("16384 are allowed"));
    assert!(Filter::compile("Service matches `(a{1000}){1000}`", SERVICE).is_err());
}

/// An expression, what it says of [`service`], and whether it needs parentheses beside `and`.
fn expression() -> impl Strategy<Value = (String, bool)> {
    let leaf = prop_oneof![
        Just(("Service == web".to_owned(), true)),
        Just(("Port != 8080".to_owned(), false)),
        Just(("v1 in Tags".to_owned(), true)),
        Just(("Meta.x is not empty".to_owned(), false)),
    ];
    leaf.prop_recursive(4, 32, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|((a, x), (b, y))| (format!("({a}) and ({b})"), x && y)),
            (inner.clone(), inner.clone()).prop_map(|((a, x), (b, y))| (format!("({a})or({b})"), x || y)),
            inner.prop_map(|(a, x)| (format!("not ({a})"), !x)),
        ]
    })
}

proptest! {
    #[test]
    fn logic_is_logic((text, kept) in expression()) {
        prop_assert_eq!(Filter::compile(&text, SERVICE).unwrap().keeps(&service()), kept, "{}", text);
    }

    #[test]
    fn any_value_can_be_said_in_quotes(value in "\\PC*") {
        let quoted = serde_json::to_string(&value).unwrap();
        prop_assume!(!quoted.contains("\\u") && !quoted.contains("\\b") && !quoted.contains("\\f"));
        let filter = Filter::compile(&format!("Service == {quoted}"), SERVICE).unwrap();
        let row = json!({"Service": value});
        prop_assert!(filter.keeps(&row));
    }

    #[test]
    fn nothing_panics(text in "[A-Za-z0-9_.\"`()=!\\[\\] /-]{0,60}") {
        if let Ok(filter) = Filter::compile(&text, SERVICE) {
            let _ = filter.keeps(&service());
        }
    }
}
