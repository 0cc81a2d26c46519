//! The parameters that operations take. Each is written down once, and stands in as many operations as take it.

use serde_json::{Value, json};

/// One parameter of a query string, or one id in a path.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    pub(super) name: &'static str,
    text: &'static str,
    kind: Kind,
    required: bool,
    /// It may come several times. Of any other, the first counts.
    many: bool,
    /// The status that answers a value of the wrong kind; `None` where every value is taken.
    refused: Option<u16>,
    /// A value for whoever needs one of several parameters.
    example: Option<&'static str>,
}

/// What a value must look like.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// It counts by being there.
    Flag,
    Text,
    /// A datacenter that is known here, or nothing.
    Datacenter,
    /// A whole number of 64 bits.
    Number,
    Integer,
    /// As Go reads one: `1`, `t`, `true`, `0`, `f`, `false`, in three ways of writing.
    Boolean,
    /// A flag that may also say no.
    Switch,
    /// As Go reads one: `10s`, `1h30m`.
    Span,
    /// Only these.
    Word(&'static [&'static str]),
    Id,
    Regex,
    Filter,
    Pair,
    /// As `lock/sequencer` gives it.
    Sequencer,
    /// Of a member, or its name.
    Address,
}

/// What Go takes for a boolean.
const BOOLEANS: [&str; 13] = ["1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False", ""];

impl Param {
    const fn new(name: &'static str, kind: Kind, text: &'static str) -> Self {
        Self { name, text, kind, required: false, many: false, refused: None, example: None }
    }

    const fn refused(self, status: u16) -> Self {
        Self { refused: Some(status), ..self }
    }

    const fn example(self, value: &'static str) -> Self {
        Self { example: Some(value), ..self }
    }

    const fn many(self) -> Self {
        Self { many: true, ..self }
    }

    const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// As OpenAPI writes it.
    pub(super) fn shown(&self, place: &str) -> Value {
        let one = self.kind.schema();
        let schema = if self.many { json!({"type": "array", "items": one}) } else { one };
        let mut shown = json!({"name": self.name, "in": place, "description": self.text, "schema": schema});
        if self.required || place == "path" {
            shown["required"] = true.into();
        }
        if matches!(self.kind, Flag) {
            shown["allowEmptyValue"] = true.into();
        }
        if let Some(value) = self.example {
            shown["example"] = value.into();
        }
        if let Some(status) = self.refused {
            shown["x-refused"] = status.into();
        }
        shown
    }
}

impl Kind {
    fn schema(self) -> Value {
        match self {
            Self::Flag => json!({"type": "string", "examples": ["", "1"]}),
            Self::Text => json!({"type": "string"}),
            Self::Datacenter => json!({"type": "string", "examples": [""]}),
            Self::Number => json!({"type": "integer", "format": "uint64", "minimum": 0, "maximum": u64::MAX}),
            Self::Integer => json!({"type": "integer", "format": "int64"}),
            Self::Boolean => json!({"type": "string", "enum": BOOLEANS[..12]}),
            Self::Switch => json!({"type": "string", "enum": BOOLEANS}),
            Self::Span => {
                json!({"type": "string", "format": "go-duration", "examples": ["10ms", "1.5ms", "2ms300us"]})
            }
            Self::Word(words) => json!({"type": "string", "enum": words}),
            Self::Id => json!({"type": "string", "format": "uuid"}),
            Self::Regex => json!({"type": "string", "format": "regex", "examples": ["^web", "a|b"]}),
            Self::Filter => {
                json!({"type": "string", "format": "go-bexpr", "examples": ["", "Node == \"a\" or Node != \"b\""]})
            }
            Self::Address => json!({"type": "string", "examples": ["127.0.0.1:1"]}),
            Self::Pair => json!({"type": "string", "examples": ["rack:7", "rack"]}),
            Self::Sequencer => json!({"type": "string", "pattern": "^[0-9]+\\.[0-9a-f-]{36}\\.",
                "examples": ["1.5cb5c2e7-3f0a-4d6e-9c1b-7a2d4f60e8b1.app/lock"]}),
        }
    }
}

use Kind::{
    Address, Boolean, Datacenter, Filter, Flag, Id, Integer, Number, Pair, Regex, Sequencer, Span, Switch, Text, Word,
};

const DC: Param =
    Param::new("dc", Datacenter, "The datacenter that is meant; by default the agent's own. No other is known yet.")
        .refused(500);
