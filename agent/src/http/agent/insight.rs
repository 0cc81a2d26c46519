//! What an operator watches: the agent's figures, its log as it is written, and the machine it runs on.

use crate::config::LogLevel;
use crate::http::Context;
use crate::http::call::{Call, Plan, Reply, Source, Survey};

/// The figures of the last complete interval as JSON, or all since the start in Prometheus' form.
pub fn metrics(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    let prometheus = call.params.get("format") == Some("prometheus") || wants_prometheus(&call.accept);
    if prometheus && !context.facts.telemetry.prometheus {
        let why = "Prometheus is not enabled since its retention time is not positive";
        return Err(Reply::text(415, why).with("x-consul-reason", why));
    }
    Ok(Plan::Survey(Survey::Metrics { prometheus }))
}

/// The figures of each interval as it ends, until the client goes away.
pub fn figures(_: &Context<'_>, _: &Call, _: &str) -> Result<Plan, Reply> {
    Ok(Plan::Stream(Source::Figures))
}

/// The media types that Consul takes for Prometheus', with its own version of the plain one.
fn wants_prometheus(accept: &str) -> bool {
    accept.split(',').any(|choice| {
        let mut parts = choice.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        kind == "application/openmetrics-text" || (kind == "text/plain" && parts.next() == Some("version=0.4.0"))
    })
}

/// Log lines from now on, until the client goes away.
pub fn monitor(_: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    let word = call.params.get("loglevel").filter(|word| !word.is_empty()).unwrap_or("INFO");
    let level = LogLevel::named(word).ok_or_else(|| Reply::text(400, format!("Unknown log level: {word}")))?;
    Ok(Plan::Stream(Source::Log { level, json: call.params.has("logjson") }))
}

/// Memory, processors, disk and system.
pub fn host(_: &Context<'_>, _: &Call, _: &str) -> Result<Plan, Reply> {
    Ok(Plan::Survey(Survey::Host))
}
