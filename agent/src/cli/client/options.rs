//! How the agent is reached: the flags and environment variables that all client commands share.

use super::error::ClientError;
use crate::config::flags::switch;
use clap::{Arg, ArgMatches, Command};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

/// Adds the options of every client command.
pub(crate) fn options(command: Command) -> Command {
    let text = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help).value_name("VALUE");
    command.args_override_self(true).next_help_heading("HTTP API options").args([
        text("http-addr", "Address of the agent [env: CONSUL_HTTP_ADDR] [default: http://127.0.0.1:8500]"),
        text("token", "ACL token [env: CONSUL_HTTP_TOKEN]"),
        text("token-file", "File that holds the ACL token [env: CONSUL_HTTP_TOKEN_FILE]"),
        text("ca-file", "Certificate authority to trust [env: CONSUL_CACERT]"),
        text("ca-path", "Directory of certificate authorities to trust [env: CONSUL_CAPATH]"),
        text("client-cert", "Client certificate [env: CONSUL_CLIENT_CERT]"),
        text("client-key", "Key of the client certificate [env: CONSUL_CLIENT_KEY]"),
        text("tls-server-name", "Name expected in the server's certificate [env: CONSUL_TLS_SERVER_NAME]"),
        text("namespace", "Accepted for Consul Enterprise [env: CONSUL_NAMESPACE]"),
        text("partition", "Accepted for Consul Enterprise [env: CONSUL_PARTITION]"),
    ])
}

/// Adds what only commands that read the catalog have.
pub(crate) fn server_options(command: Command) -> Command {
    leader_options(command).arg(switch("stale", "Let any server answer, not only the leader"))
}

/// Adds what only commands have that ask the servers for what no stale answer is good enough for.
pub(crate) fn leader_options(command: Command) -> Command {
    options(command).arg(
        Arg::new("datacenter")
            .long("datacenter")
            .value_name("NAME")
            .help("Datacenter to ask; the agent's own if not given"),
    )
}

/// How the agent is reached, from flags and environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// `http://host:port` with a path's prefix, perhaps, and no slash at the end.
    pub(super) base: String,
    pub(super) unix: Option<PathBuf>,
    pub(super) token: String,
    pub(super) user: Option<(String, String)>,
    pub(super) ca_files: Vec<PathBuf>,
    pub(super) identity: Option<(PathBuf, PathBuf)>,
    pub(super) tls_name: Option<String>,
    pub(super) verify: bool,
    /// Parameters of every request.
    pub(super) query: Vec<(&'static str, String)>,
}