const STALE: Param = Param::new("stale", Flag, "Any server may answer that has caught up once, however late it is.");
const CONSISTENT: Param =
    Param::new("consistent", Flag, "The leader asks a majority before it answers. Not with `stale`.");
const MAX_STALE: Param =
    Param::new("max_stale", Span, "As `stale`, but what is older than this is asked of the leader.").refused(400);
const CACHED: Param = Param::new(
    "cached",
    Flag,
    "Say by `X-Cache` whether an equal question was answered in this state. Not with `consistent`.",
);
const INDEX: Param = Param::new(
    "index",
    Number,
    "Wait until the index of what is asked for is above this one: the last answer's `X-Consul-Index`.",
)
.refused(400);
const WAIT: Param =
    Param::new("wait", Span, "How long to wait; then what is there is answered. 5 minutes unless said, 10 at most.")
        .refused(400);
const RECURSE: Param = Param::new("recurse", Flag, "All keys that begin with this one.");
const CAS: Param = Param::new(
    "cas",
    Number,
    "Only if the key's `ModifyIndex` is this one. For a write, 0 means that there must be no such key.",
)
.refused(500);
const SEQUENCER: Param = Param::new(
    "sequencer",
    Sequencer,
    "Only while this lock is held; 409 names the present holder. An addition to Consul's API.",
)
.refused(400);

/// What is meant lies in a datacenter.
pub const HERE: &[Param] = &[DC];
/// Of the leader, or of whoever is there.
pub const ANYONE: &[Param] = &[DC, STALE];
/// How fresh a backup must be.
pub const BACKUP: &[Param] = &[DC, STALE, CONSISTENT, MAX_STALE];
/// How fresh an answer must be.
pub const FRESH: &[Param] = &[DC, STALE, CONSISTENT, MAX_STALE, CACHED];
/// Waiting for a change.
pub const BLOCK: &[Param] = &[INDEX, WAIT];
/// How fresh an answer must be, and waiting for it to change: most reads.
pub const READ: &[Param] = &[DC, STALE, CONSISTENT, MAX_STALE, CACHED, INDEX, WAIT];
/// Waiting, where a hash takes the place of the index.
pub const HASH: &[Param] = &[
    Param::new("hash", Text, "Wait until the service has another one than this: the last answer's `ContentHash`."),
    WAIT,
];
/// What kind of service is asked about.
pub const KIND: &[Param] =
    &[Param::new("kind", Word(&["", "ingress-gateway", "api-gateway"]), "Its kind; empty for a plain one.")
        .required()
        .refused(400)];
/// Which rows of a list.
pub const FILTER: &[Param] =
    &[Param::new("filter", Filter, "Only rows for which this expression is true.").refused(400)];
/// In which order.
pub const NEAR: &[Param] = &[Param::new(
    "near",
    Text,
    "Rows of nodes near this one first. `_agent` is the agent that is asked, `_ip` the node at the client's address.",
)];
/// Rows of which nodes.
pub const META: &[Param] =
    &[Param::new("node-meta", Pair, "Only of nodes whose metadata have this `key:value`, and all others given.")
        .many()];
/// Which instances.
pub const TAG: &[Param] = &[Param::new("tag", Text, "Only instances with this tag, and all others given.").many()];
pub const PASSING: &[Param] =
    &[Param::new("passing", Switch, "Only instances of which every check passes, the node's too.").refused(400)];
pub const SEGMENT: &[Param] = &[Param::new("segment", Text, "There are no segments: what has a name has no rows.")];

pub const KEYS: &[Param] = &[
    RECURSE,
    Param::new("keys", Flag, "Only the names of all keys that begin with this one."),
    Param::new("separator", Text, "With `keys`: what follows this after the prefix is cut off."),
    Param::new("raw", Flag, "The value as it is."),
];
pub const KEY_PUT: &[Param] = &[
    DC,
    Param::new("flags", Number, "A number that is kept beside the value.").refused(500),
    CAS,
    Param::new("acquire", Id, "The session that takes the lock. Not with `cas` or `release`.").refused(500),
    Param::new("release", Id, "The session that gives the lock back. What is no session holds none."),
    Param::new(
        "sequence",
        Flag,
        "Writes a new key: this one and the next number, of ten digits. Not with `cas` or `release`. An addition to Consul's API.",
    ),
    SEQUENCER,
];
pub const KEY_DELETE: &[Param] = &[DC, RECURSE, CAS, SEQUENCER];
pub const FENCE: &[Param] = &[SEQUENCER];

