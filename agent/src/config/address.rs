//! Which addresses the configuration means: go-sockaddr's templates, and the address that is told to other members.

use super::error::ConfigError;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// What there is to know about the machine, gathered by the caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    pub hostname: String,
    /// Every address of every interface that is up, in the system's order.
    pub interfaces: Vec<(String, IpAddr)>,
}

/// Where HTTP is served.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HttpAddr {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl std::fmt::Display for HttpAddr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// The name of an interface that stands for any.
const ANY_INTERFACE: &str = "*";

impl Host {
    /// A machine that nobody has looked at: whatever files ask of it, it has.
    #[must_use]
    pub fn any() -> Self {
        let (v4, v6) = (Ipv4Addr::new(10, 0, 0, 1), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
        let interfaces = [v4.into(), v6.into()].map(|ip| (ANY_INTERFACE.to_owned(), ip)).to_vec();
        Self { hostname: "any".to_owned(), interfaces }
    }

    /// RFC 1918 and RFC 6598, which is what Consul calls private.
    fn private_v4(&self) -> Vec<IpAddr> {
        let private = |ip: &Ipv4Addr| ip.is_private() || (ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64);
        self.unique(|ip| matches!(ip, IpAddr::V4(v4) if private(v4)))
    }

    fn global_v6(&self) -> Vec<IpAddr> {
        let local = |ip: &Ipv6Addr| ip.is_loopback() || ip.is_unicast_link_local() || ip.is_multicast();
        self.unique(|ip| matches!(ip, IpAddr::V6(v6) if !local(v6)))
    }

    fn unique(&self, wanted: impl Fn(&IpAddr) -> bool) -> Vec<IpAddr> {
        let mut found: Vec<IpAddr> = Vec::new();
        for (_, ip) in &self.interfaces {
            if wanted(ip) && !found.contains(ip) {
                found.push(*ip);
            }
        }
        found
    }

    /// The address to advertise when members are to be met on every interface: the only private IPv4 (or, for `::`, the
    /// only global IPv6); loopback with a warning where there is nothing else.
    pub(crate) fn advertise(
        &self,
        wildcard: IpAddr,
        key: &'static str,
        warnings: &mut Vec<String>,
    ) -> Result<IpAddr, ConfigError> {
        let usable = if wildcard.is_ipv4() { self.private_v4() } else { self.global_v6() };
        if let [only] = usable.as_slice() {
            return Ok(*only);
        }
        let link_local = |ip: &IpAddr| matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let others = self.unique(|ip| !ip.is_loopback() && !link_local(ip) && ip.is_ipv4() == wildcard.is_ipv4());
        if usable.is_empty() && others.is_empty() {
            let loopback: IpAddr =
                if wildcard.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
            warnings.push(format!(
                "this machine has only loopback addresses, so {loopback} is advertised: no other machine can join; \
                 give -advertise or -bind to change that"
            ));
            return Ok(loopback);
        }
        let listed = if usable.is_empty() { others } else { usable };
        Err(ConfigError::NoAddress { key, candidates: listed.iter().map(ToString::to_string).collect() })
    }

    /// Replaces `{{ GetPrivateIP }}` and `{{ GetInterfaceIP "name" }}`, the two templates that lictor knows.
    pub(crate) fn expand(&self, text: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((template, after)) = after.split_once("}}") else {
                return Err("the template has no end; }} is missing".to_owned());
            };
            out.push_str(before);
            out.push_str(&self.evaluate(template)?.to_string());
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn evaluate(&self, template: &str) -> Result<IpAddr, String> {
        let words: Vec<&str> = template.split_whitespace().collect();
        match words.as_slice() {
            ["GetPrivateIP"] => {
                self.private_v4().first().copied().ok_or_else(|| "this machine has no private IPv4 address".to_owned())
            }
            ["GetInterfaceIP", name] => {
                let name = name.trim_matches(|c| matches!(c, '"' | '`' | '\''));
                let named = |interface: &str| interface == name || interface == ANY_INTERFACE;
                let on_it = || self.interfaces.iter().filter(|(interface, _)| named(interface)).map(|(_, ip)| *ip);
                on_it().find(IpAddr::is_ipv4).or_else(|| on_it().next()).ok_or_else(|| {
                    let mut names: Vec<&str> = self.interfaces.iter().map(|(name, _)| name.as_str()).collect();
                    names.dedup();
                    format!("no interface {name:?} with an address; there are {}", names.join(", "))
                })
            }
            _ => Err(format!(
                "lictor knows only the templates {{{{ GetPrivateIP }}}} and {{{{ GetInterfaceIP \"name\" }}}}, not \
                 {{{{{template}}}}}; write the address itself"
            )),
        }
    }

    /// One address, perhaps by template.
    pub(crate) fn address(&self, text: &str) -> Result<IpAddr, String> {
        let plain = self.expand(text)?;
        let plain = plain.trim();
        let bare = plain.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(plain);
        bare.parse().map_err(|_not_an_address: std::net::AddrParseError| format!("{plain:?} is not an IP address"))
    }

    /// A list of addresses and, where `unix` allows it, of `unix:///path`.
    pub(crate) fn addresses(&self, text: &str, port: u16, unix: bool) -> Result<Vec<HttpAddr>, String> {
        let plain = self.expand(text)?;
        let one = |word: &str| match word.strip_prefix("unix://") {
            Some(path) if unix && !path.is_empty() => Ok(HttpAddr::Unix(PathBuf::from(path))),
            Some(_) if unix => Err("unix:// needs a path after it".to_owned()),
            Some(_) => Err("a unix socket is possible only for HTTP".to_owned()),
            None => self.address(word).map(|ip| HttpAddr::Tcp(SocketAddr::new(ip, port))),
        };
        plain.split_whitespace().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(addresses: &[(&str, &str)]) -> Host {
        let interfaces = addresses.iter().map(|(name, ip)| ((*name).to_owned(), ip.parse().expect("an address")));
        Host { hostname: "h".to_owned(), interfaces: interfaces.collect() }
    }

    #[track_caller]
    fn check(host: &Host, text: &str, expected: Result<&str, &str>) {
        let got = host.expand(text);
        assert_eq!(got.as_deref().map_err(String::as_str), expected, "{text}");
    }

    #[test]
    fn templates() {
        let host = host(&[("lo", "127.0.0.1"), ("eth0", "fe80::1"), ("eth0", "10.1.2.3"), ("eth1", "8.8.8.8")]);
        check(&host, "{{ GetPrivateIP }}", Ok("10.1.2.3"));
        check(&host, "{{GetInterfaceIP \"eth1\"}} 127.0.0.1", Ok("8.8.8.8 127.0.0.1"));
        check(&host, "{{ GetInterfaceIP `eth0` }}", Ok("10.1.2.3"));
        check(
            &host,
            "{{ GetInterfaceIP \"eth9\" }}",
            Err("no interface \"eth9\" with an address; there are lo, eth0, eth1"),
        );
        check(&host, "{{ GetPrivateIP", Err("the template has no end; }} is missing"));
        let other = host.expand("{{ GetAllInterfaces | include \"type\" }}").expect_err("unknown");
        assert!(other.contains("only the templates"), "{other}");
    }

    #[test]
    fn exactly_one_private_address_is_advertised() {
        let any = IpAddr::from(Ipv4Addr::UNSPECIFIED);
        let mut warnings = Vec::new();
        let one = host(&[("lo", "127.0.0.1"), ("a", "100.64.0.9"), ("b", "1.1.1.1"), ("c", "100.64.0.9")]);
        assert_eq!(one.advertise(any, "bind_addr", &mut warnings).expect("one").to_string(), "100.64.0.9");
        let two = host(&[("a", "10.0.0.1"), ("b", "192.168.0.1")]);
        let error = two.advertise(any, "bind_addr", &mut warnings).expect_err("two").to_string();
        assert!(error.ends_with("to one of: 10.0.0.1, 192.168.0.1"), "{error}");
        let public = host(&[("a", "1.1.1.1")]).advertise(any, "bind_addr", &mut warnings).expect_err("public only");
        assert!(public.to_string().ends_with("to one of: 1.1.1.1"), "{public}");
        assert!(warnings.is_empty());
        let lone = host(&[("lo", "127.0.0.1"), ("lo", "::1")]);
        assert_eq!(lone.advertise(any, "bind_addr", &mut warnings).expect("loopback").to_string(), "127.0.0.1");
        assert!(warnings[0].contains("only loopback"));
    }
}
