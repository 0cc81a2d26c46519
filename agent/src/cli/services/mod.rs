//! `services`: definitions given to the agent by hand.

pub(crate) mod deregister;
pub(crate) mod register;

use super::Failure;
use crate::config;
use serde_json::Value;
use std::path::PathBuf;

/// The services that files define, each with the name of its file.
fn read(paths: &[PathBuf]) -> Result<Vec<(String, Value)>, Failure> {
    let mut all = Vec::new();
    for path in paths {
        let mut warnings = Vec::new();
        let found = config::services(path, &mut warnings)?;
        if let Some(warning) = warnings.pop() {
            return Err(Failure::Usage(warning));
        }
        if found.is_empty() {
            return Err(Failure::Usage(format!("{}: there is no service or services in it", path.display())));
        }
        all.extend(found);
    }
    Ok(all)
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
