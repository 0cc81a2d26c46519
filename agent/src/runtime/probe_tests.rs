use super::*;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

const LIMIT: Duration = Duration::from_secs(20);

/// Runs a probe to its end, which must come in bounded time.
async fn run(probe: Probe) -> Outcome {
    let (done, outcome) = oneshot::channel();
    Prober::new().start(Run(1), probe, move |_, outcome| done.send(outcome).expect("awaited just below"));
    timeout(LIMIT * 2, outcome).await.expect("every probe ends").expect("every probe has an outcome")
}

fn http(url: String) -> Probe {
    Probe::Http {
        url,
        method: "GET".into(),
        headers: BTreeMap::new(),
        body: String::new(),
        tls: TlsOptions::default(),
        follow_redirects: true,
        timeout: LIMIT,
        output_max: 8,
    }
}

fn sh(text: &str, limit: Duration) -> Probe {
    Probe::Script { args: vec!["/bin/sh".into(), "-c".into(), text.into()], timeout: limit, output_max: 4096 }
}

/// Answers each connection with the next of `answers`; returns its address and what was asked.
async fn server(answers: Vec<String>) -> (SocketAddr, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                let mut part = [0; 1024];
                let size = stream.read(&mut part).await.unwrap();
                assert!(size > 0, "a whole request");
                request.extend_from_slice(&part[..size]);
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            asked.push(String::from_utf8(request).unwrap().to_lowercase());
        }
        asked
    });
    (address, task)
}

fn with_rustls() {
    // Another test may have been first.
    let _installed = rustls::crypto::ring::default_provider().install_default();
}

#[tokio::test]
async fn http_sends_consuls_headers_and_keeps_the_end_of_the_body() {
    with_rustls();
    let answer = "HTTP/1.1 418 Short And Stout\r\ncontent-length: 12\r\n\r\nhello, world".to_owned();
    let (address, task) = server(vec![answer]).await;
    let outcome = run(http(format!("http://{address}/health"))).await;
    let body = Captured { tail: b"o, world".to_vec(), total: 12 };
    assert_eq!(outcome, Outcome::Answered { code: 418, reason: "Short And Stout".into(), body });
    let asked = task.await.unwrap().remove(0);
    for line in [
        "get /health http/1.1\r\n",
        "user-agent: consul health check\r\n",
        "accept: text/plain, text/*, */*\r\n",
        "connection: close\r\n",
    ] {
        assert!(asked.contains(line), "{line:?} in {asked}");
    }
}

#[tokio::test]
async fn http_follows_redirects_unless_told_otherwise() {
    with_rustls();
    let hop = || "HTTP/1.1 302 Found\r\nlocation: /next\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned();
    let end = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned();
    let (address, _task) = server(vec![hop(), end]).await;
    let outcome = run(http(format!("http://{address}/"))).await;
    assert!(matches!(outcome, Outcome::Answered { code: 200, .. }), "{outcome:?}");
    let (address, _task) = server(vec![hop()]).await;
    let Probe::Http { url, method, headers, body, tls, timeout, output_max, .. } = http(format!("http://{address}/"))
    else {
        unreachable!("built just above")
    };
    let probe = Probe::Http { url, method, headers, body, tls, follow_redirects: false, timeout, output_max };
    let outcome = run(probe).await;
    assert!(matches!(outcome, Outcome::Answered { code: 302, .. }), "{outcome:?}");
}

#[tokio::test]
async fn unreachable_targets_fail_with_the_cause() {
    with_rustls();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (probe, start) in [
        (http(format!("http://{free}/")), format!("GET \"http://{free}/\": ")),
        (Probe::Tcp { address: free.to_string(), timeout: LIMIT }, format!("dial tcp {free}: ")),
        (Probe::Udp { address: free.to_string(), timeout: LIMIT }, format!("dial udp {free}: ")),
    ] {
        let Outcome::Failed(text) = run(probe).await else { panic!("nobody listens") };
        assert!(text.starts_with(&start) && text.contains("refused"), "{text}");
    }
    let Outcome::Failed(text) = run(http("no url".into())).await else { panic!("no url") };
    assert!(text.starts_with("GET \"no url\": "), "{text}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    with_rustls();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    assert_eq!(run(Probe::Tcp { address: address.to_string(), timeout: LIMIT }).await, Outcome::Connected);
    let Probe::Http { url, method, headers, body, tls, follow_redirects, output_max, .. } =
        http(format!("http://{address}/"))
    else {
        unreachable!("built just above")
    };
    let timeout = Duration::from_millis(200);
    let probe = Probe::Http { url, method, headers, body, tls, follow_redirects, timeout, output_max };
    assert_eq!(run(probe).await, Outcome::Failed(format!("GET \"http://{address}/\": timed out after 200ms")));
    let quiet = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = quiet.local_addr().unwrap().to_string();
    assert_eq!(run(Probe::Udp { address, timeout }).await, Outcome::Connected);
}

#[tokio::test]
async fn scripts_bring_their_code_and_their_output_in_order() {
    let captured = |text: &str| Captured { tail: text.as_bytes().to_vec(), total: text.len() as u64 };
    let outcome = run(sh("echo out; echo err >&2; echo out; exit 3", LIMIT)).await;
    assert_eq!(outcome, Outcome::Exited { code: Some(3), output: captured("out\nerr\nout\n") });
    let outcome = run(sh("kill -9 $$", LIMIT)).await;
    assert_eq!(outcome, Outcome::Exited { code: None, output: captured("") });
    let Outcome::Exited { output, .. } =
        run(sh("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done", LIMIT)).await
    else {
        panic!("it ends")
    };
    assert!(output.tail.len() == 4096 && output.total > 20_000 && output.text().ends_with("line 2999\n"));
    let Outcome::Failed(text) = run(Probe::Script { args: vec!["/none".into()], timeout: LIMIT, output_max: 1 }).await
    else {
        panic!("there is no such program")
    };
    assert!(text.starts_with("\"/none\" could not be started: "), "{text}");
}

/// Whether a process is still there and not merely waiting to be reaped.
fn lives(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn nothing_that_a_script_started_outlives_it() {
    // The first hangs with three children; the second exits and leaves one behind that holds the pipe open.
    for (text, limit) in
        [("for i in 1 2 3; do sleep 600 & echo $!; done; wait", Duration::from_secs(3)), ("sleep 600 & echo $!", LIMIT)]
    {
        let outcome = run(sh(text, limit)).await;
        let (Outcome::TimedOut { output } | Outcome::Exited { code: Some(0), output }) = outcome else {
            panic!("{outcome:?}")
        };
        assert!(output.total > 0);
        for pid in output.text().lines() {
            // A killed process is gone once the kernel has run it for the last time.
            let gone = async {
                while lives(pid) {
                    tokio::task::yield_now().await;
                }
            };
            assert!(timeout(LIMIT, gone).await.is_ok(), "{pid} still runs");
        }
    }
}

#[tokio::test]
async fn a_run_can_be_called_off() {
    let prober = Prober::new();
    let (done, outcome) = oneshot::channel();
    prober.start(Run(7), sh("exec sleep 600", LIMIT * 10), move |run, outcome| {
        done.send((run, outcome)).expect("awaited just below");
    });
    prober.stop(Run(7));
    prober.stop(Run(7));
    let ended = timeout(LIMIT, outcome).await.expect("soon").expect("an outcome");
    assert_eq!(ended, (Run(7), Outcome::Stopped));
}
