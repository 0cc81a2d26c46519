//! What a lock's keys say, and the requests that change them: pure, one request from what was last read.
//!
//! The formats are those of Consul's `api/lock.go` and `api/semaphore.go`, so that its holders and ours exclude each other:
//! with one slot, whoever locks `<prefix>/.lock` holds; with several, each contender locks `<prefix>/<session>`, and
//! `<prefix>/.lock` lists who holds, written by check-and-set. A holder whose contender's key is gone holds no longer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Marks keys that are locks.
const LOCK_FLAGS: u64 = 0x2ddc_cbc0_58a5_0c18;
/// Marks keys that are parts of a semaphore.
const SEMAPHORE_FLAGS: u64 = 0xe0f6_9a2b_aa41_4de0;

/// Why a prefix cannot be used. Nothing was written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Conflict {
    #[error("Existing key does not match {use_} use: {key} has flags {flags:#x}; choose another prefix")]
    Use { key: String, use_: &'static str, flags: u64 },
    #[error("semaphore limit conflict (lock: {theirs}, local: {ours}); all holders must give the same -n")]
    Limit { theirs: u32, ours: u32 },
    #[error("lock decoding failed: {key}: {cause}")]
    Value { key: String, cause: String },
}

/// A key, as the API shows it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Row {
    key: String,
    value: Option<String>,
    flags: u64,
    #[serde(default)]
    session: Option<String>,
    modify_index: u64,
}

impl Row {
    fn session(&self) -> Option<&str> {
        self.session.as_deref().filter(|session| !session.is_empty())
    }
}

/// The value of a semaphore's `.lock`.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Holders {
    limit: u32,
    holders: Option<BTreeMap<String, bool>>,
}

/// What is to be asked of the agent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) key: String,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

/// Who holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Standing {
    holders: BTreeSet<String>,
    /// `ModifyIndex` of `.lock`; 0 while there is none.
    index: u64,
}

impl Standing {
    pub(super) fn is_unused(&self) -> bool {
        self.holders.is_empty()
    }
}

/// The slots of one lock, as one session contends for them.
#[derive(Debug)]
pub(super) struct Slots {
    prefix: String,
    limit: u32,
    session: String,
}

impl Slots {
    pub(super) fn new(prefix: &str, limit: u32, session: String) -> Self {
        Self { prefix: prefix.to_owned(), limit, session }
    }

    pub(super) fn session(&self) -> &str {
        &self.session
    }

    const fn is_mutex(&self) -> bool {
        self.limit == 1
    }

    const fn flags(&self) -> u64 {
        if self.is_mutex() { LOCK_FLAGS } else { SEMAPHORE_FLAGS }
    }

    /// The key on which all agree.
    pub(super) fn lock_key(&self) -> String {
        format!("{}/.lock", self.prefix)
    }

    /// The key that this session has locked while it holds.
    pub(super) fn own_key(&self) -> String {
        if self.is_mutex() { self.lock_key() } else { format!("{}/{}", self.prefix, self.session) }
    }

    /// Everything that says who holds.
    pub(super) fn look(&self) -> Request {
        if self.is_mutex() {
            return Request { method: Method::GET, key: self.lock_key(), query: Vec::new(), body: Vec::new() };
        }
        let query = vec![("recurse", String::new())];
        Request { method: Method::GET, key: format!("{}/", self.prefix), query, body: Vec::new() }
    }

    /// Reads the answer to [`Slots::look`].
    pub(super) fn read(&self, rows: &[Row]) -> Result<Standing, Conflict> {
        let key = self.lock_key();
        let Some(row) = rows.iter().find(|row| row.key == key) else {
            return Ok(Standing { holders: BTreeSet::new(), index: 0 });
        };
        if row.flags != self.flags() {
            let use_ = if self.is_mutex() { "lock" } else { "semaphore" };
            return Err(Conflict::Use { key, use_, flags: row.flags });
        }
        let mut holders: BTreeSet<String> = row.session().map(str::to_owned).into_iter().collect();
        if !self.is_mutex() {
            holders = self.listed(row)?;
            holders.retain(|holder| rows.iter().any(|row| row.session() == Some(holder)));
        }
        Ok(Standing { holders, index: row.modify_index })
    }

