//! Text into a tree, by recursive descent. It knows the grammar and nothing of what there is to select.
//!
//! ```text
//! expr  := and { "or" and }      and := not { "and" not }      not := "not" not | "(" expr ")" | match
//! match := sel ("==" | "!=") val | sel "is" ["not"] "empty" | sel ["not"] ("contains" | "matches") val | val ["not"] "in" sel
//! sel   := ident { "." ident | "[" string "]" } | "\"/json/pointer\""
//! val   := "\"…\"" | "`…`" | number | word
//! ```

use std::iter::Peekable;
use std::str::Chars;

/// Parentheses and `not`s inside each other at most.
const DEPTH_MAX: usize = 64;

/// What is wrong, and where. Columns count characters from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("1:{column}: {what}")]
pub(super) struct Fault {
    column: usize,
    what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    Contains,
    Empty,
    Matches,
}

impl Operator {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::Contains => "contains",
            Self::Empty => "is empty",
            Self::Matches => "matches",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Match { path: Vec<String>, operator: Operator, negated: bool, value: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A bare word or a number: keyword, selector or value, as its place says.
    Word(String),
    Text(String),
    /// `==`, `!=`, `(`, `)`, `[`, `]`, `.`
    Sign(&'static str),
}

/// What stands before an operator or after it.
enum Operand {
    /// May be a selector, and in its written form a value.
    Selector(Vec<String>, String),
    Text(String),
}

/// Parses an expression.
pub(super) fn parse(source: &str) -> Result<Parsed, Fault> {
    let mut parser = Parser { tokens: tokens(source)?, at: 0, depth: 0, end: source.chars().count() + 1 };
    let parsed = parser.any()?;
    match parser.peek() {
        None => Ok(parsed),
        Some(_) => Err(parser.fault("expected \"and\", \"or\" or the end")),
    }
}

fn tokens(source: &str) -> Result<Vec<(usize, Token)>, Fault> {
    let mut reader = Reader { rest: source.chars().peekable(), column: 0 };
    let mut tokens = Vec::new();
    while let Some(first) = reader.next() {
        let column = reader.column;
        let token = match first {
            c if c.is_whitespace() => continue,
            '(' => Token::Sign("("),
            ')' => Token::Sign(")"),
            '[' => Token::Sign("["),
            ']' => Token::Sign("]"),
            '.' => Token::Sign("."),
            '=' | '!' if reader.next() == Some('=') => Token::Sign(if first == '=' { "==" } else { "!=" }),
            '=' | '!' => return Err(Fault { column, what: format!("expected {first}= here") }),
            '`' => Token::Text(reader.raw()?),
            '"' => Token::Text(reader.quoted()?),
            c if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/') => Token::Word(reader.word(c)),
            other => {
                let what = format!("{other:?} cannot stand here; put values in double quotes");
                return Err(Fault { column, what });
            }
        };
        tokens.push((column, token));
    }
    Ok(tokens)
}

/// The characters of an expression, counted.
struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    column: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        self.column += 1;
        self.rest.next()
    }

    fn raw(&mut self) -> Result<String, Fault> {
        let begun = self.column;
        let mut text = String::new();
        loop {
            match self.next() {
                Some('`') => return Ok(text),
                Some(c) => text.push(c),
                None => return Err(endless(begun, "raw string")),
            }
        }
    }

    fn quoted(&mut self) -> Result<String, Fault> {
        let begun = self.column;
        let mut text = String::new();
        loop {
            match self.next() {
                Some('"') => return Ok(text),
                Some('\\') => match self.next().and_then(unescape) {
                    Some(plain) => text.push(plain),
                    None => {
                        let what = r#"this escape is not known; there are \" \\ \n \r \t"#.to_owned();
                        return Err(Fault { column: self.column, what });
                    }
                },
                Some(c) => text.push(c),
                None => return Err(endless(begun, "string")),
            }
        }
    }

    /// A word or a number. A number keeps its dot; in a word a dot separates the parts of a selector.
    fn word(&mut self, first: char) -> String {
        let number = first.is_ascii_digit() || first == '-';
        let mut word = String::from(first);
        while let Some(c) =
            self.rest.next_if(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '/') || (number && *c == '.'))
        {
            self.column += 1;
            word.push(c);
        }
        word
    }
}

fn endless(column: usize, what: &str) -> Fault {
    Fault { column, what: format!("a {what} begins here and does not end") }
}

const fn unescape(escaped: char) -> Option<char> {
    match escaped {
        '"' | '\\' | '/' => Some(escaped),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        _ => None,
    }
}

fn is_identifier(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic()) && !word.contains('/')
}

