//! `snapshot`: backups of the catalog, saved, looked into and restored.

use super::format::{self, Format};
use super::progress::Progress;
use super::{Failure, Output, World, client};
use crate::archive::{self, Backup};
use crate::config::flags::switch;
use clap::{Arg, ArgMatches, Command};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

fn file_argument() -> Arg {
    Arg::new("file").value_name("FILE").help("The snapshot")
}

fn file(matches: &ArgMatches) -> Result<PathBuf, Failure> {
    let file = matches.get_one::<String>("file").filter(|file| !file.is_empty());
    file.map(PathBuf::from).ok_or_else(|| Failure::Usage("Missing FILE argument".to_owned()))
}

pub(crate) fn save_arguments(command: Command) -> Command {
    client::server_options(
        command
            .after_help("Keys, nodes, services and checks as of one moment. The file is put in its place when it was read back and is sound.")
            .arg(file_argument())
            .arg(
                Arg::new("append-filename")
                    .long("append-filename")
                    .value_name("LIST")
                    .help("Adds any of version, dc, node and status to the file's name, separated by commas"),
            ),
    )
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Myself {
    config: Config,
    stats: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    datacenter: String,
    node_name: String,
    version: String,
}

/// Why a file cannot be used, with its name.
fn failed<'a>(doing: &'a str, path: &'a Path) -> impl Fn(std::io::Error) -> Failure + Copy + 'a {
    move |error| Failure::Refused(format!("Error {doing} snapshot file {}: {error}", path.display()))
}

/// The file to be written: what a link leads to, and no device, pipe or directory, whose place a snapshot would take.
fn target(path: PathBuf) -> Result<PathBuf, Failure> {
    let refuse =
        |problem: &str| Err(Failure::Usage(format!("Error writing snapshot file {}: {problem}", path.display())));
    if path.as_os_str() == "-" {
        return refuse("a snapshot is read back before it counts, so it needs a file; one of this name is ./-");
    }
    match std::fs::metadata(&path) {
        Ok(there) if there.is_file() => std::fs::canonicalize(&path).map_err(failed("writing", &path)),
        Ok(there) if there.is_dir() => refuse("it is a directory; give the name of a file in it"),
        Ok(_) => refuse("it is no regular file; give the name of one, or of one that is to be made"),
        // A link to what is not there yet.
        Err(_) if path.is_symlink() => {
            let leads = std::fs::read_link(&path).map_err(failed("writing", &path))?;
            Ok(path.with_file_name(leads))
        }
        Err(_) => Ok(path),
    }
}

/// A file that is there, and whose end is known.
fn regular(path: &Path) -> Result<(File, u64), Failure> {
    let found = std::fs::metadata(path).map_err(failed("opening", path))?;
    if !found.is_file() {
        return Err(failed("opening", path)(std::io::Error::other("it is no regular file")));
    }
    Ok((File::open(path).map_err(failed("opening", path))?, found.len()))
}

/// The file's name with what was asked for before its last extension.
fn named(file: &Path, words: &str, myself: &Myself) -> Result<PathBuf, Failure> {
    let mut stem = file.file_stem().unwrap_or_default().to_owned();
    for word in words.split(',').map(str::trim) {
        let value = match word {
            "version" => myself.config.version.as_str(),
            "dc" => myself.config.datacenter.as_str(),
            "node" => myself.config.node_name.as_str(),
            "status" => {
                let leads = myself.stats.get("consul").and_then(|stats| stats.get("leader"));
                if leads.is_some_and(|leads| leads == "true") { "leader" } else { "follower" }
            }
            other => {
                return Err(Failure::Usage(format!(
                    "unsupported value {other:?} of -append-filename: it may be version, dc, node and status"
                )));
            }
        };
        stem.push("-");
        stem.push(value);
    }
    if let Some(extension) = file.extension() {
        stem.push(".");
        stem.push(extension);
    }
    Ok(file.with_file_name(stem))
}

pub(crate) fn save(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let mut path = file(matches)?;
    let client = world.client(matches)?;
    if let Some(words) = matches.get_one::<String>("append-filename") {
        let myself = client.get("/v1/agent/self", &[]).map_err(Failure::doing("Error querying agent"))?;
        path = named(&path, words, &myself)?;
    }
    let path = target(path)?;
    let failed = failed("writing", &path);
    let mut unverified = path.clone().into_os_string();
    unverified.push(".unverified");
    let unverified = PathBuf::from(unverified);
    let mut out =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unverified).map_err(failed)?;
    let progress = Progress::unbounded("saving");
    let saved = client
        .fetch("/v1/snapshot", &[], |piece| {
            progress.inc(piece.len() as u64);
            out.write_all(piece)
        })
        .map_err(Failure::doing("Error requesting snapshot"))
        .and_then(|()| out.sync_all().map_err(failed))
        .and_then(|()| {
            let file = File::open(&unverified).map_err(failed)?;
            read(file).map_err(|error| {
                Failure::Refused(format!("Error verifying snapshot file {}: {error}", unverified.display()))
            })
        })
        .and_then(|backup| std::fs::rename(&unverified, &path).map_err(failed).map(|()| backup.meta.index));
    progress.finish();
    match saved {
        Ok(index) => Ok(Output::line(format_args!("Saved and verified snapshot to index {index}"))),
        Err(failure) => {
            let _ = std::fs::remove_file(&unverified);
            Err(failure)
        }
    }
}

