//! The agent's figures for whoever follows them (`agent/metrics/stream`): an indented JSON object for each interval that is
//! complete, the last one at once.
//!
//! Nothing waits for a client: one that reads slowly gets the newest interval, and misses others.

use super::clock;
use super::handle::Handle;
use crate::http::{Context, wire};
use bytes::Bytes;
use hyper::body::{Body, Frame};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior};

/// How often it is looked whether an interval has ended.
const GLANCE: Duration = Duration::from_secs(1);

/// What one client gets, as the body of a response.
#[derive(Debug)]
pub struct Figures {
    handle: Arc<Handle>,
    beat: Interval,
    /// When the interval began that was told last.
    told: Option<u64>,
}

impl Figures {
    #[must_use]
    pub fn follow(handle: Arc<Handle>) -> Self {
        let mut beat = tokio::time::interval(GLANCE);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { handle, beat, told: None }
    }

    /// The last complete interval, if it was not told yet.
    fn news(&mut self) -> Option<Vec<u8>> {
        let handle = &*self.handle;
        let begun = handle.meter.complete().filter(|begun| self.told != Some(*begun))?;
        self.told = Some(begun);
        let (view, local, facts) = (handle.view.load_full(), handle.local.load_full(), &*handle.facts);
        let context = Context { view: &view, local: &local, facts, now: clock::now() };
        let report = handle.meter.interval(&context);
        Some(wire::shown(&wire::Metrics::of(&report, &facts.telemetry), true))
    }
}

impl Body for Figures {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            ready!(self.beat.poll_tick(context));
            if let Some(text) = self.news() {
                return Poll::Ready(Some(Ok(Frame::data(text.into()))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::test_facts;
    use crate::runtime::meter::Event;
    use crate::view::LocalView;
    use http_body_util::BodyExt as _;
    use serde_json::Value;

    #[tokio::test]
    async fn each_complete_interval_is_told_once() {
        let handle = Arc::new(Handle::new(Arc::new(test_facts()), Arc::new(LocalView::default())));
        let mut figures = Figures::follow(Arc::clone(&handle));
        assert_eq!(figures.news(), None, "the first interval is not over");
        for (end, bytes) in [(10_000, 100.0), (20_000, 50.0)] {
            handle.meter.count(Event::UdpSent, bytes as usize);
            handle.meter.turn(end);
            let frame = figures.frame().await.expect("it has no end").expect("it cannot fail");
            let text = frame.into_data().expect("no trailers");
            assert!(text.ends_with(b"}\n"), "objects stand one below the other");
            let object: Value = serde_json::from_slice(&text).expect("JSON");
            let counters = object["Counters"].as_array().expect("a list");
            let sent = counters.iter().find(|row| row["Name"] == "consul.memberlist.udp.sent").expect("a row");
            assert_eq!(sent["Sum"], bytes);
            assert_eq!(figures.news(), None, "told");
        }
    }
}
