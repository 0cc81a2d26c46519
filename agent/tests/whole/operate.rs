//! What an operator does with a living agent: figures, the log, the machine, maintenance, sending the dead away.

use crate::cluster::{Agent, Cluster, LICTOR, lictor, until, write};
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};

async fn dev(cluster: &Cluster, more: &[&str]) -> Agent {
    let agent = cluster.agent(1, "dev1", &[&["-dev"], more].concat());
    cluster.leader(std::slice::from_ref(&agent)).await;
    agent
}

fn row<'a>(metrics: &'a Value, kind: &str, name: &str) -> Option<&'a Value> {
    metrics[kind].as_array()?.iter().find(|row| row["Name"] == name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_are_counted_and_named_as_consul_names_them() {
    let cluster = Cluster::new();
    let file = cluster.dir.join("telemetry.hcl");
    write(
        &file,
        "telemetry { prometheus_retention_time = \"30s\" disable_hostname = true prefix_filter = [\"-consul.lictor\"] }",
    );
    let agent = dev(&cluster, &[&format!("-config-file={}", file.display())]).await;
    for key in ["a", "b", "c"] {
        cluster.put(&agent, &format!("/v1/kv/{key}"), "1").await.unwrap();
    }
    cluster.get(&agent, "/v1/kv/a").await.unwrap();
    // Without a time to live, and with one, which is renewed.
    cluster.put(&agent, "/v1/session/create", "").await.unwrap();
    let mortal = cluster.put(&agent, "/v1/session/create", r#"{"TTL":"60s"}"#).await.unwrap().1;
    let mortal: Value = serde_json::from_str(&mortal).unwrap();
    cluster.put(&agent, &format!("/v1/session/renew/{}", mortal["ID"].as_str().unwrap()), "").await.unwrap();
    crate::dig::ask(agent.ip, "consul.service.consul", hickory_proto::rr::RecordType::A).await.unwrap();
    // A DNS answer is counted once it is sent, and so perhaps after it has come.
    let text = until("the DNS answer among the figures", async || {
        let scrape = cluster.http.get(agent.url("/v1/agent/metrics?format=prometheus")).send().await.unwrap();
        assert_eq!(scrape.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        let text = scrape.text().await.unwrap();
        text.contains("consul_dns_domain_query_count 1\n").then_some(text)
    })
    .await;
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.and_then(|line| line.rsplit_once(' ')).unwrap_or_else(|| panic!("{name}: {text}")).1.parse().unwrap()
    };
    assert_eq!(value("consul_kvs_apply_count"), 3.0);
    assert!(value("consul_kvs_apply_sum") > 0.0);
    assert_eq!(value("consul_api_http_count{method=\"PUT\",path=\"v1.kv._\"}"), 3.0);
    assert_eq!(value("consul_api_http_count{method=\"GET\",path=\"v1.kv._\"}"), 1.0);
    assert_eq!(value("consul_state_kv_entries{datacenter=\"dc1\"}"), 3.0);
    assert_eq!((value("consul_session_apply_count"), value("consul_session_renew_count")), (2.0, 1.0));
    assert_eq!(value("consul_session_ttl_active"), 1.0);
    assert_eq!(value("consul_txn_apply_count"), 0.0);
    assert_eq!(value("consul_server_isLeader"), 1.0);
    assert_eq!(value("consul_members_servers{datacenter=\"dc1\"}"), 1.0);
    assert!(value("consul_raft_apply") >= 4.0, "three keys and the node itself");
    assert!(!text.contains("consul_lictor"), "filtered out");

    let json = cluster.json(&agent, "/v1/agent/metrics").await;
    assert!(row(&json, "Gauges", "consul.runtime.alloc_bytes").unwrap()["Value"].as_f64() > Some(1e5), "{json}");
    assert_eq!(json["Points"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gauges_carry_the_hosts_name_and_prometheus_is_off_by_default() {
    let cluster = Cluster::new();
    let agent = dev(&cluster, &[]).await;
    let json = cluster.json(&agent, "/v1/agent/metrics").await;
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let name = format!("consul.{}.runtime.alloc_bytes", host.trim());
    assert!(row(&json, "Gauges", &name).is_some(), "{json}");
    let refused = cluster.http.get(agent.url("/v1/agent/metrics?format=prometheus")).send().await.unwrap();
    assert_eq!(refused.status(), 415);
    assert!(refused.headers()["x-consul-reason"].to_str().unwrap().starts_with("Prometheus is not enabled"));
    // A waiting read is seen while it waits, and no longer.
    let blocking = cluster.http.get(agent.url("/v1/kv/none?index=9999999&wait=60s")).send();
    let blocking = tokio::spawn(blocking);
    let waiting = async |expected: f64| {
        let name = format!("consul.{}.rpc.queries_blocking", host.trim());
        until("the count of waiting reads", async || {
            let json = cluster.json(&agent, "/v1/agent/metrics").await;
            (row(&json, "Gauges", &name)?["Value"].as_f64() == Some(expected)).then_some(())
        })
        .await;
    };
    waiting(1.0).await;
    blocking.abort();
    waiting(0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_followed_at_a_level_of_its_own() {
    let cluster = Cluster::new();
    let agent = dev(&cluster, &["-log-level=error"]).await;
    assert_eq!(
        cluster.get(&agent, "/v1/agent/monitor?loglevel=loud").await.unwrap(),
        (400, "Unknown log level: loud".to_owned())
    );
    let mut stream = cluster.http.get(agent.url("/v1/agent/monitor?loglevel=debug&logjson")).send().await.unwrap();
    assert_eq!(stream.status(), 200);
    cluster.put(&agent, "/v1/agent/service/register", json!({"Name": "web"}).to_string()).await.unwrap();
    // An agent that has just started has other things to say, too.
    let heard = async {
        let mut text = String::new();
        loop {
            text += &String::from_utf8_lossy(&stream.chunk().await.unwrap().expect("it has no end"));
            let whole = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            if let Some(line) = whole.into_iter().find(|line| line["path"] == "/v1/agent/service/register") {
                return line;
            }
        }
    };
    let line = tokio::time::timeout(Duration::from_secs(60), heard).await.unwrap();
    assert_eq!(line["@level"], "debug", "{line}");
    assert!(!agent.log().contains("[DEBUG]"), "the agent's own log keeps its level");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn monitor_ends_cleanly_by_a_signal_and_says_when_the_agent_ended() {
    let cluster = Cluster::new();
    let mut agent = dev(&cluster, &[]).await;
    let follow = || {
        let mut command = tokio::process::Command::new(LICTOR);
        command.args(["monitor", "-log-level=debug", &format!("-http-addr={}:8500", agent.ip)]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap()
    };
    let mut followers = [follow(), follow()];
    for follower in &mut followers {
        let mut lines = BufReader::new(follower.stdout.as_mut().unwrap()).lines();
        // It may not have begun to listen when the first change is made.
        until("a line of the log", async || {
            cluster.put(&agent, "/v1/agent/service/register", json!({"Name": "web"}).to_string()).await.unwrap();
            let line = tokio::time::timeout(Duration::from_millis(400), lines.next_line()).await.ok()?.unwrap()?;
            line.contains("[DEBUG] agent.runtime: request finished").then_some(())
        })
        .await;
    }
    let [interrupted, left_alone] = followers;
    let pid = nix::unistd::Pid::from_raw(i32::try_from(interrupted.id().unwrap()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let output = tokio::time::timeout(Duration::from_secs(5), interrupted.wait_with_output()).await.unwrap().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    agent.kill();
    let output = tokio::time::timeout(Duration::from_secs(5), left_alone.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("Remote side ended the monitor!"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_machine_and_the_release_are_shown() {
    let cluster = Cluster::new();
    let agent = dev(&cluster, &[]).await;
    let host = cluster.json(&agent, "/v1/agent/host").await;
    for (part, field) in [("Memory", "total"), ("Host", "uptime"), ("Disk", "total")] {
        assert!(host[part][field].as_u64() > Some(0), "{part} {field}: {host}");
    }
    assert!(!host["CPU"].as_array().unwrap().is_empty() && host["CollectionTime"].as_u64() > Some(0), "{host}");
    assert_eq!(host["Errors"], Value::Null);
    let version = cluster.json(&agent, "/v1/agent/version").await;
    assert_eq!(version["HumanVersion"], "1.22.0");
    for field in ["SHA", "BuildDate", "FIPS"] {
        assert!(version[field].is_string(), "{version}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn maintenance_by_command() {
    let cluster = Cluster::new();
    let agent = dev(&cluster, &[]).await;
    let check = |args: &[&str], expected: (i32, &str, &str)| {
        let (code, out, err) = lictor(Some(&agent), args);
        assert_eq!((code, out.as_str(), err.trim_end()), expected, "{args:?}");
    };
    lictor(Some(&agent), &["services", "register", "-name=web-1", "-port=80"]);
    check(&["maint"], (0, "", ""));
    check(&["maint", "-enable", "-reason", "disk swap"], (0, "Node maintenance is now enabled\n", ""));
    let enabled = "Service maintenance is now enabled for \"web-1\"\n";
    check(&["maint", "-enable", "-service=web-1", "-reason=upgrade"], (0, enabled, ""));
    let both = "Node:\n  Name:   dev1\n  Reason: disk swap\n\nService:\n  ID:     web-1\n  Reason: upgrade\n\n";
    check(&["maint"], (0, both, ""));
    let (_, out, _) = lictor(Some(&agent), &["maint", "-format=json"]);
    let shown: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(shown[1], json!({"Service": {"ID": "web-1", "Reason": "upgrade"}}));
    check(&["maint", "-disable"], (0, "Node maintenance is now disabled\n", ""));
    check(&["maint", "-disable", "-service=web-1"], (0, "Service maintenance is now disabled for \"web-1\"\n", ""));
    check(&["maint"], (0, "", ""));
    let (code, _, err) = lictor(Some(&agent), &["maint", "-enable", "-service=web1"]);
    assert_eq!(code, 1);
    assert!(
        err.starts_with("Error enabling service maintenance: ") && err.contains("did you mean \"web-1\"?"),
        "{err}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_member_is_sent_away_and_then_forgotten() {
    let cluster = Cluster::new();
    let server = cluster.agent(1, "server1", &["-server", "-bootstrap-expect=1"]);
    let servers = std::slice::from_ref(&server);
    cluster.leader(servers).await;
    let mut client = cluster.agent(2, "client2", &[&format!("-retry-join={}", server.ip)]);
    let becomes = async |what: &str, status: Option<&str>| {
        until(what, async || {
            let (_, out, _) = lictor(Some(&server), &["members", "-format=json"]);
            let members: Value = serde_json::from_str(&out).ok()?;
            let found = members.as_array()?.iter().find(|member| member["Name"] == "client2");
            let word = found.map(|member| {
                ["none", "alive", "leaving", "left", "failed"][member["Status"].as_u64().unwrap() as usize]
            });
            (word == status).then_some(())
        })
        .await;
    };
    becomes("a living client", Some("alive")).await;
    client.kill();
    becomes("a failed client", Some("failed")).await;
    let (code, _, err) = lictor(Some(&server), &["force-leave", "clinet2"]);
    assert_eq!(code, 1);
    let expected = "Error force leaving: Unexpected response code: 500 (agent: No node found with name 'clinet2'); \
                    did you mean \"client2\"?";
    assert_eq!(err.trim_end(), expected);
    assert_eq!(lictor(Some(&server), &["force-leave", "client2"]), (0, String::new(), String::new()));
    becomes("a client that left", Some("left")).await;
    assert_eq!(lictor(Some(&server), &["force-leave", "-prune", "client2"]).0, 0);
    becomes("nobody of that name", None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_table_has_a_form_for_programs() {
    let cluster = Cluster::new();
    let agent = dev(&cluster, &[]).await;
    lictor(Some(&agent), &["kv", "put", "a/b", "1"]);
    let json = |args: &[&str]| -> Value {
        let (code, out, err) = lictor(Some(&agent), &[args, &["-format=json"]].concat());
        assert_eq!(code, 0, "{args:?}: {err}");
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{args:?}: {error}: {out}"))
    };
    assert_eq!(json(&["members"])[0]["Name"], "dev1");
    until("the node in the catalog", async || (json(&["catalog", "services"]) == json!({"consul": []})).then_some(()))
        .await;
    assert_eq!(json(&["catalog", "nodes"])[0]["Node"], "dev1");
    assert_eq!(json(&["catalog", "datacenters"]), json!(["dc1"]));
    assert_eq!(json(&["operator", "raft", "list-peers"])[0]["Leader"], true);
    assert_eq!(json(&["info"])["raft"]["state"], "Leader");
    assert_eq!(json(&["maint"]), json!([]));
    assert_eq!(lictor(Some(&agent), &["kv", "get", "-format=json", "a/b"]).0, 0);
    assert_eq!(json(&["kv", "get", "-keys"]), json!(["a/"]));
    let (code, out, _) = lictor(Some(&agent), &["members", "-status=left", "-format=json"]);
    assert_eq!((code, out.as_str()), (2, "[]\n"));
}
