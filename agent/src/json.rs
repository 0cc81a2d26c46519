//! JSON objects as Go's decoder reads them: keys match whatever their case and underscores, unknown keys are ignored,
//! `null` means absent, and a duration is a Go duration string or a number of nanoseconds. Bodies of requests and blocks
//! of configuration files are both read through this page.

use crate::time::parse_duration;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// A field that holds something else than it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadField {
    #[error("{field}: expected {want}, got {got}")]
    Type { field: String, want: &'static str, got: &'static str },
    #[error("{field}: {source}")]
    Duration { field: String, source: crate::time::BadDuration },
    #[error("{field}: {value} is out of range {min} to {max}")]
    Range { field: String, value: String, min: u64, max: u64 },
    #[error("expected a JSON object, got {0}")]
    NotObject(&'static str),
}

impl BadField {
    /// Which field is meant, as the API spells it.
    pub(crate) fn field(&self) -> Option<&str> {
        match self {
            Self::Type { field, .. } | Self::Duration { field, .. } | Self::Range { field, .. } => Some(field),
            Self::NotObject(_) => None,
        }
    }

    /// The same of a field that is spelled so.
    pub(crate) fn renamed(mut self, name: String) -> Self {
        match &mut self {
            Self::Type { field, .. } | Self::Duration { field, .. } | Self::Range { field, .. } => *field = name,
            Self::NotObject(_) => {}
        }
        self
    }
}

/// A JSON object with forgiving keys. `name` arguments are given in any spelling: `ServiceID` finds `service_id`.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a>(&'a Map<String, Value>);

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Equal but for case and underscores. It allocates nothing: every field that is absent is compared with every key there is.
pub(crate) fn same(a: &str, b: &str) -> bool {
    fn plain(text: &str) -> impl Iterator<Item = char> {
        text.chars().filter(|c| *c != '_').flat_map(char::to_lowercase)
    }
    plain(a).eq(plain(b))
}

/// Go reads no number with a point into a whole one, not even `80.0`.
fn fraction(name: &str) -> BadField {
    BadField::Type { field: name.to_owned(), want: "a whole number", got: "one with a fraction or an exponent" }
}

impl<'a> Object<'a> {
    /// # Errors
    /// [`BadField::NotObject`].
    pub fn of(value: &'a Value) -> Result<Self, BadField> {
        value.as_object().map(Self).ok_or_else(|| BadField::NotObject(kind(value)))
    }

