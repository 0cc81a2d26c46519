//! The log as it is written, for whoever asks (`agent/monitor`).
//!
//! Each listener has a queue of its own, bounded in bytes: one that reads slower than the log is written loses lines and
//! is told how many. While nobody listens, nothing is formatted.

use super::log;
use crate::config::LogLevel;
use bytes::Bytes;
use hyper::body::{Body, Frame};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;

/// Lines are sent this often.
const FLUSH: Duration = Duration::from_millis(200);
/// Bytes of lines that wait for one listener.
const QUEUE_MAX: usize = 256 << 10;
/// Listeners at most.
const LISTENERS_MAX: usize = 64;

/// Too many listen already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{LISTENERS_MAX} clients are following this agent's log already; end one of them")]
pub struct Crowded;

/// Tells the log from which level up somebody listens; `None`: nobody does.
pub type Tune = Box<dyn Fn(Option<LogLevel>) + Send + Sync>;

/// All who listen.
pub struct Monitor {
    listeners: Mutex<Vec<Arc<Listener>>>,
    tune: Tune,
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("listeners", &self.lock().len()).finish()
    }
}

#[derive(Debug)]
struct Listener {
    level: LogLevel,
    json: bool,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<String>,
    bytes: usize,
    lost: u64,
}

impl Queue {
    fn push(&mut self, line: &str) {
        // Once lines were lost, none is taken before that was told: what is read has one gap, where it says so.
        if self.lost > 0 || self.bytes + line.len() > QUEUE_MAX {
            self.lost += 1;
            return;
        }
        self.bytes += line.len();
        self.lines.push_back(line.to_owned());
    }
}

impl Listener {
    /// All lines that wait, and how many did not fit behind them.
    fn take(&self) -> String {
        let queue = std::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner));
        let mut text = String::with_capacity(queue.bytes);
        text.extend(queue.lines);
        if queue.lost > 0 {
            let message =
                format!("{} lines of the log were lost here: this client reads slower than it is written", queue.lost);
            text += &log::own_line(self.json, &message);
        }
        text
    }
}

impl Monitor {
    #[must_use]
    pub fn new(tune: Tune) -> Arc<Self> {
        Arc::new(Self { listeners: Mutex::default(), tune })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Listener>>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lines from this level up, from now on.
    ///
    /// # Errors
    /// [`Crowded`].
    pub fn listen(self: &Arc<Self>, level: LogLevel, json: bool) -> Result<Lines, Crowded> {
        let listener = Arc::new(Listener { level, json, queue: Mutex::default() });
        let mut listeners = self.lock();
        if listeners.len() >= LISTENERS_MAX {
            return Err(Crowded);
        }
        listeners.push(Arc::clone(&listener));
        (self.tune)(lowest(&listeners));
        drop(listeners);
        let mut beat = tokio::time::interval(FLUSH);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Lines { listener, monitor: Arc::clone(self), beat })
    }

    fn forget(&self, listener: &Arc<Listener>) {
        let mut listeners = self.lock();
        listeners.retain(|other| !Arc::ptr_eq(other, listener));
        (self.tune)(lowest(&listeners));
    }

    /// Gives a line to all who want its level. Each form is written once.
    fn hear(&self, level: LogLevel, write: impl Fn(bool) -> String) {
        let mut forms: [Option<String>; 2] = [None, None];
        for listener in self.lock().iter().filter(|listener| level >= listener.level) {
            let line = forms[usize::from(listener.json)].get_or_insert_with(|| write(listener.json));
            listener.queue.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }
}

fn lowest(listeners: &[Arc<Listener>]) -> Option<LogLevel> {
    listeners.iter().map(|listener| listener.level).min()
}

/// What one listener gets, as the body of a response. He is forgotten when it is dropped.
#[derive(Debug)]
pub struct Lines {
    listener: Arc<Listener>,
    monitor: Arc<Monitor>,
    beat: Interval,
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.monitor.forget(&self.listener);
    }
}

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            ready!(self.beat.poll_tick(context));
            let text = self.listener.take();
            if !text.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(text.into()))));
            }
        }
    }
}

/// The monitor's place among the layers of the log.
pub(super) struct Ear(pub(super) Arc<Monitor>);

impl<S: Subscriber> Layer<S> for Ear {
    fn on_event(&self, event: &Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        self.0.hear(log::level(event), |json| log::line(event, json));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitor() -> (Arc<Monitor>, Arc<Mutex<Option<LogLevel>>>) {
        let tuned = Arc::new(Mutex::new(None));
        let told = Arc::clone(&tuned);
        (Monitor::new(Box::new(move |level| *told.lock().expect("no panic") = level)), tuned)
    }

    fn hear(monitor: &Monitor, level: LogLevel, text: &str) {
        monitor.hear(level, |json| format!("{}{text}\n", if json { "json " } else { "" }));
    }

    #[tokio::test]
    async fn each_listener_gets_his_levels_in_his_form() {
        let (monitor, tuned) = monitor();
        let loud = monitor.listen(LogLevel::Warn, false).expect("room");
        let all = monitor.listen(LogLevel::Debug, true).expect("room");
        assert_eq!(*tuned.lock().expect("no panic"), Some(LogLevel::Debug));
        hear(&monitor, LogLevel::Debug, "a");
        hear(&monitor, LogLevel::Error, "b");
        assert_eq!((loud.listener.take(), all.listener.take()), ("b\n".to_owned(), "json a\njson b\n".to_owned()));
        drop(all);
        assert_eq!(*tuned.lock().expect("no panic"), Some(LogLevel::Warn));
        drop(loud);
        assert_eq!(*tuned.lock().expect("no panic"), None, "nothing is formatted for nobody");
    }

    #[tokio::test]
    async fn a_slow_listener_loses_lines_and_is_told_how_many() {
        let (monitor, _) = monitor();
        let slow = monitor.listen(LogLevel::Info, false).expect("room");
        let line = "x".repeat(QUEUE_MAX / 4 - 1);
        for _ in 0..7 {
            hear(&monitor, LogLevel::Info, &line);
        }
        assert_eq!(slow.listener.queue.lock().expect("no panic").bytes, QUEUE_MAX);
        let text = slow.listener.take();
        assert!(text.len() < QUEUE_MAX + 200, "never more memory than that");
        let last = text.lines().last().unwrap_or_default();
        assert!(last.contains("[WARN]  agent.monitor: 3 lines of the log were lost"), "{last}");
        hear(&monitor, LogLevel::Info, "on it goes");
        assert_eq!(slow.listener.take(), "on it goes\n");
    }

    #[tokio::test]
    async fn listeners_are_bounded() {
        let (monitor, _) = monitor();
        let mut all: Vec<_> =
            (0..LISTENERS_MAX).map(|_| monitor.listen(LogLevel::Info, false).expect("room")).collect();
        assert_eq!(monitor.listen(LogLevel::Info, false).err(), Some(Crowded));
        all.pop();
        assert!(monitor.listen(LogLevel::Info, false).is_ok());
    }
}
