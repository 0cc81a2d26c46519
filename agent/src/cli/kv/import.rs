//! `kv import`: writes what `kv export` showed, here or in another cluster.
//!
//! Keys go in batches, each of them whole or not at all; what was written before a failure is told and stays.

use super::Entry;
use crate::cli::progress::Progress;
use crate::cli::{Failure, Output, World, client};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Arg, ArgMatches, Command};
use serde_json::json;

/// Keys that are written at once, as many as any agent takes in one transaction.
const BATCH_KEYS: usize = 64;
/// Characters of keys and values that are written at once: half of what an agent takes by default. A value that is
/// larger goes alone, in the form that has a limit of its own.
const BATCH_BYTES: usize = 256 << 10;

pub(crate) fn arguments(command: Command) -> Command {
    client::server_options(command.args([
        Arg::new("prefix").long("prefix").value_name("PREFIX").help("Write all keys under this one"),
        super::positional().value_name("DATA | @FILE | -").help("JSON as exported; standard input if not given"),
    ]))
}

pub(crate) fn run(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let words = super::words(matches, 1)?;
    let data = super::argument(words.first().map_or("-", String::as_str))?;
    let prefix = matches.get_one::<String>("prefix").map_or("", String::as_str);
    let entries = entries(&data, prefix)?;
    let client = world.client(matches)?;
    let progress = Progress::of("importing", entries.iter().map(size).sum::<usize>() as u64);
    let (mut told, mut failed) = (String::new(), None);
    for batch in batches(&entries) {
        if let Err(failure) = write(&client, batch) {
            failed = Some(failure);
            break;
        }
        progress.inc(batch.iter().map(size).sum::<usize>() as u64);
        told.extend(batch.iter().map(|entry| format!("Imported: {}\n", entry.key)));
    }
    progress.finish();
    Ok(match failed {
        None => Output::text(told),
        Some(failure) => Output { stdout: told.into_bytes(), ..Output::complaint(failure, 1) },
    })
}

/// What is to be written, looked at as a whole before anything of it is.
fn entries(data: &[u8], prefix: &str) -> Result<Vec<Entry>, Failure> {
    let mut entries: Vec<Entry> =
        serde_json::from_slice(data).map_err(|error| Failure::Usage(format!("Cannot unmarshal data: {error}")))?;
    for entry in &mut entries {
        entry.key = match prefix.trim_matches('/') {
            "" => entry.key.trim_start_matches('/').to_owned(),
            prefix => format!("{prefix}/{}", entry.key.trim_start_matches('/')),
        };
        if entry.key.is_empty() {
            return Err(Failure::Usage("Cannot unmarshal data: an entry has no key".to_owned()));
        }
        if let Err(error) = STANDARD.decode(&entry.value) {
            let key = &entry.key;
            return Err(Failure::Usage(format!("Error base 64 decoding value for key {key}: {error}")));
        }
    }
    Ok(entries)
}

fn size(entry: &Entry) -> usize {
    entry.key.len() + entry.value.len()
}

/// The entries in order, as many at once as fit.
fn batches(mut entries: &[Entry]) -> impl Iterator<Item = &[Entry]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = entries.iter().take(BATCH_KEYS).take_while(|entry| {
            bytes += size(entry);
            bytes <= BATCH_BYTES
        });
        let count = fits.count().max(1).min(entries.len());
        let (batch, rest) = entries.split_at(count);
        entries = rest;
        (!batch.is_empty()).then_some(batch)
    })
}

fn write(client: &client::Client, batch: &[Entry]) -> Result<(), Failure> {
    let key = &batch[0].key;
    let doing = || Failure::doing(format!("Error! Failed writing data for key {key}"));
    if let [entry] = batch {
        let query = [("flags", entry.flags.to_string())];
        let value = STANDARD.decode(&entry.value).unwrap_or_default();
        let path = super::path(key);
        return client.expect(reqwest::Method::PUT, &path, &query, value).map(drop).map_err(doing());
    }
    let operation = |Entry { key, flags, value }: &Entry| json!({"KV": {"Verb": "set", "Key": key, "Flags": flags, "Value": value}});
    let body = serde_json::Value::from_iter(batch.iter().map(operation)).to_string().into_bytes();
    client.expect(reqwest::Method::PUT, "/v1/txn", &[], body).map(drop).map_err(doing())
}

/// Data as people hand it to us: see [`crate::malformed`].
#[cfg(feature = "malformed")]
pub(crate) fn data(bytes: &[u8]) -> crate::malformed::Verdict {
    use crate::malformed::survives;
    let accepted = entries(bytes, "").map_err(|failure| failure.to_string())?;
    let mut left = &accepted[..];
    for batch in batches(&accepted) {
        assert!(batch.len() == 1 || batch.len() <= BATCH_KEYS && batch.iter().map(size).sum::<usize>() <= BATCH_BYTES);
        left = &left[batch.len()..];
    }
    assert!(left.is_empty(), "every key is in a batch");
    survives(
        &accepted,
        |entries| super::export::shown(entries).stdout,
        |bytes| entries(bytes, "").map_err(|failure| failure.to_string()),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(data: &str, prefix: &str, expected: &str) {
        let text = match entries(data.as_bytes(), prefix) {
            Ok(entries) => {
                entries.iter().map(|e| format!("{}={} {}", e.key, e.value, e.flags)).collect::<Vec<_>>().join(", ")
            }
            Err(failure) => failure.to_string(),
        };
        assert!(text.starts_with(expected), "{data}: {text}");
    }

    #[test]
    fn what_is_wrong_is_told_before_anything_is_written() {
        check("[]", "", "");
        check(r#"[{"key":"a/","flags":7,"value":"MQ=="},{"key":"/b"}]"#, "", "a/=MQ== 7, b= 0");
        check(r#"[{"key":"a"}]"#, "/x/y/", "x/y/a= 0");
        check("[{", "", "Cannot unmarshal data: EOF");
        check("{}", "", "Cannot unmarshal data: invalid type: map, expected a sequence");
        check(r#"[{"flags":7}]"#, "", "Cannot unmarshal data: missing field `key`");
        check(r#"[{"key":""}]"#, "", "Cannot unmarshal data: an entry has no key");
        check(r#"[{"key":"a","value":"?"}]"#, "x", "Error base 64 decoding value for key x/a: ");
        check(r#"[{"key":"a","flags":-1}]"#, "", "Cannot unmarshal data: invalid value");
    }

    #[test]
    fn a_batch_is_bounded_by_keys_and_by_bytes() {
        let entry = |length| Entry { key: "k".to_owned(), flags: 0, value: "A".repeat(length) };
        let sizes = |entries: &[Entry]| batches(entries).map(<[_]>::len).collect::<Vec<_>>();
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&vec![entry(4); 130]), [64, 64, 2]);
        assert_eq!(sizes(&[entry(4), entry(BATCH_BYTES), entry(4), entry(4)]), [1, 1, 2]);
        assert_eq!(sizes(&vec![entry(BATCH_BYTES / 2 - 1); 5]), [2, 2, 1]);
    }
}
