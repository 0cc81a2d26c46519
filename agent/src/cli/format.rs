//! `-format`: the same answer for people or for programs.

use super::{Failure, Output};
use clap::{Arg, ArgMatches};
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Pretty,
    Json,
}

/// The flag of every command that shows a table or fields.
pub(crate) fn flag() -> Arg {
    Arg::new("format").long("format").value_name("FORMAT").help("pretty or json").default_value("pretty")
}

impl Format {
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Failure> {
        match matches.get_one::<String>("format").map(String::as_str) {
            Some("json") => Ok(Self::Json),
            Some("pretty") | None => Ok(Self::Pretty),
            Some(other) => Err(Failure::Usage(format!("-format={other}: there are only pretty and json"))),
        }
    }
}

/// A value as JSON, indented, in the API's own names.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Output {
    let text = serde_json::to_string_pretty(value).expect("a value with text for keys, in memory");
    Output::line(text)
}
