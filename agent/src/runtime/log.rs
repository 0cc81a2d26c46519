//! Log lines as Consul's readers expect them: `<RFC 3339> [INFO]  module: message key=value`.

use std::fmt;
use tracing::{Event, Level, Subscriber, field};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
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

const fn word(level: Level) -> &'static str {
    match level {
        Level::TRACE => "TRACE",
        Level::DEBUG => "DEBUG",
        Level::INFO => "INFO",
        Level::WARN => "WARN",
        Level::ERROR => "ERROR",
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
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = word(*event.metadata().level());
        let module = module(event.metadata().target());
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        if self.json {
            let mut object = serde_json::Map::new();
            let mut set = |key: &str, value: String| object.insert(key.to_owned(), value.into());
            set("@level", level.to_lowercase());
            set("@message", fields.message);
            set("@module", module);
            set("@timestamp", time);
            for (key, value) in fields.rest {
                set(key, value);
            }
            return writeln!(writer, "{}", serde_json::Value::Object(object));
        }
        let level = format!("[{level}]");
        write!(writer, "{time} {level:<7} {module}: {}", fields.message)?;
        for (key, value) in fields.rest {
            write!(writer, " {key}={value}")?;
        }
        writeln!(writer)
    }
}

/// Begins to log to standard output.
pub fn start(level: Level, json: bool) {
    // Libraries speak up when something is wrong, not at every packet.
    let targets =
        Targets::new().with_default(Level::WARN).with_target("lictor", level).with_target("lictor_agent", level);
    let targets = targets.with_target("lictor_dns", level);
    let lines = tracing_subscriber::fmt::layer().event_format(Lines { json }).with_writer(std::io::stdout);
    let _ = tracing_subscriber::registry().with(lines.with_filter(targets)).try_init();
}