    fn listed(&self, row: &Row) -> Result<BTreeSet<String>, Conflict> {
        let value = row.value.as_deref().unwrap_or_default();
        if value.is_empty() {
            return Ok(BTreeSet::new());
        }
        let wrong = |cause: String| Conflict::Value { key: row.key.clone(), cause };
        let json = STANDARD.decode(value).map_err(|error| wrong(error.to_string()))?;
        let list: Holders = serde_json::from_slice(&json).map_err(|error| wrong(error.to_string()))?;
        if list.limit != self.limit {
            return Err(Conflict::Limit { theirs: list.limit, ours: self.limit });
        }
        Ok(list.holders.unwrap_or_default().into_keys().collect())
    }

    pub(super) fn is_held(&self, standing: &Standing) -> bool {
        standing.holders.contains(&self.session)
    }

    pub(super) fn is_free(&self, standing: &Standing) -> bool {
        standing.holders.len() < self.limit as usize
    }

    /// What has to be there before a slot is taken; it goes with the session.
    pub(super) fn enter(&self) -> Option<Request> {
        (!self.is_mutex()).then(|| self.put(self.own_key(), ("acquire", self.session.clone()), Vec::new()))
    }

    /// Takes a free slot. `false`: somebody was faster, or the lock's delay after a lost holder is not over.
    pub(super) fn take(&self, standing: &Standing) -> Request {
        if self.is_mutex() {
            return self.put(self.lock_key(), ("acquire", self.session.clone()), Vec::new());
        }
        self.list(standing, standing.holders.iter().chain([&self.session]))
    }

    /// Gives the slot back. `false`: somebody was faster.
    pub(super) fn leave(&self, standing: &Standing) -> Request {
        if self.is_mutex() {
            return self.put(self.lock_key(), ("release", self.session.clone()), Vec::new());
        }
        self.list(standing, standing.holders.iter().filter(|holder| **holder != self.session))
    }

    /// Removes what nobody uses. `false`: somebody came meanwhile.
    pub(super) fn sweep(&self, standing: &Standing) -> Option<Request> {
        (standing.index > 0 && standing.is_unused()).then(|| Request {
            method: Method::DELETE,
            key: self.lock_key(),
            query: vec![("cas", standing.index.to_string())],
            body: Vec::new(),
        })
    }

    fn put(&self, key: String, condition: (&'static str, String), body: Vec<u8>) -> Request {
        let query = vec![("flags", self.flags().to_string()), condition];
        Request { method: Method::PUT, key, query, body }
    }

    fn list<'a>(&self, standing: &Standing, holders: impl Iterator<Item = &'a String>) -> Request {
        let holders = holders.map(|holder| (holder.clone(), true)).collect();
        let list = Holders { limit: self.limit, holders: Some(holders) };
        let body = serde_json::to_vec(&list).expect("a number and a map from text have JSON");
        self.put(self.lock_key(), ("cas", standing.index.to_string()), body)
    }
}

