//! `GET /v1/watch`: one stream for many watches, as server-sent events (WHATWG HTML §9.2). It is lictor's own; Consul has none.
//!
//! What to watch is named by parameters, each any number of times, [`WATCHES_MAX`] in all:
//!
//! | Parameter | The rows are those of | `Key` of a row |
//! |---|---|---|
//! | `service=NAME` | `health/service/NAME` | node`/`service id |
//! | `kv=PREFIX` | `kv/PREFIX?recurse` | the key |
//! | `key=KEY` | `kv/KEY` | the key |
//! | `checks=STATE` | `health/state/STATE` | node`/`check id |
//! | `nodes` | `catalog/nodes` | node |
//! | `services` | `catalog/services` | service; its row is the list of tags |
//!
//! A `%` or `/` in a node's name is written `%25` or `%2F` where something follows it, so that keys are never ambiguous.
//! `passing`, `tag`, `node-meta`, `near`, `filter`, `dc`, `stale`, `consistent`, `max_stale`, `ns`, `partition` and `token` mean what they
//! mean at those endpoints, for every watch of the stream that knows them.
//!
//! ```text
//! id: 5bd1e995a3c0f217-1
//! event: snapshot
//! data: {"Watch":"service=web","Reason":"start","Rows":[…]}
//!
//! id: 5bd1e995a3c0f217-2
//! event: set
//! data: {"Watch":"service=web","Key":"n1/web-1","Row":{…}}
//!
//! id: 5bd1e995a3c0f217-3
//! event: delete
//! data: {"Watch":"service=web","Key":"n1/web-1"}
//! ```
//!
//! - `snapshot` replaces all rows of its watch, by the body that the endpoint has; a missing key or prefix has no rows. `Reason` is
//!   `start`; `unknown` when `Last-Event-ID` named a stream that this agent does not know (any more); or `much` when so
//!   much differs from what the client has that the whole is shorter to say.
//! - `set` is a row that is new or another one, `delete` one that is gone. Rows are never sent twice with equal content.
//! - A client that comes back with `Last-Event-ID` and the same watches is told what differs from what it had by then: nothing
//!   is lost and nothing repeated, though states in between may be skipped. The agent that it had spoken to must be the same,
//!   and still remember: an id names a stream and a place in it. It is not an index of the catalog, because a stream has
//!   many queries with an index each, and what is deleted leaves none.
//! - Events are not queued for a client that reads slowly: it gets the newest state once it reads on.
//! - Lines that begin with `:` are comments: one each 15 s of silence, and one when a watch cannot be read for now.
//!
//! This page makes the plan; [`feed`] knows what a client was told; `runtime/watch.rs` reads and writes.

pub mod feed;
#[cfg(test)]
mod tests;

use super::call::{Call, Method, Plan, Reply, Source};
use super::params::Params;
use super::{Context, plan};
use feed::Shape;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::BTreeSet;

/// Watches of one stream.
pub const WATCHES_MAX: usize = 2048;

/// What goes on to the endpoints.
const OPTIONS: &[&str] = &[
    "passing",
    "tag",
    "node-meta",
    "near",
    "filter",
    "dc",
    "stale",
    "consistent",
    "max_stale",
    "ns",
    "partition",
    "token",
];

/// Where a client goes on that was cut off: the last event that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub stream: u64,
    pub number: u64,
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let (stream, number) = text.split_once('-')?;
        Some(Self { stream: u64::from_str_radix(stream, 16).ok()?, number: number.parse().ok()? })
    }
}

/// One watch: a read that is repeated for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The parameter that named it, as events name it.
    pub name: String,
    pub shape: Shape,
    pub read: Call,
}

/// What a client wants to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub watches: Vec<Watch>,
    /// What `Last-Event-ID` said; `Some(None)` is an id that we never gave.
    pub last: Option<Option<Place>>,
}

/// Checks every watch by the handler of its endpoint, and opens the stream.
pub fn stream(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    let mut options = Params::default();
    let mut named = Vec::new();
    for (name, value) in call.params.iter() {
        match name {
            "service" | "kv" | "key" | "checks" | "nodes" | "services" => named.push((name, value)),
            "last-event-id" => {}
            option if OPTIONS.contains(&option) => options.push(option, value),
            "index" | "wait" => {
                return Err(Reply::text(
                    400,
                    "A stream takes no ?index and no ?wait: it begins with what is there and goes on",
                ));
            }
            other => return Err(Reply::text(400, unknown(other))),
        }
    }
    if named.is_empty() {
        return Err(Reply::text(400, "Nothing to watch: name something, as in /v1/watch?service=web&kv=app/"));
    }
    if named.len() > WATCHES_MAX {
        return Err(Reply::text(
            400,
            format!("{} watches are too many for one stream: at most {WATCHES_MAX}", named.len()),
        ));
    }
    let mut seen = BTreeSet::new();
    let mut watches = Vec::with_capacity(named.len());
    for (kind, value) in named {
        if !seen.insert((kind, value)) {
            return Err(Reply::text(400, format!("{kind}={value} is named twice")));
        }
        watches.push(watch(context, call, &options, kind, value)?);
    }
    // The header is last, and newer than what a browser's address still says.
    let last = call.params.all("last-event-id").last().filter(|id| !id.is_empty()).map(Place::parse);
    Ok(Plan::Stream(Source::Watch(Box::new(Subscription { watches, last }))))
}

fn unknown(name: &str) -> String {
    format!(
        "Unknown parameter {name:?}: a stream watches service=NAME, kv=PREFIX, key=KEY, checks=STATE, nodes and services, \
         with the options {}",
        OPTIONS.join(", ")
    )
}

fn watch(context: &Context<'_>, call: &Call, options: &Params, kind: &str, value: &str) -> Result<Watch, Reply> {
    let (endpoint, shape) = match kind {
        "service" => ("/v1/health/service/", Shape::Health),
        "kv" | "key" => ("/v1/kv/", Shape::Keys),
        "checks" => ("/v1/health/state/", Shape::Checks),
        "nodes" => ("/v1/catalog/nodes", Shape::Nodes),
        _ => ("/v1/catalog/services", Shape::Names),
    };
    let listed = matches!(kind, "nodes" | "services");
    if listed && !value.is_empty() {
        return Err(Reply::text(400, format!("{kind} takes no value; to watch one service, say service={value}")));
    }
    let name = if listed { kind.to_owned() } else { format!("{kind}={value}") };
    let mut params = options.clone();
    if kind == "kv" {
        params.push("recurse", "");
    }
    let read = Call {
        method: Method::Get,
        path: format!("{endpoint}{}", utf8_percent_encode(value, NON_ALPHANUMERIC)),
        params,
        body: bytes::Bytes::new(),
        gzip: false,
        ..call.clone()
    };
    match plan(context, &read) {
        Plan::Read(_) => Ok(Watch { name, shape, read }),
        Plan::Answer(Reply { status, body, .. }) => {
            let why =
                if body.is_empty() { "no path can hold that name".into() } else { String::from_utf8_lossy(&body) };
            Err(Reply::text(status, format!("{name}: {why}")))
        }
        _ => Err(Reply::text(400, format!("{name} cannot be watched"))),
    }
}
