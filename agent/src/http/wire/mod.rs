//! JSON as Consul writes it: shapes that borrow from the model, serialised straight into bytes. A shape is made by
//! destructuring its model type whole, so that a new field cannot be forgotten here.
//!
//! [`encode`] is the one way from rows to bytes: plain reads and blocking ones use it alike.

/// Describes what is serialised by hand, and looks like another type.
macro_rules! shown_as {
    ($shape:ty, $other:ty) => {
        impl schemars::JsonSchema for $shape {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                <$other as schemars::JsonSchema>::schema_name()
            }

            fn json_schema(schemas: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemas.subschema_for::<$other>()
            }
        }
    };
}

mod agent;
mod check;
mod connect;
mod coordinate;
mod date;
mod event;
mod go;
mod gzip;
mod hash;
mod kv;
mod metrics;
mod node;
mod prepared;
mod rows;
mod service;
mod session;
mod txn;
mod ui;

pub use agent::{AgentService, WireMember, own_service};
pub use check::WireCheck;
pub use connect::{Leaf, hexadecimal, pem, service_uri};
pub(super) use connect::{WireConfiguration, WireRoots};
pub use coordinate::{WireCoordinate, WirePlace};
pub use date::rfc3339;
pub(super) use event::WireEvent;
pub use event::{events, fired};
pub use gzip::gzip;
pub use hash::content_hash;
pub(super) use kv::{WireKv, WireSequencer};
pub use metrics::{Metrics, prometheus};
pub(super) use node::WireNode;
pub(super) use prepared::{WireExecuted, WireExplained, WireQuery};
pub use rows::encode;
pub(super) use rows::{HealthEntry, NodeList, NodeMap};
pub(super) use service::CatalogService;
pub use session::{WireId, WireSession};
pub(super) use txn::WireTxn;
pub use txn::{transaction, transaction_failed};
pub(super) use ui::{Listed, Overview, Topology, WireDump};

use super::Context;
use super::call::{Call, Reply};
use super::options;
use bytes::Bytes;
use serde::{Serialize, Serializer};

/// The body of a read, ready to be sent any number of times, and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    pub status: u16,
    /// Absent when there is no body.
    pub content_type: Option<&'static str>,
    pub body: Bytes,
    /// The body is compressed.
    pub gzip: bool,
    pub headers: &'static [(&'static str, &'static str)],
}

impl Encoded {
    fn json(body: Vec<u8>) -> Self {
        Self { status: 200, content_type: Some("application/json"), body: body.into(), gzip: false, headers: &[] }
    }

    const fn not_found() -> Self {
        Self { status: 404, content_type: None, body: Bytes::new(), gzip: false, headers: &[] }
    }

    /// As [`Self::not_found`], with what it is that was not.
    fn no(what: impl Into<Bytes>) -> Self {
        let content_type = Some("text/plain; charset=utf-8");
        Self { status: 404, content_type, body: what.into(), gzip: false, headers: &[] }
    }
}

/// Any value as JSON, indented or not.
#[must_use]
pub fn shown<T: Serialize + ?Sized>(value: &T, pretty: bool) -> Vec<u8> {
    go::to_vec(value, pretty, 512)
}

/// Any value as JSON, indented if the call or the agent asks for it.
#[must_use]
pub fn json<T: Serialize + ?Sized>(context: &Context<'_>, call: &Call, value: &T) -> Vec<u8> {
    shown(value, options::pretty(context.facts, call))
}

/// A reply with any value as JSON.
#[must_use]
pub fn reply<T: Serialize + ?Sized>(context: &Context<'_>, call: &Call, value: &T) -> Reply {
    Reply::json(json(context, call, value))
}

/// A JSON list of whatever an iterator gives.
struct Each<I>(I);

impl<I: Iterator<Item: Serialize> + Clone> Serialize for Each<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}

/// Whether a field that is omitted when zero is omitted.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}
