//! What servers tell of themselves in gossip: Consul's tags, and six of ours (`engine`, `cluster`, `expect`, `level`, and at
//! times `leaving` and `log_end`).

use crate::consensus::{EngineId, LogEnd};
use crate::gossip::Member;
use crate::view::{CONSUL_LEVEL, VERSION};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use uuid::Uuid;

/// A server, as its tags describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTags {
    pub datacenter: String,
    pub rpc: SocketAddr,
    /// Absent while the server has not opened its log.
    pub engine: Option<EngineId>,
    /// The cluster it belongs to; absent while it has no state.
    pub cluster: Option<Uuid>,
    /// 0: it does not bootstrap.
    pub expect: u32,
    /// The highest feature level it reads.
    pub level: u32,
    /// It is about to go, and waits to be taken off the voters.
    pub leaving: bool,
    /// How far its log reaches; told while it knows no leader.
    pub log_end: Option<LogEnd>,
}

/// The release of Consul that a member speaks like; its `build` has a revision after it.
#[must_use]
pub fn version(member: &Member) -> &str {
    member.tags.get("build").map_or("", |build| build.split(':').next().unwrap_or_default())
}

/// What an agent's tags say, whatever its role.
#[derive(Clone, Debug)]
pub struct Own<'a> {
    pub id: Uuid,
    pub datacenter: &'a str,
    /// Absent on client agents.
    pub server: Option<OwnServer>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnServer {
    pub port: u16,
    pub engine: EngineId,
    pub cluster: Option<Uuid>,
    pub expect: u32,
    pub bootstrap: bool,
    pub leaving: bool,
    pub log_end: Option<LogEnd>,
}

impl Own<'_> {
    /// Writes the tags.
    #[must_use]
    pub fn tags(&self) -> BTreeMap<String, String> {
        let mut tags = BTreeMap::from(
            [
                ("role", if self.server.is_some() { "consul" } else { "node" }),
                ("dc", self.datacenter),
                ("segment", ""),
                ("lictor", VERSION),
                ("vsn", "2"),
                ("vsn_min", "2"),
                ("vsn_max", "3"),
                ("acls", "0"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        tags.insert("id".to_owned(), self.id.to_string());
        tags.insert("build".to_owned(), format!("{CONSUL_LEVEL}:lictor-{VERSION}"));
        if let Some(server) = &self.server {
            let mut tell = |key: &str, value: String| tags.insert(key.to_owned(), value);
            tell("port", server.port.to_string());
            tell("raft_vsn", "3".to_owned());
            tell("engine", format!("{:016x}", server.engine.0));
            tell("level", lictor_catalog::command::FEATURE_LEVEL.to_string());
            if let Some(cluster) = server.cluster {
                tell("cluster", cluster.to_string());
            }
            if server.expect > 0 {
                tell("expect", server.expect.to_string());
            }
            if server.bootstrap {
                tell("bootstrap", "1".to_owned());
            }
            if server.leaving {
                tell("leaving", "1".to_owned());
            }
            if let Some(end) = server.log_end {
                tell("log_end", end.to_string());
            }
        }
        tags
    }
}

impl ServerTags {
    /// Reads a member's tags; `None` when it is no server, or its tags are not known yet.
    #[must_use]
    pub fn of(member: &Member) -> Option<Self> {
        let tag = |key: &str| member.tags.get(key).map(String::as_str);
        if tag("role") != Some("consul") {
            return None;
        }
        Some(Self {
            datacenter: tag("dc")?.to_owned(),
            rpc: SocketAddr::new(member.address.ip(), tag("port")?.parse().ok()?),
            engine: tag("engine").and_then(|hex| u64::from_str_radix(hex, 16).ok()).map(EngineId),
            cluster: tag("cluster").and_then(|id| id.parse().ok()),
            expect: tag("expect").and_then(|count| count.parse().ok()).unwrap_or_default(),
            level: tag("level").and_then(|level| level.parse().ok()).unwrap_or_default(),
            leaving: tag("leaving").is_some(),
            log_end: tag("log_end").and_then(LogEnd::parse),
        })
    }
}
