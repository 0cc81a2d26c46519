//! The fuzz targets are those of the one list.

use lictor_agent::malformed::DECODERS;
use std::fs;
use std::path::Path;

#[test]
fn every_decoder_has_a_fuzz_target_of_its_name() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/Cargo.toml")).unwrap();
    let mut targets: Vec<&str> = manifest
        .split("[[bin]]")
        .skip(1)
        .filter_map(|bin| bin.split_once("name = \"")?.1.split_once('"').map(|(name, _)| name))
        .collect();
    targets.sort_unstable();
    let decoders: Vec<&str> = DECODERS.iter().map(|decoder| decoder.name).collect();
    assert_eq!(targets, decoders, "agent/fuzz/Cargo.toml has a [[bin]] for each line of DECODERS, which is sorted");
}
