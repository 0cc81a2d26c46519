//! From a domain name to what is asked for. Knows the forms of names; looks nothing up.

use crate::settings::Settings;
use hickory_proto::rr::{Name, RecordType};
use lictor_catalog::store::Scope;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a name asks for, and under which domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub subject: Subject,
    /// The datacenter the name gives, when that is not our own.
    pub elsewhere: Option<String>,
    /// The name lies in the alternative domain.
    pub alternate: bool,
}

/// The forms of names. Labels are lower-cased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The domain itself.
    Domain,
    Node(String),
    Service {
        name: String,
        tag: Option<String>,
    },
    /// An address written in hexadecimal, as SRV targets are.
    Address(IpAddr),
    Reverse(IpAddr),
    /// Instances of a service that speak for the mesh.
    Connect(String),
    /// Ingress gateways for a service.
    Ingress(String),
    /// The virtual address of a service.
    Virtual(String),
    /// A prepared query, by name or id.
    Prepared(String),
    /// In our domain, or reverse, but of no form we know.
    Bad,
    /// Not in our domain.
    Outside,
}

impl Asked {
    /// What `name` asks for when records of `kind` are wanted: for SRV the label `service` may be left out.
    #[must_use]
    pub fn parse(name: &Name, kind: RecordType, settings: &Settings) -> Self {
        let Some((count, alternate)) = labels_before_domain(name, settings) else {
            return Self { subject: outside(name), elsewhere: None, alternate: false };
        };
        let labels: Option<Vec<&str>> = name.iter().take(count).map(|label| std::str::from_utf8(label).ok()).collect();
        let (subject, elsewhere) = match labels {
            Some(labels) if labels.is_empty() => (Subject::Domain, None),
            Some(labels) => inside(&labels, kind, settings).unwrap_or((Subject::Bad, None)),
            None => (Subject::Bad, None),
        };
        Self { subject, elsewhere, alternate }
    }

    /// The domain of the name, under which the answer's own names are made.
    #[must_use]
    pub fn domain<'a>(&self, settings: &'a Settings) -> &'a Name {
        settings.alt_domain.as_ref().filter(|_| self.alternate).unwrap_or(&settings.domain)
    }

    /// The part of the catalog that is needed to answer; `None` when the name says it all.
    #[must_use]
    pub fn scope(&self, kind: RecordType) -> Option<Scope> {
        match &self.subject {
            Subject::Outside => None,
            Subject::Reverse(address) => Some(Scope::Address(*address)),
            _ if matches!(kind, RecordType::SOA | RecordType::NS) => Some(Scope::Servers),
            _ if self.elsewhere.is_some() => None,
            Subject::Node(name) => Some(Scope::Node(name.clone())),
            Subject::Service { name, .. } => Some(Scope::Service(name.clone())),
            Subject::Prepared(name) => Some(Scope::Prepared(name.clone())),
            Subject::Domain
            | Subject::Address(_)
            | Subject::Connect(_)
            | Subject::Ingress(_)
            | Subject::Virtual(_)
            | Subject::Bad => None,
        }
    }
}

/// How many labels stand before our domain, and whether that is the alternative one. The longer domain wins.
fn labels_before_domain(name: &Name, settings: &Settings) -> Option<(usize, bool)> {
    let all = name.iter().len();
    let before = |domain: &Name| domain.zone_of(name).then(|| all - domain.iter().len());
    let first = before(&settings.domain);
    let second = settings.alt_domain.as_ref().and_then(before);
    match (first, second) {
        (Some(first), Some(second)) if second < first => Some((second, true)),
        (None, Some(second)) => Some((second, true)),
        (first, _) => first.map(|count| (count, false)),
    }
}

/// A name that is not in our domain: a reverse name, which we answer, or somebody else's.
fn outside(name: &Name) -> Subject {
    let mut labels = name.iter().rev();
    if !labels.next().is_some_and(|last| last.eq_ignore_ascii_case(b"arpa")) {
        return Subject::Outside;
    }
    let family = labels.next().unwrap_or_default();
    let address = if family.eq_ignore_ascii_case(b"in-addr") {
        reverse_v4(labels)
    } else if family.eq_ignore_ascii_case(b"ip6") {
        reverse_v6(labels)
    } else {
        None
    };
    address.map_or(Subject::Bad, Subject::Reverse)
}

/// RFC 1035 §3.5, labels given from the right: the octets in their usual order.
fn reverse_v4<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Option<IpAddr> {
    let mut octets = [0u8; 4];
    let mut count = 0;
    for label in labels {
        let text = std::str::from_utf8(label).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
        *octets.get_mut(count)? = text.parse().ok()?;
        count += 1;
    }
    (count == 4).then(|| Ipv4Addr::from(octets).into())
}

