//! `?filter=`: boolean expressions over the rows of an answer (Consul's filter language, the grammar of go-bexpr).
//!
//! An expression is compiled against the [`Shape`] of the rows that an endpoint answers with, so that an unknown selector or
//! an operator that does not fit is refused before anything is read. It is evaluated on rows as they are sent: their JSON
//! names are the names that selectors use. Blocking and indexes know nothing of it: they speak of the unfiltered rows.

mod parse;
pub mod shape;

use parse::Parsed;
use regex_lite::Regex;
use serde::Serialize;
use serde_json::Value;
use shape::{Fields, Shape};

/// Bytes of an expression at most.
const LENGTH_MAX: usize = 16 << 10;
/// Bytes that a compiled pattern of `matches` may take.
const PATTERN_MAX: usize = 1 << 20;

/// Why an expression was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Failed to create boolean expression evaluator: {0}")]
pub struct BadFilter(Fault);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("the expression has {0} bytes, {LENGTH_MAX} are allowed")]
    TooLong(usize),
    #[error("{0}")]
    Syntax(#[from] parse::Fault),
    #[error("Selector \"{selector}\" is not valid: {cause}")]
    Selector { selector: String, cause: shape::Unknown },
    #[error("Invalid match operator \"{operator}\" for selector \"{selector}\", which is {shape}")]
    Operator { operator: &'static str, selector: String, shape: &'static str },
    #[error("{value:?} is not {shape}, which selector \"{selector}\" is compared as")]
    Value { value: String, selector: String, shape: &'static str },
    #[error("{pattern:?} is not a regular expression: {cause}")]
    Pattern { pattern: String, cause: String },
}

/// A compiled expression. Two are equal when they were written alike for rows of one shape.
#[derive(Clone, Debug)]
pub struct Filter {
    source: String,
    fields: Fields,
    root: Node,
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && std::ptr::eq(self.fields, other.fields)
    }
}

impl Eq for Filter {}

impl std::hash::Hash for Filter {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.source.hash(state);
    }
}

#[derive(Clone, Debug)]
enum Node {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Match(Match),
}

/// One comparison.
#[derive(Clone, Debug)]
struct Match {
    path: Vec<Step>,
    /// `!=`, `not in`, `is not empty`, …
    negated: bool,
    test: Test,
}

/// One step of a selector into a row.
#[derive(Clone, Debug)]
struct Step {
    name: String,
    /// A key of a map, which may be missing, rather than a field, which is left out when it is empty.
    key: bool,
}

/// What a selected value is held against, in the form that its shape asks for.
#[derive(Clone, Debug)]
enum Test {
    Text(String),
    Number(i64),
    Bool(bool),
    /// A part of a text, an element of a list, or a key of a map.
    Contains(String),
    Empty,
    Matches(Regex),
}

impl Filter {
    /// Compiles `source` for rows with these fields.
    ///
    /// # Errors
    /// [`BadFilter`], with the place in the expression where there is one.
    pub fn compile(source: &str, fields: Fields) -> Result<Self, BadFilter> {
        if source.len() > LENGTH_MAX {
            return Err(BadFilter(Fault::TooLong(source.len())));
        }
        let parsed = parse::parse(source).map_err(|fault| BadFilter(fault.into()))?;
        let root = node(parsed, fields).map_err(BadFilter)?;
        Ok(Self { source: source.to_owned(), fields, root })
    }

    /// Whether a row, as it would be sent, is to be kept.
    #[must_use]
    pub fn keeps<T: Serialize>(&self, row: &T) -> bool {
        // Rows are our own shapes, whose keys are strings: they always become JSON.
        serde_json::to_value(row).is_ok_and(|row| self.root.holds(&row))
    }
}

