//! What the operator wrote, before anybody decides what it means: a value for each path of the schema, and where it was
//! written. Sources are read into one [`Raw`] each and merged in order, later ones over earlier ones.

use super::definition::{Defined, unknown_keys};
use super::error::{ConfigError, Faults};
use super::schema::{self, Key, Kind, Place, Standing};
use crate::time::parse_duration;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One setting and its origin: a file, a flag, or what `-dev` implies.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Leaf {
    pub(crate) value: Value,
    pub(crate) source: Arc<str>,
}

/// Settings by path (`dns_config.soa.refresh`), each of the kind that the schema wants.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Raw {
    leaves: BTreeMap<String, Leaf>,
}

impl Raw {
    /// Sorts one source's object into the schema.
    ///
    /// # Errors
    /// All of [`ConfigError::UnknownKey`], [`ConfigError::Type`] and [`ConfigError::Value`] that there are.
    pub(crate) fn read(source: &str, body: &Map<String, Value>) -> Result<Self, ConfigError> {
        let (mut raw, mut faults) = (Self::default(), Faults::default());
        raw.read_block(&Arc::from(source), "", body, &mut faults);
        faults.or(raw)
    }

    fn read_block(&mut self, source: &Arc<str>, prefix: &str, body: &Map<String, Value>, faults: &mut Faults) {
        for (key, value) in body {
            let written = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            let path = written.to_lowercase();
            match schema::find(&path) {
                _ if matches!(path.as_str(), "services" | "checks" | "service" | "check") && value.is_null() => {}
                Place::Key(path, key) if !value.is_null() => {
                    let Some(value) = faults.keep(normalise(source, path, key, value)) else { continue };
                    let path = match path {
                        "service" => "services",
                        "check" => "checks",
                        path => path,
                    };
                    self.add(path.to_owned(), Leaf { value, source: Arc::clone(source) });
                }
                Place::Block if !value.is_null() => match parts(value) {
                    Some(parts) => parts.into_iter().for_each(|part| self.read_block(source, &path, part, faults)),
                    None => faults.add(wrong(source, &written, "a block", value)),
                },
                Place::Unknown => faults.add(ConfigError::UnknownKey {
                    file: source.to_string(),
                    key: written,
                    nearest: schema::nearest(&path).map(str::to_owned),
                }),
                Place::Key(..) | Place::Block => {}
            }
        }
    }

    /// Lays a later source over this one: scalars of the later one win, lists are appended, maps are merged by key.
    pub(crate) fn merge(&mut self, later: Self) {
        for (path, leaf) in later.leaves {
            self.add(path, leaf);
        }
    }

    fn add(&mut self, path: String, leaf: Leaf) {
        match self.leaves.get_mut(&path) {
            Some(earlier) => {
                lay_over(&mut earlier.value, leaf.value);
                earlier.source = leaf.source;
            }
            None => {
                self.leaves.insert(path, leaf);
            }
        }
    }

    /// A flag. Its text has been checked to be of the right kind.
    pub(crate) fn set(&mut self, path: &str, value: Value, source: &str) {
        self.add(path.to_owned(), Leaf { value, source: Arc::from(source) });
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Leaf> {
        debug_assert!(matches!(schema::find(path), Place::Key(..)), "{path} is in the schema");
        self.leaves.get(path)
    }

    pub(crate) fn source(&self, path: &str) -> String {
        self.leaves.get(path).map_or_else(|| "default".to_owned(), |leaf| leaf.source.to_string())
    }

    /// Settings that Consul would act on and lictor does not, by where they were written.
    pub(crate) fn unbuilt(&self) -> BTreeMap<Arc<str>, Vec<&str>> {
        let mut found: BTreeMap<Arc<str>, Vec<&str>> = BTreeMap::new();
        for (path, leaf) in &self.leaves {
            let later = matches!(schema::find(path), Place::Key(_, Key { standing: Standing::Later, .. }));
            if later && !harmless(path, &leaf.value) {
                found.entry(Arc::clone(&leaf.source)).or_default().push(path);
            }
        }
        found
    }
}

/// Values which ask for nothing that lictor does not do anyway.
fn harmless(path: &str, value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => path == "acl_enforce_version_8",
        Value::String(text) => match path {
            _ if text.is_empty() || parse_duration(text).is_ok_and(|span| span.is_zero()) => true,
            "acl.default_policy" | "acl_default_policy" => text == "allow",
            "limits.request_limits.mode" => text == "disabled",
            _ => false,
        },
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        // A port that is switched off.
        Value::Number(number) => path.starts_with("ports.") && number.as_i64().is_some_and(|port| port <= 0),
    }
}

