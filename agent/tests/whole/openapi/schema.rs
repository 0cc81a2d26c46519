//! As much of JSON Schema (2020-12) as the document uses: whether a value fits, values that do, and values that do not.

use super::document::Document;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lictor_agent::dice::Dice;
use lictor_agent::time::parse_duration;
use serde_json::{Map, Value, json};

/// Few, so that what one request makes another finds.
const WORDS: &[&str] = &["web", "web-1", "n1", "beat", "my-web", "a", "a/b", "é \"<&", "lock", "x y"];

/// What says nothing of whether a value fits.
const REMARKS: &[&str] = &["description", "examples", "title", "default", "pattern"];

const NOTHING: Value = Value::Null;

/// Says where a value does not fit.
pub fn fits(document: &Document, schema: &Value, value: &Value) -> Result<(), String> {
    let schema = document.resolve(schema);
    let Some(rules) = schema.as_object() else { return Ok(()) };
    for (rule, wanted) in rules {
        let kept = match rule.as_str() {
            "type" => is_of(wanted, value),
            "enum" => wanted.as_array().unwrap().contains(value),
            "const" => wanted == value,
            "minimum" => value.as_f64().is_none_or(|number| number >= wanted.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= wanted.as_f64().unwrap()),
            "minLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 >= wanted.as_u64().unwrap()),
            "maxLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 <= wanted.as_u64().unwrap()),
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= wanted.as_u64().unwrap()),
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= wanted.as_u64().unwrap()),
            "format" if wanted == "uint32" => value.as_u64().is_none_or(|number| u32::try_from(number).is_ok()),
            "format" => value.as_str().is_none_or(|text| is_written(wanted.as_str().unwrap(), text)),
            "contentEncoding" => value.as_str().is_none_or(|text| STANDARD.decode(text).is_ok()),
            "required" => value.as_object().is_none_or(|fields| {
                wanted.as_array().unwrap().iter().all(|name| fields.contains_key(name.as_str().unwrap()))
            }),
            "anyOf" | "oneOf" => wanted.as_array().unwrap().iter().any(|branch| fits(document, branch, value).is_ok()),
            "items" => {
                for (at, item) in value.as_array().into_iter().flatten().enumerate() {
                    fits(document, wanted, item).map_err(|why| format!("[{at}]{why}"))?;
                }
                true
            }
            "properties" => {
                for (name, field) in value.as_object().into_iter().flatten() {
                    fits(document, &wanted[name], field).map_err(|why| format!(".{name}{why}"))?;
                }
                true
            }
            "additionalProperties" => {
                for (name, field) in value.as_object().into_iter().flatten() {
                    if schema["properties"][name].is_null() {
                        let known = *wanted != json!(false);
                        known.then_some(()).ok_or_else(|| format!(".{name} is unknown"))?;
                        fits(document, wanted, field).map_err(|why| format!(".{name}{why}"))?;
                    }
                }
                true
            }
            remark if REMARKS.contains(&remark) => true,
            unknown => panic!("this validator does not know {unknown:?}"),
        };
        if !kept {
            return Err(format!(": {value} is against {rule} {wanted}"));
        }
    }
    Ok(())
}

fn is_of(types: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        unknown => panic!("this validator does not know the type {unknown:?}"),
    };
    types.as_array().map_or_else(|| is(types), |types| types.iter().any(is))
}

fn is_written(format: &str, text: &str) -> bool {
    match format {
        "uuid" => uuid::Uuid::try_parse(text).is_ok(),
        "ip" => text.parse::<std::net::IpAddr>().is_ok(),
        "go-duration" => text.is_empty() || parse_duration(text).is_ok(),
        // Enough for what is tried here.
        "regex" | "go-bexpr" => text != "(",
        "uint8" | "uint16" | "uint64" | "uint" | "int64" | "double" => true,
        unknown => panic!("this validator does not know the format {unknown:?}"),
    }
}

/// Whether text, as in a query string, is a value of this schema.
pub fn fits_text(document: &Document, schema: &Value, text: &str) -> bool {
    let value = if schema["type"] == "integer" {
        serde_json::from_str(text).unwrap_or_else(|_| json!(text))
    } else {
        json!(text)
    };
    let whole = schema["type"] != "integer" || text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    whole && fits(document, schema, &value).is_ok()
}

/// Makes values, from ids that answers had among others.
pub struct Maker<'d> {
    pub document: &'d Document,
    pub dice: Dice,
    pub ids: &'d [String],
}

