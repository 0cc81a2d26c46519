//! README does what it says. Its blocks of shell are run as a reader pastes them, one after the other into one bash, and must
//! print what README shows below them; its configurations are valid.
//!
//! The commands speak to 127.0.0.1:8500 and the like, so they get a network of their own where the system allows it
//! (`unshare`), else this machine's if it has those ports to spare. On Linux only, as the tour uses all of 127.0.0.0/8.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "tests")]

use lictor_examples::cluster::lictor;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The tour takes some 15 s; a command that waits for what does not come waits for ever.
const PATIENCE: Duration = Duration::from_secs(120);

/// Commands of README, and what README shows below them.
struct Block {
    commands: String,
    shown: Vec<String>,
}

/// A directory of a test's own, gone after it if all was well.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lictor-readme-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("files are kept in {}", self.0.display());
        } else {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap()
}

/// What stands below a heading of the second level.
fn section<'a>(readme: &'a str, heading: &str) -> &'a str {
    let (_, below) = readme.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no {heading:?}"));
    below.split("\n## ").next().unwrap()
}

/// The fenced blocks as (language, text).
fn fenced(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split("\n```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap())
}

fn blocks(section: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    for (language, text) in fenced(section) {
        match language {
            "sh" => found.push(Block { commands: text.to_owned(), shown: Vec::new() }),
            "text" => found.last_mut().unwrap().shown = text.lines().map(str::to_owned).collect(),
            _ => {}
        }
    }
    found
}

/// Whether a line is as shown, where `…` stands for anything.
fn fits(line: &str, shown: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap()) else { return false };
    let mut open = false;
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
        open = part.is_empty();
    }
    open || rest.is_empty()
}

#[test]
fn a_shown_line_fits_what_it_stands_for() {
    for (line, shown, expected) in [
        ("blue", "blue", true),
        ("blue", "bl", false),
        ("status: NXDOMAIN, id: 7", "status: NXDOMAIN, id: …", true),
        ("server2  id  leader  8", "server… leader …", true),
        ("server2  id  follower  8", "server… leader …", false),
        ("a b c", "a … d", false),
    ] {
        assert_eq!(fits(line, shown), expected, "{line:?} {shown:?}");
    }
}

/// The command that gives another one a network of its own, with all its processes ended when it ends, if it may.
fn own_network() -> Option<Vec<&'static str>> {
    let ways = [vec!["unshare", "--map-root-user"], vec!["unshare"]];
    ways.into_iter().find_map(|mut way| {
        way.extend(["--net", "--pid", "--fork", "--kill-child"]);
        let tried = Command::new(way[0]).args(&way[1..]).args(["ip", "link", "set", "lo", "up"]).output();
        tried.is_ok_and(|output| output.status.success()).then_some(way)
    })
}

/// Pastes blocks into one shell in this directory and gives what each one printed.
async fn paste(folder: &Path, blocks: &[Block]) -> Vec<Vec<String>> {
    // A command that fails unasked says so among what is printed, but for `wait`, which speaks of another command.
    let failed = r#"case $BASH_COMMAND in wait*) ;; *) echo "failed: $BASH_COMMAND" ;; esac"#;
    let mut script = format!("exec 2>&1\ntrap '{failed}' ERR\n");
    for block in blocks {
        script += &block.commands;
        script += "\necho @end\n";
    }
    let mut command = match own_network() {
        Some(way) => {
            let mut command = Command::new(way[0]);
            command.args(&way[1..]).args(["bash", "-c", "ip link set lo up && exec bash ./pasted"]);
            command
        }
        None => {
            eprintln!("no network of its own for README's commands: they run on this machine's");
            for address in [
                "127.0.0.1:8500",
                "127.0.0.1:8600",
                "127.0.0.1:8080",
                "127.0.0.1:9500",
                "127.0.0.11:8500",
                "127.0.0.21:8500",
            ] {
                let free = TcpListener::bind(address);
                assert!(free.is_ok(), "README's commands need {address}, which is taken, or `unshare` and `ip`");
            }
            let mut command = Command::new("bash");
            command.arg("./pasted");
            command
        }
    };
    fs::write(folder.join("pasted"), script).unwrap();
    let path = std::env::join_paths(
        [folder, lictor().unwrap().parent().unwrap()]
            .map(Path::to_owned)
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    command.current_dir(folder).env("PATH", path.unwrap()).env("TMPDIR", folder).env_remove("CONSUL_HTTP_ADDR");
    // What is printed goes to a file, as something left running would hold a pipe open.
    let printed = fs::File::create(folder.join("printed")).unwrap();
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::null()).stdout(printed).process_group(0).kill_on_drop(true);
    let mut shell = command.spawn().unwrap();
    let group = format!("-{}", shell.id().unwrap());
    let ended = tokio::time::timeout(PATIENCE, shell.wait()).await;
    // Nothing that README started outlives the test.
    let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
    let printed = fs::read_to_string(folder.join("printed")).unwrap();
    assert!(ended.is_ok(), "still waiting after {PATIENCE:?}, and so far:\n{printed}");
    // bash's notes on jobs are no command's.
    let lines = printed.lines().filter(|line| !line.starts_with("./pasted: line "));
    let mut outputs = vec![Vec::new()];
    for line in lines {
        match line.split_once("@end") {
            Some((rest, "")) => {
                // The last line may have no end of its own.
                outputs.last_mut().unwrap().extend((!rest.is_empty()).then(|| rest.to_owned()));
                outputs.push(Vec::new());
            }
            _ => outputs.last_mut().unwrap().push(line.to_owned()),
        }
    }
    assert_eq!(outputs.len(), blocks.len() + 1, "the shell ended early:\n{printed}");
    outputs
}

