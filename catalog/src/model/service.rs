//! An instance of a service on a node.

use super::{Index, NodeName, ServiceId, ServiceName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One instance of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    pub node: NodeName,
    pub id: ServiceId,
    pub name: ServiceName,
    pub kind: ServiceKind,
    pub tags: Vec<String>,
    /// Empty: the node's address is meant.
    pub address: String,
    pub port: u16,
    /// Path of a unix socket; empty when reached by address and port.
    pub socket_path: String,
    pub tagged_addresses: BTreeMap<String, ServiceAddress>,
    pub meta: BTreeMap<String, String>,
    pub weights: Weights,
    pub enable_tag_override: bool,
    /// A proxy's settings, as the JSON text they were given in; empty when there are none.
    pub proxy: String,
    pub connect: Connect,
    pub locality: Option<Locality>,
    pub create_index: Index,
    pub modify_index: Index,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ServiceKind {
    #[default]
    Typical,
    ConnectProxy,
    MeshGateway,
    TerminatingGateway,
    IngressGateway,
    ApiGateway,
}

impl ServiceKind {
    /// The word used on the wire; empty for a typical service.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Typical => "",
            Self::ConnectProxy => "connect-proxy",
            Self::MeshGateway => "mesh-gateway",
            Self::TerminatingGateway => "terminating-gateway",
            Self::IngressGateway => "ingress-gateway",
            Self::ApiGateway => "api-gateway",
        }
    }

    /// The kind that `word` names, if any.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [
            Self::Typical,
            Self::ConnectProxy,
            Self::MeshGateway,
            Self::TerminatingGateway,
            Self::IngressGateway,
            Self::ApiGateway,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == word)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAddress {
    pub address: String,
    pub port: u16,
}

/// How much of the load an instance takes, by its health. DNS SRV weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights {
    pub passing: u16,
    pub warning: u16,
}

impl Default for Weights {
    fn default() -> Self {
        Self { passing: 1, warning: 1 }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connect {
    pub native: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locality {
    pub region: String,
    pub zone: String,
}
