//! What a shell gives, and what an agent, or whatever listens in its place, answers: see [`crate::malformed`].

pub(crate) use super::kv::import::data as import;
use super::{Output, VERBS, World, argv, dispatch, explain, parse, root};
use crate::config::flags;
use crate::malformed::Verdict;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Arguments, one a line.
pub(crate) fn arguments(bytes: &[u8]) -> Verdict {
    let text = str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let root = root(|_| true);
    let argv = argv::normalise(&root, text.split('\n').map(str::to_owned));
    match parse(&root, &argv) {
        Ok(matches) => match matches.subcommand() {
            Some(("agent", matches)) => flags::read(matches).map(drop).map_err(|error| error.to_string()),
            _ => Ok(()),
        },
        Err(error) => {
            let Output { stderr, code, .. } = explain(&root, &argv, &error);
            if code == 0 { Ok(()) } else { Err(stderr.lines().next().unwrap_or_default().to_owned()) }
        }
    }
}

/// Every verb that shows what it was answered.
const LINES: &[&str] = &[
    "catalog datacenters",
    "catalog nodes -detailed",
    "catalog nodes -service=web",
    "catalog services -tags",
    "catalog services -node=n1",
    "info",
    "kv export k",
    "kv get -detailed k",
    "kv get -recurse k",
    "kv get -keys k",
    "kv put k v",
    "members",
    "members -detailed",
    "operator raft list-peers",
];

/// An answer of 200 with this body, as each verb takes it. Some understands it, or all refuse it with a reason.
pub(crate) fn answer(bytes: &[u8]) -> Verdict {
    static AGENT: OnceLock<Agent> = OnceLock::new();
    let agent = AGENT.get_or_init(Agent::start);
    let _one_at_a_time = agent.turn.lock().unwrap_or_else(PoisonError::into_inner);
    *agent.body.lock().unwrap_or_else(PoisonError::into_inner) = bytes.to_vec();
    let world = World { env: |_| None, bold: false };
    let root = root(|_| true);
    let mut verdict = Err(String::new());
    for line in LINES {
        let address = format!("-http-addr={}", agent.address);
        let (verb, rest) = line.split_at(line.find(" -").or_else(|| line.find(" k")).unwrap_or(line.len()));
        let words = verb.split(' ').chain([address.as_str()]).chain(rest.split_whitespace()).map(str::to_owned);
        let matches = parse(&root, &argv::normalise(&root, words)).expect("a sound line");
        match dispatch(VERBS, &matches, &world) {
            Ok(output) => {
                assert!(output.code <= 2, "{line}: code {}", output.code);
                verdict = Ok(());
            }
            Err(failure) => verdict = verdict.map_err(|_other| failure.to_string()),
        }
    }
    verdict
}

/// Something that listens, and answers whatever it is asked with one body.
struct Agent {
    address: SocketAddr,
    turn: Mutex<()>,
    body: &'static Mutex<Vec<u8>>,
}

impl Agent {
    fn start() -> Self {
        static BODY: Mutex<Vec<u8>> = Mutex::new(Vec::new());
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = reply(stream, &BODY.lock().unwrap_or_else(PoisonError::into_inner));
            }
        });
        Self { address, turn: Mutex::new(()), body: &BODY }
    }
}

fn reply(mut stream: TcpStream, body: &[u8]) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut chunk = [0; 4096];
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            length => head.extend_from_slice(&chunk[..length]),
        }
    }
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len())?;
    stream.write_all(body)
}
