//! The HTTP API as plain values: routes, handlers, JSON shapes.
//!
//! A handler is a plain function from a [`Call`] and what can be read without waiting ([`Context`]) to a [`Plan`]. It never
//! waits, and knows neither hyper nor tokio; whoever runs the plan turns what came of it into a reply with [`answer`].

pub mod acl;
pub mod agent;
pub mod answer;
pub mod autopilot;
pub mod call;
pub mod catalog;
pub mod connect;
pub mod coordinate;
pub mod event;
pub mod filter;
pub mod health;
pub mod kv;
pub mod lock;
#[cfg(feature = "malformed")]
pub(crate) mod malformed;
pub mod openapi;
pub mod operator;
pub mod options;
pub mod params;
pub mod prepared;
pub mod registration;
pub mod route;
pub mod session;
pub mod snapshot;
pub mod status;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::facts as test_facts;
pub mod txn;
pub mod ui;
pub mod usage;
pub mod watch;
pub mod wire;

use crate::time::Instant;
use crate::view::{Facts, LocalView, View};
use call::{Call, Plan, Reply};
use lictor_catalog::model::NodeName;
use serde::Deserialize as _;
use serde_json::Value;
use std::fmt::Display;

/// What a handler may look at.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub view: &'a View,
    pub local: &'a LocalView,
    pub facts: &'a Facts,
    pub now: Instant,
}

impl<'a> Context<'a> {
    /// The node of the agent that was asked first.
    fn asked(&self, call: &'a Call) -> &'a NodeName {
        call.agent.as_ref().unwrap_or(&self.facts.node_name)
    }
}

/// Decides what to do with a call. `rest` is what follows the route's pattern, decoded. An `Err` is an answer too, given
/// early.
pub type Handler = fn(&Context<'_>, &Call, rest: &str) -> Result<Plan, Reply>;

/// What to do with a call: finds its route and asks the handler.
#[must_use]
pub fn plan(context: &Context<'_>, call: &Call) -> Plan {
    match route::find(context.facts, call) {
        route::Found::Answer(reply) => Plan::Answer(reply),
        route::Found::Route(route, rest) => {
            let limit = route.body.max(context.facts);
            if call.body.len() > limit {
                return Plan::Answer(answer::too_large(call.body.len(), limit));
            }
            (route.handler)(context, call, &rest).unwrap_or_else(Plan::Answer)
        }
    }
}

/// The name that the path ends with.
fn named(rest: &str, missing: &'static str) -> Result<String, Reply> {
    if rest.is_empty() { Err(Reply::text(400, missing)) } else { Ok(rest.to_owned()) }
}

/// The body as JSON. What follows the first value is not looked at, as Go's decoder does not.
fn body(call: &Call) -> Result<Value, Reply> {
    value(call, |cause| undecodable(cause))
}

/// As [`body`], with another way to say that there is none.
fn value(call: &Call, refuse: impl Fn(&dyn Display) -> Reply) -> Result<Value, Reply> {
    if call.body.iter().all(u8::is_ascii_whitespace) {
        return Err(refuse(&"EOF"));
    }
    let parsed = Value::deserialize(&mut serde_json::Deserializer::from_slice(&call.body));
    parsed.map_err(|cause| refuse(&cause))
}

fn undecodable(cause: impl Display) -> Reply {
    Reply::text(400, format!("Request decode failed: {cause}"))
}
