//! The one file that turns hyper's requests into [`Call`]s and [`Reply`]s into hyper's responses, over TCP and unix
//! sockets, HTTP/1.1 and HTTP/2 alike. It decides nothing about what a call means.

use crate::http::call::{Call, Method, Reply, Source};
use crate::http::params::Params;
use crate::http::{answer, route, snapshot, wire};
use crate::runtime::dispatch::Dispatcher;
use crate::runtime::figures::Figures;
use crate::runtime::rpc::{BadBody, whole};
use crate::runtime::silence::unless_silent;
use crate::runtime::watch;
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};

/// So much of a refused body is read and dropped, for so long, before the answer.
const DISCARD_MAX: usize = 16 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(1);
/// A client that has not sent its next request's head by then is cut off. An idle connection counts too, so this is longer than
/// clients keep idle ones (Go's 90 s): whoever closes first must be the client, or a request may meet a closing door.
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);
/// A body that has not come by then is not waited for.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of a request's head.
const HEAD_MAX: usize = 64 << 10;

/// How many connections each address has open (`limits.http_max_conns_per_client`).
#[derive(Debug)]
pub struct Connections {
    max: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

impl Connections {
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max, open: Mutex::default() }
    }

    fn enter(self: &Arc<Self>, from: IpAddr) -> Option<Seat> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(from).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Seat { connections: Arc::clone(self), from })
    }
}

/// One open connection; gives its place back when dropped.
struct Seat {
    connections: Arc<Connections>,
    from: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.from);
            }
        }
    }
}

/// Serves a TCP port until the task is dropped.
pub async fn serve_tcp(listener: TcpListener, dispatcher: Arc<Dispatcher>, connections: Arc<Connections>) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // Out of descriptors: let some connections end.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Some(seat) = connections.enter(peer.ip()) else {
            tracing::debug!("closed a connection from {}: it has too many open already", peer.ip());
            continue;
        };
        let _ = stream.set_nodelay(true);
        let dispatcher = Arc::clone(&dispatcher);
        tokio::spawn(async move {
            if let Some(settings) = heard(&stream).await {
                connection(stream, settings, Some(peer.ip()), dispatcher).await;
            }
            drop(seat);
        });
    }
}

/// Serves a unix socket until the task is dropped.
pub async fn serve_unix(listener: UnixListener, dispatcher: Arc<Dispatcher>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        tokio::spawn(connection(stream, &ANY, None, Arc::clone(&dispatcher)));
    }
}

/// How a connection is served; one value for all, as thousands may be open.
type Settings = auto::Builder<TokioExecutor>;

/// For clients of either version.
static ANY: LazyLock<Settings> = LazyLock::new(settings);
/// For those of whom the first bytes say that it is not HTTP/2. hyper would read these bytes apart from the rest, and its buffer
/// for that is twice as large for as long as the connection lasts.
static HTTP1: LazyLock<Settings> = LazyLock::new(|| settings().http1_only());

/// Looks at what a client begins with, without taking it; `None` when it says nothing for too long.
async fn heard(stream: &TcpStream) -> Option<&'static Settings> {
    let mut begin = [0; 4];
    let length = tokio::time::timeout(HEAD_TIMEOUT, stream.peek(&mut begin)).await.ok()?.ok()?;
    // RFC 9113 §3.4. Fewer bytes may yet become that.
    Some(if length < begin.len() || begin == *b"PRI " { &ANY } else { &HTTP1 })
}

fn settings() -> Settings {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Without hyper's `pipeline_flush`: it keeps an answer back while unread bytes follow, and so loses every refusal of a request that
    // is broken in its middle.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_MAX)
        .writev(false)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(64 << 10)
        .max_concurrent_streams(1024);
    builder
}

async fn connection<S>(stream: S, settings: &'static Settings, source: Option<IpAddr>, dispatcher: Arc<Dispatcher>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let asked = Arc::new(AtomicBool::new(false));
    let service = service_fn({
        let asked = Arc::clone(&asked);
        move |request| {
            asked.store(true, Ordering::Relaxed);
            let dispatcher = Arc::clone(&dispatcher);
            async move { Ok::<_, Infallible>(serve(request, source, &dispatcher).await) }
        }
    });
    let serving = pin!(settings.serve_connection(TokioIo::new(stream), service));
    unless_silent(serving, || asked.load(Ordering::Relaxed), HEAD_TIMEOUT).await;
}

type Endless = UnsyncBoxBody<Bytes, std::io::Error>;
type Outgoing = Response<Either<Full<Bytes>, Endless>>;

async fn serve(request: Request<Incoming>, source: Option<IpAddr>, dispatcher: &Arc<Dispatcher>) -> Outgoing {
    let facts = &dispatcher.handle.facts;
    let Some((mut call, body)) = call(request, source) else {
        return respond(answer::finish(answer::bad_query(), facts), false);
    };
    let gzip = call.gzip;
    let kind = route::body(call.method, &call.path);
    let mut streamed = None;
    if kind == route::Body::Streamed {
        streamed = Some(body);
    } else if !body.is_end_stream() {
        match read(body, kind.max(facts)).await {
            Ok(bytes) => call.body = bytes,
            Err(refused) => {
                let mut response = respond(answer::finish(refused, facts), false);
                // What is left of the body ends the connection, and a client that does not know would ask on it again.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                return response;
            }
        }
    }
    let mut reply = dispatcher.serve(call).await;
    let Some(source) = reply.stream.take() else { return respond(reply, gzip) };
    match open(source, streamed, &mut reply, dispatcher).await {
        // Compressed lines would wait for each other.
        Ok(body) => respond(reply, false).map(|_empty| Either::Right(body)),
        Err(reply) => respond(answer::finish(reply, facts), gzip),
    }
}

