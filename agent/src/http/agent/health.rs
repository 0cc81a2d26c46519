//! How a service of this agent fares, as a status code that load balancers understand.

use crate::http::Context;
use crate::http::call::{Call, Plan, Reply};
use crate::http::wire::{self, AgentService, WireCheck};
use lictor_catalog::{Check, Service, Status};
use schemars::JsonSchema;
use serde::Serialize;

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "ServiceHealth")]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct Fare<'a> {
    aggregated_status: &'static str,
    service: Option<AgentService<'a>>,
    checks: Option<Vec<WireCheck<'a>>>,
}

/// The verdict of several checks together; maintenance outweighs them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Checks(Status),
    Maintenance,
}

impl Verdict {
    fn of<'a>(checks: impl Iterator<Item = &'a Check>) -> Self {
        checks.fold(Self::Checks(Status::Passing), |worst, check| match worst {
            Self::Maintenance => worst,
            _ if check.id.is_maintenance() => Self::Maintenance,
            Self::Checks(status) => Self::Checks(status.max(check.status)),
        })
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Checks(status) => status.as_str(),
            Self::Maintenance => "maintenance",
        }
    }

    const fn code(self) -> u16 {
        match self {
            Self::Checks(Status::Passing) => 200,
            Self::Checks(Status::Warning) => 429,
            Self::Checks(Status::Critical) | Self::Maintenance => 503,
        }
    }
}

/// The checks that speak of a service: its own and its node's.
fn checks_of<'a>(context: &Context<'a>, service: &'a Service) -> impl Iterator<Item = &'a Check> + Clone {
    let concerns = move |check: &&Check| check.service_id.is_empty() || check.service_id == service.id;
    context.local.checks.values().map(|check| &**check).filter(concerns)
}

fn fare<'a>(context: &Context<'a>, service: &'a Service) -> (Verdict, Fare<'a>) {
    let checks = checks_of(context, service);
    let verdict = Verdict::of(checks.clone());
    let fare = Fare {
        aggregated_status: verdict.word(),
        service: Some(AgentService::of(service, &context.facts.datacenter, "")),
        checks: Some(checks.map(WireCheck::from).collect()),
    };
    (verdict, fare)
}

/// An `Accept` header that begins so wins over `?format=`.
fn plain(call: &Call) -> bool {
    call.accept.starts_with("text/plain") || call.params.get("format") == Some("text")
}

/// The code and the words; the whole answer as JSON unless plain text is wanted.
fn answer<T: Serialize>(context: &Context<'_>, call: &Call, code: u16, words: String, whole: &T) -> Plan {
    let mut reply = if plain(call) {
        Reply::empty(code).with("content-type", "text/plain").body(words.clone())
    } else {
        wire::reply(context, call, whole)
    };
    reply.status = code;
    Plan::Answer(reply.with("x-consul-reason", words))
}

pub fn by_id(context: &Context<'_>, call: &Call, id: &str) -> Result<Plan, Reply> {
    if id.is_empty() {
        return Err(Reply::text(400, "Missing serviceID"));
    }
    Ok(match context.local.services.get(id) {
        Some(service) => {
            let (verdict, fare) = fare(context, service);
            answer(context, call, verdict.code(), verdict.word().to_owned(), &fare)
        }
        None => {
            let fare = Fare { aggregated_status: Status::Critical.as_str(), service: None, checks: None };
            answer(context, call, 404, format!("ServiceId {id} not found"), &fare)
        }
    })
}

/// All instances of that name on this agent; the worst of them gives the code.
pub fn by_name(context: &Context<'_>, call: &Call, name: &str) -> Result<Plan, Reply> {
    if name.is_empty() {
        return Err(Reply::text(400, "Missing service Name"));
    }
    let instances = context.local.services.values().filter(|service| &*service.name == name);
    let (verdicts, fares): (Vec<_>, Vec<_>) = instances.map(|service| fare(context, service)).unzip();
    // Of equally bad ones the first gives the word.
    let worst = verdicts.into_iter().reduce(|worst, next| if next.code() > worst.code() { next } else { worst });
    let (code, words) = match worst {
        Some(verdict) => (verdict.code(), verdict.word().to_owned()),
        None => (404, format!("ServiceName {name} Not Found")),
    };
    Ok(answer(context, call, code, words, &fares))
}