impl Maker<'_> {
    pub fn one_in(&mut self, sides: u64) -> bool {
        self.dice.below(sides) == 0
    }

    pub fn pick<'t, T>(&mut self, items: &'t [T]) -> &'t T {
        &items[usize::try_from(self.dice.below(items.len() as u64)).unwrap()]
    }

    /// What may stand in a path: half of the time what is known to be there.
    pub fn id(&mut self, schema: &Value) -> Vec<u8> {
        let known: Vec<String> = self.ids.iter().filter(|id| fits_text(self.document, schema, id)).cloned().collect();
        if known.is_empty() || self.one_in(2) {
            text_of(self.value(schema))
        } else {
            self.pick(&known).as_bytes().to_vec()
        }
    }

    /// A value that fits.
    pub fn value(&mut self, schema: &Value) -> Value {
        let document = self.document;
        let schema = document.resolve(schema);
        if let Some(examples) = schema["examples"].as_array()
            && (schema["type"] != "object" || self.one_in(2))
        {
            return self.pick(examples).clone();
        }
        if let Some(words) = schema["enum"].as_array() {
            return self.pick(words).clone();
        }
        if let Some(branches) = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array()) {
            let branch = self.pick(branches).clone();
            return self.value(&branch);
        }
        let types = schema["type"].as_array().map_or_else(|| vec![schema["type"].clone()], Clone::clone);
        match self.pick(&types).as_str() {
            Some("null") => Value::Null,
            Some("boolean") => json!(self.one_in(2)),
            Some("integer") => self.integer(schema),
            Some("number") => json!(self.dice.below(1000) as f64 / 1000.0),
            Some("string") => self.string(schema),
            Some("array") => {
                let least = schema["minItems"].as_u64().unwrap_or(0);
                let count = schema["maxItems"].as_u64().unwrap_or(least + 2).min(least + self.dice.below(3));
                (0..count).map(|_| self.value(&schema["items"])).collect()
            }
            Some("object") => self.object(schema),
            _ => json!({"any": [1, "thing", null]}),
        }
    }

    fn integer(&mut self, schema: &Value) -> Value {
        let least = schema["minimum"].as_i64().unwrap_or(i64::MIN);
        let most = if schema["format"] == "uint32" { u32::MAX.into() } else { i64::MAX as u64 };
        let most = schema["maximum"].as_u64().unwrap_or(most);
        match self.dice.below(4) {
            0 => json!(least),
            1 => json!(most),
            _ => json!(least.max(0) + i64::try_from(self.dice.below(100)).unwrap()),
        }
    }

    fn string(&mut self, schema: &Value) -> Value {
        if schema["format"] == "uuid" {
            let known: Vec<String> = self.ids.iter().filter(|id| is_written("uuid", id)).cloned().collect();
            return if known.is_empty() || self.one_in(4) { json!(self.dice.uuid()) } else { json!(self.pick(&known)) };
        }
        json!(self.pick(WORDS))
    }

    fn object(&mut self, schema: &Value) -> Value {
        let mut fields = Map::new();
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            if requires(schema, name) || self.one_in(4) {
                fields.insert(name.clone(), self.value(field));
            }
        }
        if !schema["additionalProperties"].is_null() && schema["additionalProperties"] != json!(false) {
            for _ in 0..self.dice.below(3) {
                let name = (*self.pick(&["rack", "lan", "b"])).to_owned();
                fields.insert(name, self.value(&schema["additionalProperties"]));
            }
        }
        Value::Object(fields)
    }
}

/// A value as it stands in a path or a query string.
pub fn text_of(value: Value) -> Vec<u8> {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned).into_bytes()
}

fn requires(schema: &Value, name: &str) -> bool {
    schema["required"].as_array().is_some_and(|names| names.iter().any(|required| required == name))
}

/// The least value that fits.
pub fn least(document: &Document, schema: &Value) -> Value {
    let schema = document.resolve(schema);
    if let Some(example) = schema["examples"].as_array().filter(|_| schema["type"] != "object") {
        return example[0].clone();
    }
    if let Some(words) = schema["enum"].as_array() {
        return words[0].clone();
    }
    if let Some(branches) = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array()) {
        return least(document, &branches[0]);
    }
    match schema["type"].as_str().or_else(|| schema["type"][0].as_str()) {
        Some("boolean") => json!(false),
        Some("integer") => json!(schema["minimum"].as_i64().unwrap_or(0)),
        Some("number") => json!(0.0),
        Some("string") if schema["format"] == "uuid" => json!(uuid::Uuid::nil()),
        Some("string") => json!("a"),
        Some("array") => {
            let count = schema["minItems"].as_u64().unwrap_or(0);
            (0..count).map(|_| least(document, &schema["items"])).collect()
        }
        Some("object") => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            let required = fields.filter(|(name, _)| requires(schema, name));
            required.map(|(name, field)| (name.clone(), least(document, field))).collect::<Map<_, _>>().into()
        }
        _ => Value::Null,
    }
}

/// Values of which one place does not fit, each with that place's name.
pub fn spoiled(document: &Document, schema: &Value) -> Vec<(String, Value)> {
    let schema = document.resolve(schema);
    let candidates = [
        NOTHING,
        json!(true),
        json!(7),
        json!(-1),
        json!(1.5),
        json!(1e30),
        json!("?!"),
        json!([]),
        json!([7]),
        json!({}),
        json!({"?": [{}]}),
    ];
    let unfit = candidates.into_iter().filter(|value| fits(document, schema, value).is_err());
    let mut found: Vec<(String, Value)> = unfit.map(|value| (String::new(), value)).collect();
    for branch in schema["anyOf"].as_array().into_iter().flatten() {
        found.extend(spoiled(document, branch).into_iter().filter(|(place, _)| !place.is_empty()));
    }
    let whole = least(document, schema);
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        for (place, value) in spoiled(document, field) {
            let mut whole = whole.clone();
            whole[name] = value;
            found.push((format!(".{name}{place}"), whole));
        }
        if requires(schema, name) {
            let mut whole = whole.clone();
            whole.as_object_mut().unwrap().remove(name);
            found.push((format!(" without {name}"), whole));
        }
    }
    if schema["additionalProperties"].is_object() {
        let of_field = spoiled(document, &schema["additionalProperties"]);
        found.extend(of_field.into_iter().map(|(place, value)| (format!(".*{place}"), json!({"k": value}))));
    }
    if schema["items"].is_object() {
        let of_item = spoiled(document, &schema["items"]);
        found.extend(of_item.into_iter().map(|(place, value)| (format!("[0]{place}"), json!([value]))));
    }
    found.retain(|(_, value)| fits(document, schema, value).is_err());
    found
}
