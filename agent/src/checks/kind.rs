//! What a check does: exactly one kind, found from the fields that are set.

use super::http::HttpCheck;
use super::probe::{Outcome, Probe, Verdict};
use super::script::ScriptCheck;
use super::tcp::TcpCheck;
use super::udp::UdpCheck;
use crate::json::{BadField, Object};
use lictor_catalog::Status;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// How far a peer's certificate is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TlsOptions {
    /// Asked for and verified instead of the target's host; empty means the host.
    pub server_name: String,
    pub skip_verify: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Ttl(Duration),
    Http(HttpCheck),
    Tcp(TcpCheck),
    Udp(UdpCheck),
    Script(ScriptCheck),
    Docker { container: String, shell: String, args: Vec<String> },
    Grpc { target: String, use_tls: bool, tls: TlsOptions },
    H2ping { target: String, use_tls: bool, tls: TlsOptions },
    OsService(String),
    Alias { node: String, service: String },
}

impl Kind {
    /// The kind that the fields name; `None` when they name none, which only a TTL can still save.
    pub(super) fn parse(object: &Object<'_>) -> Result<Option<Self>, BadField> {
        let text = |name| object.string(name);
        let tls = TlsOptions { server_name: text("TLSServerName")?, skip_verify: object.boolean("TLSSkipVerify")? };
        let mut args = object.strings("Args")?;
        if args.is_empty() {
            args = object.strings("ScriptArgs")?;
        }
        let (node, service, container) = (text("AliasNode")?, text("AliasService")?, text("DockerContainerID")?);
        let (url, tcp, udp) = (text("HTTP")?, text("TCP")?, text("UDP")?);
        let (grpc, h2ping, unit) = (text("GRPC")?, text("H2PING")?, text("OSService")?);
        // All are read, whichever counts: what is of the wrong type is refused wherever it stands.
        let (method, body, shell, header) = (text("Method")?, text("Body")?, text("Shell")?, header(object)?);
        let disable_redirects = object.boolean("DisableRedirects")?;
        let (tcp_tls, grpc_tls) = (object.boolean("TCPUseTLS")?, object.boolean("GRPCUseTLS")?);
        let h2ping_tls = object.boolean("H2PingUseTLS")? || object.get("H2PingUseTLS").is_none();
        let kind = if !node.is_empty() || !service.is_empty() {
            Self::Alias { node, service }
        } else if !args.is_empty() && !container.is_empty() {
            Self::Docker { container, shell, args }
        } else if !args.is_empty() {
            Self::Script(ScriptCheck { args })
        } else if !url.is_empty() {
            Self::Http(HttpCheck { url, method, header, body, disable_redirects, tls })
        } else if !tcp.is_empty() {
            Self::Tcp(TcpCheck { address: tcp, use_tls: tcp_tls, tls })
        } else if !udp.is_empty() {
            Self::Udp(UdpCheck { address: udp })
        } else if !grpc.is_empty() {
            Self::Grpc { target: grpc, use_tls: grpc_tls, tls }
        } else if !h2ping.is_empty() {
            Self::H2ping { target: h2ping, use_tls: h2ping_tls, tls }
        } else if !unit.is_empty() {
            Self::OsService(unit)
        } else {
            return Ok(None);
        };
        Ok(Some(kind))
    }

    /// The word in `Type`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Ttl(_) => "ttl",
            Self::Http(_) => "http",
            Self::Tcp(_) => "tcp",
            Self::Udp(_) => "udp",
            Self::Script(_) => "script",
            Self::Docker { .. } => "docker",
            Self::Grpc { .. } => "grpc",
            Self::H2ping { .. } => "h2ping",
            Self::OsService(_) => "os_service",
            Self::Alias { .. } => "alias",
        }
    }

    /// What this release cannot run, in words; such a check is refused when it is registered.
    #[must_use]
    pub const fn not_run_yet(&self) -> Option<&'static str> {
        match self {
            Self::Ttl(_) | Self::Http(_) | Self::Udp(_) | Self::Script(_) => None,
            Self::Tcp(tcp) if tcp.use_tls => Some("tcp with TCPUseTLS"),
            Self::Tcp(_) => None,
            Self::Docker { .. } | Self::Grpc { .. } | Self::H2ping { .. } | Self::OsService(_) | Self::Alias { .. } => {
                Some(self.word())
            }
        }
    }

    /// Whether the agent runs a program for it, which the agent's configuration must allow.
    #[must_use]
    pub const fn is_script(&self) -> bool {
        matches!(self, Self::Script(_) | Self::Docker { .. })
    }

    /// How long one run may take when the definition does not say.
    #[must_use]
    pub const fn default_timeout(&self) -> Duration {
        match self {
            Self::Script(_) | Self::Docker { .. } | Self::OsService(_) => Duration::from_secs(30),
            _ => Duration::from_secs(10),
        }
    }

    /// What one run does; `None` for kinds that are not run.
    #[must_use]
    pub fn probe(&self, timeout: Duration, output_max: usize) -> Option<Probe> {
        match self {
            Self::Http(check) => Some(check.probe(timeout, output_max)),
            Self::Tcp(check) => Some(check.probe(timeout)),
            Self::Udp(check) => Some(check.probe(timeout)),
            Self::Script(check) => Some(check.probe(timeout, output_max)),
            Self::Ttl(_)
            | Self::Docker { .. }
            | Self::Grpc { .. }
            | Self::H2ping { .. }
            | Self::OsService(_)
            | Self::Alias { .. } => None,
        }
    }

    /// What an outcome of that run means; `None` when it says nothing.
    #[must_use]
    pub fn judge(&self, outcome: &Outcome, timeout: Duration) -> Option<Verdict> {
        if *outcome == Outcome::Stopped {
            return None;
        }
        match self {
            Self::Http(check) => Some(check.judge(outcome)),
            Self::Tcp(check) => Some(check.judge(outcome)),
            Self::Udp(check) => Some(check.judge(outcome)),
            Self::Script(_) => Some(ScriptCheck::judge(outcome, timeout)),
            Self::Ttl(_)
            | Self::Docker { .. }
            | Self::Grpc { .. }
            | Self::H2ping { .. }
            | Self::OsService(_)
            | Self::Alias { .. } => Some(Verdict { status: Status::Critical, ..Verdict::misfit(outcome) }),
        }
    }
}

