//! What an expression may select: the fields of each kind of row, by the names they are sent under, and how each is compared.
//!
//! Left out on purpose, as in Consul: `CreateIndex`, `ModifyIndex`, `ContentHash`, `Proxy.Config`, `Locality`.

use super::Step;

/// How a selected value is compared.
#[derive(Debug)]
pub enum Shape {
    Text,
    Number,
    Bool,
    /// A list of texts.
    Texts,
    /// Anything by a key of its own.
    Map(&'static Self),
    Record(Fields),
    /// A list of objects; a selector through it means any of them.
    Rows(Fields),
}

/// The fields of an object.
pub type Fields = &'static [(&'static str, Shape)];

/// Why a selector leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    #[error("there is no field {name:?}; there are {known}")]
    Field { name: String, known: String },
    #[error("{of:?} is {shape} and has no fields")]
    NoFields { of: String, shape: &'static str },
}

impl Shape {
    /// What it is, for people.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Number => "a whole number",
            Self::Bool => "true or false",
            Self::Texts => "a list of texts",
            Self::Map(_) => "a map",
            Self::Record(_) => "an object",
            Self::Rows(_) => "a list of objects",
        }
    }
}

/// Follows a selector through the fields.
pub(super) fn find(fields: Fields, path: Vec<String>) -> Result<(Vec<Step>, &'static Shape), Unknown> {
    let mut steps: Vec<Step> = Vec::with_capacity(path.len());
    let mut shape: &'static Shape = &Record(&[]);
    let mut inside = Some(fields);
    for name in path {
        let (next, key) = match (inside, shape) {
            (Some(fields), _) => {
                let found = fields.iter().find(|(known, _)| *known == name);
                (&found.ok_or_else(|| unknown(fields, name.clone()))?.1, false)
            }
            (None, Map(value)) => (*value, true),
            (None, leaf) => {
                let of = steps.pop().map(|step| step.name).unwrap_or_default();
                return Err(Unknown::NoFields { of, shape: leaf.as_str() });
            }
        };
        inside = match next {
            Record(fields) | Rows(fields) => Some(fields),
            _ => None,
        };
        shape = next;
        steps.push(Step { name, key });
    }
    Ok((steps, shape))
}

fn unknown(fields: Fields, name: String) -> Unknown {
    let known: Vec<&str> = fields.iter().map(|(known, _)| *known).collect();
    Unknown::Field { name, known: known.join(", ") }
}

use Shape::{Bool, Map, Number, Record, Rows, Text, Texts};

const TEXTS: Shape = Map(&Text);
const ADDRESS: Shape = Record(&[("Address", Text), ("Port", Number)]);
const WEIGHTS: Shape = Record(&[("Passing", Number), ("Warning", Number)]);
const CONNECT: Shape = Record(&[("Native", Bool)]);
const GATEWAY: Shape = Record(&[("Mode", Text)]);

const UPSTREAM: Fields = &[
    ("Datacenter", Text),
    ("DestinationName", Text),
    ("DestinationNamespace", Text),
    ("DestinationPartition", Text),
    ("DestinationPeer", Text),
    ("DestinationType", Text),
    ("LocalBindAddress", Text),
    ("LocalBindPort", Number),
    ("LocalBindSocketMode", Text),
    ("LocalBindSocketPath", Text),
    ("MeshGateway", GATEWAY),
];

const PROXY: Shape = Record(&[
    ("DestinationServiceID", Text),
    ("DestinationServiceName", Text),
    ("LocalServiceAddress", Text),
    ("LocalServicePort", Number),
    ("LocalServiceSocketPath", Text),
    ("MeshGateway", GATEWAY),
    ("Mode", Text),
    ("TransparentProxy", Record(&[("DialedDirectly", Bool), ("OutboundListenerPort", Number)])),
    ("Upstreams", Rows(UPSTREAM)),
]);

/// `agent/services`, `catalog/node` and `catalog/node-services`: the services.
pub const SERVICE: Fields = &[
    ("Address", Text),
    ("Connect", CONNECT),
    ("EnableTagOverride", Bool),
    ("ID", Text),
    ("Kind", Text),
    ("Meta", TEXTS),
    ("PeerName", Text),
    ("Port", Number),
    ("Proxy", PROXY),
    ("Service", Text),
    ("SocketPath", Text),
    ("TaggedAddresses", Map(&ADDRESS)),
    ("Tags", Texts),
    ("Weights", WEIGHTS),
];

const DEFINITION: Shape = Record(&[
    ("Body", Text),
    ("DeregisterCriticalServiceAfter", Text),
    ("GRPC", Text),
    ("GRPCUseTLS", Bool),
    ("HTTP", Text),
    ("Header", Map(&Texts)),
    ("Interval", Text),
    ("Method", Text),
    ("OSService", Text),
    ("TCP", Text),
    ("TCPUseTLS", Bool),
    ("TLSServerName", Text),
    ("TLSSkipVerify", Bool),
    ("Timeout", Text),
    ("UDP", Text),
]);

/// `agent/checks`, `health/node`, `health/checks` and `health/state`.
pub const CHECK: Fields = &[
    ("CheckID", Text),
    ("Definition", DEFINITION),
    ("ExposedPort", Number),
    ("Interval", Text),
    ("Name", Text),
    ("Node", Text),
    ("Notes", Text),
    ("Output", Text),
    ("PeerName", Text),
    ("ServiceID", Text),
    ("ServiceName", Text),
    ("ServiceTags", Texts),
    ("Status", Text),
    ("Timeout", Text),
    ("Type", Text),
];

/// `agent/members`.
pub const MEMBER: Fields = &[
    ("Addr", Text),
    ("Name", Text),
    ("Port", Number),
    ("ProtocolCur", Number),
    ("ProtocolMax", Number),
    ("ProtocolMin", Number),
    ("Status", Number),
    ("Tags", TEXTS),
];

/// `catalog/nodes`.
pub const NODE: Fields = &[
    ("Address", Text),
    ("Datacenter", Text),
    ("ID", Text),
    ("Meta", TEXTS),
    ("Node", Text),
    ("PeerName", Text),
    ("TaggedAddresses", TEXTS),
];

/// `internal/ui/nodes`.
pub const NODE_DUMP: Fields = &[
    ("Address", Text),
    ("Checks", Rows(CHECK)),
    ("ID", Text),
    ("Meta", TEXTS),
    ("Node", Text),
    ("PeerName", Text),
    ("Services", Rows(SERVICE)),
    ("TaggedAddresses", TEXTS),
];

/// `catalog/service`, and the instances that `catalog/services` names.
pub const CATALOG_SERVICE: Fields = &[
    ("Address", Text),
    ("Datacenter", Text),
    ("ID", Text),
    ("Node", Text),
    ("NodeMeta", TEXTS),
    ("PeerName", Text),
    ("ServiceAddress", Text),
    ("ServiceConnect", CONNECT),
    ("ServiceEnableTagOverride", Bool),
    ("ServiceID", Text),
    ("ServiceKind", Text),
    ("ServiceMeta", TEXTS),
    ("ServiceName", Text),
    ("ServicePort", Number),
    ("ServiceProxy", PROXY),
    ("ServiceSocketPath", Text),
    ("ServiceTaggedAddresses", Map(&ADDRESS)),
    ("ServiceTags", Texts),
    ("ServiceWeights", WEIGHTS),
    ("TaggedAddresses", TEXTS),
];

/// `health/service`, and `internal/ui/services`: the instances.
pub const HEALTH: Fields = &[("Checks", Rows(CHECK)), ("Node", Record(NODE)), ("Service", Record(SERVICE))];
