//! `lictor lock`: programs that run while they hold a lock, and end when they don't.

use crate::cluster::{Agent, Cluster, LICTOR, lictor, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const PATIENCE: Duration = Duration::from_secs(20);

/// A running `lictor lock`.
struct Lock {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    stdin: Option<ChildStdin>,
}

impl Lock {
    fn start(agent: &Agent, args: &[&str]) -> Self {
        let mut child = Command::new(LICTOR)
            .arg("lock")
            .args(args)
            .env("CONSUL_HTTP_ADDR", format!("{}:8500", agent.ip))
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let stdin = child.stdin.take();
        Self { child, lines, stdin }
    }

    /// A program that says its sequencer once it is in, and stays until [`Lock::done`].
    fn staying(agent: &Agent, args: &[&str]) -> Self {
        let program = "echo \"$LICTOR_LOCK_SEQUENCER\"; exec cat";
        Self::start(agent, &[&["-pass-stdin"], args, &[program]].concat())
    }

    /// The next line of it, or of its program; `None` when all that could write one are gone.
    async fn line(&mut self) -> Option<String> {
        tokio::time::timeout(PATIENCE, self.lines.next_line()).await.expect("a line in time").unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().unwrap().cast_signed()), signal).unwrap();
    }

    /// Lets the program end.
    fn done(&mut self) {
        self.stdin = None;
    }

    /// Its exit code and what it complained of.
    async fn ended(mut self) -> (i32, String) {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("its end in time").unwrap();
        let mut complaint = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut complaint).await.unwrap();
        (status.code().unwrap_or(-1), complaint)
    }
}

async fn dev(cluster: &Cluster) -> Agent {
    let agent = cluster.agent(1, "dev1", &["-dev"]);
    cluster.leader(std::slice::from_ref(&agent)).await;
    until("its health check", async || {
        let (_, body) = cluster.get(&agent, "/v1/health/node/dev1").await.ok()?;
        body.contains("serfHealth").then_some(())
    })
    .await;
    agent
}

async fn sessions(cluster: &Cluster, agent: &Agent) -> Vec<Value> {
    cluster.json(agent, "/v1/session/list").await.as_array().unwrap().clone()
}

/// Waits until so many contend.
async fn contenders(cluster: &Cluster, agent: &Agent, count: usize) {
    until("the contenders", async || (sessions(cluster, agent).await.len() == count).then_some(())).await;
}

