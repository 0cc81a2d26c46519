//! The habits of Go's JSON encoder: `<`, `>`, `&` and the two Unicode line ends are escaped, indentation is four spaces
//! and ends in a newline, spans of time are words.

use crate::time::format_duration;
use serde::{Serialize, Serializer};
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};
use std::io::{Result, Write};
use std::time::Duration;

/// `value` as JSON. `capacity` is a guess at its size, so that the bytes need not move while they grow.
pub(super) fn to_vec<T: Serialize + ?Sized>(value: &T, pretty: bool, capacity: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(if pretty { capacity.saturating_mul(2) } else { capacity });
    let written = if pretty {
        value.serialize(&mut serde_json::Serializer::with_formatter(
            &mut bytes,
            Go(PrettyFormatter::with_indent(b"    ")),
        ))
    } else {
        value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Go(CompactFormatter)))
    };
    written.expect("the shapes have string keys and memory is the only sink");
    if pretty {
        bytes.push(b'\n');
    }
    bytes
}

/// A formatter that escapes what Go escapes beyond the standard. All else is as the formatter inside does it.
struct Go<F>(F);

macro_rules! as_inside {
    ($($method:ident($($argument:ident: $kind:ty),*);)*) => {
        $(#[inline]
        fn $method<W: ?Sized + Write>(&mut self, writer: &mut W, $($argument: $kind),*) -> Result<()> {
            self.0.$method(writer, $($argument),*)
        })*
    };
}

impl<F: Formatter> Formatter for Go<F> {
    as_inside! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        end_object_key();
        begin_object_value();
        end_object_value();
    }

    #[inline]
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> Result<()> {
        // 0xE2 opens U+2028 and U+2029, and little else that names are made of.
        if fragment.bytes().any(|byte| matches!(byte, b'<' | b'>' | b'&' | 0xE2)) {
            write_escaped(writer, fragment)
        } else {
            writer.write_all(fragment.as_bytes())
        }
    }
}

#[cold]
fn write_escaped<W: ?Sized + Write>(writer: &mut W, fragment: &str) -> Result<()> {
    let mut done = 0;
    for (at, c) in fragment.char_indices() {
        let escape = match c {
            '<' => "\\u003c",
            '>' => "\\u003e",
            '&' => "\\u0026",
            '\u{2028}' => "\\u2028",
            '\u{2029}' => "\\u2029",
            _ => continue,
        };
        writer.write_all(&fragment.as_bytes()[done..at])?;
        writer.write_all(escape.as_bytes())?;
        done = at + c.len_utf8();
    }
    writer.write_all(&fragment.as_bytes()[done..])
}

/// A span as Go writes it. Whole seconds below a minute, which nearly all are, need no memory.
pub(super) struct Span(pub(super) Duration);

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match (self.0.as_secs(), self.0.subsec_nanos()) {
            (0, 0) => serializer.serialize_str("0s"),
            (seconds @ 1..60, 0) => serializer.collect_str(&format_args!("{seconds}s")),
            _ => serializer.serialize_str(&format_duration(self.0)),
        }
    }
}

shown_as!(Span, String);

impl Span {
    pub(super) const fn is_zero(&self) -> bool {
        self.0.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn strings_are_escaped_as_go_escapes_them() {
        let text = "a<b>&c\u{2028}d\u{2029}e\"\\\n\t\u{1}\u{8}\u{c}\u{7f} € é \u{2027}";
        let expected = "\"a\\u003cb\\u003e\\u0026c\\u2028d\\u2029e\\\"\\\\\\n\\t\\u0001\\b\\f\u{7f} € é \u{2027}\"";
        assert_eq!(String::from_utf8(to_vec(text, false, 0)).expect("UTF-8"), expected);
        let keys = BTreeMap::from([("<", "&")]);
        assert_eq!(to_vec(&keys, false, 0), br#"{"\u003c":"\u0026"}"#);
    }

    #[test]
    fn indentation_is_four_spaces_and_a_newline() {
        let value = serde_json::json!({"a": [1, {}], "b": [], "c": "<"});
        let expected = "{\n    \"a\": [\n        1,\n        {}\n    ],\n    \"b\": [],\n    \"c\": \"\\u003c\"\n}\n";
        assert_eq!(String::from_utf8(to_vec(&value, true, 0)).expect("UTF-8"), expected);
    }

    #[test]
    fn spans_are_words() {
        for (span, word) in [
            (Duration::ZERO, "\"0s\""),
            (Duration::from_secs(10), "\"10s\""),
            (Duration::from_secs(90), "\"1m30s\""),
            (Duration::from_millis(1500), "\"1.5s\""),
        ] {
            assert_eq!(to_vec(&Span(span), false, 0), word.as_bytes());
        }
    }
}
