//! Disks that fail, each behind one server, by what the machine permits: a failing sync by `strace`, a full disk by a small
//! tmpfs in a mount namespace of the server's own.

use lictor_examples::cluster::{Agent, Cluster, Result, until};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// What the machine did not permit, as a sentence; or what was shown.
pub type Told = std::result::Result<String, String>;

fn can(program: &str, args: &[&str]) -> bool {
    let tried =
        Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

async fn accepted(cluster: &Cluster, agent: &Agent, value: &str) -> bool {
    cluster.put(agent, "/v1/kv/disk", value.to_owned()).await.is_ok_and(|body| body.trim() == "true")
}

async fn shown(cluster: &Cluster, agent: &Agent) -> Option<String> {
    cluster.get(agent, "/v1/kv/disk?raw").await.ok()
}

/// Every sync of this process fails from now on.
fn fail_syncs(agent: &Agent) -> Result<Child> {
    let pid = agent.pid().ok_or("it does not run")?.to_string();
    let inject = ["-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO"];
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-p", &pid]).args(inject);
    Ok(strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}

/// Whether some tracer has hold of every thread.
fn traced(agent: &Agent) -> Option<()> {
    let tasks = fs::read_dir(format!("/proc/{}/task", agent.pid()?)).ok()?;
    let held = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        !status.contains("TracerPid:\t0")
    };
    tasks.flatten().all(held).then_some(())
}

/// After a failed sync a server acknowledges nothing more and ends with an error that names the log; a quorum goes on
/// without it; and it starts again. With a single server nothing is acknowledged at all.
pub async fn failing_sync(servers: u8) -> Result<Told> {
    if !can("strace", &["-o", "/dev/null", "true"]) {
        return Ok(Err("a failing sync: skipped, as strace is not here or may not trace".to_owned()));
    }
    let cluster = Cluster::new()?;
    let mut agents = cluster.servers(servers).await?;
    let victim = cluster.leader(&agents).await?;
    until("a first write", async || accepted(&cluster, &agents[victim], "before").await.then_some(())).await?;
    let mut strace = fail_syncs(&agents[victim])?;
    let held = until("strace to have hold of the server", async || traced(&agents[victim])).await;
    let during = held.is_ok() && accepted(&cluster, &agents[victim], "during").await;
    let status = until("the end of the server whose disk fails", async || agents[victim].ended()).await;
    let _ = strace.kill();
    let _ = strace.wait();
    held?;
    let status = status?;
    if during && servers == 1 {
        return Err("a write was acknowledged after its sync had failed".into());
    }
    if status.success() {
        return Err("the server whose sync failed ended as if all were well".into());
    }
    let log = fs::read_to_string(agents[victim].log())?;
    let named = log.lines().rev().find(|line| line.contains("os error 5")).ok_or("its log does not name the error")?;
    let named = named.to_owned();
    if servers > 1 {
        let other = (victim + 1) % agents.len();
        until("a write without it", async || accepted(&cluster, &agents[other], "without").await.then_some(())).await?;
    }
    agents[victim].start()?;
    let back = &agents[victim];
    let expected: &[&str] = if servers > 1 { &["without"] } else { &["before", "during"] };
    until("what was written", async || shown(&cluster, back).await.filter(|value| expected.contains(&value.as_str())))
        .await?;
    until("a write through it", async || accepted(&cluster, back, "after").await.then_some(())).await?;
    Ok(Ok(format!(
        "{servers} servers, a sync of the leader failed: it ended with {status}, a restart served again; its last words: {named}"
    )))
}

/// On a full disk a server goes on reading and refuses writes; with space again it takes them, without a restart.
pub async fn full_disk() -> Result<Told> {
    let prefix: &[&str] = [&["-m"][..], &["-r", "-m"]]
        .into_iter()
        .find(|flags| can("unshare", &[*flags, &["mount", "-t", "tmpfs", "none", "/mnt"]].concat()))
        .unwrap_or_default();
    if prefix.is_empty() {
        return Ok(Err("a full disk: skipped, as no mount namespace may be made".to_owned()));
    }
    let cluster = Cluster::new()?;
    let dir = cluster.dir().join("small");
    fs::create_dir_all(&dir)?;
    let script = "mount -t tmpfs -o size=24m none \"$0\" && exec \"$@\"".to_owned();
    let mut wrapper = vec!["unshare".to_owned()];
    wrapper.extend(prefix.iter().map(|&flag| flag.to_owned()));
    wrapper.extend(["sh".to_owned(), "-c".to_owned(), script, dir.display().to_string()]);
    let args = ["-server", "-bootstrap-expect=1"].map(str::to_owned);
    let agent = cluster.agent_within(&wrapper, 1, "small", &args)?;
    until("a first write", async || accepted(&cluster, &agent, "before").await.then_some(())).await?;

    let ballast = PathBuf::from(format!("/proc/{}/root{}/ballast", agent.pid().ok_or("it runs")?, dir.display()));
    let mut file = File::create(&ballast)?;
    while file.write_all(&[7; 4096]).is_ok() {}
    // What the store has of its own goes first; then a write is refused.
    let mut taken = 0;
    let last = loop {
        let value = format!("{taken}-{}", "x".repeat(100_000));
        if !accepted(&cluster, &agent, &value).await {
            break taken;
        }
        taken += 1;
        if taken > 1000 {
            return Err("writes went on for ever on a full disk".into());
        }
    };
    for _ in 0..3 {
        let value = shown(&cluster, &agent).await.ok_or("a read was refused on a full disk")?;
        if last > 0 && !value.starts_with(&format!("{}-", last - 1)) && !value.starts_with(&format!("{last}-")) {
            return Err(format!("a read on a full disk showed {:?}", &value[..value.len().min(20)]).into());
        }
        if accepted(&cluster, &agent, "refused").await {
            return Err("a write was accepted on a full disk".into());
        }
    }
    drop(file);
    fs::remove_file(&ballast)?;
    until("a write once there is space again", async || accepted(&cluster, &agent, "after").await.then_some(()))
        .await?;
    match shown(&cluster, &agent).await {
        Some(value) if value == "after" => {
            Ok(Ok("a full disk: reads went on, writes were refused, and taken again once there was space".to_owned()))
        }
        other => Err(format!("after the disk had space again the last write was not read, but {other:?}").into()),
    }
}
