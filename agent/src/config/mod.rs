//! What the operator said: files, directories, fragments and flags are read into a `raw::Raw` each, merged in Consul's
//! order, and resolved into one typed [`Resolved`].
//!
//! It reads configuration files and nothing else: the data directory, the clock and the network belong to `runtime`,
//! and what there is to know about the machine comes in as a [`Host`].

mod address;
mod debug;
mod definition;
mod error;
pub mod file;
pub mod flags;
mod hcl;
#[cfg(feature = "malformed")]
pub(crate) mod malformed;
mod raw;
mod resolve;
mod resolved;
mod rules;
mod schema;
#[cfg(test)]
mod tests;

pub use address::{Host, HttpAddr};
pub use error::ConfigError;
pub use file::Format;
pub use flags::AgentArgs;
pub use resolved::{DnsConfig, Limits, LogConfig, LogLevel, Ports, Resolved, Soa};

use error::Faults;
use raw::Raw;
use serde_json::Value;
use std::path::PathBuf;

/// What `-dev` implies, before anything that the operator says.
const DEV: &str = r#"
    bind_addr = "127.0.0.1"
    server = true
    bootstrap = true
    log_level = "DEBUG"
    enable_debug = true
    disable_keyring_file = true
    skip_leave_on_interrupt = true
    ui_config { enabled = true }
    connect { enabled = true }
    ports { grpc = 8502 }
    performance { raft_multiplier = 1 }
"#;
const DEV_SOURCE: &str = "-dev";

/// Reads, merges and checks everything: defaults, `-dev`, files, `-hcl` fragments, flags; later ones win.
///
/// # Errors
/// Every [`ConfigError`] of the files; of the rest, those that can be told apart from what follows of others.
pub fn load(args: AgentArgs, host: &Host) -> Result<Resolved, ConfigError> {
    let mut warnings = Vec::new();
    let config_paths = args.paths.clone();
    let (raw, dev) = merge(args, &mut warnings)?;
    Ok(Resolved { config_paths, ..resolve::resolve(&raw, dev, host, warnings)? })
}

fn merge(args: AgentArgs, warnings: &mut Vec<String>) -> Result<(Raw, bool), ConfigError> {
    let mut raw = Raw::default();
    if args.dev {
        raw.merge(Raw::read(DEV_SOURCE, &file::parse(DEV_SOURCE, DEV, Format::Hcl)?)?);
    }
    let mut faults = Faults::default();
    raw.merge(faults.keep(file::read_all(&args.paths, args.format, warnings)).unwrap_or_default());
    for (place, fragment) in args.fragments.iter().enumerate() {
        let name = format!("-hcl fragment {}", place + 1);
        let read = file::parse(&name, fragment, Format::Hcl).and_then(|map| Raw::read(&name, &map));
        raw.merge(faults.keep(read).unwrap_or_default());
    }
    raw.merge(args.settings);
    faults.or((raw, args.dev))
}

/// The services that a file or a directory defines, each with the name of its file: found valid, as an agent finds them
/// when it starts.
///
/// # Errors
/// As [`load`].
pub(crate) fn services(path: &PathBuf, warnings: &mut Vec<String>) -> Result<Vec<(String, Value)>, ConfigError> {
    let raw = file::read_all(std::slice::from_ref(path), None, warnings)?;
    let mut faults = Faults::default();
    let found = resolve::Settings(&raw).definitions(definition::Defined::Service, &mut faults);
    faults.or(found.into_iter().map(|one| (one.file, one.definition)).collect())
}
