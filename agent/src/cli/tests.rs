use super::*;

#[track_caller]
fn check(line: &str, code: u8, stdout: &str, stderr: &str) {
    let root = root(|_| true);
    let argv = argv::normalise(&root, asking_for_help(line.split_whitespace().map(str::to_owned).collect()));
    let world = World { env: |_| None, bold: false };
    let output = match parse(&root, &argv) {
        Ok(matches) => dispatch(VERBS, &matches, &world).unwrap_or_else(|failure| Output::complaint(failure, 1)),
        Err(error) => explain(&root, &argv, &error),
    };
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.code, code, "{line}: {out} {}", output.stderr);
    assert!(out.starts_with(stdout) && (out.is_empty() == stdout.is_empty()), "{line}: {out}");
    assert!(
        output.stderr.contains(stderr) && (output.stderr.is_empty() == stderr.is_empty()),
        "{line}: {}",
        output.stderr
    );
}

#[test]
fn the_tree_is_sound() {
    root(|_| true).debug_assert();
}

#[test]
fn help_unknown_commands_and_wrong_flags() {
    check("", 127, "", "members");
    check("-h", 0, "Service discovery", "");
    check("kv get -h", 0, "Shows values", "");
    check("help", 0, "Service discovery", "");
    check("help kv get", 0, "Shows values", "");
    check(
        "membres",
        127,
        "",
        "There is no command \"membres\"; did you mean \"members\"? All are listed by: lictor -h",
    );
    check(
        "kv gett x",
        1,
        "",
        "lictor kv has no command \"gett\"; did you mean \"get\"? All are listed by: lictor kv -h",
    );
    check("kv", 1, "", "delete");
    check("members -detaild", 1, "", "lictor members has no flag -detaild; did you mean -detailed? All are listed by:");
    check("zzz", 127, "", "There is no command \"zzz\".");
    check(
        "keyring -list",
        1,
        "",
        "There is no command \"keyring\": keys of gossip cannot be changed while agents run yet",
    );
    check("session", 1, "", "There is no command \"session\": Consul has none either");
    check("info -zzz", 1, "", "lictor info has no flag -zzz. All");
    check("kv put -flags=x k v", 1, "", "-flags=x: not a whole number. What it takes is told by: lictor kv put -h");
    check("kv put -flags", 1, "", "-flags needs a value.");
    check("kv delete -recurse=y k", 1, "", "-recurse=y: \"y\" is neither true nor false.");
    check("snapshot save f -stale", 1, "", "flags go before arguments. All");
    check("info web", 1, "", "lictor info takes no argument \"web\". All");
    check("version", 0, "lictor v", "");
    check("-version", 0, "lictor v", "");
    check("version -format=json", 0, "{", "");
    check("version -format=xml", 1, "", "there are only pretty and json");
    check("members -format=xml", 1, "", "-format=xml: there are only pretty and json");
}

#[test]
fn arguments_are_checked_before_anybody_is_asked() {
    check("force-leave", 1, "", "A single node name must be specified to force leave.");
    check("force-leave a b", 1, "", "A single node name must be specified to force leave.");
    check("event", 1, "", "Event name must be specified");
    check("event -name=x -tag=v1", 1, "", "Cannot provide tag filter without service filter.");
    check("event -name=x a b", 1, "", "Too many command line arguments.");
    check("rtt", 1, "", "One or two node names must be specified");
    check("rtt a b c", 1, "", "One or two node names must be specified");
    check("rtt -wan a.dc1", 1, "", "several datacenters are not here yet");
    check("members -wan", 1, "", "several datacenters are not here yet");
    check("maint -enable -disable", 1, "", "Only one of -enable or -disable may be provided");
    check("maint -disable -reason=x", 1, "", "Reason may only be provided with -enable");
    check("maint -service=web", 1, "", "Service requires either -enable or -disable");
    check("watch", 1, "", "Watch type must be specified");
    check("watch -type=x", 1, "", "Unsupported watch type: x");
    check("join", 1, "", "At least one address to join must be specified.");
    check("validate", 1, "", "Must specify at least one config file or directory");
    check("kv get", 1, "", "Error! Missing KEY argument");
    check("kv get a b", 1, "", "Too many arguments (expected 1, got 2)");
    check(
        "kv get a -recurse",
        1,
        "",
        "Too many arguments (expected 1, got 2); flags such as -recurse go before the key",
    );
    check("kv put", 1, "", "Error! Missing KEY argument");
    check("kv put -cas k v", 1, "", "Must specify -modify-index with -cas!");
    check("kv put -acquire k v", 1, "", "Error! Missing -session (required with -acquire and -release)");
    check("kv export a b", 1, "", "Too many arguments (expected 1, got 2)");
    check("kv import [] []", 1, "", "Too many arguments (expected 1, got 2)");
    check("kv import {}", 1, "", "Cannot unmarshal data: ");
    check("kv import @/nowhere/at/all", 1, "", "Error! Failed to read file /nowhere/at/all: ");
    check("kv put k v w", 1, "", "Too many arguments (expected 2, got 3)");
    check("kv delete -cas -recurse k", 1, "", "Cannot specify both -cas and -recurse!");
    check("kv delete -modify-index=3 k", 1, "", "Cannot specify -modify-index without -cas!");
    check("lock", 1, "", "Key prefix and child command must be specified");
    check("lock / true", 1, "", "Key prefix and child command must be specified");
    check("lock -n 0 p true", 1, "", "Lock holder limit must be positive");
    check("lock -n=-1 p true", 1, "", "Lock holder limit must be positive");
    check("lock -monitor-retry=-1 p true", 1, "", "Number for 'monitor-retry' must be >= 0");
    check("lock -timeout=soon p true", 1, "", "time: invalid duration \"soon\"");
    check("lock -try=-1s p true", 1, "", "time: invalid duration \"-1s\"");
    check("members -status=(", 1, "", "Failed to compile status regexp");
    check("debug -interval=1s", 1, "", "Capture validation failed: interval must be at least 5s");
    check("operator usage instances -billable -connect", 1, "", "Cannot specify both -billable and -connect flags");
    check("operator autopilot set-config", 1, "", "Nothing to set: name what is to change");
    check("services register", 1, "", "requires at least one file");
    check("services deregister", 1, "", "requires at least one file");
    check("catalog nodes -node-meta=x", 1, "", "write key=value");
    check("info -http-addr=ftp://x", 1, "", "ftp:// is unknown");
}
