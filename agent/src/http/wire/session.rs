//! A session.

use lictor_catalog::Session;
use lictor_catalog::model::ServiceCheck;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use uuid::Uuid;

/// In `session/...`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Session")]
pub struct WireSession<'a> {
    #[serde(rename = "ID")]
    id: Uuid,
    #[serde(rename = "Name")]
    name: &'a str,
    #[serde(rename = "Node")]
    node: &'a str,
    /// Nanoseconds.
    #[serde(rename = "LockDelay")]
    lock_delay: u64,
    #[serde(rename = "Behavior")]
    behavior: &'static str,
    #[serde(rename = "TTL")]
    ttl: &'a str,
    #[serde(rename = "NodeChecks")]
    node_checks: Vec<&'a str>,
    #[serde(rename = "ServiceChecks", serialize_with = "or_null")]
    #[schemars(with = "Option<Vec<WireServiceCheck<'_>>>")]
    service_checks: &'a [ServiceCheck],
    #[serde(rename = "CreateIndex")]
    create_index: u64,
    #[serde(rename = "ModifyIndex")]
    modify_index: u64,
}

impl<'a> From<&'a Session> for WireSession<'a> {
    fn from(session: &'a Session) -> Self {
        let Session { id, name, node, node_checks, service_checks, lock_delay, behavior, ttl, create_index } = session;
        Self {
            id: *id,
            name,
            node,
            lock_delay: u64::try_from(lock_delay.as_nanos()).unwrap_or(u64::MAX),
            behavior: behavior.as_str(),
            ttl: &ttl.text,
            node_checks: node_checks.iter().map(|id| id.as_str()).collect(),
            service_checks,
            create_index: create_index.0,
            modify_index: create_index.0,
        }
    }
}

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "ServiceCheck")]
struct WireServiceCheck<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    #[serde(rename = "Namespace")]
    namespace: &'a str,
}

/// Clients compare it: no checks are `null`, not `[]`.
fn or_null<S: Serializer>(checks: &&[ServiceCheck], serializer: S) -> Result<S::Ok, S::Error> {
    if checks.is_empty() {
        return serializer.serialize_none();
    }
    serializer.collect_seq(checks.iter().map(|check| WireServiceCheck { id: &check.id, namespace: &check.namespace }))
}

/// The answer to `session/create`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Id")]
pub struct WireId {
    #[serde(rename = "ID")]
    pub id: Uuid,
}
