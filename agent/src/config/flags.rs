//! The agent's flags. All but a handful are other spellings of keys and are typed by the same schema.

use super::error::ConfigError;
use super::file::Format;
use super::raw::Raw;
use super::schema::{self, Kind, Place};
use crate::time::parse_duration;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// What the command line of `agent` said.
#[derive(Clone, Debug, Default)]
pub struct AgentArgs {
    pub dev: bool,
    /// Files and directories in the order they were given.
    pub paths: Vec<PathBuf>,
    pub format: Option<Format>,
    /// Fragments of HCL (`-hcl`).
    pub fragments: Vec<String>,
    pub(crate) settings: Raw,
}

/// Flag, key, help.
const FLAGS: &[(&str, &str, &str)] = &[
    ("advertise", "advertise_addr", "Address that other members reach this agent at"),
    ("advertise-wan", "advertise_addr_wan", "Address that members of other datacenters reach this agent at"),
    ("alt-domain", "alt_domain", "A second domain to answer DNS questions for"),
    ("auto-reload-config", "auto_reload_config", "Reload when a configuration file changes"),
    ("bind", "bind_addr", "Address for traffic between members"),
    ("bootstrap", "bootstrap", "Form a cluster of this server alone"),
    ("bootstrap-expect", "bootstrap_expect", "Form a cluster when this many servers have found each other"),
    ("check_output_max_size", "check_output_max_size", "Bytes of a check's output that are kept"),
    ("client", "client_addr", "Addresses for HTTP and DNS"),
    ("data-dir", "data_dir", "Directory for everything that survives a restart"),
    ("datacenter", "datacenter", "Name of the datacenter"),
    ("default-query-time", "default_query_time", "How long a blocking query waits that does not say"),
    ("disable-host-node-id", "disable_host_node_id", "Make up a random node id (always so here)"),
    ("disable-keyring-file", "disable_keyring_file", "Keep gossip keys in memory only"),
    ("dns-port", "ports.dns", "Port for DNS; -1 switches it off"),
    ("domain", "domain", "Domain to answer DNS questions for"),
    ("enable-local-script-checks", "enable_local_script_checks", "Allow script checks from configuration files"),
    ("enable-script-checks", "enable_script_checks", "Allow script checks, also from the API"),
    ("encrypt", "encrypt", "Key for gossip: 16, 24 or 32 bytes in base64"),
    ("grpc-port", "ports.grpc", "Port for gRPC; -1 switches it off"),
    ("grpc-tls-port", "ports.grpc_tls", "Port for gRPC over TLS; -1 switches it off"),
    ("http-port", "ports.http", "Port for HTTP; -1 switches it off"),
    ("https-port", "ports.https", "Port for HTTPS; -1 switches it off"),
    ("join", "start_join", "Address to join once at start (repeatable)"),
    ("join-wan", "start_join_wan", "Address of another datacenter's server to join at start (repeatable)"),
    ("log-file", "log_file", "File to write the log to as well"),
    ("log-json", "log_json", "Write log lines as JSON"),
    ("log-level", "log_level", "trace, debug, info, warn or error"),
    ("log-rotate-bytes", "log_rotate_bytes", "Begin a new log file after this many bytes"),
    ("log-rotate-duration", "log_rotate_duration", "Begin a new log file after this time"),
    ("log-rotate-max-files", "log_rotate_max_files", "Old log files to keep"),
    ("max-query-time", "max_query_time", "How long a blocking query may wait"),
    ("node", "node_name", "Name of this node; the host name unless given"),
    ("node-id", "node_id", "Unique id of this node"),
    ("node-meta", "node_meta", "key:value to show with this node (repeatable)"),
    ("partition", "partition", "Accepted for Consul Enterprise"),
    ("pid-file", "pid_file", "File to write the process id to"),
    ("primary-datacenter", "primary_datacenter", "Datacenter that owns replicated data"),
    ("protocol", "protocol", "Protocol version"),
    ("raft-protocol", "raft_protocol", "Raft protocol version"),
    ("recursor", "recursors", "DNS server to ask about other names (repeatable)"),
    ("rejoin", "rejoin_after_leave", "Join the known members again after a leave"),
    ("retry-interval", "retry_interval", "Time between attempts to join"),
    ("retry-interval-wan", "retry_interval_wan", "Time between attempts to join other datacenters"),
    ("retry-join", "retry_join", "Address to join, tried until it works (repeatable)"),
    ("retry-join-wan", "retry_join_wan", "Server of another datacenter to join (repeatable)"),
    ("retry-max", "retry_max", "Attempts to join before giving up; 0 never gives up"),
    ("retry-max-wan", "retry_max_wan", "Attempts to join other datacenters"),
    ("serf-lan-allowed-cidrs", "serf_lan_allowed_cidrs", "Networks that members may be in (repeatable)"),
    ("serf-lan-bind", "serf_lan", "Address for gossip"),
    ("serf-lan-port", "ports.serf_lan", "Port for gossip"),
    ("serf-wan-allowed-cidrs", "serf_wan_allowed_cidrs", "Networks that WAN members may be in (repeatable)"),
    ("serf-wan-bind", "serf_wan", "Address for gossip between datacenters"),
    ("serf-wan-port", "ports.serf_wan", "Port for gossip between datacenters"),
    ("server", "server", "Be a server: hold the catalog and vote"),
    ("server-port", "ports.server", "Port for RPC between members"),
    ("syslog", "enable_syslog", "Write the log to syslog as well"),
    ("ui", "ui_config.enabled", "Serve the web page"),
    ("ui-content-path", "ui_config.content_path", "Path of the web page"),
    ("ui-dir", "ui_config.dir", "Directory of the web page's files"),
];

