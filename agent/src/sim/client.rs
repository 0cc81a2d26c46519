//! Clients of the HTTP API: they speak to one agent each, and what they did and were told is kept.

use super::history::{Deed, Kind, Mode, Op};
use super::walk::{Origin, Work};
use super::world::World;
use crate::http::call::{Call, Method, Reply};
use crate::http::params::Params;
use base64::Engine as _;
use bytes::Bytes;
use serde_json::Value;

/// A call as a client makes it: `/v1/kv/a?raw`.
#[must_use]
pub fn call(method: Method, target: &str, body: &str) -> Call {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Call { body: Bytes::copy_from_slice(body.as_bytes()), ..Call::new(method, path, Params::parse(query)) }
}

impl World {
    /// Makes a call at a node; the number names the operation in the history.
    pub fn call(&mut self, node: usize, method: Method, target: &str, body: &str) -> usize {
        self.operate(node, Kind::Other, call(method, target, body))
    }

    pub fn put(&mut self, node: usize, key: &str, value: &str) -> usize {
        let kind = Kind::Put { key: key.to_owned(), value: value.to_owned() };
        self.operate(node, kind, call(Method::Put, &format!("/v1/kv/{key}"), value))
    }

    pub fn cas(&mut self, node: usize, key: &str, value: &str, index: u64) -> usize {
        let kind = Kind::Cas { key: key.to_owned(), value: value.to_owned(), index };
        self.operate(node, kind, call(Method::Put, &format!("/v1/kv/{key}?cas={index}"), value))
    }

    pub fn delete(&mut self, node: usize, key: &str) -> usize {
        let kind = Kind::Delete { key: key.to_owned() };
        self.operate(node, kind, call(Method::Delete, &format!("/v1/kv/{key}"), ""))
    }

    pub fn get(&mut self, node: usize, key: &str, mode: Mode) -> usize {
        let word = match mode {
            Mode::Default => "",
            Mode::Consistent => "?consistent",
            Mode::Stale => "?stale",
        };
        let kind = Kind::Get { key: key.to_owned(), mode };
        self.operate(node, kind, call(Method::Get, &format!("/v1/kv/{key}{word}"), ""))
    }

    /// A blocking read.
    pub fn wait(&mut self, node: usize, key: &str, index: u64, wait_ms: u64) -> usize {
        let kind = Kind::Wait { key: key.to_owned(), index, wait_ms };
        self.operate(node, kind, call(Method::Get, &format!("/v1/kv/{key}?index={index}&wait={wait_ms}ms"), ""))
    }

    pub(super) fn operate(&mut self, node: usize, kind: Kind, call: Call) -> usize {
        let number = self.history.len();
        self.trace.mix(&[self.now, node as u64, 300, number as u64]);
        self.history.push(Op { node, kind, begun: self.now, ended: None, reply: None });
        if self.nodes[node].process.is_some() {
            self.walk(node, Work::Call(Box::new(call)), Origin::Client(number));
        } else {
            self.history[number].ended = Some((self.now, Deed::Failed("connection refused".to_owned())));
        }
        number
    }

    pub(super) fn client_answered(&mut self, number: usize, reply: Reply) {
        self.trace.mix(&[
            self.now,
            301,
            number as u64,
            u64::from(reply.status),
            u64::from(crc32c::crc32c(&reply.body)),
        ]);
        let op = &mut self.history[number];
        if op.ended.is_none() {
            op.ended = Some((self.now, deed(&op.kind, &reply)));
        }
        op.reply = Some(reply);
    }

    /// The agent died before it answered.
    pub(super) fn client_lost(&mut self, number: usize) {
        let op = &mut self.history[number];
        op.ended.get_or_insert((self.now, Deed::Unknown));
    }

    /// Makes a call and runs until it is answered, at most `most` ns.
    pub fn answer(&mut self, node: usize, method: Method, target: &str, body: &str, most: u64) -> Option<Reply> {
        let number = self.call(node, method, target, body);
        self.run_until(most, |world| world.history[number].ended.is_some());
        self.history[number].reply.clone()
    }
}

/// What a client makes of a reply.
fn deed(kind: &Kind, reply: &Reply) -> Deed {
    let text = || String::from_utf8_lossy(&reply.body).into_owned();
    match kind {
        Kind::Other => Deed::Replied,
        Kind::Open | Kind::Sequencer { .. } => match given(reply) {
            Some(text) => Deed::Given(text),
            None if text().contains("outcome unknown") => Deed::Unknown,
            None => Deed::Failed(text()),
        },
        Kind::Put { .. }
        | Kind::Cas { .. }
        | Kind::Delete { .. }
        | Kind::Renew { .. }
        | Kind::Close { .. }
        | Kind::Lock { .. }
        | Kind::Unlock { .. }
        | Kind::Fenced { .. } => match (reply.status, &*reply.body) {
            (200, b"true") => Deed::Acked(true),
            (200, b"false") => Deed::Acked(false),
            (200, _) if matches!(kind, Kind::Renew { .. }) => Deed::Acked(true),
            (404, _) if matches!(kind, Kind::Renew { .. }) => Deed::Acked(false),
            (409, _) => Deed::Acked(false),
            _ if text().contains("outcome unknown") => Deed::Unknown,
            _ => Deed::Failed(text()),
        },
        Kind::Get { .. } | Kind::Wait { .. } => match reply.status {
            200 | 404 => found(reply).unwrap_or_else(|| Deed::Failed(text())),
            _ => Deed::Failed(text()),
        },
    }
}

/// What a client asked for to show it to others.
fn given(reply: &Reply) -> Option<String> {
    let body: Value = serde_json::from_slice(&reply.body).ok()?;
    Some(body.get("ID").or_else(|| body.get("Sequencer"))?.as_str()?.to_owned())
}

fn found(reply: &Reply) -> Option<Deed> {
    let header = reply.headers.iter().find(|(name, _)| name == "x-consul-index");
    let index = header.and_then(|(_, value)| value.parse().ok())?;
    if reply.status == 404 {
        return Some(Deed::Found { value: None, modified: 0, index });
    }
    let rows: Value = serde_json::from_slice(&reply.body).ok()?;
    let row = rows.get(0)?;
    let value = base64::engine::general_purpose::STANDARD.decode(row.get("Value")?.as_str()?).ok()?;
    let modified = row.get("ModifyIndex")?.as_u64()?;
    Some(Deed::Found { value: Some(String::from_utf8(value).ok()?), modified, index })
}
