//! What the client of one stream was told, and so what it must be told next.
//!
//! Of each row the feed keeps a fingerprint and the number of the event that told it. An answer is compared with that, whatever
//! came between; a client that was cut off at some event is unsure of everything told later, and is told it again. The feed
//! keeps no row and no event: its size is that of the keys.

use super::{Place, Subscription, Watch};
use crate::http::call::Reply;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};

/// Deletions that are remembered for clients that come back; who missed more begins anew.
const GONE_MAX: usize = 1024;
/// So many rows may change or go at once, or half of all of them, before the whole is sent instead.
const CHANGES_MAX: usize = 128;

/// How rows stand in a body, and what names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Health,
    Keys,
    Checks,
    Nodes,
    Names,
}

/// An answer that is not rows of its shape; only an agent that is none gives such.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not what this endpoint gives")]
pub struct Strange;

/// What a client knows of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// It has the row with this fingerprint.
    As(u64),
    /// It was told that the row is gone.
    Gone,
    /// It may have missed the last word on it.
    Unsure,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    known: Known,
    /// Of the event that told it.
    number: u64,
}

/// Why a whole is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Start,
    Unknown,
    Much,
}

impl Reason {
    const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Unknown => "unknown",
            Self::Much => "much",
        }
    }
}

/// One watch of the stream, as its client knows it.
#[derive(Debug)]
struct Told {
    watch: Watch,
    /// Why the client has no rows of it yet; or the number of its last snapshot.
    begun: Result<u64, Reason>,
    rows: BTreeMap<String, Row>,
}

/// See the module's page.
#[derive(Debug)]
pub struct Feed {
    stream: u64,
    watches: Vec<Told>,
    /// The number of the last event.
    last: u64,
    /// Deletions by number: event, watch and key.
    gone: VecDeque<(u64, usize, String)>,
    /// The last deletion that was forgotten.
    forgotten: u64,
    /// Of fingerprints: keyed by chance, so that nobody can write two rows that have the same.
    hasher: RandomState,
}

impl Feed {
    /// A stream at its beginning. `stream` is a name that nobody can guess.
    #[must_use]
    pub fn new(stream: u64, subscription: Subscription) -> Self {
        let reason = if subscription.last.is_some() { Reason::Unknown } else { Reason::Start };
        let told = |watch| Told { watch, begun: Err(reason), rows: BTreeMap::new() };
        let watches = subscription.watches.into_iter().map(told).collect();
        Self { stream, watches, last: 0, gone: VecDeque::new(), forgotten: 0, hasher: RandomState::new() }
    }

    #[must_use]
    pub const fn stream(&self) -> u64 {
        self.stream
    }

    /// How many rows are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.watches.iter().map(|told| told.rows.len()).sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Goes back to what the client has, if this feed can: it must be of the same watches, and remember enough.
    pub fn resume(&mut self, place: Place, watches: &[Watch]) -> bool {
        let same = self.watches.iter().map(|told| &told.watch).eq(watches);
        if !same || place.stream != self.stream || place.number > self.last || place.number < self.forgotten {
            return false;
        }
        for told in &mut self.watches {
            if told.begun.is_ok_and(|number| number > place.number) {
                told.begun = Err(Reason::Start);
                told.rows.clear();
            }
            for row in told.rows.values_mut().filter(|row| row.number > place.number) {
                row.known = Known::Unsure;
            }
        }
        true
    }

