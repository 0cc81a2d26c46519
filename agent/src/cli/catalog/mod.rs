//! `catalog`: what is registered.

pub(crate) mod datacenters;
pub(crate) mod nodes;
pub(crate) mod services;

/// `-node-meta k=v`, repeated, as the API wants it.
fn node_meta(matches: &clap::ArgMatches) -> Result<Vec<(&'static str, String)>, crate::cli::Failure> {
    let one = |text: &String| match text.split_once('=') {
        Some((key, value)) => Ok(("node-meta", format!("{key}:{value}"))),
        None => Err(crate::cli::Failure::Usage(format!("-node-meta={text}: write key=value"))),
    };
    matches.get_many::<String>("node-meta").into_iter().flatten().map(one).collect()
}

fn node_meta_flag() -> clap::Arg {
    clap::Arg::new("node-meta")
        .long("node-meta")
        .value_name("KEY=VALUE")
        .help("Only nodes with this metadata (repeatable)")
        .action(clap::ArgAction::Append)
}
