//! HCL, version 1, as Consul's configuration files are written in it, read into JSON values.
//!
//! This is not HCL 2 (Terraform's later language, which `hcl-rs` reads): that one refuses `"server" = true`, quoted keys
//! inside blocks (`response_headers { "X-Frame-Options" = "deny" }`) and several settings on one line, all of which
//! Consul accepts and its documentation shows. Interpolations are kept as they are written; nothing is evaluated.
//!
//! A key that holds several objects (repeated blocks) becomes a list of them; whether that is one map in parts or a list
//! is the schema's business. Input is bounded in depth, and errors carry line and column.

use serde_json::{Map, Number, Value};

/// Deeper nesting than any configuration has; it bounds the recursion.
const DEPTH_MAX: u32 = 64;

/// What is wrong, and where: both count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub(crate) struct HclError {
    pub line: usize,
    pub column: usize,
    pub message: String,
}

/// Reads a whole file.
///
/// # Errors
/// [`HclError`] at the first thing that is not HCL.
pub(crate) fn parse(text: &str) -> Result<Map<String, Value>, HclError> {
    let mut reader = Reader { text, at: 0 };
    reader.body(false, 0).map_err(|fault| reader.locate(fault))
}

/// An error before its place is translated into line and column.
struct Fault {
    at: usize,
    message: String,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn locate(&self, fault: Fault) -> HclError {
        let before = self.text.get(..fault.at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        HclError {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            message: fault.message,
        }
    }

    fn fault<T>(&self, message: impl Into<String>) -> Result<T, Fault> {
        Err(Fault { at: self.at, message: message.into() })
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let found = self.peek()?;
        self.at += found.len_utf8();
        Some(found)
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// Blanks and comments: `#`, `//` and `/* */`.
    fn skip(&mut self) -> Result<(), Fault> {
        loop {
            self.take_while(char::is_whitespace);
            let rest = self.rest();
            if rest.starts_with('#') || rest.starts_with("//") {
                self.take_while(|c| c != '\n');
            } else if rest.starts_with("/*") {
                match rest.find("*/") {
                    Some(end) => self.at += end + 2,
                    None => return self.fault("this comment has no end; close it with */"),
                }
            } else {
                return Ok(());
            }
        }
    }

    /// The inside of an object, or of the whole file.
    fn body(&mut self, braced: bool, depth: u32) -> Result<Map<String, Value>, Fault> {
        if depth > DEPTH_MAX {
            return self.fault(format!("nested deeper than {DEPTH_MAX} levels"));
        }
        let mut found = Map::new();
        loop {
            self.skip()?;
            match self.peek() {
                None if braced => return self.fault("this block has no end; a closing } is missing"),
                None => return Ok(found),
                Some('}') if braced => {
                    self.at += 1;
                    return Ok(found);
                }
                Some('}') => return self.fault("a closing } that nothing opened"),
                Some(_) => {}
            }
            let (key, value) = self.item(depth)?;
            insert(&mut found, key, value);
            self.skip()?;
            self.take(',');
        }
    }

    /// `key = value`, `key { … }` or `key "label" { … }`.
    fn item(&mut self, depth: u32) -> Result<(String, Value), Fault> {
        let key = self.key()?;
        let mut labels = Vec::new();
        loop {
            self.skip()?;
            match self.peek() {
                Some('=' | ':') if labels.is_empty() => {
                    self.at += 1;
                    self.skip()?;
                    return Ok((key, self.value(depth)?));
                }
                Some('{') => break,
                Some(_) if labels.len() < 8 => labels.push(self.key().map_err(|fault| Fault {
                    at: fault.at,
                    message: format!("after \"{key}\" comes = and a value, or a block in braces"),
                })?),
                _ => return self.fault(format!("after \"{key}\" comes = and a value, or a block in braces")),
            }
        }
        self.at += 1;
        let inner = Value::Object(self.body(true, depth + 1)?);
        let wrap = |value, label| Value::Object(Map::from_iter([(label, value)]));
        Ok((key, labels.into_iter().rev().fold(inner, wrap)))
    }

    fn key(&mut self) -> Result<String, Fault> {
        if self.peek() == Some('"') {
            return self.string();
        }
        let start = |c: char| c.is_alphabetic() || c == '_';
        if !self.peek().is_some_and(start) {
            let got =
                self.peek().map_or_else(|| "the end of the file".to_owned(), |c| format!("'{}'", c.escape_debug()));
            return self.fault(format!("expected a key, found {got}"));
        }
        Ok(self.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.')).to_owned())
    }

    fn value(&mut self, depth: u32) -> Result<Value, Fault> {
        match self.peek() {
            Some('"') => self.string().map(Value::String),
            Some('{') => {
                self.at += 1;
                self.body(true, depth + 1).map(Value::Object)
            }
            Some('[') => {
                self.at += 1;
                self.list(depth + 1)
            }
            Some('<') => self.heredoc(),
            Some(c) if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => self.number(),
            Some(c) if c.is_alphabetic() => {
                let start = self.at;
                match self.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.')) {
                    "true" => Ok(Value::Bool(true)),
                    "false" => Ok(Value::Bool(false)),
                    "null" => Ok(Value::Null),
                    word => Err(Fault {
                        at: start,
                        message: format!("{word} is not a value; a text is written \"{word}\""),
                    }),
                }
            }
            Some(c) => self.fault(format!("expected a value, found '{}'", c.escape_debug())),
            None => self.fault("expected a value, found the end of the file"),
        }
    }

    fn list(&mut self, depth: u32) -> Result<Value, Fault> {
        if depth > DEPTH_MAX {
            return self.fault(format!("nested deeper than {DEPTH_MAX} levels"));
        }
        let mut found = Vec::new();
        loop {
            self.skip()?;
            if self.take(']') {
                return Ok(Value::Array(found));
            }
            if self.peek().is_none() {
                return self.fault("this list has no end; a closing ] is missing");
            }
            found.push(self.value(depth)?);
            self.skip()?;
            if !self.take(',') && self.peek() != Some(']') {
                return self.fault("expected , or ] after an element of a list");
            }
        }
    }

    fn number(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        let word = self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.'));
        let (negative, digits) = (word.starts_with('-'), word.strip_prefix(['-', '+']).unwrap_or(word));
        // Rust's parsers would take a second sign.
        let digits = if digits.starts_with(['-', '+']) { "" } else { digits };
        let whole = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
            if hex.bytes().all(|b| b.is_ascii_hexdigit()) { i64::from_str_radix(hex, 16).ok() } else { None }
        } else if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()) {
            i64::from_str_radix(digits, 8).ok()
        } else {
            digits.parse::<i64>().ok()
        };
        let value = match whole {
            Some(number) => Some(Number::from(if negative { number.wrapping_neg() } else { number })),
            None => digits.parse::<f64>().ok().and_then(|f| Number::from_f64(if negative { -f } else { f })),
        };
        value.map(Value::Number).ok_or_else(|| Fault {
            at: start,
            message: format!("{word} is not a number; a text is written \"{word}\""),
        })
    }

