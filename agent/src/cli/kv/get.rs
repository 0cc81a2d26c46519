//! `kv get`: one value as it is, or what is known about it, or many.

use crate::cli::format::{self, Format};
use crate::cli::{Failure, Output, World, client};
use crate::config::flags::switch;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Arg, ArgMatches, Command};
use serde::{Deserialize, Serialize};

pub(crate) fn arguments(command: Command) -> Command {
    client::server_options(command.args([
        switch("base64", "Show values in base64"),
        switch("detailed", "Show indexes, flags and session as well"),
        switch("keys", "Show keys under a prefix instead of values"),
        switch("recurse", "Show all keys under a prefix"),
        Arg::new("separator").long("separator").value_name("TEXT").help("With -keys, stop at this").default_value("/"),
        format::flag(),
        super::positional(),
    ]))
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Pair {
    key: String,
    value: Option<String>,
    #[serde(default)]
    flags: u64,
    #[serde(default)]
    session: Option<String>,
    create_index: u64,
    modify_index: u64,
    lock_index: u64,
}

pub(crate) fn run(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let on = |name: &str| matches.get_one::<bool>(name) == Some(&true);
    let words = super::words(matches, 1)?;
    let key = words.first().map_or("", |key| key.strip_prefix('/').unwrap_or(key));
    if key.is_empty() && !on("keys") && !on("recurse") {
        return Err(Failure::Usage("Error! Missing KEY argument".to_owned()));
    }
    let json = Format::read(matches)? == Format::Json;
    let client = world.client(matches)?;
    let mut query = Vec::new();
    if on("keys") {
        query.push(("keys", String::new()));
        query.extend(matches.get_one::<String>("separator").map(|separator| ("separator", separator.clone())));
    } else if on("recurse") {
        query.push(("recurse", String::new()));
    }
    let doing = || Failure::doing("Error querying Consul agent");
    let answer = client.ask(reqwest::Method::GET, &super::path(key), &query, Vec::new()).map_err(doing())?;
    match answer.status {
        200 if on("keys") => {
            let keys: Vec<String> = client.parse(&answer.body).map_err(doing())?;
            if json {
                return Ok(format::json(&keys));
            }
            Ok(Output::text(keys.into_iter().fold(String::new(), |all, key| all + &key + "\n")))
        }
        200 => {
            let pairs: Vec<Pair> = client.parse(&answer.body).map_err(doing())?;
            if json {
                return Ok(format::json(&pairs));
            }
            let stdout = if on("detailed") {
                detailed(&pairs, on("base64"))
            } else {
                plain(&pairs, on("base64"), on("recurse"))
            };
            Ok(Output { stdout, ..Output::default() })
        }
        404 if json && (on("keys") || on("recurse")) => Ok(format::json(&[(); 0])),
        404 if on("keys") || on("recurse") => Ok(Output::default()),
        404 => Err(Failure::Refused(format!("Error! No key exists at: {key}"))),
        _ => Err(doing()(answer.refused())),
    }
}

/// A value is bytes; it is shown as they are.
fn value(pair: &Pair, base64: bool) -> Vec<u8> {
    let encoded = pair.value.clone().unwrap_or_default();
    if base64 {
        encoded.into_bytes()
    } else {
        STANDARD.decode(&encoded).unwrap_or_else(|_not_base64| encoded.into_bytes())
    }
}

fn plain(pairs: &[Pair], base64: bool, keys: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for pair in pairs {
        if keys {
            out.extend_from_slice(pair.key.as_bytes());
            out.push(b':');
        }
        out.extend(value(pair, base64));
        out.push(b'\n');
    }
    out
}

/// Labels as wide as the longest and six spaces.
fn detailed(pairs: &[Pair], base64: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for (place, pair) in pairs.iter().enumerate() {
        if place > 0 {
            out.push(b'\n');
        }
        let session = pair.session.as_deref().filter(|session| !session.is_empty()).unwrap_or("-");
        let lines = [
            ("CreateIndex", pair.create_index.to_string().into_bytes()),
            ("Flags", pair.flags.to_string().into_bytes()),
            ("Key", pair.key.clone().into_bytes()),
            ("LockIndex", pair.lock_index.to_string().into_bytes()),
            ("ModifyIndex", pair.modify_index.to_string().into_bytes()),
            ("Session", session.as_bytes().to_vec()),
            ("Value", value(pair, base64)),
        ];
        for (label, text) in lines {
            out.extend_from_slice(format!("{label:17}").as_bytes());
            out.extend(text);
            out.push(b'\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs() -> Vec<Pair> {
        let json = r#"[{"LockIndex":1,"Key":"a/b","Flags":42,"Value":"aGVsbG8=","Session":"s-1","CreateIndex":7,"ModifyIndex":9},
                       {"LockIndex":0,"Key":"a/c","Flags":0,"Value":null,"CreateIndex":8,"ModifyIndex":8}]"#;
        serde_json::from_str(json).expect("pairs")
    }

    #[test]
    fn layouts() {
        let expected = "CreateIndex      7\nFlags            42\nKey              a/b\nLockIndex        1\n\
                        ModifyIndex      9\nSession          s-1\nValue            hello\n\n\
                        CreateIndex      8\nFlags            0\nKey              a/c\nLockIndex        0\n\
                        ModifyIndex      8\nSession          -\nValue            \n";
        assert_eq!(String::from_utf8_lossy(&detailed(&pairs(), false)), expected);
        assert_eq!(plain(&pairs(), false, true), b"a/b:hello\na/c:\n");
        assert_eq!(plain(&pairs()[..1], true, false), b"aGVsbG8=\n");
    }
}
