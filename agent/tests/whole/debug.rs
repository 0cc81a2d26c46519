//! What an agent did is recorded into an archive, to the end or until somebody has seen enough.

use crate::cluster::{Agent, Cluster, LICTOR, lictor, until};
use flate2::read::GzDecoder;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

fn begin(agent: &Agent, output: &Path, args: &[&str]) -> Child {
    Command::new(LICTOR)
        .args(["debug", "-interval=5s", &format!("-output={}", output.display())])
        .args(args)
        .env("CONSUL_HTTP_ADDR", format!("{}:8500", agent.ip))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Exit code, stdout and stderr.
async fn ended(debug: Child) -> (Option<i32>, String, String) {
    let output = tokio::time::timeout(Duration::from_secs(30), debug.wait_with_output()).await.unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn unpacked(archive: &Path) -> BTreeMap<String, String> {
    let mut tar = tar::Archive::new(GzDecoder::new(File::open(archive).unwrap()));
    let mut files = BTreeMap::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_file() {
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            files.insert(entry.path().unwrap().display().to_string(), text);
        }
    }
    files
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// JSON objects, one after the other.
fn figures(text: &str) -> Vec<serde_json::Value> {
    serde_json::Deserializer::from_str(text).into_iter().collect::<Result<_, _>>().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_has_it_all() {
    let cluster = Cluster::new();
    let agent = cluster.agent(1, "dev1", &["-dev"]);
    cluster.leader(std::slice::from_ref(&agent)).await;
    let output = cluster.dir.join("deep/whole");
    let debug = begin(&agent, &output, &["-duration=10s"]);
    let log = || fs::read_to_string(output.join("consul.log")).unwrap_or_default();
    until("a call in the recorded log", async || {
        cluster.put(&agent, "/v1/agent/service/register", r#"{"Name":"recorded"}"#).await.unwrap();
        log().contains("path=/v1/agent/service/register").then_some(())
    })
    .await;

    let archive = cluster.dir.join("deep/whole.tar.gz");
    let (code, out, err) = ended(debug).await;
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let told = format!("         Output: '{}'\n", archive.display());
    assert!(
        out.starts_with("==> Starting debugger and capturing static information...\n") && out.contains(&told),
        "{out}"
    );
    assert_eq!(out.matches("==> Capture successful ").count(), 3, "{out}");
    assert!(out.ends_with(&format!("    Saved debug archive: {}\n", archive.display())), "{out}");
    assert!(!output.exists(), "the directory became the archive");
    assert_eq!(fs::metadata(&archive).unwrap().permissions().mode() & 0o777, 0o600);

    let files = unpacked(&archive);
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    let expected =
        ["agent.json", "consul.log", "host.json", "index.json", "listpeers.json", "members.json", "metrics.json"]
            .map(|name| format!("whole/{name}"));
    assert_eq!(names, expected);
    let index = json(&files["whole/index.json"]);
    assert_eq!((&index["Version"], &index["Duration"]), (&1.into(), &"10s".into()));
    assert_eq!(index["Targets"], serde_json::json!(["metrics", "logs", "host", "agent", "members"]));
    assert_eq!(json(&files["whole/agent.json"])["Config"]["NodeName"], "dev1");
    assert_eq!(json(&files["whole/members.json"])[0]["Name"], "dev1");
    assert_eq!(json(&files["whole/listpeers.json"])["Servers"][0]["Leader"], true);
    assert!(json(&files["whole/host.json"])["Memory"].is_object());
    let figures = figures(&files["whole/metrics.json"]);
    assert!(figures.len() == 3 && figures.iter().all(|figures| figures["Gauges"].is_array()), "{figures:?}");
    assert!(files["whole/consul.log"].contains("path=/v1/agent/service/register"), "{}", files["whole/consul.log"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_that_is_interrupted_is_sound() {
    let cluster = Cluster::new();
    let agent = cluster.agent(1, "dev1", &["-dev"]);
    cluster.leader(std::slice::from_ref(&agent)).await;
    let captures = ["-duration=1h", "-capture=metrics", "-capture=logs", "-capture=pprof"];
    let (packed, bare) = (cluster.dir.join("packed.tar.gz"), cluster.dir.join("bare"));
    let both = [
        (begin(&agent, &packed, &captures), cluster.dir.join("packed"), Signal::SIGINT),
        (begin(&agent, &bare, &[&captures[..], &["-archive=false"]].concat()), bare.clone(), Signal::SIGTERM),
    ];
    for (debug, directory, signal) in both {
        until("the first figures", async || {
            fs::metadata(directory.join("metrics.json")).ok().filter(|file| file.len() > 0)
        })
        .await;
        kill(Pid::from_raw(i32::try_from(debug.id().unwrap()).unwrap()), signal).unwrap();
        let (code, out, err) = ended(debug).await;
        assert!(code == Some(0) && out.contains("Capture: 'metrics, logs'\n"), "{code:?} {out}{err}");
        let told = ["==> [WARN] Unable to capture pprof: pprof is", "==> Interrupted: what was captured"];
        assert!(told.iter().zip(err.lines()).all(|(told, line)| line.starts_with(told)), "{err}");
        assert!(out.contains("    Saved debug archive: "), "{out}");
    }
    assert!(!cluster.dir.join("packed").exists());
    let files = unpacked(&packed);
    assert_eq!(figures(&files["packed/metrics.json"]).len(), 1);
    assert!(files.contains_key("packed/consul.log") && !files.contains_key("packed/agent.json"), "{files:?}");
    assert_eq!(figures(&fs::read_to_string(bare.join("metrics.json")).unwrap()).len(), 1);

    // What is there is left alone.
    for (output, complaint) in [(&packed, "output archive already exists"), (&bare, "output directory already exists")]
    {
        let (code, out, err) = lictor(Some(&agent), &["debug", &format!("-output={}", output.display())]);
        assert!(code == 1 && out.is_empty() && err.contains(complaint), "{out}{err}");
    }
    let (code, _, err) = lictor(None, &["debug", "-http-addr=127.255.255.1:8500"]);
    assert!(code == 1 && err.contains("error querying target agent: no agent answers at"), "{err}");
}
