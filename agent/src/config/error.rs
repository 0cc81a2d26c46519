//! Why a configuration was refused: each error names the key, the value, where it was written, and what to do.

use std::path::PathBuf;

/// One reason. The first that is found is reported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is {size} bytes long; a configuration file may have {max}", path.display())]
    TooLarge { path: PathBuf, size: u64, max: u64 },
    #[error("{file}:{line}:{column}: {message}")]
    Syntax { file: String, line: usize, column: usize, message: String },
    #[error("{file}: invalid config key \"{key}\"{}", hint(nearest.as_deref()))]
    UnknownKey { file: String, key: String, nearest: Option<String> },
    #[error("{file}: {key}: expected {want}, got {got}")]
    Type { file: String, key: String, want: &'static str, got: String },
    /// The value is of the right kind and still wrong.
    #[error("{file}: {key} = {value}: {problem}")]
    Value { file: String, key: String, value: String, problem: String },
    /// Two keys that do not go together, or one that misses another.
    #[error("{0}")]
    Conflict(String),
    #[error("data_dir cannot be empty; set data_dir, give -data-dir=<path>, or use -dev to keep everything in memory")]
    NoDataDir,
    #[error(
        "{key}: no single private IPv4 address to advertise to the other members; set advertise_addr (-advertise) or \
         bind_addr (-bind) to one of: {}",
        candidates.join(", ")
    )]
    NoAddress { key: &'static str, candidates: Vec<String> },
    #[error("{first} and {second} are both on {address}; give one of them another port, or -1 to switch it off")]
    PortTwice { first: String, second: String, address: String },
    #[error("{file}: {kind} definition {number}: {problem}")]
    Definition { file: String, kind: &'static str, number: usize, problem: String },
    #[error("{0}")]
    Arguments(String),
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |key| format!("; did you mean \"{key}\"?"))
}