pub(crate) fn restore_arguments(command: Command) -> Command {
    client::server_options(
        command
            .after_help("What was written since is lost. A damaged file is refused, and an interrupted restore changes nothing.")
            .arg(file_argument()),
    )
}

pub(crate) fn restore(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let (file, size) = regular(&file(matches)?)?;
    let progress = Progress::of("restoring", size);
    let restored = world.client(matches)?.send_file("/v1/snapshot", file, size, progress.clone());
    progress.finish();
    restored.map_err(Failure::doing("Error restoring snapshot"))?;
    Ok(Output::line("Restored snapshot"))
}

pub(crate) fn inspect_arguments(command: Command) -> Command {
    command
        .arg(file_argument())
        .arg(switch("kvdetails", "Also count the keys under each prefix"))
        .arg(
            Arg::new("kvdepth")
                .long("kvdepth")
                .value_name("N")
                .default_value("2")
                .value_parser(clap::value_parser!(usize))
                .help("Parts of a key that make a prefix"),
        )
        .arg(Arg::new("kvfilter").long("kvfilter").value_name("PREFIX").help("Only keys that begin so"))
        .arg(format::flag())
}

pub(crate) fn inspect(matches: &ArgMatches, _: &World) -> Result<Output, Failure> {
    let path = file(matches)?;
    let backup = read(File::open(&path).map_err(failed("opening", &path))?)
        .map_err(|error| Failure::Refused(format!("Error reading snapshot file {}: {error}", path.display())))?;
    let kv = (matches.get_one::<bool>("kvdetails") == Some(&true)).then(|| {
        let depth = matches.get_one::<usize>("kvdepth").copied().unwrap_or(2).max(1);
        let filter = matches.get_one::<String>("kvfilter").map(String::as_str).unwrap_or_default();
        prefixes(&backup, depth, filter)
    });
    Ok(match Format::read(matches)? {
        Format::Json => format::json(&json(&backup, kv.as_ref())),
        Format::Pretty => Output::text(pretty(&backup, kv.as_ref())),
    })
}

fn read(file: File) -> Result<Backup, archive::Unfit> {
    archive::unpack(BufReader::new(file))
}