    /// A quoted text. Inside `${ … }` everything, quotes and newlines too, is kept as written.
    fn string(&mut self) -> Result<String, Fault> {
        let start = self.at;
        self.at += 1;
        let mut out = String::new();
        let mut braces = 0_u32;
        loop {
            let here = self.at;
            let Some(c) = self.next() else {
                return Err(Fault { at: start, message: "this text has no end; a closing \" is missing".to_owned() });
            };
            match c {
                '"' if braces == 0 => return Ok(out),
                '\n' if braces == 0 => {
                    return Err(Fault {
                        at: start,
                        message: "this text does not end on its line; use <<EOF".to_owned(),
                    });
                }
                '\\' if braces == 0 => out.push(self.escape(here)?),
                '{' if braces > 0 || out.ends_with('$') => {
                    braces += 1;
                    out.push(c);
                }
                '}' => {
                    braces = braces.saturating_sub(1);
                    out.push(c);
                }
                _ => out.push(c),
            }
        }
    }

    fn escape(&mut self, start: usize) -> Result<char, Fault> {
        let coded = |reader: &mut Self, length: usize, radix: u32| {
            let code = reader.rest().get(..length).and_then(|digits| u32::from_str_radix(digits, radix).ok());
            reader.at += if code.is_some() { length } else { 0 };
            code.and_then(char::from_u32)
        };
        let found = match self.next() {
            Some('a') => Some('\u{7}'),
            Some('b') => Some('\u{8}'),
            Some('f') => Some('\u{c}'),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('v') => Some('\u{b}'),
            Some(c @ ('\\' | '"')) => Some(c),
            Some('x') => coded(self, 2, 16),
            Some('u') => coded(self, 4, 16),
            Some('U') => coded(self, 8, 16),
            Some('0'..='7') => {
                self.at -= 1;
                coded(self, 3, 8)
            }
            _ => None,
        };
        found.ok_or_else(|| Fault { at: start, message: "unknown escape; a backslash is written \\\\".to_owned() })
    }

