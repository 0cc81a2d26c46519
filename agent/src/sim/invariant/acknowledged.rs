//! What was acknowledged was agreed, and stays agreed whatever crashed since (reliability P4). That it also stays *visible*
//! is for [`super::linearizable`], whose last reads come after the calm.

use crate::sim::{Deed, Kind, Storm};
use lictor_catalog::{Command, KvCommand};
use std::collections::BTreeSet;

pub(super) fn check(storm: &Storm) -> Result<(), String> {
    let agreed: BTreeSet<(&str, &[u8])> = storm
        .world
        .logs
        .commands
        .iter()
        .filter_map(|agreed| match &agreed.command {
            Command::Kv(KvCommand::Set { key, value, .. } | KvCommand::Cas { key, value, .. }) => {
                Some((key.as_str(), &**value))
            }
            _ => None,
        })
        .collect();
    for (at, op) in storm.world.history.iter().enumerate() {
        let (Kind::Put { key, value } | Kind::Cas { key, value, .. }) = &op.kind else { continue };
        let Some((_, Deed::Acked(true))) = &op.ended else { continue };
        if !agreed.contains(&(key.as_str(), value.as_bytes())) {
            return Err(format!("operation {at} wrote {value:?} to {key} and was told so, but it was never agreed"));
        }
    }
    Ok(())
}
