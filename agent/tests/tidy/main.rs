//! House rules that no compiler knows, as a test. Each complaint names the file and the rule.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

/// What may stand at the top. What else a build or an editor leaves there begins with a dot or is not in git.
const TOP: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "agent",
    "catalog",
    "dns",
    "examples",
    "target",
];

/// Lines of a source file, its inline tests not counted.
const LINES_MAX: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every Rust file of the workspace, as (path from the top, text).
fn sources() -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ["agent", "catalog", "dns", "examples"].map(|name| root.join(name)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // What the fuzz targets' builds leave is nobody's writing.
                if path.file_name().is_none_or(|name| name != "target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(found.len() > 100, "the sources are where they are looked for");
    found
}

#[track_caller]
fn check(rule: &str, complaints: &[String]) {
    assert!(complaints.is_empty(), "{rule}\n  {}", complaints.join("\n  "));
}

/// What looks like a path in backticks: it has a slash or a known ending, and no blank, star, bracket or colon.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split("```").step_by(2).flat_map(|prose| prose.split('`').skip(1).step_by(2));
    quoted.filter(|word| {
        let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "./_-".contains(c));
        let ending = [".rs", ".md", ".toml"].iter().any(|ending| word.ends_with(ending));
        plain && !word.starts_with('/') && (word.contains('/') || ending)
    })
}

#[test]
fn every_path_in_the_architecture_exists() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let named: Vec<&str> = paths(&text).collect();
    assert!(named.len() > 20, "ARCHITECTURE.md names its files: {named:?}");
    let missing: Vec<String> =
        named.into_iter().filter(|path| !root().join(path).exists()).map(str::to_owned).collect();
    check("ARCHITECTURE.md names paths that do not exist:", &missing);
}

#[test]
fn the_top_level_holds_only_what_was_agreed() {
    let strangers: Vec<String> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.') && !TOP.contains(&name.as_str()))
        .collect();
    check("these do not belong at the top (see ARCHITECTURE.md):", &strangers);
}

#[test]
fn nothing_is_left_undone_or_switched_off() {
    // Put together here, so that this file does not accuse itself.
    let banned = ["todo", "unimplemented"].into_iter().map(|name| format!("{name}!("));
    let banned: Vec<String> = banned.chain([format!("#[{}", "ignore")]).collect();
    let found: Vec<String> = sources()
        .iter()
        .flat_map(|(name, text)| {
            banned.iter().filter(|word| text.contains(word.as_str())).map(move |word| format!("{name}: {word}"))
        })
        .collect();
    check("finish it, file it, or take it out:", &found);
}

#[test]
fn no_file_is_a_book() {
    let long: Vec<String> = sources()
        .iter()
        .map(|(name, text)| (name, text.split("\n#[cfg(test)]\nmod tests {").next().unwrap().lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(name, lines)| format!("{name}: {lines} lines"))
        .collect();
    check("over 800 lines without tests; cut it where it changes its subject:", &long);
}

#[test]
fn tests_do_not_sleep() {
    let call = format!("thread::{}(", "sleep");
    let sleepers: Vec<String> = sources()
        .into_iter()
        .filter(|(name, text)| {
            let tests = if name.contains("/tests/") || name.ends_with("tests.rs") {
                text.as_str()
            } else {
                text.split_once("#[cfg(test)]").map_or("", |(_, tests)| tests)
            };
            tests.contains(&call)
        })
        .map(|(name, _)| name)
        .collect();
    check("wait for the event, with a deadline:", &sleepers);
}