    /// The field, unless it is absent or null. An exact key wins over a forgiving match.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.0
            .get(name)
            .or_else(|| self.0.iter().find(|(key, _)| same(key, name)).map(|(_, value)| value))
            .filter(|value| !value.is_null())
    }

    /// All keys and values, as written.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    fn typed<T>(
        &self,
        name: &str,
        want: &'static str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, BadField> {
        self.get(name)
            .map(|value| read(value).ok_or_else(|| BadField::Type { field: name.to_owned(), want, got: kind(value) }))
            .transpose()
    }

    /// # Errors
    /// [`BadField`] naming the field; likewise below. Absent strings are empty, absent booleans false.
    pub fn string(&self, name: &str) -> Result<String, BadField> {
        Ok(self.typed(name, "a string", Value::as_str)?.unwrap_or_default().to_owned())
    }

    /// # Errors
    /// As [`Object::string`].
    pub fn boolean(&self, name: &str) -> Result<bool, BadField> {
        Ok(self.typed(name, "a boolean", Value::as_bool)?.unwrap_or_default())
    }

    /// A whole number between `0` and `max`.
    ///
    /// # Errors
    /// As [`Object::string`], and [`BadField::Range`].
    pub fn number(&self, name: &str, max: u64) -> Result<Option<u64>, BadField> {
        let Some(number) = self.typed(name, "a number", Value::as_number)? else { return Ok(None) };
        match number.as_u64() {
            Some(value) if value <= max => Ok(Some(value)),
            // Larger numbers than any whole one of 64 bits are read as fractions too.
            None if number.as_f64().is_some_and(|value| number.is_f64() && value.abs() < 1e18) => Err(fraction(name)),
            _ => Err(BadField::Range { field: name.to_owned(), value: number.to_string(), min: 0, max }),
        }
    }

    /// A whole number, of either sign.
    ///
    /// # Errors
    /// As [`Object::number`].
    pub fn integer(&self, name: &str) -> Result<Option<i64>, BadField> {
        let Some(number) = self.typed(name, "a number", Value::as_number)? else { return Ok(None) };
        let (want, got) = ("a whole number of 64 bits", "another number");
        number.as_i64().map(Some).ok_or_else(|| BadField::Type { field: name.to_owned(), want, got })
    }

    /// # Errors
    /// As [`Object::number`].
    pub fn port(&self, name: &str) -> Result<u16, BadField> {
        let number = self.number(name, u64::from(u16::MAX))?.unwrap_or_default();
        Ok(u16::try_from(number).expect("bounded just above"))
    }

    /// A Go duration string, or a number of nanoseconds. An empty string is absent.
    ///
    /// # Errors
    /// As [`Object::string`], and [`BadField::Duration`].
    pub fn duration(&self, name: &str) -> Result<Option<Duration>, BadField> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => {
                parse_duration(text).map(Some).map_err(|source| BadField::Duration { field: name.to_owned(), source })
            }
            Some(Value::Number(_)) => Ok(self.number(name, i64::MAX as u64)?.map(Duration::from_nanos)),
            Some(other) => {
                Err(BadField::Type { field: name.to_owned(), want: "a duration such as \"10s\"", got: kind(other) })
            }
        }
    }

    /// # Errors
    /// As [`Object::string`].
    pub fn object(&self, name: &str) -> Result<Option<Self>, BadField> {
        Ok(self.typed(name, "an object", Value::as_object)?.map(Self))
    }

    /// # Errors
    /// As [`Object::string`]. An absent list is empty.
    pub fn list(&self, name: &str) -> Result<&'a [Value], BadField> {
        Ok(self.typed(name, "a list", Value::as_array)?.map_or(&[], Vec::as_slice))
    }

    /// # Errors
    /// As [`Object::string`].
    pub fn strings(&self, name: &str) -> Result<Vec<String>, BadField> {
        let one = |value: &Value| {
            value.as_str().map(str::to_owned).ok_or_else(|| BadField::Type {
                field: name.to_owned(),
                want: "a list of strings",
                got: kind(value),
            })
        };
        self.list(name)?.iter().map(one).collect()
    }

    /// # Errors
    /// As [`Object::string`]. The keys keep their spelling.
    pub fn string_map(&self, name: &str) -> Result<BTreeMap<String, String>, BadField> {
        let one = |(key, value): (&str, &Value)| match value.as_str() {
            Some(text) => Ok((key.to_owned(), text.to_owned())),
            None => Err(BadField::Type { field: format!("{name}.{key}"), want: "a string", got: kind(value) }),
        };
        self.object(name)?.map_or_else(|| Ok(BTreeMap::new()), |object| object.iter().map(one).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_match_in_any_spelling_and_errors_name_the_field() {
        let body = json!({"serviceID": "web", "tls_skip_verify": true, "Interval": "10s", "Timeout": 5, "Port": 99999,
                          "Tags": ["a", 1], "Meta": {"Key_A": "v"}, "Token": null});
        let object = Object::of(&body).expect("an object");
        assert_eq!(object.string("ServiceID").as_deref(), Ok("web"));
        assert_eq!(object.boolean("TLSSkipVerify"), Ok(true));
        assert_eq!(object.duration("Interval"), Ok(Some(Duration::from_secs(10))));
        assert_eq!(object.duration("Timeout"), Ok(Some(Duration::from_nanos(5))));
        assert_eq!(object.string("Token").as_deref(), Ok(""));
        assert_eq!(object.string_map("meta").expect("a map")["Key_A"], "v");
        assert_eq!(object.port("Port").expect_err("too large").to_string(), "Port: 99999 is out of range 0 to 65535");
        for port in [json!(80.5), json!(80.0)] {
            let body = json!({"Port": port});
            let text = Object::of(&body).expect("an object").port("Port").expect_err("a fraction").to_string();
            assert_eq!(text, "Port: expected a whole number, got one with a fraction or an exponent");
        }
        assert_eq!(
            object.strings("Tags").expect_err("mixed").to_string(),
            "Tags: expected a list of strings, got a number"
        );
    }
}
