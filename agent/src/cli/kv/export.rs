//! `kv export`: keys with their values, as `kv import` takes them.

use super::Entry;
use crate::cli::client::{self, BODY_MAX, ClientError};
use crate::cli::progress::Progress;
use crate::cli::{Failure, Output, World};
use clap::{ArgMatches, Command};
use serde::{Deserialize, Serialize};

pub(crate) fn arguments(command: Command) -> Command {
    client::server_options(
        command.arg(super::positional().value_name("PREFIX").help("What the keys begin with; all keys if not given")),
    )
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pair {
    key: String,
    #[serde(default)]
    flags: u64,
    value: Option<String>,
}

pub(crate) fn run(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let words = super::words(matches, 1)?;
    let prefix = words.first().map_or("", String::as_str);
    let client = world.client(matches)?;
    let progress = Progress::unbounded("exporting");
    let mut body = Vec::new();
    let fetched = client.fetch(&super::path(prefix), &[("recurse", String::new())], |piece| {
        if body.len() + piece.len() > BODY_MAX {
            let text = format!("it is longer than {BODY_MAX} bytes: export by longer prefixes, or use snapshot save");
            return Err(std::io::Error::other(text));
        }
        progress.inc(piece.len() as u64);
        body.extend_from_slice(piece);
        Ok(())
    });
    progress.finish();
    let doing = || Failure::doing("Error querying Consul agent");
    let pairs: Vec<Pair> = match fetched {
        Ok(()) => client.parse(&body).map_err(doing())?,
        Err(ClientError::Status { status: 404, .. }) => Vec::new(),
        Err(error) => return Err(doing()(error)),
    };
    let entries =
        pairs.into_iter().map(|Pair { key, flags, value }| Entry { key, flags, value: value.unwrap_or_default() });
    Ok(shown(&entries.collect::<Vec<_>>()))
}

/// Indented by tabs.
pub(super) fn shown(entries: &[Entry]) -> Output {
    let mut stdout = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut stdout, format);
    entries.serialize(&mut serializer).expect("entries are plain values and memory is the only sink");
    stdout.push(b'\n');
    Output { stdout, ..Output::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_consuls() {
        let entry = Entry { key: "a/b".to_owned(), flags: 42, value: "aGVsbG8=".to_owned() };
        let text = "[\n\t{\n\t\t\"key\": \"a/b\",\n\t\t\"flags\": 42,\n\t\t\"value\": \"aGVsbG8=\"\n\t}\n]\n";
        assert_eq!(String::from_utf8_lossy(&shown(&[entry]).stdout), text);
        assert_eq!(shown(&[]).stdout, b"[]\n");
    }
}