/// The body that comes from a source, or the whole reply. What takes its time is on the heap: thousands of connections that only
/// wait would each have room for it.
async fn open(
    source: Source,
    streamed: Option<Incoming>,
    reply: &mut Reply,
    dispatcher: &Arc<Dispatcher>,
) -> Result<Endless, Reply> {
    let boxed = |never: Infallible| match never {};
    match source {
        Source::Log { level, json } => {
            let lines = dispatcher.monitor.listen(level, json);
            lines
                .map(|lines| lines.map_err(boxed).boxed_unsync())
                .map_err(|crowded| Reply::text(429, crowded.to_string()))
        }
        Source::Figures => {
            let figures = Figures::follow(Arc::clone(&dispatcher.handle));
            Ok(figures.map_err(boxed).boxed_unsync())
        }
        Source::Watch(subscription) => {
            let events = watch::open(dispatcher, *subscription);
            events
                .map(|events| events.map_err(boxed).boxed_unsync())
                .map_err(|crowded| Reply::text(429, crowded.to_string()))
        }
        Source::Backup(consistency) => {
            let (saved, archive) = Box::pin(dispatcher.save(consistency)).await?;
            *reply = snapshot::head(std::mem::replace(reply, Reply::empty(200)), &saved);
            Ok(archive.boxed_unsync())
        }
        Source::Restore => Err(match streamed {
            Some(body) => Box::pin(dispatcher.restore(body)).await,
            None => Reply::text(400, "the archive to restore is missing"),
        }),
    }
}

/// The body, or the reply to one that is too long, broken or late.
async fn read(body: Incoming, cap: usize) -> Result<Bytes, Reply> {
    // What is announced to be too long is not waited for.
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if declared > cap {
        discard(body).await;
        return Err(answer::too_large(declared, cap));
    }
    match tokio::time::timeout(BODY_TIMEOUT, whole(body, cap)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(BadBody::TooLong)) => Err(answer::too_large(cap + 1, cap)),
        Ok(Err(BadBody::Broken)) => Err(Reply::text(400, "the request's body is broken")),
        Err(_late) => Err(Reply::text(408, "the request's body did not come in time")),
    }
}

/// Reads on for a moment what is refused: most clients read the answer only when they have sent everything, and would find the
/// connection broken instead.
async fn discard(mut body: Incoming) {
    let some = async {
        let mut left = DISCARD_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DISCARD_TIME, some).await;
}

/// Whether `Accept-Encoding` names gzip, and not to forbid it (RFC 9110 §12.5.3).
fn wants_gzip(accepted: &str) -> bool {
    accepted.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let none = weight.trim().strip_prefix("q=").is_some_and(|weight| weight.parse() == Ok(0.0));
        name.trim() == "gzip" && !none
    })
}

/// Everything but the body; `None` when the query string cannot be parsed.
pub(crate) fn call<B>(request: Request<B>, source: Option<IpAddr>) -> Option<(Call, B)> {
    let (parts, body) = request.into_parts();
    let text =
        |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let mut token = text(HeaderName::from_static("x-consul-token"));
    if token.is_empty() {
        let authorization = text(header::AUTHORIZATION);
        if let Some((scheme, rest)) = authorization.split_once(' ')
            && scheme.eq_ignore_ascii_case("bearer")
        {
            rest.split(' ').next().unwrap_or_default().clone_into(&mut token);
        }
    }
    let mut params = match parts.uri.query() {
        Some(query) => Params::parse_strict(query)?,
        None => Params::default(),
    };
    // Browsers send it so; whoever cannot set headers names it in the query.
    let last = text(HeaderName::from_static("last-event-id"));
    if !last.is_empty() {
        params.push("last-event-id", last);
    }
    let call = Call {
        method: Method::parse(parts.method.as_str()),
        path: parts.uri.path().to_owned(),
        params,
        token,
        accept: text(header::ACCEPT),
        cache_control: text(header::CACHE_CONTROL),
        gzip: wants_gzip(&text(header::ACCEPT_ENCODING)),
        body: Bytes::new(),
        source,
        agent: None,
    };
    Some((call, body))
}

fn respond(reply: Reply, gzip: bool) -> Outgoing {
    let Reply { status, headers, body, stream: _ } = reply;
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().reserve(headers.len() + 2);
    for (name, value) in headers {
        let name = match name {
            // Not `from_static`, which panics on a capital letter.
            std::borrow::Cow::Borrowed(name) => HeaderName::from_bytes(name.as_bytes()),
            std::borrow::Cow::Owned(name) => HeaderName::try_from(name),
        };
        // A value that HTTP cannot carry is left out.
        let value = match value {
            std::borrow::Cow::Borrowed(value) => HeaderValue::from_str(value),
            std::borrow::Cow::Owned(value) => HeaderValue::try_from(value),
        };
        if let (Ok(name), Ok(value)) = (name, value) {
            response.headers_mut().append(name, value);
        }
    }
    let body = if gzip && !body.is_empty() && !response.headers().contains_key(header::CONTENT_ENCODING) {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        wire::gzip(&body)
    } else {
        body
    };
    *response.body_mut() = Either::Left(Full::new(body));
    response
}