/// RFC 3596 §2.5, labels given from the right: 32 nibbles in their usual order.
fn reverse_v6<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Option<IpAddr> {
    let mut value = 0u128;
    let mut count = 0;
    for label in labels {
        let [nibble] = label else { return None };
        value = (value << 4) | u128::from(char::from(*nibble).to_digit(16)?);
        count += 1;
        if count > 32 {
            return None;
        }
    }
    (count == 32).then(|| Ipv6Addr::from(value).into())
}

/// A name in our domain. Scanned from the right for the word that tells the kind: what stands left of it are its parts,
/// what stands right of it says where.
fn inside(labels: &[&str], kind: RecordType, settings: &Settings) -> Option<(Subject, Option<String>)> {
    let is_word = |label: &str| {
        ["service", "connect", "virtual", "ingress", "node", "query", "addr"]
            .iter()
            .any(|word| label.eq_ignore_ascii_case(word))
    };
    let implied = |label: &str| kind == RecordType::SRV && label.starts_with('_');
    let at = labels.iter().rposition(|label| is_word(label) || implied(label))?;
    let (parts, word, suffixes) = if is_word(labels[at]) {
        (&labels[..at], labels[at].to_ascii_lowercase(), &labels[at + 1..])
    } else {
        (&labels[..=at], "service".to_owned(), &labels[at + 1..])
    };
    let (last, before) = parts.split_last()?;
    if word == "virtual" {
        // The one suffix it may have names a peer, never a datacenter; there is no peering yet.
        return suffixes.is_empty().then(|| (Subject::Virtual(last.to_ascii_lowercase()), None));
    }
    let elsewhere = datacenter(suffixes)?.filter(|dc| !dc.eq_ignore_ascii_case(&settings.datacenter));
    let subject = match word.as_str() {
        "node" => Subject::Node(joined(parts)),
        "addr" => Subject::Address(hexadecimal(last).filter(|_| before.is_empty())?),
        "connect" => Subject::Connect(last.to_ascii_lowercase()),
        "ingress" => Subject::Ingress(last.to_ascii_lowercase()),
        "query" => match parts {
            [name, protocol] if name.starts_with('_') && protocol.starts_with('_') => {
                Subject::Prepared(name[1..].to_ascii_lowercase())
            }
            _ => Subject::Prepared(joined(parts)),
        },
        _ => service(parts, last, before),
    };
    Some((subject, elsewhere.map(str::to_ascii_lowercase)))
}

/// `_web._tcp` and `_web._v1` of RFC 2782, else `v1.web`, where everything before the service is one tag.
fn service(parts: &[&str], last: &str, before: &[&str]) -> Subject {
    if let [name, tag] = parts
        && let (Some(name), Some(tag)) = (name.strip_prefix('_'), tag.strip_prefix('_'))
    {
        let tag = Some(tag).filter(|tag| !tag.eq_ignore_ascii_case("tcp")).map(str::to_ascii_lowercase);
        return Subject::Service { name: name.to_ascii_lowercase(), tag };
    }
    Subject::Service { name: last.to_ascii_lowercase(), tag: (!before.is_empty()).then(|| joined(before)) }
}

fn joined(labels: &[&str]) -> String {
    let mut text = labels.join(".");
    text.make_ascii_lowercase();
    text
}

/// What stands after the kind: nothing, a datacenter, or pairs such as `dc1.dc`. The inner `None` is our own datacenter.
fn datacenter<'a>(suffixes: &[&'a str]) -> Option<Option<&'a str>> {
    match suffixes {
        [] => return Some(None),
        [dc] => return Some(Some(dc)),
        _ => {}
    }
    let (pairs, rest) = suffixes.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let mut found = None;
    for [value, kind] in pairs {
        let is = |word: &str| kind.eq_ignore_ascii_case(word);
        if is("dc") && found.is_none() {
            found = Some(*value);
        } else if !((is("ns") || is("ap")) && value.eq_ignore_ascii_case("default")) {
            return None;
        }
    }
    Some(found)
}

