//! Configuration files and directories: which are read, in which order, and in which of the two languages.

use super::error::{ConfigError, Faults};
use super::hcl;
use super::raw::Raw;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Nobody writes sixteen megabytes of configuration; a file that large is a mistake.
const SIZE_MAX: u64 = 16 << 20;

/// What a file is called in messages, and what it holds.
pub type Named = (String, Map<String, Value>);

/// The two languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Hcl,
    Json,
}

impl Format {
    /// By name, as `-config-format` gives it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "hcl" => Some(Self::Hcl),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    fn of(path: &Path) -> Option<Self> {
        path.extension().and_then(|suffix| Self::named(suffix.to_str()?))
    }
}

/// Reads one text into an object. An empty one is an empty object.
///
/// # Errors
/// [`ConfigError::Syntax`].
pub fn parse(name: &str, text: &str, format: Format) -> Result<Map<String, Value>, ConfigError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let fault = |line, column, message| ConfigError::Syntax { file: name.to_owned(), line, column, message };
    match format {
        Format::Hcl => hcl::parse(text).map_err(|error| fault(error.line, error.column, error.message)),
        Format::Json if text.trim().is_empty() => Ok(Map::new()),
        Format::Json => match serde_json::from_str(text) {
            Ok(Value::Object(map)) => Ok(map),
            Ok(_) => Err(fault(1, 1, "a configuration file holds one JSON object, in braces".to_owned())),
            Err(error) => {
                // The place is reported in front; serde_json's own mention of it at the end would say it twice.
                let message = error.to_string();
                let message = message.split(" at line ").next().unwrap_or_default().to_owned();
                Err(fault(error.line(), error.column(), message))
            }
        },
    }
}

/// Reads a file, or every `.hcl` and `.json` file of a directory in alphabetical order (not its subdirectories).
///
/// # Errors
/// As [`read`], for every file that fails.
pub fn read_path(path: &Path, forced: Option<Format>, warnings: &mut Vec<String>) -> Result<Vec<Named>, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_path_buf(), source };
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        let Some(format) = forced.or_else(|| Format::of(path)) else {
            warnings.push(format!(
                "skipping {}: its name ends neither in .hcl nor in .json; rename it or give -config-format",
                path.display()
            ));
            return Ok(Vec::new());
        };
        return Ok(vec![read(path, format)?]);
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(failed)?;
    files.retain(|file| (forced.is_some() || Format::of(file).is_some()) && file.is_file());
    files.sort();
    let format = |file: &Path| forced.or_else(|| Format::of(file)).unwrap_or(Format::Hcl);
    let mut faults = Faults::default();
    let read = files.iter().filter_map(|file| faults.keep(read(file, format(file)))).collect();
    faults.or(read)
}

/// Reads one file.
///
/// # Errors
/// [`ConfigError::Read`], [`ConfigError::TooLarge`], [`ConfigError::Syntax`].
pub fn read(path: &Path, format: Format) -> Result<Named, ConfigError> {
    let name = path.display().to_string();
    let failed = |source| ConfigError::Read { path: path.to_path_buf(), source };
    let mut bytes = Vec::new();
    let size = File::open(path).and_then(|file| file.take(SIZE_MAX + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if size as u64 > SIZE_MAX {
        return Err(ConfigError::TooLarge { path: path.to_path_buf(), size: size as u64, max: SIZE_MAX });
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
        ConfigError::Syntax { file: name.clone(), line, column: 1, message: "this line is not UTF-8".to_owned() }
    })?;
    let map = parse(&name, &text, format)?;
    Ok((name, map))
}

/// All sources that lie in files, merged in order.
pub(crate) fn read_all(
    paths: &[PathBuf],
    forced: Option<Format>,
    warnings: &mut Vec<String>,
) -> Result<Raw, ConfigError> {
    let (mut merged, mut faults) = (Raw::default(), Faults::default());
    for path in paths {
        for (name, map) in faults.keep(read_path(path, forced, warnings)).into_iter().flatten() {
            merged.merge(faults.keep(Raw::read(&name, &map)).unwrap_or_default());
        }
    }
    faults.or(merged)
}
