//! What comes in on the server port behind HTTP/2: bodies, and streams of frames.

use super::{Seeds, Verdict, survives};
use crate::http::call::{Call, Method, Reply};
use crate::http::params::Params;
use crate::rpc::{
    Answered, Forwarded, Hello, LETTER_MAX, Malformed, Signature, Submission, Submitted, Unserved, VERSION, decode,
    encode,
};
use crate::runtime::rpc::{Frames, frame};
use bytes::Bytes;
use hyper::body::{Body, Frame};
use lictor_catalog::store::Scope;
use lictor_catalog::{Command, KvCommand, Outcome};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use std::fmt::Debug;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use uuid::Uuid;

/// A body, as any of the messages that there are: what a path expects is the receiver's business, not the sender's.
pub(super) fn message(bytes: &[u8]) -> Verdict {
    let accepted = [
        one::<Hello>(bytes),
        one::<Signature>(bytes),
        one::<Forwarded>(bytes),
        one::<Answered>(bytes),
        one::<Submission>(bytes),
        one::<Submitted>(bytes),
        one::<Scope>(bytes),
    ];
    if accepted.contains(&true) { Ok(()) } else { Err(Malformed.to_string()) }
}

fn one<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> bool {
    match decode::<T>(bytes) {
        Ok(message) => {
            survives(&message, encode, decode::<T>);
            true
        }
        Err(Malformed) => false,
    }
}

pub(super) fn messages() -> Seeds {
    let hello = Hello {
        version: VERSION,
        datacenter: "dc1".to_owned(),
        cluster: Some(Uuid::from_u128(7)),
        node: Uuid::from_u128(1),
        name: "n1".to_owned(),
    };
    let call = Call {
        method: Method::Put,
        path: "/v1/kv/a%2Fb".to_owned(),
        params: Params::parse("flags=1&cas"),
        token: "secret".to_owned(),
        accept: "*/*".to_owned(),
        cache_control: String::new(),
        gzip: false,
        body: Bytes::from_static(b"value"),
        source: Some([127, 0, 0, 1].into()),
        agent: Some("n1".into()),
    };
    let command = Command::Kv(KvCommand::Set { key: "a".to_owned(), value: Bytes::from_static(b"v"), flags: 3 });
    vec![
        ("hello", encode(&hello).to_vec()),
        ("call", encode(&Forwarded { call, hops: 1, budget_ms: 7000 }).to_vec()),
        ("reply", encode(&Answered::Reply(Reply::json("[]").with("x-consul-index", "7"))).to_vec()),
        ("unserved", encode(&Answered::Unserved(Unserved::NoLeader)).to_vec()),
        ("submission", encode(&Submission { command, hops: 0, budget_ms: 10_000 }).to_vec()),
        ("applied", encode(&Submitted::Applied(Outcome::Matched(false))).to_vec()),
        ("scope", encode(&Scope::Service("web".to_owned())).to_vec()),
    ]
}

/// A stream of frames, cut in several ways: the frames do not depend on the cut, a claimed length reserves nothing, and
/// what was read are the bytes that were sent.
pub(super) fn frames(bytes: &[u8]) -> Verdict {
    let read = |size: usize, max: usize| {
        let mut frames = Frames::new(Pieces { bytes: Bytes::copy_from_slice(bytes), size }, max);
        let mut read = Vec::new();
        loop {
            match now(frames.next()) {
                Ok(Some(frame)) => read.push(frame),
                Ok(None) => return (read, Ok(())),
                Err(bad) => return (read, Err(bad)),
            }
        }
    };
    let whole = read(bytes.len().max(1), LETTER_MAX);
    for size in [7, 1000] {
        assert_eq!(read(size, LETTER_MAX), whole, "in pieces of {size}");
    }
    let written: Vec<u8> = whole.0.iter().flat_map(|payload| frame(payload)).collect();
    assert!(bytes.starts_with(&written), "the frames are the bytes");
    whole.1.map_err(|_bad| "the body breaks off inside a frame, or a frame is too long".to_owned())
}

pub(super) fn framed() -> Seeds {
    let signature = Signature { from: crate::consensus::EngineId(1), to: crate::consensus::EngineId(2) };
    let letters = [frame(&encode(&signature)), frame(b""), frame(&[7; 300])].concat();
    vec![("letters", letters), ("nothing", Vec::new())]
}

/// A body that is all there.
struct Pieces {
    bytes: Bytes,
    size: usize,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let size = self.size.min(self.bytes.len());
        let piece = self.bytes.split_to(size);
        Poll::Ready((!piece.is_empty()).then_some(Ok(Frame::data(piece))))
    }
}

/// What a future that never waits comes to.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the body is all there"),
    }
}
