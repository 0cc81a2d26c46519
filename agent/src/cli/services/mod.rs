//! `services`: definitions given to the agent by hand.

pub(crate) mod deregister;
pub(crate) mod register;

use super::Failure;
use crate::config::file;
use serde_json::Value;
use std::path::PathBuf;

/// The `service` and `services` of files, as written.
fn read(paths: &[PathBuf]) -> Result<Vec<Value>, Failure> {
    let mut found = Vec::new();
    for path in paths {
        let mut warnings = Vec::new();
        for (name, map) in file::read_path(path, None, &mut warnings)? {
            let before = found.len();
            for (key, value) in map {
                match (key.to_lowercase().as_str(), value) {
                    ("service" | "services", Value::Array(list)) => found.extend(list),
                    ("service" | "services", value @ Value::Object(_)) => found.push(value),
                    _ => {}
                }
            }
            if found.len() == before {
                return Err(Failure::Usage(format!("{name}: there is no service or services in it")));
            }
        }
        if let Some(warning) = warnings.pop() {
            return Err(Failure::Usage(warning));
        }
    }
    Ok(found)
}

/// A text under a key in any case.
fn text(definition: &Value, key: &str) -> Option<String> {
    let object = definition.as_object()?;
    let (_, value) = object.iter().find(|(name, _)| name.eq_ignore_ascii_case(key))?;
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn files_argument() -> clap::Arg {
    clap::Arg::new("files")
        .value_name("FILE")
        .action(clap::ArgAction::Append)
        .value_parser(clap::value_parser!(PathBuf))
        .help("Files that hold service or services, HCL or JSON")
}