impl Options {
    /// `env` looks a variable up; `LICTOR_X` is asked before `CONSUL_X`.
    pub(crate) fn read(matches: &ArgMatches, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ClientError> {
        let variable = |name: &str| {
            [format!("LICTOR_{name}"), format!("CONSUL_{name}")]
                .iter()
                .find_map(|name| env(name).filter(|value| !value.is_empty()))
        };
        let given = |flag: &str| matches.try_get_one::<String>(flag).ok().flatten().cloned();
        let either = |flag: &str, name: &str| given(flag).filter(|text| !text.is_empty()).or_else(|| variable(name));
        let yes = |name: &str| variable(name).map(|text| !matches!(text.as_str(), "0" | "f" | "F" | "false" | "FALSE"));

        let mut options = Self { verify: yes("HTTP_SSL_VERIFY").unwrap_or(true), ..Self::default() };
        let address = either("http-addr", "HTTP_ADDR").unwrap_or_else(|| "127.0.0.1:8500".to_owned());
        options.set_address(&address, yes("HTTP_SSL").unwrap_or_default())?;
        options.token = either("token", "HTTP_TOKEN").unwrap_or_default();
        if let Some(path) = either("token-file", "HTTP_TOKEN_FILE") {
            options.token = String::from_utf8_lossy(&read_file("-token-file", &PathBuf::from(path))?).trim().to_owned();
        }
        options.user = variable("HTTP_AUTH").map(|text| match text.split_once(':') {
            Some((user, password)) => (user.to_owned(), password.to_owned()),
            None => (text, String::new()),
        });
        options.ca_files.extend(either("ca-file", "CACERT").map(PathBuf::from));
        if let Some(path) = either("ca-path", "CAPATH") {
            options.ca_files.extend(files("-ca-path", &PathBuf::from(path))?);
        }
        options.identity = match (either("client-cert", "CLIENT_CERT"), either("client-key", "CLIENT_KEY")) {
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            (None, None) => None,
            _ => {
                let problem = "a client certificate needs -client-cert and -client-key".to_owned();
                return Err(ClientError::Option { option: "-client-cert", problem });
            }
        };
        options.tls_name = either("tls-server-name", "TLS_SERVER_NAME");
        options.query.extend(given("datacenter").filter(|dc| !dc.is_empty()).map(|dc| ("dc", dc)));
        if matches.try_get_one::<bool>("stale").ok().flatten() == Some(&true) {
            options.query.push(("stale", String::new()));
        }
        options.query.extend(either("namespace", "NAMESPACE").map(|name| ("ns", name)));
        options.query.extend(either("partition", "PARTITION").map(|name| ("partition", name)));
        Ok(options)
    }

    fn set_address(&mut self, address: &str, tls: bool) -> Result<(), ClientError> {
        if let Some(path) = address.strip_prefix("unix://") {
            self.unix = Some(PathBuf::from(path));
            self.base = "http://localhost".to_owned();
            return Ok(());
        }
        let base = match address.split_once("://") {
            Some(("http" | "https", _)) => address.to_owned(),
            Some((scheme, _)) => {
                let problem = format!("{scheme}:// is unknown; use host:port, http://, https:// or unix:///path");
                return Err(ClientError::Option { option: "-http-addr", problem });
            }
            None => format!("{}://{address}", if tls { "https" } else { "http" }),
        };
        if let Err(error) = reqwest::Url::parse(&base) {
            let problem = format!("{address:?}: {error}; use host:port, http://, https:// or unix:///path");
            return Err(ClientError::Option { option: "-http-addr", problem });
        }
        self.base = base.trim_end_matches('/').to_owned();
        Ok(())
    }

    /// For messages.
    pub(super) fn address(&self) -> String {
        match &self.unix {
            Some(path) => format!("unix://{}", path.display()),
            None => self.base.clone(),
        }
    }
}

pub(super) fn read_file(option: &'static str, path: &PathBuf) -> Result<Vec<u8>, ClientError> {
    std::fs::read(path)
        .map_err(|error| ClientError::Option { option, problem: format!("cannot read {}: {error}", path.display()) })
}

fn files(option: &'static str, path: &PathBuf) -> Result<Vec<PathBuf>, ClientError> {
    let failed = |error: std::io::Error| ClientError::Option {
        option,
        problem: format!("cannot read {}: {error}", path.display()),
    };
    let mut found: Vec<PathBuf> = std::fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(failed)?;
    found.retain(|path| path.is_file());
    found.sort();
    Ok(found)
}

/// With `-tls-server-name`, the URL carries that name and resolves to the address that was given.
pub(super) fn renamed(options: &Options) -> Result<Option<(String, String, Vec<SocketAddr>)>, ClientError> {
    let (Some(name), Some(rest)) = (&options.tls_name, options.base.strip_prefix("https://")) else { return Ok(None) };
    let (authority, prefix) = rest.split_once('/').map_or((rest, ""), |(authority, prefix)| (authority, prefix));
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let target = if has_port { authority.to_owned() } else { format!("{authority}:443") };
    let unreachable =
        |error: std::io::Error| ClientError::Unreachable { address: options.address(), cause: error.to_string() };
    let addresses: Vec<SocketAddr> = target.to_socket_addrs().map_err(unreachable)?.collect();
    let port = target.rsplit_once(':').map_or("443", |(_, port)| port);
    let base = format!("https://{name}:{port}/{prefix}");
    Ok(Some((base.trim_end_matches('/').to_owned(), name.clone(), addresses)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::cli::client) fn options_of(argv: &[&str], env: &[(&str, &str)]) -> Result<Options, ClientError> {
        let argv = argv.iter().map(|word| (*word).to_owned());
        let matches = server_options(Command::new("x").no_binary_name(true)).try_get_matches_from(argv).expect("flags");
        let look_up = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Options::read(&matches, &look_up)
    }

    #[track_caller]
    fn check_base(argv: &[&str], env: &[(&str, &str)], expected: &str) {
        assert_eq!(options_of(argv, env).expect("options").address(), expected, "{argv:?} {env:?}");
    }

    #[test]
    fn addresses_come_from_flags_then_environment() {
        check_base(&[], &[], "http://127.0.0.1:8500");
        check_base(&[], &[("CONSUL_HTTP_ADDR", "10.0.0.1:80")], "http://10.0.0.1:80");
        check_base(&[], &[("CONSUL_HTTP_ADDR", "a:1"), ("LICTOR_HTTP_ADDR", "b:2")], "http://b:2");
        check_base(&["--http-addr=https://c/prefix/"], &[("CONSUL_HTTP_ADDR", "a:1")], "https://c/prefix");
        check_base(&[], &[("CONSUL_HTTP_ADDR", "a:1"), ("CONSUL_HTTP_SSL", "true")], "https://a:1");
        check_base(&[], &[("CONSUL_HTTP_ADDR", "unix:///run/c.sock")], "unix:///run/c.sock");
        let error = options_of(&["--http-addr=tcp://x"], &[]).expect_err("scheme").to_string();
        assert!(error.starts_with("-http-addr: tcp:// is unknown"), "{error}");
        let error = options_of(&["--http-addr=127.0.0.1:x"], &[]).expect_err("port").to_string();
        assert_eq!(
            error,
            "-http-addr: \"127.0.0.1:x\": invalid port number; use host:port, http://, https:// or unix:///path"
        );
    }

    #[test]
    fn everything_else_has_a_variable_too() {
        let env = [
            ("CONSUL_HTTP_TOKEN", "t"),
            ("CONSUL_HTTP_AUTH", "u:p:q"),
            ("CONSUL_HTTP_SSL_VERIFY", "false"),
            ("CONSUL_CACERT", "/ca"),
            ("CONSUL_CLIENT_CERT", "/c"),
            ("CONSUL_CLIENT_KEY", "/k"),
            ("CONSUL_TLS_SERVER_NAME", "n"),
            ("CONSUL_NAMESPACE", "ns1"),
            ("CONSUL_PARTITION", "p1"),
        ];
        let options = options_of(&["--stale", "--datacenter=dc2"], &env).expect("options");
        assert_eq!(options.token, "t");
        assert_eq!(options.user, Some(("u".to_owned(), "p:q".to_owned())));
        assert!(!options.verify);
        assert_eq!(options.ca_files, [PathBuf::from("/ca")]);
        assert_eq!(options.identity, Some(("/c".into(), "/k".into())));
        assert_eq!(options.tls_name.as_deref(), Some("n"));
        let query: Vec<String> = options.query.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(query, ["dc=dc2", "stale=", "ns=ns1", "partition=p1"]);
        assert!(options_of(&["--token-file=/nowhere/at/all"], &[]).is_err());
        assert!(options_of(&["--client-cert=/c"], &[]).is_err());
    }
}