pub const EXECUTE: &[Param] = &[
    Param::new("limit", Integer, "So many instances at most; all unless it is above 0.").refused(500),
    Param::new("connect", Boolean, "Only what a mesh can reach.").refused(400),
];
pub const PEM: &[Param] = &[Param::new("pem", Switch, "The certificate itself, in PEM.").refused(400)];
pub const EVENT: &[Param] = &[
    DC,
    Param::new("node", Regex, "Only for nodes with such a name.").refused(400),
    Param::new("service", Regex, "Only for nodes with such a service.").refused(400),
];
pub const EVENTS: &[Param] = &[Param::new("name", Text, "Only those of this name.")];
pub const WATCH: &[Param] = &[
    Param::new("service", Text, "Instances of this service, as `health/service`. Something has to be watched.")
        .many()
        .example("web"),
    Param::new("kv", Text, "Keys that begin so, as `kv?recurse`.").many(),
    Param::new("key", Text, "This key, as `kv`.").many(),
    Param::new("checks", Word(&["any", "passing", "warning", "critical"]), "Checks in this state, as `health/state`.")
        .many()
        .refused(400),
    Param::new("nodes", Word(&[""]), "All nodes, as `catalog/nodes`.").refused(400),
    Param::new("services", Word(&[""]), "All names of services, as `catalog/services`.").refused(400),
    Param::new("last-event-id", Text, "Where to go on; the header `Last-Event-ID` says the same, and wins."),
    DC,
    STALE,
    CONSISTENT,
    MAX_STALE,
];

pub const PEER: &[Param] = &[
    DC,
    Param::new("id", Text, "The server's id. Either this or its address."),
    Param::new("address", Text, "The server's address, as in the configuration."),
];
pub const SUCCESSOR: &[Param] = &[DC, Param::new("id", Id, "Who is to lead; the best unless said.").refused(400)];
pub const SETTINGS: &[Param] =
    &[DC, Param::new("cas", Number, "Only if the settings' `ModifyIndex` is this one.").refused(400)];
pub const GLOBAL: &[Param] = &[Param::new("global", Flag, "Of all datacenters; there is one.")];
pub const CONFIRM: &[Param] = &[Param::new("confirm", Text, "The code that GET shows.").required()];

pub const METRICS: &[Param] = &[Param::new("format", Text, "`prometheus` for Prometheus' text form.")];
pub const LOG: &[Param] = &[
    Param::new(
        "loglevel",
        Word(&["trace", "debug", "info", "warn", "error"]),
        "From this level up; `info` unless said.",
    )
    .refused(400),
    Param::new("logjson", Flag, "Each line is a JSON object."),
];
pub const WAN: &[Param] = &[Param::new("wan", Text, "If it has a value: the pool across datacenters, which is empty.")];
pub const SEND_AWAY: &[Param] = &[
    Param::new("prune", Flag, "Forget the member at once."),
    Param::new("wan", Flag, "The name ends in the datacenter's."),
];
pub const MAINTENANCE: &[Param] = &[
    Param::new("enable", Boolean, "Whether maintenance begins or ends.").required().refused(400),
    Param::new("reason", Text, "Why, for others to read."),
];
pub const REGISTER: &[Param] = &[
    Param::new("replace-existing-checks", Text, "Empty or `true`: checks that are not in this definition are removed."),
    Param::new("token", Text, "Kept with the service, for the agent to register it with."),
];
pub const NOTE: &[Param] = &[Param::new("note", Text, "Becomes the check's output.")];
pub const FORMAT: &[Param] = &[Param::new("format", Text, "`text` for the bare word.")];
pub const PRETTY: Param = Param::new("pretty", Flag, "Indented by four spaces, with a newline at the end.");

/// What stands in paths, by the name that patterns give it.
const IDS: &[Param] = &[
    Param::new("key", Text, "A key. Slashes are part of it, and need no encoding."),
    Param::new("service", Text, "The name of a service."),
    Param::new("node", Text, "The name of a node."),
    Param::new("state", Word(&["any", "passing", "warning", "critical"]), "The state of checks.").refused(400),
    Param::new("session", Id, "The id of a session."),
    Param::new("id", Text, "The id that whoever made it was told, or gave it."),
    Param::new("name", Text, "The name of what is asked for."),
    Param::new("query", Id, "The id of a prepared query."),
    Param::new("check", Text, "The id of a check of this agent."),
    Param::new("address", Address, "The address of a member, or its name; with a port if that is no usual one."),
];

/// The id of this name; a unit test sees to it that each is known.
pub(super) fn id(name: &str) -> Option<&'static Param> {
    IDS.iter().find(|param| param.name == name)
}
