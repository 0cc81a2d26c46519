//! README does what it says. Its blocks of shell are run as a reader pastes them, one after the other into one bash, and must
//! print what README shows below them; its configurations are valid.
//!
//! The commands speak to 127.0.0.1:8500 and the like, so they get a network of their own where the system allows it
//! (`unshare`), else this machine's if it has those ports to spare. Where that cannot be, or `curl`, `dig` or `python3` is
//! missing, the test says aloud that it was not run; `.ci/run` sees to it that it is. On Linux only, as the tour uses all of
//! 127.0.0.0/8.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "tests")]

use lictor_examples::cluster::lictor;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::sync::Mutex;

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

/// One at a time, should they have to share this machine's ports.
static TURN: Mutex<()> = Mutex::const_new(());

/// Where the commands will run, ready to be told which.
enum Network {
    /// One of their own, made by this command, which also ends all that it started when it ends.
    Own(Vec<&'static str>),
    Shared,
}

impl Network {
    /// `Err`: why the commands cannot run here.
    fn find() -> Result<Self, String> {
        for tool in ["bash", "curl", "dig", "python3"] {
            let tried = Command::new(tool).arg("--version").output();
            tried.map_err(|error| format!("README's commands need {tool}: {error}"))?;
        }
        for way in [vec!["unshare", "--map-root-user"], vec!["unshare"]] {
            let way = [way, vec!["--net", "--pid", "--fork", "--kill-child"]].concat();
            let tried = Command::new(way[0]).args(&way[1..]).args(["ip", "link", "set", "lo", "up"]).output();
            if tried.is_ok_and(|output| output.status.success()) {
                return Ok(Self::Own(way));
            }
        }
        for address in ["127.0.0.1:8500", "127.0.0.1:8600", "127.0.0.1:8080", "127.0.0.1:9500", "127.0.0.11:8500"] {
            TcpListener::bind(address).map_err(|error| {
                format!("README's commands need `unshare` and `ip`, or this machine's {address}: {error}")
            })?;
        }
        Ok(Self::Shared)
    }

    fn command(&self) -> Command {
        match self {
            Self::Own(way) => {
                let mut command = Command::new(way[0]);
                command.args(&way[1..]).args(["bash", "-c", "ip link set lo up && exec bash ./pasted"]);
                command
            }
            Self::Shared => {
                let mut command = Command::new("bash");
                command.arg("./pasted");
                command
            }
        }
    }
}

/// Pastes blocks into one shell in this directory; each must print what is shown below it.
async fn check(folder: &Path, blocks: &[Block]) {
    let _turn = TURN.lock().await;
    let network = match Network::find() {
        Ok(network) => network,
        Err(reason) => {
            // Past the test harness, which keeps what passing tests print to itself.
            let _ = writeln!(std::io::stderr(), "NOT RUN: {reason}");
            return;
        }
    };
    let printed = paste(folder, &network, blocks).await;
    // bash's notes on jobs are no command's.
    let lines = printed.lines().filter(|line| !line.starts_with("./pasted: line "));
    let mut outputs = vec![Vec::new()];
    for line in lines {
        match line.split_once(END) {
            Some((rest, "")) => {
                // The last line may have no end of its own.
                outputs.last_mut().unwrap().extend((!rest.is_empty()).then_some(rest));
                outputs.push(Vec::new());
            }
            _ => outputs.last_mut().unwrap().push(line),
        }
    }
    assert_eq!(outputs.len(), blocks.len() + 1, "the shell ended early:\n{printed}");
    for (block, output) in blocks.iter().zip(outputs) {
        let as_shown = output.iter().zip(&block.shown).all(|(line, shown)| fits(line, shown));
        let (shown, printed) = (block.shown.join("\n"), output.join("\n"));
        assert!(
            as_shown && output.len() == block.shown.len(),
            "README's\n\n{}\n\nshows\n\n{shown}\n\nand printed\n\n{printed}",
            block.commands
        );
    }
}

/// Printed after each block.
const END: &str = "@end";

/// All that the shell printed.
async fn paste(folder: &Path, network: &Network, blocks: &[Block]) -> String {
    // A command that fails unasked says so among what is printed, but for `wait`, which speaks of another command.
    let failed = r#"case $BASH_COMMAND in wait*) ;; *) echo "failed: $BASH_COMMAND" ;; esac"#;
    let mut script = format!("exec 2>&1\ntrap '{failed}' ERR\n");
    for block in blocks {
        script += &format!("{}\necho {END}\n", block.commands);
    }
    let mut command = network.command();
    fs::write(folder.join("pasted"), script).unwrap();
    let lictor = lictor().unwrap();
    let programs = [folder, lictor.parent().unwrap()].map(|folder| folder.display().to_string()).join(":");
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    command.current_dir(folder).env("PATH", path).env("TMPDIR", folder).env_remove("CONSUL_HTTP_ADDR");
    // What is printed goes to a file, as something left running would hold a pipe open.
    let printed = fs::File::create(folder.join("printed")).unwrap();
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::null()).stdout(printed).process_group(0).kill_on_drop(true);
    let mut shell = command.spawn().unwrap();
    let group = Pid::from_raw(shell.id().unwrap().cast_signed());
    let ended = tokio::time::timeout(PATIENCE, shell.wait()).await;
    // Nothing that README started outlives the test.
    let _ = killpg(group, Signal::SIGKILL);
    let printed = fs::read_to_string(folder.join("printed")).unwrap();
    assert!(ended.is_ok(), "still waiting after {PATIENCE:?}, and so far:\n{printed}");
    printed
}

#[tokio::test]
async fn the_tour_does_what_it_says() {
    let folder = Folder::new("tour");
    let blocks = blocks(section(&readme(), "A tour"));
    assert!(blocks.len() > 10, "the tour is where it is looked for");
    check(&folder.0, &blocks).await;
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
    fs::set_permissions(&consul, fs::Permissions::from_mode(0o755)).unwrap();
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
        given(&moving.commands, &["Imported: config/color", "Imported: odd/a b?ü", "Imported: config/empty"]),
        given("lictor kv get -keys -separator=", &["config/color", "config/empty", "odd/a b?ü"]),
        given("lictor kv get config/color; lictor kv get config/empty", &["red", ""]),
        given("lictor kv get -base64 'odd/a b?ü'", &["AP8="]),
        given("lictor kv get -detailed 'odd/a b?ü' | grep -a Flags", &["Flags            42"]),
    ];
    check(&folder.0, &blocks).await;
}

#[test]
fn the_configurations_are_valid() {
    let folder = Folder::new("configuration");
    let readme = readme();
    let found: Vec<&str> =
        fenced(&readme).filter(|(language, _)| *language == "hcl").map(|(_, configuration)| configuration).collect();
    assert!(found.len() > 2, "README has configurations: {found:?}");
    // What each may leave to others: a directory, and an address, which depends on the machine if nobody says it.
    let around = folder.0.join("around.hcl");
    fs::write(&around, "data_dir = \"/var/lib/lictor\"\nbind_addr = \"10.0.0.11\"").unwrap();
    for (place, configuration) in found.into_iter().enumerate() {
        let file = folder.0.join(format!("{place}.hcl"));
        fs::write(&file, configuration).unwrap();
        let output = Command::new(lictor().unwrap()).arg("validate").args([&around, &file]).output().unwrap();
        assert!(output.status.success(), "{configuration}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}