    /// `<<EOF` up to a line that is only `EOF`; `<<-EOF` also takes away the indentation that all lines share.
    fn heredoc(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        let Some(after) = self.rest().strip_prefix("<<") else { return self.fault("expected a value, found '<'") };
        self.at += 2;
        let indented = after.starts_with('-');
        self.at += usize::from(indented);
        let mark = self.take_while(|c| c.is_alphanumeric() || c == '_');
        self.take('\r');
        if mark.is_empty() || !self.take('\n') {
            return Err(Fault {
                at: start,
                message: "a text of several lines begins with <<EOF and a new line".to_owned(),
            });
        }
        let mut lines = Vec::new();
        loop {
            if self.rest().is_empty() {
                return Err(Fault { at: start, message: format!("this text has no end; a line {mark} is missing") });
            }
            let line = self.take_while(|c| c != '\n');
            if line.trim() == mark {
                break;
            }
            self.take('\n');
            lines.push(line);
        }
        let blanks = |line: &&str| line.len() - line.trim_start_matches([' ', '\t']).len();
        let margin = if indented {
            lines.iter().filter(|line| !line.trim().is_empty()).map(blanks).min().unwrap_or_default()
        } else {
            0
        };
        let text = lines.iter().fold(String::new(), |mut text, line| {
            text.push_str(line.get(margin..).unwrap_or_default());
            text.push('\n');
            text
        });
        Ok(Value::String(text))
    }
}

/// Objects under one key gather in a list; of anything else the last wins.
fn insert(map: &mut Map<String, Value>, key: String, value: Value) {
    match (map.get_mut(&key), value) {
        (Some(Value::Array(list)), value @ Value::Object(_)) if list.first().is_some_and(Value::is_object) => {
            list.push(value);
        }
        (Some(first @ Value::Object(_)), value @ Value::Object(_)) => {
            let earlier = first.take();
            *first = Value::Array(vec![earlier, value]);
        }
        (_, value) => {
            map.insert(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[track_caller]
    fn check(text: &str, expected: Value) {
        assert_eq!(parse(text).map(Value::Object), Ok(expected), "{text}");
    }

    #[track_caller]
    fn check_fault(text: &str, expected: &str) {
        assert_eq!(parse(text).expect_err("a fault").to_string(), expected, "{text}");
    }

    #[test]
    fn settings_blocks_and_lists() {
        check("", json!({}));
        check("# only\n// comments\n/* here\n */", json!({}));
        check("a = 1\nb = \"x\" c = true, d = null", json!({"a": 1, "b": "x", "c": true, "d": null}));
        check("ports { http = 8501 dns = -1 }", json!({"ports": {"http": 8501, "dns": -1}}));
        check("\"server\" = true", json!({"server": true}));
        check("h { r { \"X-A\" = \"*\" } }", json!({"h": {"r": {"X-A": "*"}}}));
        check("l = [1, 2.5, [\"a\",], { x = 0x10 },]", json!({"l": [1, 2.5, ["a"], {"x": 16}]}));
        check("m = { a = \"b\", \"c\": \"d\" }", json!({"m": {"a": "b", "c": "d"}}));
        check("s { n = 1 }\ns { n = 2 }\ns = { n = 3 }", json!({"s": [{"n": 1}, {"n": 2}, {"n": 3}]}));
        check("s \"web\" { n = 1 }", json!({"s": {"web": {"n": 1}}}));
        check("a = 1 a = 2", json!({"a": 2}));
    }

    #[test]
    fn texts() {
        check(r#"a = "tab\tquote\" \\ \u00e9 \x41 \101""#, json!({"a": "tab\tquote\" \\ é A A"}));
        check(r#"a = "{{ GetInterfaceIP \"eth0\" }}""#, json!({"a": "{{ GetInterfaceIP \"eth0\" }}"}));
        check(r#"a = "${service.name == "web"}""#, json!({"a": "${service.name == \"web\"}"}));
        check("a = <<EOF\n  two\nlines\nEOF\nb = 1", json!({"a": "  two\nlines\n", "b": 1}));
        check("a = <<-EOF\n    two\n      lines\n    EOF", json!({"a": "two\n  lines\n"}));
    }

    #[test]
    fn faults_name_their_place() {
        check_fault("a = 1\nb = = 2", "2:5: expected a value, found '='");
        check_fault("server true", "1:12: after \"server\" comes = and a value, or a block in braces");
        check_fault("a = dc1", "1:5: dc1 is not a value; a text is written \"dc1\"");
        check_fault("é = 1\n  x = \"abc\n", "2:7: this text does not end on its line; use <<EOF");
        check_fault("a {\n b = 1", "2:7: this block has no end; a closing } is missing");
        check_fault("}", "1:1: a closing } that nothing opened");
        check_fault("a = [1 2]", "1:8: expected , or ] after an element of a list");
        check_fault("a = 10s", "1:5: 10s is not a number; a text is written \"10s\"");
        assert!(parse(&"a {".repeat(5000)).expect_err("deep").message.contains("nested deeper than 64"));
        assert!(parse(&format!("a = {}", "[".repeat(5000))).expect_err("deep").message.contains("nested deeper"));
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(text in "(?s)[a-c_ \n\"'{}\\[\\]=:,.<>#/*$0-9xE\\\\é-]{0,80}") {
            let _ = parse(&text);
        }

        #[test]
        fn bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&String::from_utf8_lossy(&bytes));
        }
    }
}