    /// The events that tell what an answer to this watch changes; empty when it changes nothing.
    ///
    /// # Errors
    /// [`Strange`]; nothing was told.
    pub fn answered(&mut self, watch: usize, reply: &Reply) -> Result<String, Strange> {
        let Some(told) = self.watches.get_mut(watch) else { return Ok(String::new()) };
        // A key or prefix that is not there is answered so.
        let body: &[u8] = if reply.status == 404 { b"[]" } else { &reply.body };
        let rows = rows(told.watch.shape, body).ok_or(Strange)?;
        let mut out = String::new();
        let hasher = &self.hasher;
        let print = |row: &RawValue| Known::As(hasher.hash_one(row.get()));
        let changed: Vec<(&String, &&RawValue)> = rows
            .iter()
            .filter(|(key, row)| told.rows.get(*key).is_none_or(|known| known.known != print(row)))
            .collect();
        let gone: Vec<&String> = told
            .rows
            .iter()
            .filter(|(key, row)| row.known != Known::Gone && !rows.contains_key(*key))
            .map(|(key, _)| key)
            .collect();
        let different = changed.len() + gone.len();
        let much = different > CHANGES_MAX && different * 2 > rows.len() + gone.len();
        let reason = told.begun.err().or_else(|| much.then_some(Reason::Much));
        if let Some(reason) = reason {
            self.last += 1;
            let text = String::from_utf8_lossy(body);
            event(&mut out, (self.stream, self.last), "snapshot", &told.watch.name, |data| {
                let _ = write!(data, ",\"Reason\":\"{}\",\"Rows\":{}", reason.word(), text.trim_end());
            });
            told.begun = Ok(self.last);
            let number = self.last;
            told.rows = rows.iter().map(|(key, row)| (key.clone(), Row { known: print(row), number })).collect();
            self.gone.retain(|(_, of, _)| *of != watch);
            return Ok(out);
        }
        let gone: Vec<String> = gone.into_iter().cloned().collect();
        for key in gone {
            self.last += 1;
            event(&mut out, (self.stream, self.last), "delete", &told.watch.name, |data| {
                let _ = write!(data, ",\"Key\":{}", quoted(&key));
            });
            told.rows.insert(key.clone(), Row { known: Known::Gone, number: self.last });
            self.gone.push_back((self.last, watch, key));
        }
        for (key, row) in changed {
            self.last += 1;
            event(&mut out, (self.stream, self.last), "set", &told.watch.name, |data| {
                let _ = write!(data, ",\"Key\":{},\"Row\":{}", quoted(key), row.get());
            });
            told.rows.insert(key.clone(), Row { known: print(row), number: self.last });
        }
        self.forget();
        Ok(out)
    }

    /// Forgets the oldest deletions.
    fn forget(&mut self) {
        while self.gone.len() > GONE_MAX {
            let Some((number, watch, key)) = self.gone.pop_front() else { return };
            self.forgotten = number;
            let Some(told) = self.watches.get_mut(watch) else { continue };
            // It may have come back since.
            if told.rows.get(&key).is_some_and(|row| row.number == number) {
                told.rows.remove(&key);
            }
        }
    }
}

/// Writes one event. Indented JSON has several lines, and each is a line of the data.
fn event(out: &mut String, (stream, number): (u64, u64), kind: &str, watch: &str, rest: impl FnOnce(&mut String)) {
    let mut data = format!("{{\"Watch\":{}", quoted(watch));
    rest(&mut data);
    data.push('}');
    let _ = writeln!(out, "id: {stream:016x}-{number}\nevent: {kind}");
    for line in data.lines() {
        let _ = writeln!(out, "data: {line}");
    }
    out.push('\n');
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The rows of a body, by key.
fn rows(shape: Shape, body: &[u8]) -> Option<BTreeMap<String, &RawValue>> {
    if shape == Shape::Names {
        return serde_json::from_slice(body).ok();
    }
    let rows: Vec<&RawValue> = serde_json::from_slice(body).ok()?;
    rows.into_iter().map(|row| Some((key(shape, row.get())?, row))).collect()
}

/// What names a row.
fn key(shape: Shape, row: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Node<'a> {
        #[serde(borrow)]
        node: Cow<'a, str>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Health<'a> {
        #[serde(borrow)]
        node: Node<'a>,
        #[serde(borrow)]
        service: Service<'a>,
    }
    #[derive(Deserialize)]
    struct Service<'a> {
        #[serde(borrow, rename = "ID")]
        id: Cow<'a, str>,
    }
    #[derive(Deserialize)]
    struct Check<'a> {
        #[serde(borrow, rename = "Node")]
        node: Cow<'a, str>,
        #[serde(borrow, rename = "CheckID")]
        id: Cow<'a, str>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Key<'a> {
        #[serde(borrow)]
        key: Cow<'a, str>,
    }
    let on_node = |node: &str, id: &str| format!("{}/{id}", node.replace('%', "%25").replace('/', "%2F"));
    match shape {
        Shape::Health => {
            serde_json::from_str::<Health<'_>>(row).ok().map(|row| on_node(&row.node.node, &row.service.id))
        }
        Shape::Keys => serde_json::from_str::<Key<'_>>(row).ok().map(|row| row.key.into_owned()),
        Shape::Checks => serde_json::from_str::<Check<'_>>(row).ok().map(|row| on_node(&row.node, &row.id)),
        Shape::Nodes => serde_json::from_str::<Node<'_>>(row).ok().map(|row| row.node.into_owned()),
        Shape::Names => None,
    }
}
