//! A request and its answer as plain values, and what a handler may ask for. One file adapts hyper to them
//! (`runtime/http.rs`), the internal RPC carries them as they are, tests build them by hand.

use crate::config::LogLevel;
use crate::gossip::Announcement;
use crate::http::autopilot::Report;
use crate::http::filter::Filter;
use crate::http::params::Params;
use crate::http::watch::Subscription;
use crate::local::Change;
use bytes::Bytes;
use lictor_catalog::model::NodeName;
use lictor_catalog::{Command, Index, Query};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// The methods that any of our endpoints has, and one for all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Method {
    Get,
    Put,
    Post,
    Delete,
    Options,
    Head,
    Patch,
    Other,
}

impl Method {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Head => "HEAD",
            Self::Patch => "PATCH",
            Self::Other => "OTHER",
        }
    }

    /// The method that the request line names; methods are case-sensitive (RFC 9110 §9.1).
    #[must_use]
    pub fn parse(word: &str) -> Self {
        [Self::Get, Self::Put, Self::Post, Self::Delete, Self::Options, Self::Head, Self::Patch]
            .into_iter()
            .find(|method| method.as_str() == word)
            .unwrap_or(Self::Other)
    }
}

/// One request of the HTTP API, wherever it came in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    pub method: Method,
    /// As sent: still percent-encoded, with the leading `/v1/`.
    pub path: String,
    pub params: Params,
    /// From `X-Consul-Token` or `Authorization: Bearer`; `?token=` is in `params`.
    pub token: String,
    /// The `Accept` and `Cache-Control` headers, empty when absent.
    pub accept: String,
    pub cache_control: String,
    /// The client takes gzip.
    pub gzip: bool,
    pub body: Bytes,
    /// Who asked; absent on a unix socket.
    pub source: Option<IpAddr>,
    /// The agent that was asked, when it passed the call on.
    pub agent: Option<NodeName>,
}

impl Call {
    /// A call that says no more than what it asks for.
    #[must_use]
    pub fn new(method: Method, path: impl Into<String>, params: Params) -> Self {
        Self {
            method,
            path: path.into(),
            params,
            token: String::new(),
            accept: String::new(),
            cache_control: String::new(),
            gzip: false,
            body: Bytes::new(),
            source: None,
            agent: None,
        }
    }
}

/// The answer to a [`Call`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    pub status: u16,
    /// Lower-case names.
    pub headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    pub body: Bytes,
    /// What follows the body for as long as the client listens. Only the agent itself has such; it is never passed on.
    #[serde(skip)]
    pub stream: Option<Source>,
}

impl Reply {
    /// An empty body.
    #[must_use]
    pub const fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new(), stream: None }
    }

    /// JSON that is ready to send.
    #[must_use]
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::empty(200).with("content-type", "application/json").body(body)
    }

    /// What goes on for as long as somebody listens.
    #[must_use]
    pub fn stream(source: Source) -> Self {
        let reply = Self::empty(200);
        let reply = match source {
            // One JSON object after the other is no JSON.
            Source::Log { .. } | Source::Figures => reply.with("content-type", "text/plain; charset=utf-8"),
            Source::Backup(_) => reply.with("content-type", "application/x-gzip"),
            Source::Restore => reply,
            Source::Watch(_) => reply.with("content-type", "text/event-stream").with("cache-control", "no-cache"),
        };
        Self { stream: Some(source), ..reply }
    }

    /// Plain text, as all errors are: no newline at the end.
    #[must_use]
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self::empty(status).with("content-type", "text/plain; charset=utf-8").body(body.into())
    }

    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

/// How fresh an answer must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Consistency {
    /// The leader under its lease.
    #[default]
    Default,
    /// The leader after asking a quorum.
    Consistent,
    /// Any server that has caught up once.
    Stale,
}

/// Wait until the answer's index is above `min_index`, at most `wait` (already bounded, jitter not yet added).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocking {
    pub min_index: Index,
    pub wait: Duration,
}

