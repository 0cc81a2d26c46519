//! `kv`: keys and their values.

pub(crate) mod delete;
pub(crate) mod export;
pub(crate) mod get;
pub(crate) mod import;
pub(crate) mod put;

use super::{Failure, client};
use serde::{Deserialize, Serialize};
use std::io::Read;

/// One key as `kv export` shows it; the value is in base64.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
struct Entry {
    key: String,
    #[serde(default)]
    flags: u64,
    #[serde(default)]
    value: String,
}

/// A key as the API has it: without a leading slash, escaped for a path.
fn path(key: &str) -> String {
    format!("/v1/kv/{}", client::escape(key.strip_prefix('/').unwrap_or(key)))
}

/// The positional arguments, at most `most` of them.
fn words(matches: &clap::ArgMatches, most: usize) -> Result<Vec<String>, Failure> {
    let words: Vec<String> = matches.get_many("words").into_iter().flatten().cloned().collect();
    if words.len() > most {
        let flag = words.iter().skip(1).find(|word| word.starts_with('-') && word.len() > 1);
        let hint = flag.map_or_else(String::new, |flag| format!("; flags such as {flag} go before the key"));
        return Err(Failure::Usage(format!("Too many arguments (expected {most}, got {}){hint}", words.len())));
    }
    Ok(words)
}

fn positional() -> clap::Arg {
    clap::Arg::new("words").value_name("KEY").help("The key, or what keys begin with").action(clap::ArgAction::Append)
}

/// Refuses the write unless this lock is held. An empty one is asked with, and refused: it would be a variable that is not set.
fn sequencer() -> clap::Arg {
    clap::Arg::new("sequencer")
        .long("sequencer")
        .value_name("SEQUENCER")
        .help("Only while this lock is held; LICTOR_LOCK_SEQUENCER within lictor lock")
}

fn fence(matches: &clap::ArgMatches) -> Option<(&'static str, String)> {
    matches.get_one::<String>("sequencer").map(|sequencer| ("sequencer", sequencer.clone()))
}

/// What a word stands for: itself, a file's content (`@file`) or standard input (`-`).
fn argument(word: &str) -> Result<Vec<u8>, Failure> {
    if word == "-" {
        let mut data = Vec::new();
        std::io::stdin()
            .read_to_end(&mut data)
            .map_err(|error| Failure::Usage(format!("Error! Failed to read stdin: {error}")))?;
        Ok(data)
    } else if let Some(path) = word.strip_prefix('@') {
        std::fs::read(path).map_err(|error| Failure::Usage(format!("Error! Failed to read file {path}: {error}")))
    } else {
        Ok(word.as_bytes().to_vec())
    }
}