/// Eight or thirty-two hexadecimal digits.
fn hexadecimal(label: &str) -> Option<IpAddr> {
    if !label.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    match label.len() {
        8 => u32::from_str_radix(label, 16).ok().map(|bits| Ipv4Addr::from(bits).into()),
        32 => u128::from_str_radix(label, 16).ok().map(|bits| Ipv6Addr::from(bits).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::domain;

    fn check(name: &str, kind: RecordType, expected: &str) {
        let settings = Settings { alt_domain: domain("alt.consul"), ..Settings::default() };
        let labels = name.split('.').filter(|label| !label.is_empty()).map(str::as_bytes);
        let asked = Asked::parse(&Name::from_labels(labels).expect(name), kind, &settings);
        let mut found = match asked.subject {
            Subject::Node(name) => format!("node {name}"),
            Subject::Service { name, tag: None } => format!("service {name}"),
            Subject::Service { name, tag: Some(tag) } => format!("service {name} tag {tag}"),
            Subject::Address(address) => format!("addr {address}"),
            Subject::Reverse(address) => format!("reverse {address}"),
            Subject::Connect(name) => format!("connect {name}"),
            Subject::Ingress(name) => format!("ingress {name}"),
            Subject::Virtual(name) => format!("virtual {name}"),
            Subject::Prepared(name) => format!("query {name}"),
            Subject::Domain => "domain".to_owned(),
            Subject::Bad => "bad".to_owned(),
            Subject::Outside => "outside".to_owned(),
        };
        if let Some(dc) = asked.elsewhere {
            found = format!("{found} in {dc}");
        }
        if asked.alternate {
            found.push_str(" alt");
        }
        assert_eq!(found, expected, "{name} {kind}");
    }

    #[test]
    fn names_are_read_as_consul_reads_them() {
        for (name, expected) in [
            ("consul.", "domain"),
            ("CONSUL.", "domain"),
            ("alt.consul.", "domain alt"),
            ("N1.Node.Consul.", "node n1"),
            ("n1.rack2.node.consul.", "node n1.rack2"),
            ("n1.node.dc1.consul.", "node n1"),
            ("n1.node.DC2.consul.", "node n1 in dc2"),
            ("n1.node.dc2.dc.consul.", "node n1 in dc2"),
            ("n1.node.alt.consul.", "node n1 alt"),
            ("node.consul.", "bad"),
            ("web.service.consul.", "service web"),
            ("v1.web.service.consul.", "service web tag v1"),
            ("v1.2.web.service.consul.", "service web tag v1.2"),
            ("_web._tcp.service.consul.", "service web"),
            ("_web._udp.service.consul.", "service web tag udp"),
            ("_web._v1.service.dc2.consul.", "service web tag v1 in dc2"),
            ("a._web._v1.service.consul.", "service _v1 tag a._web"),
            ("_web._tcp.consul.", "bad"),
            ("web.service.default.ns.dc1.dc.consul.", "service web"),
            ("web.service.other.ns.dc1.dc.consul.", "bad"),
            ("web.service.p1.peer.consul.", "bad"),
            ("web.service.dc1.dc.dc1.dc.consul.", "bad"),
            ("web.service.a.b.c.consul.", "bad"),
            ("service.service.consul.", "service service"),
            ("web.connect.consul.", "connect web"),
            ("web.ingress.dc2.consul.", "ingress web in dc2"),
            ("web.virtual.consul.", "virtual web"),
            ("web.virtual.peer1.consul.", "bad"),
            ("geo.web.query.consul.", "query geo.web"),
            ("_geo._tcp.query.consul.", "query geo"),
            ("0a000009.addr.consul.", "addr 10.0.0.9"),
            ("0A000009.addr.dc1.consul.", "addr 10.0.0.9"),
            ("20010db8000000000000000000000001.addr.consul.", "addr 2001:db8::1"),
            ("0a0000zz.addr.consul.", "bad"),
            ("+a000009.addr.consul.", "bad"),
            ("x.0a000009.addr.consul.", "bad"),
            ("web.consul.", "bad"),
            ("1.0.0.10.in-addr.arpa.", "reverse 10.0.0.1"),
            ("0.0.10.in-addr.arpa.", "bad"),
            ("5.1.0.0.10.in-addr.arpa.", "bad"),
            ("300.0.0.10.in-addr.arpa.", "bad"),
            ("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2.IP6.ARPA.", "reverse 2001:db8::1"),
            ("1.0.0.0.ip6.arpa.", "bad"),
            ("arpa.", "bad"),
            ("example.com.", "outside"),
            ("notconsul.", "outside"),
            (".", "outside"),
        ] {
            check(name, RecordType::A, expected);
        }
    }

    #[test]
    fn srv_questions_may_leave_out_the_word_service() {
        check("_web._tcp.consul.", RecordType::SRV, "service web");
        check("_web._v1.dc2.consul.", RecordType::SRV, "service web tag v1 in dc2");
        check("_web._tcp.service.consul.", RecordType::SRV, "service web");
        check("web._tcp.consul.", RecordType::SRV, "service _tcp tag web");
    }
}