fn lay_over(earlier: &mut Value, later: Value) {
    match (earlier, later) {
        (Value::Array(list), Value::Array(more)) => list.extend(more),
        (Value::Object(map), Value::Object(more)) => {
            for (key, value) in more {
                match map.get_mut(&key) {
                    Some(place) => lay_over(place, value),
                    None => {
                        map.insert(key, value);
                    }
                }
            }
        }
        (place, later) => *place = later,
    }
}

/// The objects that make up one block: itself, or the list that repeated HCL blocks become.
fn parts(value: &Value) -> Option<Vec<&Map<String, Value>>> {
    match value {
        Value::Object(map) => Some(vec![map]),
        Value::Array(list) => list.iter().map(Value::as_object).collect(),
        _ => None,
    }
}

fn wrong(source: &Arc<str>, key: &str, want: &'static str, got: &Value) -> ConfigError {
    let got = match got {
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) | Value::Number(_) => got.to_string(),
        Value::String(text) => format!("the text {text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a block".to_owned(),
    };
    ConfigError::Type { file: source.to_string(), key: key.to_owned(), want, got }
}

/// Checks that a value is of its key's kind and brings it into the one form that the rest of the code knows.
fn normalise(source: &Arc<str>, path: &str, key: Key, value: &Value) -> Result<Value, ConfigError> {
    let refuse = |want| Err(wrong(source, path, want, value));
    match key.kind {
        Kind::Boolean if !value.is_boolean() => refuse("true or false"),
        Kind::Number if !value.is_number() => refuse("a number"),
        Kind::Text if !value.is_string() => refuse("a text"),
        Kind::Boolean | Kind::Number | Kind::Text | Kind::Anything => Ok(value.clone()),
        Kind::Duration => match value.as_str() {
            Some(text) => match parse_duration(text) {
                Ok(_) => Ok(value.clone()),
                Err(bad) => Err(ConfigError::Value {
                    file: source.to_string(),
                    key: path.to_owned(),
                    value: format!("{text:?}"),
                    problem: format!("{bad}; write a number and a unit, such as \"10s\" or \"1h30m\""),
                }),
            },
            None => refuse("a duration such as \"10s\""),
        },
        Kind::Texts => match value {
            Value::String(_) => Ok(Value::Array(vec![value.clone()])),
            Value::Array(list) if list.iter().all(Value::is_string) => Ok(value.clone()),
            _ => refuse("a list of texts"),
        },
        Kind::TextMap => {
            let Some(parts) = parts(value) else { return refuse("a map of texts") };
            let mut merged = Map::new();
            for (inner, value) in parts.into_iter().flatten() {
                if !value.is_string() {
                    return Err(wrong(source, &format!("{path}.{inner}"), "a text", value));
                }
                merged.insert(inner.clone(), value.clone());
            }
            Ok(Value::Object(merged))
        }
        Kind::Definitions => {
            let Some(parts) = parts(value) else { return refuse("a definition or a list of definitions") };
            let mut faults = Faults::default();
            for error in parts.iter().flat_map(|part| unknown_keys(Defined::under(path), source, path, part)) {
                faults.add(error);
            }
            faults.or(Value::Array(parts.into_iter().map(|part| Value::Object(definition(part, source))).collect()))
        }
    }
}

/// A service's or check's block with repeated `check` blocks gathered under `checks`, which is where a list of them
/// belongs, and its origin noted under a key that no definition has.
fn definition(block: &Map<String, Value>, source: &Arc<str>) -> Map<String, Value> {
    let mut block = block.clone();
    if let Some(Value::Array(repeated)) = block.get("check").cloned() {
        block.remove("check");
        match block.entry("checks").or_insert_with(|| Value::Array(Vec::new())) {
            Value::Array(list) => list.extend(repeated),
            other => {
                let one = other.take();
                *other = Value::Array(std::iter::once(one).chain(repeated).collect());
            }
        }
    }
    if let Some(one @ Value::Object(_)) = block.get_mut("checks") {
        let inner = one.take();
        *one = Value::Array(vec![inner]);
    }
    block.insert(ORIGIN.to_owned(), Value::String(source.to_string()));
    block
}

/// Where a definition was written; taken off again before anybody else sees it.
pub(crate) const ORIGIN: &str = "\u{0}origin";
