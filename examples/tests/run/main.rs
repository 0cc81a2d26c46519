//! Each example does what it says, run as the program that it is, against real agents.
#![expect(clippy::unwrap_used, reason = "tests")]

mod recipes;

use lictor_examples::cluster::{Agent, Cluster, PATIENCE, lictor, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

/// The example of this name, ready to be run beside this agent, or with a cluster of its own.
fn example(name: &str, agent: Option<&Agent>, args: &[&str]) -> Command {
    // <target>/<profile>/deps/<this test>
    let program: PathBuf = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(program.exists(), "{} is not built: `cargo build --workspace --examples`", program.display());
    let mut command = Command::new(program);
    command.args(args).env("LICTOR", lictor().unwrap()).env_remove("CONSUL_HTTP_ADDR");
    if let Some(agent) = agent {
        command.env("CONSUL_HTTP_ADDR", format!("{}:8500", agent.ip));
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
    command
}

/// What it prints, if it ends well and in time. An example with several clusters in a row may take as often as long.
async fn output(mut command: Command, clusters: u32) -> String {
    let output = tokio::time::timeout(PATIENCE * clusters, command.output()).await.expect("it ends in time").unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}:\n{text}", output.status);
    text
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let mut rest = text;
    for line in expected {
        let Some((_, after)) = rest.split_once(line) else { panic!("no {line:?} in what is left of\n{text}") };
        rest = after;
    }
}

/// One durable server.
async fn one() -> (Cluster, Agent) {
    let cluster = Cluster::new().unwrap();
    let agent = cluster.servers(1).await.unwrap().remove(0);
    (cluster, agent)
}

/// The passing instances of a service, as soon as there are so many; held by the agent until then.
async fn passing(cluster: &Cluster, agent: &Agent, service: &str, count: usize) -> Vec<Value> {
    let mut index = "0".to_owned();
    until(&format!("{count} instances of {service}"), async || {
        let url = agent.url(&format!("/v1/health/service/{service}?passing&wait=10s&index={index}"));
        let response = cluster.http().get(url).send().await.ok()?;
        index = response.headers()["x-consul-index"].to_str().ok()?.to_owned();
        let found: Vec<Value> = response.json().await.ok()?;
        (found.len() == count).then_some(found)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn register_is_found_and_says_goodbye() {
    let (cluster, agent) = one().await;
    let text = output(example("register", Some(&agent), &[]), 1).await;
    check(&text, &["registered greeter-", "found \"greeter-", "deregistered greeter-"]);
    assert_eq!(cluster.get(&agent, "/v1/agent/services").await.unwrap(), "{}");
}

#[tokio::test]
async fn srv_lookup_spreads_over_those_that_answer() {
    let (cluster, agent) = one().await;
    let listeners = [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
    let [heavy, light] = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    // The third is registered, but nobody listens there any more.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (address, weight) in [(heavy, 10), (light, 10), (gone, 1)] {
        let service = json!({
            "ID": format!("web-{}", address.port()), "Name": "web", "Address": address.ip(), "Port": address.port(),
            "Weights": {"Passing": weight, "Warning": 1},
        });
        cluster.put(&agent, "/v1/agent/service/register", service.to_string()).await.unwrap();
    }
    passing(&cluster, &agent, "web", 3).await;
    let text = output(example("srv_lookup", Some(&agent), &["web"]), 1).await;
    for (address, weight) in [(heavy, 10), (light, 10), (gone, 1)] {
        check(&text, &[&format!("web.service.consul. is at {address}, priority 1, weight {weight}")]);
    }
    // With equal weights, all of twenty connections go to one of the two once in half a million runs.
    check(&text, &[&format!("connections went to {heavy}")]);
    check(&text, &[&format!("connections went to {light}")]);
    assert!(!text.contains(&format!("connections went to {gone}")), "{text}");
}

/// A sidecar that has said where it serves.
async fn sidecar(agent: &Agent, args: &[&str]) -> (Child, String) {
    let mut child = example("sidecar", Some(agent), args).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    let (_, url) = line.split_once(" serves ").unwrap_or_else(|| panic!("{line:?} says where it serves"));
    child.stdout = Some(lines.into_inner().into_inner());
    (child, url.to_owned())
}

#[tokio::test]
async fn sidecar_finds_its_upstream_and_leaves_on_sigterm() {
    let (cluster, agent) = one().await;
    let (mut api, _) = sidecar(&agent, &["api"]).await;
    let (_web, url) = sidecar(&agent, &["web", "api"]).await;
    passing(&cluster, &agent, "api", 1).await;
    passing(&cluster, &agent, "web", 1).await;
    let answer = cluster.http().get(&url).send().await.unwrap().text().await.unwrap();
    check(&answer, &["web at 127.0.0.1:", ", through api at 127.0.0.1:"]);

    kill(Pid::from_raw(api.id().unwrap().cast_signed()), Signal::SIGTERM).unwrap();
    let status = tokio::time::timeout(PATIENCE, api.wait()).await.expect("it ends in time").unwrap();
    assert!(status.success(), "{status}");
    let mut text = String::new();
    api.stdout.take().unwrap().read_to_string(&mut text).await.unwrap();
    check(&text, &["deregistered"]);
    passing(&cluster, &agent, "api", 0).await;
    let answer = cluster.http().get(&url).send().await.unwrap();
    assert_eq!(answer.status(), 502);
    check(&answer.text().await.unwrap(), &["api did not answer: "]);
    let nobody = example("srv_lookup", Some(&agent), &["api"]).stderr(Stdio::piped()).output().await.unwrap();
    assert!(!nobody.status.success());
    check(&String::from_utf8(nobody.stderr).unwrap(), &["api.service.consul. has no healthy instance"]);
}

#[tokio::test]
async fn watchers_are_woken_by_what_they_watch_alone() {
    let text = output(example("watchers", None, &["--queries", "100", "--services", "50"]), 2).await;
    check(
        &text,
        &[
            "answers encoded for that change                            1\n",
            "2000 watchers of a, 1000 writes to b: early answers        0\n",
            "evaluations for them meanwhile                             0\n",
            "one flap in a service of 1,000 instances, on the stream",
        ],
    );
}

#[tokio::test]
async fn three_servers_shows_a_failover() {
    let text = output(example("three_servers", None, &[]), 2).await;
    check(
        &text,
        &[
            "Three servers, at 127.",
            " leads, ",
            "server1 knows: db is at 127.",
            "server3 knows: db is at 127.",
            "has written color = red",
            "kill -9 server",
            "Writes stood still for ",
            " leads now.",
            "it knows: color = blue",
        ],
    );
}

#[tokio::test]
async fn load_prints_a_rate_for_each_kind() {
    let text = output(example("load", None, &["--seconds", "1", "--connections", "4"]), 2).await;
    for kind in ["GET /v1/health", "PUT /v1/kv", "DNS SRV"] {
        let line = text.lines().find(|line| line.starts_with(kind)).unwrap_or_else(|| panic!("no {kind} in\n{text}"));
        let rate = line.split("/s ").next().unwrap().split_whitespace().last().unwrap();
        assert!(rate.parse::<u32>().unwrap() > 0, "{line}");
        check(line, &["p50", "p99", "p99.9"]);
    }
    let wrong = example("load", None, &["--seconds", "0"]).stderr(Stdio::null()).output().await.unwrap();
    assert!(!wrong.status.success(), "no load is no measurement");
}

#[tokio::test]
async fn figures_are_measured() {
    let text = output(example("figures", None, &["1"]), 6).await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 8, "{text}");
    assert!(lines[..6].iter().all(|line| line.contains(" median ")), "{text}");
    assert!(lines[6..].iter().all(|line| line.ends_with(" MiB")), "{text}");
}