fn is_value(word: &str) -> bool {
    let number = word.strip_prefix('-').unwrap_or(word).starts_with(|c: char| c.is_ascii_digit());
    if number { word.parse::<f64>().is_ok() } else { word.starts_with(|c: char| c.is_ascii_alphabetic()) }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    depth: usize,
    end: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(_, token)| token)
    }

    fn fault(&self, what: impl Into<String>) -> Fault {
        let column = self.tokens.get(self.at).map_or(self.end, |(column, _)| *column);
        Fault { column, what: what.into() }
    }

    fn sign(&mut self, sign: &'static str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(found)) if *found == sign);
        self.at += usize::from(found);
        found
    }

    fn keyword(&mut self, keyword: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(word)) if word == keyword);
        self.at += usize::from(found);
        found
    }

    fn any(&mut self) -> Result<Parsed, Fault> {
        let mut parts = vec![self.all()?];
        while self.keyword("or") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Parsed::Any(parts) })
    }

    fn all(&mut self) -> Result<Parsed, Fault> {
        let mut parts = vec![self.not()?];
        while self.keyword("and") {
            parts.push(self.not()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Parsed::All(parts) })
    }

    fn not(&mut self) -> Result<Parsed, Fault> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.fault(format!("more than {DEPTH_MAX} levels of parentheses and not")));
        }
        let parsed = if self.keyword("not") {
            Parsed::Not(Box::new(self.not()?))
        } else if self.sign("(") {
            let inner = self.any()?;
            if !self.sign(")") {
                return Err(self.fault("expected \")\""));
            }
            inner
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(parsed)
    }

    fn comparison(&mut self) -> Result<Parsed, Fault> {
        let begun = self.at;
        let left = self.operand()?;
        if self.sign("==") {
            return self.selected(begun, left, Operator::Equal, false);
        }
        if self.sign("!=") {
            return self.selected(begun, left, Operator::Equal, true);
        }
        if self.keyword("is") {
            let negated = self.keyword("not");
            if !self.keyword("empty") {
                return Err(self.fault("expected \"empty\""));
            }
            let path = self.path(begun, left)?;
            return Ok(Parsed::Match { path, operator: Operator::Empty, negated, value: String::new() });
        }
        let negated = self.keyword("not");
        if self.keyword("contains") {
            return self.selected(begun, left, Operator::Contains, negated);
        }
        if self.keyword("matches") {
            return self.selected(begun, left, Operator::Matches, negated);
        }
        if self.keyword("in") {
            let value = self.value(begun, left)?;
            let at = self.at;
            let right = self.operand()?;
            let path = self.path(at, right)?;
            return Ok(Parsed::Match { path, operator: Operator::Contains, negated, value });
        }
        Err(self.fault("expected an operator: ==, !=, is, in, contains or matches"))
    }

    /// The rest of a comparison that began with its selector.
    fn selected(&mut self, begun: usize, left: Operand, operator: Operator, negated: bool) -> Result<Parsed, Fault> {
        let path = self.path(begun, left)?;
        let at = self.at;
        let right = self.operand()?;
        let value = self.value(at, right)?;
        Ok(Parsed::Match { path, operator, negated, value })
    }

    fn operand(&mut self) -> Result<Operand, Fault> {
        let first = match self.peek() {
            Some(Token::Text(text)) => Operand::Text(text.clone()),
            Some(Token::Word(word)) => Operand::Selector(vec![word.clone()], word.clone()),
            _ => return Err(self.fault("expected a selector or a value")),
        };
        self.at += 1;
        let Operand::Selector(mut path, mut written) = first else { return Ok(first) };
        loop {
            if self.sign(".") {
                let Some(Token::Word(word)) = self.peek() else {
                    return Err(self.fault("expected a name after the dot"));
                };
                written = written + "." + word;
                path.push(word.clone());
                self.at += 1;
            } else if self.sign("[") {
                let Some(Token::Text(key)) = self.peek().cloned() else {
                    return Err(self.fault("expected a key in double quotes"));
                };
                self.at += 1;
                if !self.sign("]") {
                    return Err(self.fault("expected \"]\""));
                }
                // A key in brackets is no part of any value.
                written.clear();
                path.push(key);
            } else {
                return Ok(Operand::Selector(path, written));
            }
        }
    }

    fn path(&self, at: usize, operand: Operand) -> Result<Vec<String>, Fault> {
        let column = self.tokens.get(at).map_or(self.end, |(column, _)| *column);
        let fault = |what: &str| Fault { column, what: what.to_owned() };
        match operand {
            Operand::Selector(path, _) if path.first().is_some_and(|word| is_identifier(word)) => Ok(path),
            Operand::Selector(..) => Err(fault("a selector begins with a letter")),
            // RFC 6901.
            Operand::Text(text) => match text.strip_prefix('/') {
                Some(pointer) => {
                    Ok(pointer.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect())
                }
                None => Err(fault("a selector has no quotes, or is a JSON pointer such as \"/Meta/version\"")),
            },
        }
    }

    fn value(&self, at: usize, operand: Operand) -> Result<String, Fault> {
        let column = self.tokens.get(at).map_or(self.end, |(column, _)| *column);
        match operand {
            Operand::Text(text) => Ok(text),
            Operand::Selector(_, written) if is_value(&written) => Ok(written),
            Operand::Selector(..) => Err(Fault { column, what: "put this value in double quotes".to_owned() }),
        }
    }
}
