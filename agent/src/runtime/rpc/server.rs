//! The server port: takes connections, greets, and hands what comes to the agent.

use super::{BadBody, Frames, frame, whole};
use crate::consensus::bootstrap::Letter as BootstrapLetter;
use crate::consensus::{EngineId, Letter};
use crate::event::Event;
use crate::rpc::{
    self, Answered, AskedToSave, CALL_MAX, Forwarded, Hello, LETTER_MAX, Saved, Signature, Submission, Submitted,
    Unserved,
};
use crate::runtime::dispatch::Dispatcher;
use crate::runtime::mailbox::Lane;
use crate::runtime::meter::Event as Figure;
use crate::runtime::pieces::Pieces;
use crate::runtime::silence::unless_silent;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use lictor_catalog::store::{Restore, Scope};
use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections at most; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 16_384;
/// Calls under way on one connection; more are refused by HTTP/2 itself and surely had no effect.
const STREAMS_MAX: u32 = 16_384;
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Whoever has not been let in by then is cut off.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves the port until the task is dropped.
pub async fn serve(listener: TcpListener, dispatcher: Arc<Dispatcher>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors: let some connections end.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        dispatcher.handle.meter.count(Figure::RpcAccept, 1);
        let dispatcher = Arc::clone(&dispatcher);
        tokio::spawn(async move {
            connection(stream, dispatcher).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, dispatcher: Arc<Dispatcher>) {
    let _ = stream.set_nodelay(true);
    let greeted = Arc::new(OnceLock::<Hello>::new());
    let service = service_fn({
        let greeted = Arc::clone(&greeted);
        move |request| {
            let (dispatcher, greeted) = (Arc::clone(&dispatcher), Arc::clone(&greeted));
            async move { Ok::<_, Infallible>(answer(request, &dispatcher, &greeted).await) }
        }
    });
    let serving = pin!(
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .max_concurrent_streams(STREAMS_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
    unless_silent(serving, || greeted.get().is_some(), GREETING_TIMEOUT).await;
}

type Answer = Response<Either<Full<Bytes>, Pieces>>;

fn reply(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Either::Left(Full::new(body.into())));
    *response.status_mut() = status;
    response
}

async fn answer(request: Request<Incoming>, dispatcher: &Arc<Dispatcher>, greeted: &OnceLock<Hello>) -> Answer {
    let path = request.uri().path().to_owned();
    let body = request.into_body();
    if path != "/hello" && greeted.get().is_none() {
        return reply(StatusCode::FORBIDDEN, "say hello first: this is lictor's internal RPC port");
    }
    let answered = match path.as_str() {
        "/hello" => hello(body, dispatcher, greeted).await,
        "/call" => call(body, dispatcher).await,
        "/submit" => submit(body, dispatcher).await,
        "/part" => part(body, dispatcher).await,
        "/save" => save(body, dispatcher).await,
        "/letters" => letters(body, dispatcher, greeted).await,
        "/state" => state(body, dispatcher, greeted).await,
        "/bootstrap" => bootstrap(body, dispatcher).await,
        _ => return reply(StatusCode::NOT_FOUND, format!("this release's RPC has no {path}")),
    };
    answered.unwrap_or_else(|_: BadBody| reply(StatusCode::BAD_REQUEST, rpc::Malformed.to_string()))
}

async fn message<T: serde::de::DeserializeOwned>(body: Incoming, max: usize) -> Result<T, BadBody> {
    rpc::decode(&whole(body, max).await?).or(Err(BadBody::Broken))
}

async fn hello(body: Incoming, dispatcher: &Dispatcher, greeted: &OnceLock<Hello>) -> Result<Answer, BadBody> {
    let theirs: Hello = message(body, 4096).await?;
    if let Err(refusal) = dispatcher.client.hello().admit(&theirs) {
        tracing::warn!("refused an RPC connection: {refusal}");
        return Ok(reply(StatusCode::FORBIDDEN, refusal.to_string()));
    }
    let _ = greeted.set(theirs);
    Ok(reply(StatusCode::OK, Bytes::new()))
}

async fn call(body: Incoming, dispatcher: &Dispatcher) -> Result<Answer, BadBody> {
    let forwarded: Forwarded = message(body, CALL_MAX).await?;
    let answered: Answered = dispatcher.serve_forwarded(forwarded).await;
    Ok(reply(StatusCode::OK, rpc::encode(&answered)))
}

async fn submit(body: Incoming, dispatcher: &Dispatcher) -> Result<Answer, BadBody> {
    let submission: Submission = message(body, CALL_MAX).await?;
    let submitted: Submitted = dispatcher.submit_forwarded(submission).await;
    Ok(reply(StatusCode::OK, rpc::encode(&submitted)))
}

async fn save(body: Incoming, dispatcher: &Dispatcher) -> Result<Answer, BadBody> {
    let asked: AskedToSave = message(body, 4096).await?;
    let head = |head: &Result<Saved, Unserved>| frame(&rpc::encode(head));
    Ok(match dispatcher.save_forwarded(asked).await {
        Ok((saved, archive)) => Response::new(Either::Right(archive.after(head(&Ok(saved))))),
        Err(why) => reply(StatusCode::OK, head(&Err(why))),
    })
}

async fn part(body: Incoming, dispatcher: &Dispatcher) -> Result<Answer, BadBody> {
    let scope: Scope = message(body, 4096).await?;
    let view = dispatcher.handle.view.load_full();
    if !view.caught_up {
        return Ok(reply(StatusCode::SERVICE_UNAVAILABLE, Unserved::NotCaughtUp.to_string()));
    }
    let chunks: Vec<Vec<u8>> = view.store.part(&scope).chunks().collect();
    Ok(reply(StatusCode::OK, chunks.concat()))
}

/// The first frame says who writes to whom. What is not for this server's engine is refused: the sender knows an address,
/// but means somebody who was there before.
async fn sender(frames: &mut Frames<Incoming>, dispatcher: &Dispatcher) -> Result<EngineId, BadBody> {
    let signature: Signature = rpc::decode(&frames.next().await?.ok_or(BadBody::Broken)?).or(Err(BadBody::Broken))?;
    if Some(signature.to) == dispatcher.client.engine() { Ok(signature.from) } else { Err(BadBody::Broken) }
}

async fn letters(body: Incoming, dispatcher: &Dispatcher, greeted: &OnceLock<Hello>) -> Result<Answer, BadBody> {
    let mut frames = Frames::new(body, LETTER_MAX);
    let from = sender(&mut frames, dispatcher).await?;
    // Who has no cluster has nothing to write; who has one says so, and greets anew once he has.
    let cluster = Some(greeted.get().and_then(|hello| hello.cluster).ok_or(BadBody::Broken)?);
    while let Some(bytes) = frames.next().await? {
        let letter = Letter::decode(&bytes).or(Err(BadBody::Broken))?;
        // A full lane drops it: the engine repeats what matters.
        let _ = dispatcher.handle.mailbox.push(Lane::Letters, Event::Letter { from, cluster, letter, state: None });
    }
    Ok(reply(StatusCode::OK, Bytes::new()))
}

async fn state(body: Incoming, dispatcher: &Dispatcher, greeted: &OnceLock<Hello>) -> Result<Answer, BadBody> {
    let mut frames = Frames::new(body, LETTER_MAX);
    let from = sender(&mut frames, dispatcher).await?;
    // Who has no cluster has nothing to write; who has one says so, and greets anew once he has.
    let cluster = Some(greeted.get().and_then(|hello| hello.cluster).ok_or(BadBody::Broken)?);
    let letter = Letter::decode(&frames.next().await?.ok_or(BadBody::Broken)?).or(Err(BadBody::Broken))?;
    let mut restore = Restore::new();
    while let Some(chunk) = frames.rest().await? {
        if let Err(damaged) = restore.feed(&chunk) {
            tracing::warn!("a state sent by a peer is damaged: {damaged}");
            return Err(BadBody::Broken);
        }
    }
    let store = restore.finish().or(Err(BadBody::Broken))?;
    match dispatcher.handle.mailbox.push(Lane::Letters, Event::Letter { from, cluster, letter, state: Some(store) }) {
        Ok(()) => Ok(reply(StatusCode::OK, Bytes::new())),
        Err(_) => Ok(reply(StatusCode::TOO_MANY_REQUESTS, Unserved::Busy.to_string())),
    }
}

async fn bootstrap(body: Incoming, dispatcher: &Dispatcher) -> Result<Answer, BadBody> {
    let letter = BootstrapLetter::decode(&whole(body, 1 << 20).await?).ok_or(BadBody::Broken)?;
    let _ = dispatcher.handle.mailbox.push(Lane::Letters, Event::Bootstrap { letter });
    Ok(reply(StatusCode::OK, Bytes::new()))
}
