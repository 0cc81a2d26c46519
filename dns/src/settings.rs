//! How this agent answers: the `dns_config` part of the configuration, and what it is called.

use hickory_proto::rr::Name;
use std::collections::BTreeMap;
use std::time::Duration;

/// Everything an answer depends on besides the catalog. The defaults are Consul's.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The domain we are authoritative for; see [`domain`].
    pub domain: Name,
    /// A second domain for the same names. Answers stay in the domain that was asked.
    pub alt_domain: Option<Name>,
    pub datacenter: String,
    /// The name of the node this agent runs on.
    pub node: String,
    /// Leave out instances in warning too, not only critical ones.
    pub only_passing: bool,
    pub node_ttl: Duration,
    /// By service name, by `prefix*`, or for all by `*`.
    pub service_ttl: BTreeMap<String, Duration>,
    /// At most so many A or AAAA answers; 0 is no limit. Not for SRV.
    pub a_record_limit: usize,
    /// At most so many answers over UDP to a client that does not speak EDNS.
    pub udp_answer_limit: usize,
    /// Set the TC bit when something was cut off.
    pub enable_truncate: bool,
    /// Give a node's metadata as TXT in the additional section.
    pub enable_additional_node_meta_txt: bool,
    /// Send UDP answers without name compression.
    pub disable_compression: bool,
    pub soa: Soa,
}

/// The timers of the SOA record, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Soa {
    pub refresh: u32,
    pub retry: u32,
    pub expire: u32,
    pub min_ttl: u32,
}

impl Default for Soa {
    fn default() -> Self {
        Self { refresh: 3600, retry: 600, expire: 86400, min_ttl: 0 }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            domain: domain("consul.").expect("a literal that parses"),
            alt_domain: None,
            datacenter: "dc1".to_owned(),
            node: String::new(),
            only_passing: false,
            node_ttl: Duration::ZERO,
            service_ttl: BTreeMap::new(),
            a_record_limit: 0,
            udp_answer_limit: 3,
            enable_truncate: false,
            enable_additional_node_meta_txt: true,
            disable_compression: false,
            soa: Soa::default(),
        }
    }
}

/// The domain that `text` names, with or without the final dot; `None` when it is not a domain name, or is the root.
#[must_use]
pub fn domain(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?.to_lowercase();
    name.set_fqdn(true);
    (!name.is_root()).then_some(name)
}

impl Settings {
    /// Seconds that an answer about `service` may be kept: the exact name's, else the longest `prefix*`'s, else 0.
    pub(crate) fn service_ttl(&self, service: &str) -> u32 {
        let mut best: Option<(usize, Duration)> = None;
        for (pattern, ttl) in &self.service_ttl {
            if pattern.eq_ignore_ascii_case(service) {
                return seconds(*ttl);
            }
            if let Some(prefix) = pattern.strip_suffix('*')
                && service.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
                && best.is_none_or(|(length, _)| prefix.len() > length)
            {
                best = Some((prefix.len(), *ttl));
            }
        }
        best.map_or(0, |(_, ttl)| seconds(ttl))
    }

    pub(crate) fn node_ttl(&self) -> u32 {
        seconds(self.node_ttl)
    }
}

/// A TTL is 31 bits (RFC 2181 §8).
pub(crate) fn seconds(ttl: Duration) -> u32 {
    u32::try_from(ttl.as_secs()).map_or(i32::MAX as u32, |seconds| seconds.min(i32::MAX as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_pattern_gives_the_ttl() {
        let service_ttl = [("*", 5), ("web*", 10), ("web-a*", 15), ("Web-a1", 20)];
        let settings = Settings {
            service_ttl: service_ttl.map(|(name, s)| (name.to_owned(), Duration::from_secs(s))).into(),
            ..Settings::default()
        };
        for (service, ttl) in [("db", 5), ("web", 10), ("WEB-b", 10), ("web-a2", 15), ("web-a1", 20), ("", 5)] {
            assert_eq!(settings.service_ttl(service), ttl, "{service}");
        }
        assert_eq!(Settings::default().service_ttl("web"), 0);
    }
}
