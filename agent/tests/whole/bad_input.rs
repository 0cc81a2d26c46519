//! What is wrong is refused by name, changes nothing, and stops nobody.

use crate::cluster::{Cluster, until};
use crate::dig;
use hickory_proto::rr::RecordType;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target)
        } else {
            drop(fs::copy(entry.path(), target))
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_calls_are_refused_with_a_reason() {
    let cluster = Cluster::new();
    let agent = cluster.agent(1, "dev1", &["-dev"]);
    cluster.leader(std::slice::from_ref(&agent)).await;
    for (path, body, status, words) in [
        ("/v1/agent/service/register", "{", 400, "decode"),
        ("/v1/agent/service/register", "{}", 400, "Missing service name"),
        ("/v1/agent/service/register", r#"{"Name":"w","Check":{"HTTP":"http://x/"}}"#, 400, "Interval must be > 0"),
        ("/v1/agent/service/register", r#"{"Name":"w","Check":{"TTL":"nope"}}"#, 400, "invalid duration"),
        (
            "/v1/agent/service/register",
            r#"{"Name":"w","Check":{"Args":["true"],"Interval":"1s"}}"#,
            500,
            "Scripts are disabled",
        ),
        ("/v1/agent/check/register", r#"{"Name":"c","ServiceID":"no","TTL":"1s"}"#, 404, "does not exist"),
        ("/v1/catalog/register", r#"{"Node":"n"}"#, 500, "Must provide address"),
        ("/v1/kv/", "x", 400, ""),
    ] {
        let (code, text) = cluster.put(&agent, path, body).await.unwrap();
        assert_eq!(code, status, "{path} {body}: {text}");
        assert!(text.contains(words), "{path} {body}: {text}");
    }
    assert_eq!(cluster.get(&agent, "/v1/kv/a?index=x").await.unwrap(), (400, "Invalid index".to_owned()));
    assert_eq!(cluster.get(&agent, "/v1/kv/a?stale&consistent").await.unwrap().0, 400);
    assert_eq!(cluster.get(&agent, "/v1/nothing").await.unwrap().0, 404);
    assert_eq!(cluster.put(&agent, "/v1/kv/big", vec![0; 600_000]).await.unwrap().0, 413);
    // What nobody looks at is not refused.
    assert_eq!(cluster.put(&agent, "/v1/agent/maintenance?enable=false", b"{}".to_vec()).await.unwrap().0, 200);
    assert_eq!(cluster.put(&agent, "/v1/nothing", b"{}".to_vec()).await.unwrap().0, 404);
    assert_eq!(cluster.put(&agent, "/v1/status/leader", "").await.unwrap().0, 405);
    // A name that DNS cannot carry is registered all the same.
    let odd = r#"{"Name":"my_odd service","Port":1}"#;
    assert_eq!(cluster.put(&agent, "/v1/agent/service/register", odd).await.unwrap().0, 200);
    assert_eq!(cluster.get(&agent, "/v1/agent/checks").await.unwrap().1.trim(), "{}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_every_port_stops_nobody() {
    let cluster = Cluster::new();
    let agent = cluster.agent(1, "dev1", &["-dev"]);
    cluster.leader(std::slice::from_ref(&agent)).await;
    let socket = UdpSocket::bind((cluster.ip(9), 0)).await.unwrap();
    for size in 0..200_usize {
        let bytes: Vec<u8> = (0..size * 7).map(|at| (at * 31 + size) as u8).collect();
        for port in [8301, 8600] {
            let _ = socket.send_to(&bytes, (agent.ip, port)).await;
        }
    }
    for port in [8300, 8301, 8500, 8600] {
        for bytes in
            [&b"\xff\xff\xff\xff\xff\xff"[..], b"GET / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0", b"\0"]
        {
            let mut stream = TcpStream::connect((agent.ip, port)).await.unwrap();
            stream.write_all(bytes).await.unwrap();
        }
    }
    assert_eq!(cluster.get(&agent, "/v1/status/leader").await.unwrap().0, 200);
    assert!(dig::ask(agent.ip, "consul.service.consul", RecordType::A).await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_use_is_named() {
    let cluster = Cluster::new();
    let agent = cluster.agent(1, "one", &["-server", "-bootstrap-expect=1"]);
    cluster.leader(std::slice::from_ref(&agent)).await;

    let mut same_port = cluster.agent(1, "two", &["-server", "-bootstrap-expect=1"]);
    assert_eq!(same_port.ended().await.code(), Some(1));
    assert!(same_port.log().contains(&format!("{}:8500", agent.ip)), "{}", same_port.log());

    let dir = format!("-data-dir={}", agent.dir.display());
    let mut same_dir = cluster.agent(2, "three", &["-server", "-bootstrap-expect=1", &dir]);
    assert_eq!(same_dir.ended().await.code(), Some(1));
    assert!(same_dir.log().contains("another agent is running in it"), "{}", same_dir.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_or_damaged_directory_is_refused() {
    let cluster = Cluster::new();
    let foreign = cluster.dir.join("foreign");
    fs::create_dir_all(foreign.join("raft")).unwrap();
    fs::write(foreign.join("raft/log.redb"), vec![7; 100_000]).unwrap();
    let dir = format!("-data-dir={}", foreign.display());
    let mut agent = cluster.agent(1, "one", &["-server", "-bootstrap-expect=1", &dir]);
    assert_eq!(agent.ended().await.code(), Some(1));
    assert!(agent.log().contains("log.redb"), "{}", agent.log());

    fs::remove_dir_all(&foreign).unwrap();
    fs::create_dir_all(&foreign).unwrap();
    fs::write(foreign.join("node-id"), "not a uuid").unwrap();
    let mut agent = cluster.agent(2, "two", &["-server", "-bootstrap-expect=1", &dir]);
    assert_eq!(agent.ended().await.code(), Some(1));
    assert!(agent.log().contains("node-id") && agent.log().contains("not a uuid"), "{}", agent.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clone_of_a_living_agent_ends_and_names_both() {
    let cluster = Cluster::new();
    let server = cluster.agent(1, "server1", &["-server", "-bootstrap-expect=1"]);
    cluster.leader(std::slice::from_ref(&server)).await;
    let join = format!("-retry-join={}", server.ip);
    let original = cluster.agent(2, "original", &[&join]);
    until("two members", async || {
        (cluster.json(&server, "/v1/agent/members").await.as_array()?.len() == 2).then_some(())
    })
    .await;
    copy(&original.dir, &cluster.dir.join("copy"));
    let mut copy = cluster.agent(3, "copy", &[&join]);
    assert_eq!(copy.ended().await.code(), Some(1));
    let log = copy.log();
    assert!(log.contains(&original.ip.to_string()) && log.contains(&copy.ip.to_string()), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_name_and_a_foreign_datacenter_do_not_join() {
    let cluster = Cluster::new();
    let server = cluster.agent(1, "server1", &["-server", "-bootstrap-expect=1"]);
    cluster.leader(std::slice::from_ref(&server)).await;
    let join = format!("-retry-join={}", server.ip);
    let mut first = cluster.agent(2, "web", &[&join]);
    until("two members", async || {
        (cluster.json(&server, "/v1/agent/members").await.as_array()?.len() == 2).then_some(())
    })
    .await;
    let other = cluster.dir.join("other");
    let namesake = cluster.agent(3, "web", &[&join, &format!("-data-dir={}", other.display())]);
    until("the refusal to name both", async || {
        let log = namesake.log();
        (log.contains(&first.ip.to_string()) && log.contains("\"web\"")).then_some(())
    })
    .await;
    assert!(namesake.runs());
    first.kill();
    until("the namesake to get in once the holder has failed", async || {
        let members = cluster.json(&server, "/v1/agent/members").await;
        members.as_array()?.iter().any(|member| member["Addr"] == namesake.ip.to_string()).then_some(())
    })
    .await;

    let abroad = cluster.agent(4, "abroad", &[&join, "-datacenter=dc2"]);
    until("the refusal to name both datacenters", async || {
        let log = abroad.log();
        (log.contains("dc1") && log.contains("dc2") && log.contains("join failed")).then_some(())
    })
    .await;
}

/// Sends bytes as they are; what comes back until the agent closes, or has said its first line.
async fn raw(agent: std::net::Ipv4Addr, port: u16, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect((agent, port)).await.unwrap();
    let sent = stream.write_all(bytes).await;
    let mut back = Vec::new();
    let mut chunk = [0; 4096];
    while !back.windows(2).any(|pair| pair == b"\r\n") {
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut chunk)).await;
        match read.unwrap_or_else(|_| panic!("port {port} neither answers nor closes: {sent:?}")) {
            Ok(length @ 1..) => back.extend_from_slice(&chunk[..length]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&back).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_and_frames_are_read_up_to_their_bounds() {
    let cluster = Cluster::new();
    let agent = cluster.agent(1, "dev1", &["-dev"]);
    cluster.leader(std::slice::from_ref(&agent)).await;
    let largest = 512 << 10;
    assert_eq!(cluster.put(&agent, "/v1/kv/largest", vec![0; largest]).await.unwrap().0, 200);
    assert_eq!(cluster.put(&agent, "/v1/kv/larger", vec![0; largest + 1]).await.unwrap().0, 413);
    assert_eq!(cluster.get(&agent, "/v1/kv/larger").await.unwrap().0, 404);

    // CVE-2025-11374: what the head claims is not trusted, either way.
    let head = |rest: &str| format!("PUT /v1/kv/x HTTP/1.1\r\nhost: x\r\n{rest}\r\n\r\n").into_bytes();
    let chunked = [head("transfer-encoding: chunked"), b"100000\r\n".to_vec(), vec![0; 0x10_0000]].concat();
    let both = [head("content-length: 1\r\ncontent-length: 2"), b"xy".to_vec()].concat();
    // All at once: each waits for a bound of its own.
    let mut asked = tokio::task::JoinSet::new();
    for (port, bytes, answer) in [
        (8500, head("content-length: 99999999999"), "413"),
        (8500, head("content-length: 99999999999999999999999"), "400"),
        (8500, head("content-length: -1"), "400"),
        (8500, both, "400"),
        (8500, head("transfer-encoding: chunked").into_iter().chain(*b"zz\r\n").collect(), "400"),
        (8500, chunked, "413"),
        (8500, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(), ""),
        (8500, [&b"GET / HTTP/1.1\r\nx: "[..], &vec![b'a'; 200_000]].concat(), "431"),
        (8300, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), ""),
        (8300, vec![0xff; 100], ""),
        (8300, Vec::new(), ""),
        (8301, b"\xff\xff\xff\xffbody".to_vec(), ""),
        (8301, b"\x00\x00\x00\x00".to_vec(), ""),
        (8301, b"\x00\x10\x00\x00short".to_vec(), ""),
        (8600, b"\xff\xffshort".to_vec(), ""),
        (8600, b"\x00\x00".to_vec(), ""),
    ] {
        let ip = agent.ip;
        asked.spawn(async move {
            let back = raw(ip, port, &bytes).await;
            let start = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
            assert!(back.contains(answer), "port {port}, {start:?}: {back:?}");
        });
    }
    asked.join_all().await;
    assert_eq!(cluster.get(&agent, "/v1/kv/x").await.unwrap().0, 404);
    assert_eq!(cluster.get(&agent, "/v1/status/leader").await.unwrap().0, 200);
}
