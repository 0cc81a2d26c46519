//! Log lines as Consul's readers expect them: `<RFC 3339> [INFO]  module: message key=value`.

use super::monitor::{Ear, Monitor};
use crate::config::LogLevel;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use tracing::{Event, Level, Subscriber, field};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

struct Lines {
    json: bool,
}

/// Collects an event's message and its other fields.
#[derive(Default)]
struct Fields {
    message: String,
    rest: Vec<(&'static str, String)>,
}

impl field::Visit for Fields {
    fn record_str(&mut self, field: &field::Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.rest.push((name, value.to_owned())),
        }
    }

    fn record_debug(&mut self, field: &field::Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

pub(super) fn level(event: &Event<'_>) -> LogLevel {
    match *event.metadata().level() {
        Level::TRACE => LogLevel::Trace,
        Level::DEBUG => LogLevel::Debug,
        Level::INFO => LogLevel::Info,
        Level::WARN => LogLevel::Warn,
        Level::ERROR => LogLevel::Error,
    }
}

const fn threshold(level: LogLevel) -> Level {
    match level {
        LogLevel::Trace => Level::TRACE,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Info => Level::INFO,
        LogLevel::Warn => Level::WARN,
        LogLevel::Error => Level::ERROR,
    }
}

/// `lictor_agent::gossip::swim` is `agent.gossip`.
fn module(target: &str) -> String {
    let mut parts = target.split("::");
    let first = parts.next().unwrap_or_default();
    let first = first.strip_prefix("lictor_").unwrap_or(first);
    parts.next().map_or_else(|| first.to_owned(), |second| format!("{first}.{second}"))
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        writer.write_str(&line(event, self.json))
    }
}

/// An event as one line, with the line's end.
pub(super) fn line(event: &Event<'_>, json: bool) -> String {
    let mut fields = Fields::default();
    event.record(&mut fields);
    compose(json, level(event), &module(event.metadata().target()), fields)
}

/// A line of the monitor's own, as if it had been logged.
pub(super) fn own_line(json: bool, message: &str) -> String {
    compose(json, LogLevel::Warn, "agent.monitor", Fields { message: message.to_owned(), rest: Vec::new() })
}

fn compose(json: bool, level: LogLevel, module: &str, fields: Fields) -> String {
    let mut time = String::new();
    // A line without its time is better than none.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    if json {
        let mut object = serde_json::Map::new();
        let mut set = |key: &str, value: String| object.insert(key.to_owned(), value.into());
        set("@level", level.name().to_lowercase());
        set("@message", fields.message);
        set("@module", module.to_owned());
        set("@timestamp", time);
        for (key, value) in fields.rest {
            set(key, value);
        }
        return format!("{}\n", serde_json::Value::Object(object));
    }
    let level = format!("[{}]", level.name());
    let mut line = format!("{time} {level:<7} {module}: {}", fields.message);
    for (key, value) in fields.rest {
        let _ = write!(line, " {key}={value}");
    }
    line.push('\n');
    line
}

/// Libraries speak up when something is wrong, not at every packet.
fn targets(level: LogLevel) -> Targets {
    let own = threshold(level);
    let others = own.min(Level::WARN);
    Targets::new()
        .with_default(others)
        .with_target("lictor", own)
        .with_target("lictor_agent", own)
        .with_target("lictor_dns", own)
}

/// Begins to log to standard output, and to whoever listens.
#[must_use]
pub fn start(level: LogLevel, json: bool) -> Arc<Monitor> {
    let (heard, handle) = reload::Layer::new(Targets::new());
    let monitor = Monitor::new(Box::new(move |level| {
        // It fails only when there is no log.
        let _ = handle.reload(level.map_or_else(Targets::new, targets));
    }));
    let lines = tracing_subscriber::fmt::layer().event_format(Lines { json }).with_writer(std::io::stdout);
    let ear = Ear(Arc::clone(&monitor));
    let _ =
        tracing_subscriber::registry().with(lines.with_filter(targets(level))).with(ear.with_filter(heard)).try_init();
    monitor
}