/// `Header`: a map of lists; a lone string is read as a list of one.
fn header(object: &Object<'_>) -> Result<BTreeMap<String, Vec<String>>, BadField> {
    let Some(fields) = object.object("Header")? else { return Ok(BTreeMap::new()) };
    let one = |(name, value): (&str, &Value)| {
        let values = match value {
            Value::String(text) => vec![text.clone()],
            _ => fields.strings(name)?,
        };
        Ok((name.to_owned(), values))
    };
    fields.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::super::capture::Captured;
    use super::*;
    use serde_json::json;

    fn kind(body: &Value) -> Kind {
        Kind::parse(&Object::of(body).unwrap()).unwrap().unwrap()
    }

    fn output(text: &str, total: u64) -> Captured {
        Captured { tail: text.as_bytes().to_vec(), total }
    }

    fn check(definition: &Value, outcome: Outcome, status: Status, shown: &str) {
        let verdict = kind(definition).judge(&outcome, Duration::from_secs(30)).unwrap();
        assert_eq!((verdict.status, verdict.output.as_str()), (status, shown), "{definition} {outcome:?}");
    }

    #[test]
    fn outcomes_are_judged_in_consuls_words() {
        let http = json!({"HTTP": "http://x/"});
        let answer = |code, reason: &str| Outcome::Answered { code, reason: reason.to_owned(), body: output("ok", 2) };
        check(&http, answer(200, "OK"), Status::Passing, "HTTP GET http://x/: 200 OK Output: ok");
        check(
            &http,
            answer(429, "Too Many Requests"),
            Status::Warning,
            "HTTP GET http://x/: 429 Too Many Requests Output: ok",
        );
        check(&http, answer(302, "Found"), Status::Critical, "HTTP GET http://x/: 302 Found Output: ok");
        check(&http, Outcome::Failed("refused".into()), Status::Critical, "refused");
        check(&json!({"tcp": "a:1"}), Outcome::Connected, Status::Passing, "TCP connect a:1: Success");
        check(&json!({"udp": "a:1"}), Outcome::Connected, Status::Passing, "UDP connect a:1: Success");
        let script = json!({"args": ["x"]});
        let exit = |code, out| Outcome::Exited { code, output: out };
        check(&script, exit(Some(0), output("fine", 4)), Status::Passing, "fine");
        check(&script, exit(Some(1), output("hm", 2)), Status::Warning, "hm");
        check(&script, exit(Some(2), output("no", 2)), Status::Critical, "no");
        check(&script, exit(None, output("", 0)), Status::Critical, "");
        check(&script, exit(Some(0), output("end", 9)), Status::Passing, "Captured 3 of 9 bytes\n...\nend");
        let hung = Outcome::TimedOut { output: output("part", 4) };
        check(&script, hung.clone(), Status::Critical, "Timed out (30s) running check\n\npart");
        check(&script, Outcome::TimedOut { output: output("", 0) }, Status::Critical, "Timed out (30s) running check");
        assert!(kind(&script).judge(&hung, Duration::ZERO).unwrap().certain);
        assert_eq!(kind(&http).judge(&Outcome::Stopped, Duration::ZERO), None);
    }

    #[test]
    fn every_spelling_names_its_kind() {
        for (body, word) in [
            (json!({"ScriptArgs": ["a"]}), "script"),
            (json!({"script_args": ["a"], "docker_container_id": "c"}), "docker"),
            (json!({"http": "http://a"}), "http"),
            (json!({"GRPC": "a:1/s", "grpc_use_tls": true}), "grpc"),
            (json!({"h2ping": "a:1"}), "h2ping"),
            (json!({"os_service": "s"}), "os_service"),
            (json!({"alias_service": "s"}), "alias"),
            (json!({"AliasNode": "n"}), "alias"),
        ] {
            assert_eq!(kind(&body).word(), word, "{body}");
        }
        let Kind::H2ping { use_tls, .. } = kind(&json!({"H2PING": "a:1"})) else { panic!("an h2ping check") };
        assert!(use_tls, "HTTP/2 ping uses TLS unless told otherwise");
        let Kind::Http(http) =
            kind(&json!({"HTTP": "http://a", "Header": {"X-A": ["1", "2"], "Host": "b"}, "tls_skip_verify": true}))
        else {
            panic!("an http check")
        };
        assert_eq!(http.header["X-A"], ["1", "2"]);
        assert_eq!(http.header["Host"], ["b"]);
        assert!(http.tls.skip_verify);
    }
}