/// What is made of rows, where an endpoint has more than one way to show them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Form {
    #[default]
    Plain,
    /// A key's value as it is (`?raw`).
    Raw,
    /// A node's services as a list instead of a map (`catalog/node-services`).
    List,
    /// The names and tags of instances, on nodes whose meta says this (`catalog/services` with a filter).
    Names { meta: Vec<(String, String)> },
    /// Who holds the lock on a key (`lock/sequencer`).
    Sequencer,
    /// A root as PEM (`?pem`).
    Pem,
    /// What certificates are made with (`connect/ca/configuration`).
    Configuration,
    /// What the instances of each service add up to (`internal/ui/services`).
    Services,
    /// How many nodes, instances and checks are in which state (`internal/ui/catalog-overview`).
    Overview,
    /// Who is a client of whom, around one service (`internal/ui/service-topology`).
    Topology { service: String, gateway: bool },
    /// A list of what there never is here, whatever the rows are.
    Absent,
}

/// How rows become bytes. Equal (query, encoding) has equal bytes at equal index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Encoding {
    pub pretty: bool,
    pub form: Form,
    /// The node whose neighbours come first (`?near=`).
    pub near: Option<String>,
    /// Compressed, once for all who take it so.
    pub gzip: bool,
    /// Which rows are left out (`?filter=`).
    pub filter: Option<Arc<Filter>>,
}

/// What a read is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The replicated truth.
    Catalog(Query),
    /// The user events that this agent has heard, those of a name or, when it is empty, all. No server knows more of them, so
    /// consistency has no meaning here; and the index is not above, but other than the one seen when there is something new.
    Events { name: String },
    /// A service that this agent owns. No server is asked; the index is its content hash, and 0 when it is not there.
    Service { id: String },
}

impl Subject {
    /// Whether what is newer has the higher index.
    #[must_use]
    pub const fn index_rises(&self) -> bool {
        matches!(self, Self::Catalog(_))
    }

    /// Whether the index rises, or is another one, only when something shows.
    #[must_use]
    pub fn shows_what_it_watches(&self) -> bool {
        match self {
            Self::Catalog(query) => query.shows_what_it_watches(),
            Self::Events { .. } | Self::Service { .. } => true,
        }
    }
}

/// A read, that may wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    pub subject: Subject,
    pub encoding: Encoding,
    pub consistency: Consistency,
    pub blocking: Option<Blocking>,
}

/// How a write is answered once it is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteAnswer {
    /// `true`, or `false` when a compare-and-set did not match.
    Boolean,
    /// The id of what was made.
    Id,
    /// The session that was renewed, as a list of one, or that there is none with this id.
    Session(Uuid),
    /// The sequential key that was created.
    Key,
    /// What a transaction found and wrote, or 409 and what failed.
    Results,
    /// 200 without a body.
    Empty,
}

/// Something that the agent itself must do, answered when it is done.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Changes what this agent owns; answered when it is persisted.
    Local(Box<Change>),
    /// Fires a user event.
    Fire(Box<Announcement>),
    Join(Vec<String>),
    Leave,
    ForceLeave {
        node: String,
        prune: bool,
    },
    /// On the leader: hand leadership to this server, or to the best.
    TransferLeadership(Option<Uuid>),
    /// On the leader: take this server off the configuration.
    RemoveServer(Uuid),
    /// Recover from the loss of most servers; without a confirmation only say what that would do.
    Recover(Option<String>),
}

/// What flows for as long as it takes, beside the call itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The agent's log from this level up.
    Log { level: LogLevel, json: bool },
    /// The agent's figures, interval by interval.
    Figures,
    /// Changes of what is watched, as server-sent events.
    Watch(Box<Subscription>),
    /// The catalog as an archive.
    Backup(Consistency),
    /// The reply comes when the archive in the call's body has been restored; it is read as it comes.
    Restore,
}

/// What only those around the agent can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survey {
    /// The agent's figures.
    Metrics { prometheus: bool },
    /// The machine.
    Host,
    /// The servers, as this leader sees them.
    Servers(Report),
}

/// A read of a service's certificate, which the agent that was asked keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafRead {
    pub service: String,
    pub blocking: Option<Blocking>,
    pub pretty: bool,
}

/// What is to be signed: that this key is the service's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certify {
    pub service: String,
    /// A point on P-256, uncompressed.
    pub key: Vec<u8>,
}

/// What a handler decides to do with a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    Answer(Reply),
    Read(Read),
    Write(Command, WriteAnswer),
    Act(Act),
    Survey(Survey),
    Stream(Source),
    Leaf(LeafRead),
    /// On the leader, which knows the newest root.
    Certify(Certify),
    /// Only the leader knows: the call goes there.
    Leader,
}

impl Plan {
    /// To change what this agent owns.
    #[must_use]
    pub fn local(change: Change) -> Self {
        Self::Act(Act::Local(Box::new(change)))
    }
}
