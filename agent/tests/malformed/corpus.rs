//! Everything stored is judged as it is filed, within its decoder's bounds.

use lictor_agent::malformed::{DECODERS, Decoder, Verdict, judge};
use std::fs;
use std::path::{Path, PathBuf};

/// One stored input.
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) good: bool,
    pub(crate) bytes: Vec<u8>,
}

fn folder(decoder: &Decoder) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/malformed/corpus").join(decoder.name)
}

/// A decoder's corpus, by name.
pub(crate) fn inputs(decoder: &Decoder) -> Vec<Input> {
    let mut inputs = Vec::new();
    for kind in ["good", "bad"] {
        let folder = folder(decoder).join(kind);
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            let name = format!("{}/{kind}/{}", decoder.name, path.file_name().unwrap().to_str().unwrap());
            inputs.push(Input { name, good: kind == "good", bytes: fs::read(path).unwrap() });
        }
    }
    inputs.sort_by(|a, b| a.name.cmp(&b.name));
    inputs
}

/// Runs a property within its bound.
pub(crate) fn measured(decoder: &Decoder, bytes: &[u8]) -> Verdict {
    let mut verdict = Ok(());
    let spent = allocation_counter::measure(|| verdict = judge(decoder, bytes));
    let allowed = decoder.cost.fixed + decoder.cost.per_byte * bytes.len() as u64;
    let (name, length) = (decoder.name, bytes.len());
    assert!(
        spent.bytes_total <= allowed,
        "{name}: {} bytes allocated for {length}: {allowed} allowed",
        spent.bytes_total
    );
    verdict
}

#[test]
fn stored_inputs_are_judged_as_they_are_filed() {
    let mut misfiled = Vec::new();
    for decoder in DECODERS {
        // What is made once a process is not any input's cost.
        let _ = judge(decoder, &[]);
        let inputs = inputs(decoder);
        for input in &inputs {
            let verdict = measured(decoder, &input.bytes);
            if verdict.is_ok() != input.good {
                misfiled.push(format!("{}: {verdict:?}", input.name));
            }
        }
        assert!(inputs.iter().any(|input| input.good), "{}: something is accepted", decoder.name);
        assert!(inputs.iter().any(|input| !input.good), "{}: something is refused", decoder.name);
    }
    assert!(misfiled.is_empty(), "misfiled:\n{}", misfiled.join("\n"));
}

#[test]
fn what_the_encoders_write_is_stored() {
    let store = std::env::var_os("STORE_SEEDS").is_some();
    for decoder in DECODERS {
        for (name, bytes) in (decoder.seeds)() {
            let path = folder(decoder).join("good").join(format!("{name}.bin"));
            if store && fs::read(&path).ok().as_ref() != Some(&bytes) {
                assert!(!path.exists(), "{} holds an older form: keep it under another name", path.display());
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, &bytes).unwrap();
            }
            assert_eq!(fs::read(&path).ok(), Some(bytes), "{}", path.display());
        }
    }
}

#[test]
fn the_corpora_stay_small() {
    let total: usize = DECODERS.iter().flat_map(inputs).map(|input| input.bytes.len()).sum();
    assert!(total < 300 << 10, "{total} bytes: what is large is made by a test, not stored");
}
