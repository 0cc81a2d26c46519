//! An instance of a service on a node.

use super::{Index, NodeName, ServiceId, ServiceName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One instance of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Where it runs.
    pub node: NodeName,
    /// Unique on its node.
    pub id: ServiceId,
    /// What it is an instance of.
    pub name: ServiceName,
    /// What part it plays in a mesh.
    pub kind: ServiceKind,
    /// Labels to choose instances by.
    pub tags: Vec<String>,
    /// Empty: the node's address is meant.
    pub address: String,
    /// 0 when it has none.
    pub port: u16,
    /// Path of a unix socket; empty when reached by address and port.
    pub socket_path: String,
    /// `lan`, `wan`, …
    pub tagged_addresses: BTreeMap<String, ServiceAddress>,
    /// What its owner says of it.
    pub meta: BTreeMap<String, String>,
    /// How much of the load it takes.
    pub weights: Weights,
    /// Others may change its tags in the catalog, and its agent then takes them over.
    pub enable_tag_override: bool,
    /// A proxy's settings, as the JSON text they were given in; empty when there are none.
    pub proxy: String,
    /// Its place in a mesh.
    pub connect: Connect,
    /// Where it runs, in the words of its cloud.
    pub locality: Option<Locality>,
    /// The entry of the log that created it.
    pub create_index: Index,
    /// The entry of the log that changed it last.
    pub modify_index: Index,
}

/// What part a service plays in a mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ServiceKind {
    /// None: it is what people came for.
    #[default]
    Typical,
    /// A proxy beside an instance of another service.
    ConnectProxy,
    /// Between datacenters.
    MeshGateway,
    /// From the mesh to services outside it.
    TerminatingGateway,
    /// From outside into the mesh.
    IngressGateway,
    /// From outside into the mesh, by routes.
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

/// Another address of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAddress {
    /// An IP address or a host name.
    pub address: String,
    /// The port at that address.
    pub port: u16,
}

/// How much of the load an instance takes, by its health. DNS SRV weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights {
    /// While all its checks pass.
    pub passing: u16,
    /// While the worst of its checks warns.
    pub warning: u16,
}

impl Default for Weights {
    fn default() -> Self {
        Self { passing: 1, warning: 1 }
    }
}

/// An instance's place in a mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connect {
    /// It speaks the mesh's protocol itself, without a proxy.
    pub native: bool,
}

/// Where an instance runs, in the words of its cloud.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locality {
    /// Such as `eu-central-1`.
    pub region: String,
    /// Such as `eu-central-1a`.
    pub zone: String,
}
