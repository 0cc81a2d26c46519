//! The document itself: once made from the table, then the same bytes for all who ask.

use super::param::{self, Param};
use super::{Content, Doc, Other};
use crate::http::call::{Call, Plan, Reply};
use crate::http::route::{ROUTES, Route};
use crate::http::{Context, options, wire};
use crate::view::VERSION;
use bytes::Bytes;
use schemars::SchemaGenerator;
use schemars::generate::{Contract, SchemaSettings};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// Compact, and indented.
static COMPACT: LazyLock<Bytes> = LazyLock::new(|| wire::shown(&document(ROUTES), false).into());
static PRETTY: LazyLock<Bytes> = LazyLock::new(|| wire::shown(&document(ROUTES), true).into());

pub fn serve(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    let made = if options::pretty(context.facts, call) { &PRETTY } else { &COMPACT };
    Ok(Plan::Answer(Reply::json(Bytes::clone(made))))
}

/// What is read of a request may be described by less than what is written in an answer, so each has a generator of its own.
struct Schemas {
    read: SchemaGenerator,
    written: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let generator = |contract| {
            let mut settings = SchemaSettings::draft2020_12();
            settings.definitions_path = "/components/schemas".into();
            settings.contract = contract;
            settings.into_generator()
        };
        Self { read: generator(Contract::Deserialize), written: generator(Contract::Serialize) }
    }

    fn definitions(mut self) -> Map<String, Value> {
        let mut all = self.written.take_definitions(true);
        all.extend(self.read.take_definitions(true));
        all
    }
}

/// The document of a table.
pub(super) fn document(routes: &[Route]) -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for route in routes {
        let item = paths.entry(route.pattern.template()).or_insert_with(|| json!({}));
        item[route.method.as_str().to_ascii_lowercase()] = operation(route, &mut schemas);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "lictor",
            "version": VERSION,
            "description": "Service discovery and health checks, as clients of Consul know it. Errors are words, in text/plain. \
                Fields of requests are found in any case, with or without underscores. Fields and parameters that are not \
                named are ignored, unless an operation says otherwise. `x-refused` is the status that answers a wrong value of a parameter.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas.definitions(),
            "responses": {"Error": {
                "description": "What was wrong, in words.",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            }},
        },
    })
}

fn operation(route: &Route, schemas: &mut Schemas) -> Value {
    let Doc { summary, params, body, body_required, answers, others } = route.doc;
    let id = route.pattern.id().and_then(param::id).map(|param| param.shown("path"));
    let pretty = answers.iter().any(|content| matches!(content, Content::Json(_))).then_some(&param::PRETTY);
    let query = params.iter().copied().flatten().chain(pretty).map(|param: &Param| param.shown("query"));
    let mut responses = Map::from_iter([("200".to_owned(), response("It is done.", answers, &mut schemas.written))]);
    for Other { status, text, answers } in others {
        responses.insert(status.to_string(), response(text, answers, &mut schemas.written));
    }
    responses.insert("default".to_owned(), json!({"$ref": "#/components/responses/Error"}));
    let mut operation = json!({
        "operationId": operation_id(route),
        "tags": [tag(route)],
        "summary": summary,
        "parameters": id.into_iter().chain(query).collect::<Vec<_>>(),
        "responses": responses,
    });
    if let Some(body) = body {
        operation["requestBody"] = json!({"required": body_required, "content": content(&[body], &mut schemas.read)});
    }
    operation
}

fn response(text: &str, contents: &[Content], schemas: &mut SchemaGenerator) -> Value {
    if contents.is_empty() {
        return json!({"description": text});
    }
    json!({"description": text, "content": content(contents, schemas)})
}

fn content(contents: &[Content], schemas: &mut SchemaGenerator) -> Map<String, Value> {
    let one = |content: &Content| match content {
        Content::Json(make) => ("application/json".to_owned(), json!({"schema": make(schemas)})),
        Content::Media(kind) if kind.starts_with("text/") => {
            ((*kind).to_owned(), json!({"schema": {"type": "string"}}))
        }
        Content::Media(kind) => ((*kind).to_owned(), json!({})),
    };
    contents.iter().map(one).collect()
}

/// The first word of the path after the version.
fn tag(route: &Route) -> &'static str {
    route.pattern.template().split(['/', '.']).nth(2).unwrap_or_default()
}

/// `getHealthService`, `getQueryByIdExecute`.
fn operation_id(route: &Route) -> String {
    let words = route.pattern.template().split(['/', '-', '.', '_']).skip(2);
    words.fold(route.method.as_str().to_ascii_lowercase(), |mut id, word| {
        let word = match word.strip_prefix('{') {
            Some(word) => {
                id += "By";
                word.trim_end_matches('}')
            }
            None => word,
        };
        let mut letters = word.chars();
        id.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        id + letters.as_str()
    })
}
