//! `services deregister`: by id, or whatever files define.

use crate::cli::{Failure, Output, World, client, maint};
use clap::{Arg, ArgMatches, Command};
use std::path::PathBuf;

pub(crate) fn arguments(command: Command) -> Command {
    client::options(
        command.args([Arg::new("id").long("id").value_name("ID").help("Id of the instance"), super::files_argument()]),
    )
}

pub(crate) fn run(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let paths: Vec<PathBuf> = matches.get_many("files").into_iter().flatten().cloned().collect();
    let id = matches.get_one::<String>("id").filter(|id| !id.is_empty());
    let ids = match (id, paths.is_empty()) {
        (None, true) => {
            return Err(Failure::Usage(
                "Service deregistration requires at least one file, or -id; see -help".to_owned(),
            ));
        }
        (Some(_), false) => return Err(Failure::Usage("Give files or -id, not both".to_owned())),
        (Some(id), true) => vec![id.clone()],
        (None, false) => {
            let id = |definition| super::text(definition, "id").or_else(|| super::text(definition, "name"));
            super::read(&paths)?.iter().filter_map(|(_, definition)| id(definition)).collect()
        }
    };
    let client = world.client(matches)?;
    let mut lines = String::new();
    for id in ids {
        let path = format!("/v1/agent/service/deregister/{}", client::escape(&id));
        if let Err(error) = client.expect(reqwest::Method::PUT, &path, &[], Vec::new()) {
            let hint = if error.is_not_found() { maint::nearest_service(&client, &id) } else { None };
            return Err(Failure::doing(format!("Error deregistering service {id:?}"))(error).hint(hint));
        }
        lines.push_str(&format!("Deregistered service: {id}\n"));
    }
    Ok(Output::text(lines))
}