/// How many keys there are under each prefix, and their bytes.
fn prefixes(backup: &Backup, depth: usize, filter: &str) -> BTreeMap<String, (u64, u64)> {
    let mut found = BTreeMap::<String, (u64, u64)>::new();
    for row in backup.store.keys_under(filter) {
        let entry = row.entry();
        let end = entry.key.match_indices('/').nth(depth - 1).map_or(entry.key.len(), |(at, _)| at);
        let (count, bytes) = found.entry(entry.key[..end].to_owned()).or_default();
        (*count, *bytes) = (*count + 1, *bytes + (entry.key.len() + entry.value.len()) as u64);
    }
    found
}

fn pretty(backup: &Backup, kv: Option<&BTreeMap<String, (u64, u64)>>) -> String {
    let archive::Meta { version, id, index, term, size, .. } = &backup.meta;
    let mut text = format!(
        " ID           {id}\n Size         {size}\n Index        {index}\n Term         {term}\n Version      {version}\n\n"
    );
    let rows = |heads: [&str; 3], rows: &mut dyn Iterator<Item = (String, u64, u64)>| {
        let mut lines = vec![heads.map(str::to_owned), ["----"; 3].map(str::to_owned)];
        let mut total = 0;
        for (name, count, bytes) in rows {
            total += bytes;
            lines.push([name, count.to_string(), human(bytes)]);
        }
        lines.push(["----"; 3].map(str::to_owned));
        lines.push(["Total".to_owned(), String::new(), human(total)]);
        lines.iter().map(|[a, b, c]| format!(" {}\n", format!("{a:<28} {b:<10} {c}").trim_end())).collect::<String>()
    };
    let all = backup.census.rows().map(|(name, count, bytes)| (name.to_owned(), count, bytes));
    text += &rows(["Type", "Count", "Size"], &mut { all });
    if let Some(kv) = kv {
        text.push('\n');
        text += &rows(
            ["Key Name", "Count", "Size"],
            &mut kv.iter().map(|(name, (count, bytes))| (name.clone(), *count, *bytes)),
        );
    }
    text
}

fn human(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

fn json(backup: &Backup, kv: Option<&BTreeMap<String, (u64, u64)>>) -> serde_json::Value {
    let row = |name: &str, count: u64, bytes: u64| serde_json::json!({"Name": name, "Count": count, "Sum": bytes});
    let stats: Vec<_> = backup.census.rows().map(|(name, count, bytes)| row(name, count, bytes)).collect();
    let kv: Vec<_> = kv.into_iter().flatten().map(|(name, (count, bytes))| row(name, *count, *bytes)).collect();
    let total: u64 = backup.census.rows().map(|(_, _, bytes)| bytes).sum();
    serde_json::json!({
        "Meta": {
            "ID": backup.meta.id, "Size": backup.meta.size, "Index": backup.meta.index, "Term": backup.meta.term,
            "Version": backup.meta.version,
        },
        "Stats": stats,
        "StatsKV": kv,
        "TotalSize": total,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_snapshot_goes_where_a_link_leads_and_takes_the_place_of_files_alone() {
        let root = std::env::temp_dir().join(format!("lictor-target-{}", std::process::id()));
        std::fs::create_dir_all(&root).expect("made");
        let root = std::fs::canonicalize(root).expect("there");
        let at = |name: &str| root.join(name);
        std::fs::write(at("old"), "").expect("written");
        symlink("old", at("link")).expect("linked");
        symlink("new", at("dangling")).expect("linked");
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("made");
        for (name, leads) in [("old", "old"), ("new", "new"), ("link", "old"), ("dangling", "new")] {
            assert_eq!(target(at(name)).expect("a file"), at(leads), "{name}");
        }
        let refused = |path: PathBuf| target(path).expect_err("refused").to_string();
        assert!(
            refused(at("pipe"))
                .ends_with("/pipe: it is no regular file; give the name of one, or of one that is to be made")
        );
        assert!(refused(root.clone()).ends_with("it is a directory; give the name of a file in it"));
        assert!(refused(PathBuf::from("-")).ends_with("one of this name is ./-"));
        assert!(regular(&at("pipe")).is_err(), "nobody waits for a pipe");
        std::fs::remove_dir_all(root).expect("removed");
    }
}
