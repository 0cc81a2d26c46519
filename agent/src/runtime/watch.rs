//! Streams of changes (`/v1/watch`): for each watch a task that reads it for ever as any client would, and one body that turns
//! answers into events when its client is ready for them.
//!
//! Nothing is queued for a slow client. A few answers may wait; a task that finds no room lets its answer go, waits for
//! room and reads again, so that what is told is the newest state. A body that is dropped leaves its feed behind
//! for a while, for the client to come back to; what a client is told is decided in `http/watch/feed.rs`.

use super::dispatch::Dispatcher;
use crate::http::call::{Call, Reply};
use crate::http::watch::feed::Feed;
use crate::http::watch::{Subscription, Watch};
use bytes::Bytes;
use hyper::body::{Body, Frame};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};

/// Streams of one agent.
const STREAMS_MAX: usize = 256;
/// Feeds that are kept for clients that were cut off, and their rows in all.
const LEFT_MAX: usize = 64;
const LEFT_ROWS_MAX: usize = 1 << 20;
/// Answers that wait for the client of one stream.
const ANSWERS_MAX: usize = 8;
/// After this silence a comment is sent.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Pauses after reads that failed.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Too many streams are open already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{STREAMS_MAX} streams are open at this agent already; end one of them, or watch more on one stream")]
pub struct Crowded;

/// A feed, as long as nobody has taken it over.
type Slot = Arc<Mutex<Option<Feed>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All streams of one agent.
#[derive(Debug, Default)]
pub struct Streams(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    open: Vec<(u64, Slot)>,
    /// Whose clients went away, the oldest first.
    left: VecDeque<Feed>,
}

impl Streams {
    /// The feed for a new stream: the one that its client was cut off from, if that can go on.
    fn enter(&self, stream: u64, subscription: Subscription) -> Result<Slot, Crowded> {
        let mut inner = lock(&self.0);
        if inner.open.len() >= STREAMS_MAX {
            return Err(Crowded);
        }
        let resumed = subscription.last.flatten().and_then(|place| {
            let mut feed = inner.take(place.stream)?;
            feed.resume(place, &subscription.watches).then_some(feed)
        });
        let feed = resumed.unwrap_or_else(|| Feed::new(stream, subscription));
        let name = feed.stream();
        let slot = Arc::new(Mutex::new(Some(feed)));
        inner.open.push((name, Arc::clone(&slot)));
        Ok(slot)
    }

    /// The stream's body is gone; its feed stays for a while.
    fn leave(&self, slot: &Slot) {
        let mut inner = lock(&self.0);
        inner.open.retain(|(_, other)| !Arc::ptr_eq(other, slot));
        inner.left.extend(lock(slot).take());
        while inner.left.len() > LEFT_MAX || inner.left.iter().map(Feed::len).sum::<usize>() > LEFT_ROWS_MAX {
            inner.left.pop_front();
        }
    }
}

impl Inner {
    /// Takes a feed from whoever has it: a client that comes back may be faster than the news that it had gone.
    fn take(&mut self, stream: u64) -> Option<Feed> {
        if let Some(at) = self.left.iter().position(|feed| feed.stream() == stream) {
            return self.left.remove(at);
        }
        self.open.iter().filter(|(name, _)| *name == stream).find_map(|(_, slot)| lock(slot).take())
    }
}

/// What a task has to say.
#[derive(Debug)]
enum News {
    Answer(usize, Reply),
    /// A watch cannot be read for now.
    Trouble(String),
}

/// Opens a stream.
///
/// # Errors
/// [`Crowded`].
pub fn open(dispatcher: &Arc<Dispatcher>, subscription: Subscription) -> Result<Events, Crowded> {
    let watches = subscription.watches.clone();
    let slot = dispatcher.streams.enter(dispatcher.dice().number(), subscription)?;
    let (sender, news) = mpsc::channel(ANSWERS_MAX);
    let mut tasks = JoinSet::new();
    for (number, watch) in watches.into_iter().enumerate() {
        tasks.spawn(follow(Arc::clone(dispatcher), number, watch, sender.clone()));
    }
    let mut beat = tokio::time::interval(HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Ok(Events { slot, streams: Arc::clone(&dispatcher.streams), news, beat, _tasks: tasks })
}

/// Reads a watch for as long as its stream is there.
async fn follow(dispatcher: Arc<Dispatcher>, number: usize, watch: Watch, stream: Sender<News>) {
    let mut pause = PAUSE_MIN;
    loop {
        let Ok(room) = stream.reserve().await else { return };
        let mut index = match read(&dispatcher, &watch.read, None).await {
            Ok((index, reply)) => {
                room.send(News::Answer(number, reply));
                index
            }
            Err(trouble) => {
                room.send(News::Trouble(format!("{}: {trouble}", watch.name)));
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
                continue;
            }
        };
        pause = PAUSE_MIN;
        // Until the client reads too slowly, or a server cannot answer.
        while let Ok((risen, reply)) = read(&dispatcher, &watch.read, Some(index)).await {
            let Ok(room) = stream.try_reserve() else { break };
            room.send(News::Answer(number, reply));
            index = risen;
        }
    }
}

/// One read, and the index to wait for the next with; or what the client may be told went wrong.
async fn read(dispatcher: &Dispatcher, call: &Call, index: Option<u64>) -> Result<(u64, Reply), String> {
    let mut call = call.clone();
    call.params.push("index", index.unwrap_or_default().to_string());
    let reply = dispatcher.serve(call).await;
    let header = reply.headers.iter().find(|(name, _)| name == "x-consul-index");
    match header.and_then(|(_, value)| value.parse().ok()) {
        Some(index) if matches!(reply.status, 200 | 404) => Ok((index, reply)),
        _ => Err(format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body))),
    }
}

/// The events of one stream, as the body of a response.
#[derive(Debug)]
pub struct Events {
    slot: Slot,
    streams: Arc<Streams>,
    news: Receiver<News>,
    beat: Interval,
    _tasks: JoinSet<()>,
}

impl Drop for Events {
    fn drop(&mut self) {
        self.streams.leave(&self.slot);
    }
}

impl Events {
    /// What is to be said of it; `None` when another body tells this stream's client now.
    fn say(&self, news: News) -> Option<String> {
        let mut slot = lock(&self.slot);
        let feed = slot.as_mut()?;
        Some(match news {
            News::Answer(watch, reply) => {
                feed.answered(watch, &reply).unwrap_or_else(|strange| comment(&strange.to_string()))
            }
            News::Trouble(text) => comment(&text),
        })
    }
}

fn comment(text: &str) -> String {
    format!(": {}\n\n", text.replace(['\n', '\r'], " "))
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            let text = match self.news.poll_recv(context) {
                Poll::Ready(Some(news)) => match self.say(news) {
                    Some(text) => text,
                    None => return Poll::Ready(None),
                },
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    // The first comes at once, so that a client sees that it is connected.
                    ready!(self.beat.poll_tick(context));
                    if lock(&self.slot).is_none() {
                        return Poll::Ready(None);
                    }
                    ":\n\n".to_owned()
                }
            };
            if !text.is_empty() {
                self.beat.reset();
                return Poll::Ready(Some(Ok(Frame::data(text.into()))));
            }
        }
    }
}