const TOO_LATE: &str = "Shutdown triggered or timeout during lock acquisition\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_holders_exclude_each_other() {
    let cluster = Cluster::new();
    let agent = dev(&cluster).await;
    let mut first = Lock::staying(&agent, &["-name=first", "/jobs/"]);
    let old = first.line().await.unwrap();
    let row = cluster.json(&agent, "/v1/kv/jobs/.lock").await[0].clone();
    let session = sessions(&cluster, &agent).await[0].clone();
    assert_eq!((row["Flags"].as_u64(), &row["Session"]), (Some(0x2ddc_cbc0_58a5_0c18), &session["ID"]));
    assert_eq!((session["Name"].as_str(), session["TTL"].as_str()), (Some("first"), Some("15s")));
    assert_eq!(old, format!("1.{}.jobs/.lock", session["ID"].as_str().unwrap()));

    let (code, out, err) = lictor(Some(&agent), &["lock", "-try=300ms", "jobs", "echo never"]);
    assert_eq!((code, out.as_str(), err.as_str()), (1, "", TOO_LATE));
    let mut second = Lock::staying(&agent, &["jobs"]);
    contenders(&cluster, &agent, 2).await;
    first.done();
    assert_eq!(first.ended().await, (0, String::new()));
    let new = second.line().await.unwrap();

    let put = |sequencer: &str| lictor(Some(&agent), &["kv", "put", &format!("-sequencer={sequencer}"), "data", "x"]);
    let (code, out, err) = put(&old);
    assert!(code == 1 && out.is_empty() && err.contains("409") && err.contains(&new), "{out}{err}");
    assert_eq!(put(&new).1, "Success! Data written to: data\n");
    let (code, _, err) = lictor(Some(&agent), &["kv", "delete", "-recurse", &format!("-sequencer={old}"), "data"]);
    assert!(code == 1 && err.contains("409"), "{err}");
    let (code, _, err) = put("");
    assert!(code == 1 && err.contains("Invalid sequencer"), "a variable that is not set fences, too: {err}");

    // A signal ends the program, and the lock is given back.
    second.signal(Signal::SIGTERM);
    let (code, err) = second.ended().await;
    assert_eq!((code, err.as_str()), (0, "Error running handler: signal: 15 (SIGTERM)\n"));
    assert_eq!(cluster.get(&agent, "/v1/kv/jobs/.lock").await.unwrap().0, 404);
    contenders(&cluster, &agent, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_semaphore_lets_as_many_in_as_it_says() {
    let cluster = Cluster::new();
    let agent = dev(&cluster).await;
    let mut first = Lock::staying(&agent, &["-n", "2", "pool"]);
    let mut second = Lock::staying(&agent, &["-n", "2", "pool"]);
    let sequencers = [first.line().await.unwrap(), second.line().await.unwrap()];
    let rows = cluster.json(&agent, "/v1/kv/pool/?recurse").await;
    let flags: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["Flags"].as_u64().unwrap()).collect();
    assert_eq!(flags, [0xe0f6_9a2b_aa41_4de0; 3], "two contenders and the list: {rows}");
    let list = cluster.json(&agent, "/v1/kv/pool/.lock?raw").await;
    assert_eq!((&list["Limit"], list["Holders"].as_object().unwrap().len()), (&Value::from(2), 2));
    for sequencer in &sequencers {
        let (code, _, err) = lictor(Some(&agent), &["kv", "put", "-sequencer", sequencer, "data", "x"]);
        assert_eq!(code, 0, "{err}");
    }

    for (args, complaint) in [
        (["-n=2", "-timeout=300ms"], TOO_LATE),
        (["-n=3", "-timeout=5s"], "Lock acquisition failed: semaphore limit conflict (lock: 2, local: 3)"),
        (["-n=1", "-timeout=5s"], "Lock acquisition failed: Existing key does not match lock use"),
    ] {
        let (code, out, err) = lictor(Some(&agent), &[&["lock"], &args[..], &["pool", "echo never"]].concat());
        assert!(code == 1 && out.is_empty() && err.starts_with(complaint), "{args:?}: {out}{err}");
    }
    let mut third = Lock::staying(&agent, &["-n", "2", "pool"]);
    contenders(&cluster, &agent, 3).await;
    // Killed, it gives nothing back; its slot is free when its session is over.
    let holder = sequencers[0].split('.').nth(1).unwrap();
    first.signal(Signal::SIGKILL);
    cluster.put(&agent, &format!("/v1/session/destroy/{holder}"), "").await.unwrap();
    let sequencer = third.line().await.unwrap();
    assert!(!sequencers.contains(&sequencer), "{sequencer}");
    for mut lock in [second, third] {
        lock.done();
        assert_eq!(lock.ended().await, (0, String::new()));
    }
    assert_eq!(cluster.get(&agent, "/v1/kv/pool/?recurse").await.unwrap().0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_programs_failure_is_told_and_handed_on_if_wished() {
    let cluster = Cluster::new();
    let agent = dev(&cluster).await;
    let run = |args: &[&str]| lictor(Some(&agent), &[&["lock"], args].concat());
    let failed = "Error running handler: exit status: 3\n";
    assert_eq!(run(&["p", "exit 3"]), (0, String::new(), failed.to_owned()));
    assert_eq!(run(&["-child-exit-code", "p", "exit", "3"]), (2, String::new(), failed.to_owned()));
    assert_eq!(run(&["-child-exit-code", "p", "echo $CONSUL_LOCK_HELD"]), (0, "true\n".to_owned(), String::new()));
    let (code, out, err) = run(&["-shell=false", "p", "/nowhere/at/all", "-x"]);
    assert!(code == 1 && out.is_empty() && err.starts_with("Error starting handler: "), "{err}");
    let (code, out, _) = run(&["-verbose", "a/../p", "echo in"]);
    let said = "Setting up lock at path: p/.lock\nAttempting lock acquisition\nStarting handler\nin\n\
                Child terminated, releasing lock\nCleanup succeeded\n";
    assert_eq!((code, out.as_str()), (0, said));
    cluster.put(&agent, "/v1/kv/q/.lock", "of another use").await.unwrap();
    let (code, _, err) = run(&["q", "true"]);
    assert!(code == 1 && err.contains("q/.lock has flags 0x0"), "{err}");
    assert_eq!(sessions(&cluster, &agent).await, [Value::Null; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_loses_the_lock_loses_the_program() {
    let cluster = Cluster::new();
    let agent = dev(&cluster).await;
    let listening = "trap 'echo heard' USR1; trap 'echo told; exit' TERM; sleep 1000 & echo in; while :; do wait; done";
    let mut polite = Lock::start(&agent, &["polite", listening]);
    let mut deaf = Lock::start(&agent, &["-n=2", "deaf", "trap '' TERM; echo in; exec sleep 1000"]);
    for lock in [&mut polite, &mut deaf] {
        assert_eq!(lock.line().await.unwrap(), "in");
    }
    polite.signal(Signal::SIGUSR1);
    assert_eq!(polite.line().await.unwrap(), "heard");
    for session in sessions(&cluster, &agent).await {
        let path = format!("/v1/session/destroy/{}", session["ID"].as_str().unwrap());
        cluster.put(&agent, &path, "").await.unwrap();
    }
    assert_eq!(polite.line().await.unwrap(), "told");
    // Nothing that was started is left, or it could still write a line.
    for mut lock in [polite, deaf] {
        assert_eq!(lock.line().await, None);
        let (code, err) = lock.ended().await;
        assert!(code == 1 && err.starts_with("Lock lost: "), "{err}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_takes_no_lock_away() {
    let cluster = Cluster::new();
    let mut server = cluster.agent(1, "server1", &["-server", "-bootstrap-expect=1"]);
    cluster.leader(std::slice::from_ref(&server)).await;
    until("its health check", async || {
        let (_, body) = cluster.get(&server, "/v1/health/node/server1").await.ok()?;
        body.contains("serfHealth").then_some(())
    })
    .await;
    let mut patient = Lock::staying(&server, &["-monitor-retry=20", "patient"]);
    let mut hasty = Lock::staying(&server, &["-monitor-retry=0", "hasty"]);
    let sequencer = patient.line().await.unwrap();
    hasty.line().await.unwrap();
    server.kill();
    let (code, err) = hasty.ended().await;
    assert!(code == 1 && err.starts_with("Lock lost: "), "{err}");
    server.start();
    cluster.leader(std::slice::from_ref(&server)).await;
    let held = cluster.json(&server, "/v1/lock/sequencer/patient/.lock").await;
    assert_eq!(held["Sequencer"], sequencer);
    patient.done();
    assert_eq!(patient.ended().await, (0, String::new()));
    assert_eq!(cluster.get(&server, "/v1/kv/patient/.lock").await.unwrap().0, 404);
}