fn kind(path: &str) -> Kind {
    match schema::find(path) {
        Place::Key(_, key) => key.kind,
        _ => Kind::Text,
    }
}

/// A switch as Go's flag package reads it: `-f`, `-f=true`, `-f=0`.
pub(crate) fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .hide_possible_values(true)
        .value_name("BOOL")
        .value_parser(|text: &str| match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err(format!("{text:?} is neither true nor false")),
        })
}

/// Gives `agent` all its flags.
#[must_use]
pub fn arguments(command: Command) -> Command {
    let path = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .help(help)
            .value_name("PATH")
            .action(ArgAction::Append)
            .value_parser(clap::value_parser!(PathBuf))
    };
    let fixed = [
        switch("dev", "Try it: a server of its own, everything in memory, on 127.0.0.1"),
        path("config-file", "File to read, HCL or JSON (repeatable)"),
        path("config-dir", "Directory whose .hcl and .json files are read in alphabetical order (repeatable)"),
        Arg::new("config-format").long("config-format").value_name("FORMAT").help("Read all files as hcl or as json"),
        Arg::new("hcl").long("hcl").value_name("HCL").help("Settings in HCL (repeatable)").action(ArgAction::Append),
    ];
    let keys = FLAGS.iter().map(|&(flag, path, help)| match kind(path) {
        Kind::Boolean => switch(flag, help),
        Kind::Texts | Kind::TextMap => {
            Arg::new(flag).long(flag).help(help).value_name("VALUE").action(ArgAction::Append)
        }
        Kind::Number => Arg::new(flag).long(flag).help(help).value_name("N").allow_negative_numbers(true),
        Kind::Duration => Arg::new(flag).long(flag).help(help).value_name("DURATION"),
        _ => Arg::new(flag).long(flag).help(help).value_name("VALUE"),
    });
    command.args_override_self(true).args(fixed).args(keys)
}

/// # Errors
/// [`ConfigError::Arguments`] for a value that is not of its flag's kind.
pub fn read(matches: &ArgMatches) -> Result<AgentArgs, ConfigError> {
    let format = match matches.get_one::<String>("config-format") {
        None => None,
        Some(name) => Some(
            Format::named(name)
                .ok_or_else(|| ConfigError::Arguments(format!("-config-format={name}: there are only hcl and json")))?,
        ),
    };
    let mut args = AgentArgs {
        dev: matches.get_one::<bool>("dev").copied().unwrap_or_default(),
        paths: ordered_paths(matches),
        format,
        fragments: matches.get_many::<String>("hcl").into_iter().flatten().cloned().collect(),
        settings: Raw::default(),
    };
    for &(flag, path, _) in FLAGS {
        if let Some(value) = flag_value(matches, flag, kind(path))? {
            args.settings.set(path, value, &format!("-{flag}"));
        }
    }
    Ok(args)
}

/// `-config-file` and `-config-dir` together, in the order of the command line.
fn ordered_paths(matches: &ArgMatches) -> Vec<PathBuf> {
    let mut found: Vec<(usize, PathBuf)> = Vec::new();
    for name in ["config-file", "config-dir"] {
        let places = matches.indices_of(name).into_iter().flatten();
        found.extend(places.zip(matches.get_many::<PathBuf>(name).into_iter().flatten().cloned()));
    }
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

fn flag_value(matches: &ArgMatches, flag: &str, kind: Kind) -> Result<Option<Value>, ConfigError> {
    let refuse = |text: &str, problem: String| Err(ConfigError::Arguments(format!("-{flag}={text}: {problem}")));
    if kind == Kind::Boolean {
        return Ok(matches.get_one::<bool>(flag).map(|on| Value::Bool(*on)));
    }
    let mut texts = matches.get_many::<String>(flag).into_iter().flatten();
    match kind {
        Kind::Texts => {
            let list: Vec<Value> = texts.cloned().map(Value::String).collect();
            Ok((!list.is_empty()).then_some(Value::Array(list)))
        }
        Kind::TextMap => {
            let mut map = Map::new();
            for text in texts {
                let Some((key, value)) = text.split_once(':') else {
                    return refuse(text, "write key:value".to_owned());
                };
                map.insert(key.to_owned(), Value::String(value.to_owned()));
            }
            Ok((!map.is_empty()).then_some(Value::Object(map)))
        }
        _ => match (texts.next_back(), kind) {
            (None, _) => Ok(None),
            (Some(text), Kind::Number) => match text.parse::<i64>() {
                Ok(number) => Ok(Some(number.into())),
                Err(_) => refuse(text, "not a whole number".to_owned()),
            },
            (Some(text), Kind::Duration) => match parse_duration(text) {
                Ok(_) => Ok(Some(Value::String(text.clone()))),
                Err(bad) => refuse(text, format!("{bad}; write a number and a unit, such as 10s")),
            },
            (Some(text), _) => Ok(Some(Value::String(text.clone()))),
        },
    }
}
