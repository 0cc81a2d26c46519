//! Whether the document is whole, and makes sense in itself. `tests/whole/openapi` holds an agent to it.

use super::document::document;
use super::{Content, param};
use crate::http::route::{Body, ROUTES};
use serde_json::Value;
use std::collections::BTreeSet;

/// Every value of every object under this key.
fn under<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v Value>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get(key));
            fields.values().for_each(|value| under(value, key, found));
        }
        Value::Array(items) => items.iter().for_each(|value| under(value, key, found)),
        _ => {}
    }
}

#[test]
fn every_route_is_an_operation_of_its_own() {
    let document = document(ROUTES);
    let mut ids = BTreeSet::new();
    for route in ROUTES {
        let (template, method) = (route.pattern.template(), route.method.as_str().to_ascii_lowercase());
        let operation = &document["paths"][template][&method];
        let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {template} is not there"));
        assert!(ids.insert(id), "two operations are called {id}");
        let parameters = operation["parameters"].as_array().unwrap();
        let names: BTreeSet<_> =
            parameters.iter().map(|param| (&param["in"], &param["name"])).map(|pair| format!("{pair:?}")).collect();
        assert_eq!(names.len(), parameters.len(), "{id} takes a parameter twice");
        let in_path = parameters.iter().filter(|param| param["in"] == "path").count();
        assert_eq!(
            in_path,
            usize::from(route.pattern.id().is_some()),
            "{id}: param.rs describes what stands in its path"
        );
        assert!(!operation["summary"].as_str().unwrap().ends_with('.'), "{id}");
        assert_eq!(operation["requestBody"].is_null(), route.body == Body::None, "{id}: what is read is described");
    }
    let operations: usize =
        document["paths"].as_object().unwrap().values().map(|item| item.as_object().unwrap().len()).sum();
    assert_eq!(operations, ROUTES.len());
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_used() {
    let document = document(ROUTES);
    let mut references = Vec::new();
    under(&document, "$ref", &mut references);
    let named: BTreeSet<&str> = references.iter().map(|reference| reference.as_str().unwrap()).collect();
    for reference in &named {
        assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference} leads nowhere");
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(named.contains(format!("#/components/schemas/{name}").as_str()), "nobody uses {name}");
        assert!(
            !name.starts_with("Wire") && !name.ends_with(|c: char| c.is_ascii_digit()),
            "{name} has a name of its own"
        );
    }
}

#[test]
fn what_is_read_and_what_is_written_are_not_mixed_up() {
    let of = |pick: fn(&super::Doc) -> Vec<Content>| -> BTreeSet<String> {
        let mut schemas = schemars::generate::SchemaSettings::draft2020_12().into_generator();
        let contents = ROUTES.iter().flat_map(|route| pick(&route.doc));
        contents.for_each(|content| {
            if let Content::Json(make) = content {
                make(&mut schemas);
            }
        });
        schemas.definitions().keys().cloned().collect()
    };
    let read = of(|doc| doc.body.into_iter().collect());
    let written = of(|doc| {
        doc.answers.iter().copied().chain(doc.others.iter().flat_map(|other| other.answers).copied()).collect()
    });
    assert_eq!(read.intersection(&written).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(param::id("nobody").is_none() && !read.is_empty() && !written.is_empty());
}