fn node(parsed: Parsed, fields: Fields) -> Result<Node, Fault> {
    let each = |parts: Vec<Parsed>| parts.into_iter().map(|part| node(part, fields)).collect::<Result<Vec<_>, _>>();
    Ok(match parsed {
        Parsed::All(parts) => Node::All(each(parts)?),
        Parsed::Any(parts) => Node::Any(each(parts)?),
        Parsed::Not(inner) => Node::Not(Box::new(node(*inner, fields)?)),
        Parsed::Match { path, operator, negated, value } => {
            let selector = path.join(".");
            let (path, shape) =
                shape::find(fields, path).map_err(|cause| Fault::Selector { selector: selector.clone(), cause })?;
            Node::Match(Match { path, negated, test: test(operator, value, shape, selector)? })
        }
    })
}

fn test(operator: parse::Operator, value: String, shape: &'static Shape, selector: String) -> Result<Test, Fault> {
    use parse::Operator as O;
    let misfit = |selector| Fault::Operator { operator: operator.as_str(), selector, shape: shape.as_str() };
    match (operator, shape) {
        (O::Equal, Shape::Text) => Ok(Test::Text(value)),
        (O::Equal, Shape::Number) => match value.parse() {
            Ok(number) => Ok(Test::Number(number)),
            Err(_) => Err(Fault::Value { value, selector, shape: shape.as_str() }),
        },
        (O::Equal, Shape::Bool) => match value.parse() {
            Ok(flag) => Ok(Test::Bool(flag)),
            Err(_) => Err(Fault::Value { value, selector, shape: shape.as_str() }),
        },
        (O::Contains, Shape::Text | Shape::Texts | Shape::Map(_)) => Ok(Test::Contains(value)),
        (O::Empty, Shape::Text | Shape::Texts | Shape::Map(_) | Shape::Rows(_)) => Ok(Test::Empty),
        (O::Matches, Shape::Text | Shape::Texts) => {
            let built = regex_lite::RegexBuilder::new(&value).size_limit(PATTERN_MAX).build();
            let regex = built.map_err(|cause| Fault::Pattern { pattern: value, cause: cause.to_string() })?;
            Ok(Test::Matches(regex))
        }
        _ => Err(misfit(selector)),
    }
}

impl Node {
    fn holds(&self, row: &Value) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(row)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(row)),
            Self::Not(inner) => !inner.holds(row),
            Self::Match(one) => one.holds(row, &one.path),
        }
    }
}

impl Match {
    /// Through a list of objects any element that matches is enough.
    fn holds(&self, value: &Value, path: &[Step]) -> bool {
        match (value, path.split_first()) {
            (Value::Array(elements), Some(_)) => elements.iter().any(|element| self.holds(element, path)),
            (value, Some((step, rest))) => match value.get(&step.name) {
                Some(inner) => self.holds(inner, rest),
                // A missing key equals nothing, not even the empty text.
                None if step.key => matches!(self.test, Test::Empty) != self.negated,
                None => self.test.of(&Value::Null) != self.negated,
            },
            (leaf, None) => self.test.of(leaf) != self.negated,
        }
    }
}

impl Test {
    /// A field that is absent or null stands for its empty value.
    fn of(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Text(text), Value::String(found)) => text == found,
            (Self::Text(text), Value::Null) => text.is_empty(),
            (Self::Number(number), Value::Number(found)) => found.as_i64() == Some(*number),
            (Self::Number(number), Value::Null) => *number == 0,
            (Self::Bool(flag), Value::Bool(found)) => flag == found,
            (Self::Bool(flag), Value::Null) => !flag,
            (Self::Contains(part), Value::String(found)) => found.contains(part.as_str()),
            (Self::Contains(part), Value::Array(found)) => found.iter().any(|one| one.as_str() == Some(part)),
            (Self::Contains(part), Value::Object(found)) => found.contains_key(part),
            (Self::Empty, Value::Null) => true,
            (Self::Empty, Value::String(found)) => found.is_empty(),
            (Self::Empty, Value::Array(found)) => found.is_empty(),
            (Self::Empty, Value::Object(found)) => found.is_empty(),
            (Self::Matches(regex), Value::String(found)) => regex.is_match(found),
            (Self::Matches(regex), Value::Null) => regex.is_match(""),
            (Self::Matches(regex), Value::Array(found)) => {
                found.iter().filter_map(Value::as_str).any(|one| regex.is_match(one))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "an unwrap that fails is a test that fails")]
mod tests;
