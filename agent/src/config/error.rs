//! Why a configuration was refused: each error names the key, the value, where it was written, and what to do.

use std::path::PathBuf;

/// One reason, or several.
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
    /// `what` is the definition with its id or name, or its number.
    #[error("{file}: {what}: {problem}")]
    Definition { file: String, what: String, problem: String },
    #[error("{0}")]
    Arguments(String),
    /// More than one, none of them of this kind.
    #[error("{} errors occurred:{}", .0.len(), listed(.0))]
    Several(Vec<Self>),
}

/// What has been found wrong so far, so that one run tells all of it.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<ConfigError>);

impl Faults {
    pub(crate) fn add(&mut self, error: ConfigError) {
        match error {
            ConfigError::Several(errors) => self.0.extend(errors),
            error => self.0.push(error),
        }
    }

    /// What was read, if it was right.
    pub(crate) fn keep<T>(&mut self, read: Result<T, ConfigError>) -> Option<T> {
        read.map_err(|error| self.add(error)).ok()
    }

    /// Passes `value` on if nothing was wrong.
    ///
    /// # Errors
    /// What was, as one.
    pub(crate) fn or<T>(self, value: T) -> Result<T, ConfigError> {
        if self.is_empty() { Ok(value) } else { Err(self.into()) }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Faults> for ConfigError {
    /// One of them as itself.
    fn from(mut faults: Faults) -> Self {
        if faults.0.len() == 1 { faults.0.remove(0) } else { Self::Several(faults.0) }
    }
}

fn listed(errors: &[ConfigError]) -> String {
    errors.iter().map(|error| format!("\n  * {error}")).collect()
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |key| format!("; did you mean \"{key}\"?"))
}
