//! User events.

use super::kv::Blob;
use super::{Each, Encoded, go};
use crate::gossip::{Announcement, UserEvent};
use crate::http::call::Encoding;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Event")]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct WireEvent<'a> {
    #[serde(rename = "ID")]
    id: Uuid,
    name: &'a str,
    payload: Blob<'a>,
    node_filter: &'a str,
    service_filter: &'a str,
    tag_filter: &'a str,
    version: u64,
    #[serde(rename = "LTime")]
    time: u64,
}

impl<'a> From<&'a UserEvent> for WireEvent<'a> {
    fn from(event: &'a UserEvent) -> Self {
        let UserEvent { id, time, version, announcement } = event;
        let Announcement { name, payload, node_filter, service_filter, tag_filter } = announcement;
        Self {
            id: *id,
            name,
            payload: Blob(payload),
            node_filter,
            service_filter,
            tag_filter,
            version: *version,
            time: *time,
        }
    }
}

/// An event as the answer to whoever fired it: Consul does not tell him its time.
#[must_use]
pub fn fired(event: &UserEvent, pretty: bool) -> Vec<u8> {
    go::to_vec(&WireEvent { time: 0, ..WireEvent::from(event) }, pretty, 256)
}

/// A list of events.
#[must_use]
pub fn events(events: &[&UserEvent], encoding: &Encoding) -> Encoded {
    let rows = Each(events.iter().map(|event| WireEvent::from(*event)));
    Encoded::json(go::to_vec(&rows, encoding.pretty, events.len() * 256 + 2))
}