/// A prefix as Go's `path.Join` has it, which Consul makes its keys by: no empty part, no `.`, no `..` that can be gone back.
pub(super) fn clean(prefix: &str) -> String {
    let mut parts = Vec::new();
    for part in prefix.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(json: &str) -> Vec<Row> {
        serde_json::from_str(json).expect("rows")
    }

    /// A semaphore's rows: its `.lock` and these contenders.
    fn semaphore(lock: &str, contenders: &[&str]) -> Vec<Row> {
        let value = STANDARD.encode(lock);
        let mut json = format!(
            r#"[{{"LockIndex":0,"Key":"p/.lock","Flags":{SEMAPHORE_FLAGS},"Value":"{value}","CreateIndex":3,"ModifyIndex":9}}"#
        );
        for id in contenders {
            json += &format!(
                r#",{{"LockIndex":1,"Key":"p/{id}","Flags":{SEMAPHORE_FLAGS},"Value":null,"Session":"{id}","CreateIndex":4,"ModifyIndex":4}}"#
            );
        }
        rows(&(json + "]"))
    }

    fn shown(request: &Request) -> String {
        let query: Vec<String> = request.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let body = String::from_utf8_lossy(&request.body);
        format!("{} {}?{} {body}", request.method, request.key, query.join("&"))
    }

    #[test]
    fn a_mutex_is_one_locked_key() {
        let slots = Slots::new("p", 1, "me".to_owned());
        let free = slots.read(&[]).expect("nothing is there");
        assert!(slots.is_free(&free) && !slots.is_held(&free));
        assert_eq!(slots.enter(), None);
        assert_eq!(shown(&slots.look()), "GET p/.lock? ");
        assert_eq!(shown(&slots.take(&free)), "PUT p/.lock?flags=3304740253564472344&acquire=me ");
        let row = |session: &str| {
            rows(&format!(
                r#"[{{"LockIndex":1,"Key":"p/.lock","Flags":{LOCK_FLAGS},"Value":null,"Session":"{session}","CreateIndex":3,"ModifyIndex":7}}]"#
            ))
        };
        let mine = slots.read(&row("me")).expect("a lock");
        assert!(slots.is_held(&mine) && !slots.is_free(&mine));
        assert_eq!(shown(&slots.leave(&mine)), "PUT p/.lock?flags=3304740253564472344&release=me ");
        let theirs = slots.read(&row("other")).expect("a lock");
        assert!(!slots.is_held(&theirs) && !slots.is_free(&theirs));
        assert_eq!(slots.sweep(&theirs), None);
        let released = slots.read(&row("")).expect("a lock");
        assert!(slots.is_free(&released));
        assert_eq!(shown(&slots.sweep(&released).expect("it is in nobody's use")), "DELETE p/.lock?cas=7 ");
        assert_eq!(slots.sweep(&free), None);
    }

    #[test]
    fn a_semaphore_is_a_list_of_living_contenders() {
        let slots = Slots::new("p", 2, "me".to_owned());
        assert_eq!(shown(&slots.look()), "GET p/?recurse= ");
        let enter = slots.enter().expect("a contender's key");
        assert_eq!(shown(&enter), "PUT p/me?flags=16210313421097356768&acquire=me ");
        let none = slots.read(&semaphore("", &["me"])).expect("an empty list");
        let list = r#"{"Limit":2,"Holders":{"me":true}}"#;
        assert_eq!(shown(&slots.take(&none)), format!("PUT p/.lock?flags=16210313421097356768&cas=9 {list}"));

        let full = r#"{"Limit":2,"Holders":{"a":true,"b":true}}"#;
        let standing = slots.read(&semaphore(full, &["a", "b", "me"])).expect("a list");
        assert!(!slots.is_free(&standing) && !slots.is_held(&standing));
        let standing = slots.read(&semaphore(full, &["b", "me"])).expect("a list");
        assert!(slots.is_free(&standing), "a holds no longer, as its key is gone");
        let take = shown(&slots.take(&standing));
        assert!(take.ends_with(r#" {"Limit":2,"Holders":{"b":true,"me":true}}"#), "{take}");

        let held =
            slots.read(&semaphore(r#"{"Limit":2,"Holders":{"b":true,"me":true}}"#, &["b", "me"])).expect("a list");
        assert!(slots.is_held(&held) && !slots.is_free(&held));
        let leave = shown(&slots.leave(&held));
        assert!(leave.ends_with(r#"&cas=9 {"Limit":2,"Holders":{"b":true}}"#), "{leave}");
        assert_eq!(slots.sweep(&held), None);
        let dead = slots.read(&semaphore(full, &[])).expect("a list");
        assert_eq!(shown(&slots.sweep(&dead).expect("all are gone")), "DELETE p/.lock?cas=9 ");
    }

    #[test]
    fn what_others_use_otherwise_is_left_alone() {
        let mutex = Slots::new("p", 1, "me".to_owned());
        let conflict = mutex.read(&semaphore("", &[])).expect_err("a semaphore");
        assert!(conflict.to_string().starts_with("Existing key does not match lock use: p/.lock has flags 0xe0f6"));
        let semaphore_of = |limit| Slots::new("p", limit, "me".to_owned());
        let three = semaphore(r#"{"Limit":3,"Holders":null}"#, &[]);
        assert_eq!(semaphore_of(2).read(&three), Err(Conflict::Limit { theirs: 3, ours: 2 }));
        assert!(semaphore_of(3).read(&three).is_ok());
        let broken = semaphore_of(2).read(&semaphore("nonsense", &[])).expect_err("no list");
        assert!(broken.to_string().starts_with("lock decoding failed: p/.lock: "), "{broken}");
    }

    #[test]
    fn prefixes_are_those_of_consul() {
        for (given, cleaned) in
            [("a", "a"), ("/a/b/", "a/b"), ("a//./b", "a/b"), ("a/../b", "b"), ("/", ""), ("..", "..")]
        {
            assert_eq!(clean(given), cleaned, "{given}");
        }
    }
}
