//! What this crate may not depend on is its best documentation; here it is enforced.

use std::process::Command;

/// Runtimes, sockets, files, clocks and dice: none of them may come near the replicated truth, by any path. (`rand_core`,
/// which imbl brings for vectors that we do not use, is traits and no source of chance.)
const FORBIDDEN: &[&str] = &[
    "tokio",
    "mio",
    "socket2",
    "hyper",
    "redb",
    "rand",
    "getrandom",
    "fastrand",
    "nix",
    "async-trait",
    "futures",
    "chrono",
    "time",
    "tracing",
    "serde_json",
];

#[test]
fn depends_on_nothing_impure() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "-p", "lictor-catalog", "-e", "normal", "--prefix", "none", "-f", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs this test, so it is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).expect("cargo prints UTF-8");
    let names: Vec<_> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.contains(&"imbl"), "the tree is not the one of this crate: {tree}");
    for name in FORBIDDEN {
        assert!(!names.contains(name), "lictor-catalog depends on {name}: keep it pure (cargo tree -i {name})\n{tree}");
    }
}