fn check(blocks: &[Block], outputs: &[Vec<String>]) {
    for (block, output) in blocks.iter().zip(outputs) {
        let fits =
            output.len() == block.shown.len() && output.iter().zip(&block.shown).all(|(line, shown)| fits(line, shown));
        let (shown, printed) = (block.shown.join("\n"), output.join("\n"));
        assert!(fits, "README's\n\n{}\n\nshows\n\n{shown}\n\nand printed\n\n{printed}", block.commands);
    }
}

#[tokio::test]
async fn the_tour_does_what_it_says() {
    let folder = Folder::new("tour");
    let blocks = blocks(section(&readme(), "A tour"));
    assert!(blocks.len() > 10, "the tour is where it is looked for");
    check(&blocks, &paste(&folder.0, &blocks).await);
}

/// Consul is not here; what `consul kv export` prints is.
const EXPORT: &str = r#"#!/bin/sh
cat <<'END'
[
	{
		"key": "config/color",
		"flags": 0,
		"value": "cmVk"
	},
	{
		"key": "odd/a b?ü",
		"flags": 42,
		"value": "AP8="
	},
	{
		"key": "config/empty",
		"flags": 0,
		"value": ""
	}
]
END
"#;

#[tokio::test]
async fn keys_move_over_from_consul() {
    let folder = Folder::new("move");
    let consul = folder.0.join("consul");
    fs::write(&consul, EXPORT).unwrap();
    assert!(Command::new("chmod").arg("+x").arg(&consul).status().unwrap().success());
    let moving = blocks(section(&readme(), "Coming from Consul"))
        .into_iter()
        .find(|block| block.commands.contains("kv export"))
        .unwrap();
    let given = |commands: &str, shown: &[&str]| Block {
        commands: commands.to_owned(),
        shown: shown.iter().map(|&line| line.to_owned()).collect(),
    };
    let blocks = [
        given(
            "lictor agent -dev -http-port=9500 > agent.log 2>&1 &\nexport CONSUL_HTTP_ADDR=127.0.0.1:9500\nuntil lictor members > /dev/null 2>&1; do sleep 0.1; done",
            &[],
        ),
        moving,
        given("lictor kv get -keys -separator=", &["config/color", "config/empty", "odd/a b?ü"]),
        given("lictor kv get config/color; lictor kv get config/empty", &["red", ""]),
        given("lictor kv get -base64 'odd/a b?ü'", &["AP8="]),
        given("lictor kv get -detailed 'odd/a b?ü' | grep -a Flags", &["Flags            42"]),
    ];
    check(&blocks, &paste(&folder.0, &blocks).await);
}

#[test]
fn the_configurations_are_valid() {
    let folder = Folder::new("configuration");
    let readme = readme();
    let found: Vec<&str> =
        fenced(&readme).filter(|(language, _)| *language == "hcl").map(|(_, configuration)| configuration).collect();
    assert!(found.len() > 2, "README has configurations: {found:?}");
    for (place, configuration) in found.into_iter().enumerate() {
        let file = folder.0.join(format!("{place}.hcl"));
        // Which address is an agent's own without being told depends on the machine, so it is told.
        fs::write(&file, format!("bind_addr = \"10.0.0.11\"\n{}", configuration.replace("bind_addr ", "# "))).unwrap();
        let output = Command::new(lictor().unwrap()).arg("validate").arg(&file).output().unwrap();
        assert!(output.status.success(), "{configuration}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}
