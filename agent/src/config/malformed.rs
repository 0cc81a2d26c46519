//! What an operator, or a program on his behalf, may write into configuration: see [`crate::malformed`].

use super::{AgentArgs, Host, file, hcl, load};
use crate::malformed::{Verdict, survives};
use serde_json::{Map, Value};

/// HCL. There is nothing that writes it.
pub(crate) fn hcl(bytes: &[u8]) -> Verdict {
    let text = str::from_utf8(bytes).map_err(|error| error.to_string())?;
    hcl::parse(text).map(drop).map_err(|error| error.to_string())
}

/// A file in JSON.
pub(crate) fn json(bytes: &[u8]) -> Verdict {
    let text = str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let read = |text: &str| file::parse("malformed.json", text, file::Format::Json);
    let map = read(text).map_err(|error| error.to_string())?;
    survives(
        &without_fractions(map),
        |map| Value::Object(map.clone()).to_string(),
        |bytes| read(str::from_utf8(bytes).expect("JSON is text")).map(without_fractions),
    );
    Ok(())
}

/// Fractions are not read to the last digit.
fn without_fractions(map: Map<String, Value>) -> Map<String, Value> {
    fn plain(value: Value) -> Value {
        match value {
            Value::Number(number) if number.is_f64() => Value::Null,
            Value::Array(list) => list.into_iter().map(plain).collect(),
            Value::Object(map) => Value::Object(without_fractions(map)),
            other => other,
        }
    }
    map.into_iter().map(|(key, value)| (key, plain(value))).collect()
}

/// A whole configuration beside a data directory: schema, rules, addresses, definitions.
pub(crate) fn file(bytes: &[u8]) -> Verdict {
    let text = str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let interfaces = vec![("lo".to_owned(), [127, 0, 0, 1].into()), ("eth0".to_owned(), [10, 0, 0, 7].into())];
    let host = Host { hostname: "box".to_owned(), interfaces };
    let fragments = vec!["data_dir = \"/nowhere\"".to_owned(), text.to_owned()];
    let resolved = load(AgentArgs { fragments, ..AgentArgs::default() }, &host).map_err(|error| error.to_string())?;
    assert!(!resolved.node_name.is_empty() && !resolved.datacenter.is_empty(), "an agent has a name and a place");
    assert!(resolved.warnings.iter().all(|warning| !warning.is_empty()), "a warning says something");
    Ok(())
}
