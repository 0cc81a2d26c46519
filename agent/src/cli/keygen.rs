//! `keygen`: a new key for the encryption of gossip.

use super::{Failure, Output, World};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{ArgMatches, Command};
use ring::rand::{SecureRandom as _, SystemRandom};

pub(crate) fn arguments(command: Command) -> Command {
    command.after_help("It is for encrypt in the configuration, and must be the same on all agents.")
}

pub(crate) fn run(_: &ArgMatches, _: &World) -> Result<Output, Failure> {
    let mut key = [0; 32];
    SystemRandom::new()
        .fill(&mut key)
        .map_err(|_unspecified| Failure::Refused("Error reading random data: the system gives none".to_owned()))?;
    Ok(Output::line(STANDARD.encode(key)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_key_is_another_one_and_fits() {
        let matches = arguments(Command::new("keygen")).get_matches_from(["keygen"]);
        let world = World { env: |_| None, bold: false };
        let keys: BTreeSet<Vec<u8>> = (0..8).map(|_| run(&matches, &world).expect("a key").stdout).collect();
        assert_eq!(keys.len(), 8);
        for key in keys {
            assert_eq!(STANDARD.decode(key.trim_ascii()).expect("base64").len(), 32);
        }
    }
}
