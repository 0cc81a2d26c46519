//! No write is applied twice, and none that was surely refused is applied at all (DESIGN §2: a write is retried only while it
//! surely was not proposed). Every value is written by one operation.

use crate::sim::{Deed, Kind, Storm};
use lictor_catalog::{Command, KvCommand};
use std::collections::BTreeMap;

pub(super) fn check(storm: &Storm) -> Result<(), String> {
    let mut applied: BTreeMap<(&str, &[u8]), u64> = BTreeMap::new();
    for agreed in &storm.world.logs.commands {
        let Command::Kv(KvCommand::Set { key, value, .. } | KvCommand::Cas { key, value, .. }) = &agreed.command else {
            continue;
        };
        if let Some(first) = applied.insert((key, value), agreed.index) {
            return Err(format!("{value:?} was written to {key} at index {first} and again at {}", agreed.index));
        }
    }
    for (at, op) in storm.world.history.iter().enumerate() {
        let (Kind::Put { key, value } | Kind::Cas { key, value, .. }) = &op.kind else { continue };
        let Some((_, Deed::Failed(why))) = &op.ended else { continue };
        if let Some(index) = applied.get(&(key.as_str(), value.as_bytes())) {
            return Err(format!("operation {at} was refused ({why}), and yet {value:?} was written at index {index}"));
        }
    }
    Ok(())
}
