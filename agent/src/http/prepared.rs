//! `/v1/query/...`: prepared queries, and carrying them out.

use super::call::{Call, Plan, Reply, WriteAnswer};
use super::{Context, body, options, session, undecodable};
use crate::json::{BadField, Object};
use crate::local::validate_meta;
use crate::time::parse_duration;
use lictor_catalog::model::{Failover, FailoverTarget, ServiceQuery, Template, Ttl};
use lictor_catalog::{Command, Execution, PreparedCommand, PreparedQuery, Query};
use uuid::Uuid;

/// As which a token is shown to whoever may not see it; nobody's token.
const HIDDEN: &str = "<hidden>";

pub fn list(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    options::read(context, call, Query::PreparedQueries)
}

/// The id is left to the leader.
pub fn create(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    options::here(context, call)?;
    let value = body(call)?;
    let object = Object::of(&value).map_err(undecodable)?;
    if !object.string("ID").map_err(undecodable)?.is_empty() {
        return Err(Reply::text(500, "ID must be empty when creating a new prepared query"));
    }
    let query = Box::new(definition(&object)?);
    Ok(Plan::Write(Command::Prepared(PreparedCommand::Create(query)), WriteAnswer::Id))
}

/// The id in the path counts, not the one in the body.
pub fn update(context: &Context<'_>, call: &Call, rest: &str) -> Result<Plan, Reply> {
    options::here(context, call)?;
    let id = writable(rest)?;
    let value = body(call)?;
    let object = Object::of(&value).map_err(undecodable)?;
    let query = Box::new(PreparedQuery { id, ..definition(&object)? });
    Ok(Plan::Write(Command::Prepared(PreparedCommand::Update(query)), WriteAnswer::Empty))
}

pub fn delete(context: &Context<'_>, call: &Call, rest: &str) -> Result<Plan, Reply> {
    options::here(context, call)?;
    let id = writable(rest)?;
    Ok(Plan::Write(Command::Prepared(PreparedCommand::Delete(id)), WriteAnswer::Empty))
}

pub fn get(context: &Context<'_>, call: &Call, id: &str) -> Result<Plan, Reply> {
    // No query has the nil id, so what is no id finds none.
    options::read(context, call, Query::PreparedQuery { id: session::id(present(id)?).unwrap_or_default() })
}

/// What would be carried out.
pub fn explain(context: &Context<'_>, call: &Call, name: &str) -> Result<Plan, Reply> {
    options::read_now(context, call, Query::Explain { name: present(name)?.to_owned() })
}

pub fn execute(context: &Context<'_>, call: &Call, name: &str) -> Result<Plan, Reply> {
    let given = |name: &str| call.params.get(name).filter(|text| !text.is_empty());
    let execution = Execution {
        name: present(name)?.to_owned(),
        near: given("near").unwrap_or_default().to_owned(),
        agent: context.asked(call).to_string(),
        source: call.source,
        connect: given("connect").map(connect).transpose()?.unwrap_or_default(),
        limit: given("limit").map(limit).transpose()?.unwrap_or_default(),
        // Whoever carries it out draws it.
        seed: 0,
    };
    options::read_now(context, call, Query::Execute(execution))
}

fn connect(text: &str) -> Result<bool, Reply> {
    let bad = || format!("Error parsing 'connect' value: strconv.ParseBool: parsing {text:?}: invalid syntax");
    options::go_bool(text).ok_or_else(|| Reply::text(400, bad()))
}

/// Whatever is not above zero is no limit.
fn limit(text: &str) -> Result<usize, Reply> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let cause = if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        "value out of range"
    } else {
        "invalid syntax"
    };
    let bad = |_bad| Reply::text(500, format!("Bad limit: strconv.Atoi: parsing {text:?}: {cause}"));
    text.parse::<i64>().map(|limit| usize::try_from(limit).unwrap_or(0)).map_err(bad)
}

fn present(rest: &str) -> Result<&str, Reply> {
    if rest.is_empty() { Err(Reply::text(400, "Missing query ID")) } else { Ok(rest) }
}

/// The id of the query that is to be changed.
fn writable(rest: &str) -> Result<Uuid, Reply> {
    let missing = || Reply::text(500, format!("Cannot modify non-existent prepared query: '{rest}'"));
    session::id(present(rest)?).ok_or_else(missing)
}

fn invalid(cause: impl std::fmt::Display) -> Reply {
    Reply::text(500, format!("Invalid prepared query: {cause}"))
}

/// A definition without its id, read and judged. What it means to the rest of the catalog is for the store to say.
fn definition(object: &Object<'_>) -> Result<PreparedQuery, Reply> {
    let read = || Ok::<_, BadField>((object.string("Name")?, object.string("Session")?, object.string("Token")?));
    let (name, session, token) = read().map_err(undecodable)?;
    let (kind, template) = template(object).map_err(undecodable)?;
    let (service, nearest) = service(object).map_err(undecodable)?;
    let dns = object.object("DNS").map_err(undecodable)?;
    let ttl = dns.map_or_else(|| Ok(String::new()), |dns| dns.string("TTL")).map_err(undecodable)?;
    if name.is_empty() && kind.is_empty() && session.is_empty() {
        return Err(invalid("Must be bound to a session"));
    }
    if token == HIDDEN {
        let what = "it looks like a query definition with a redacted token was submitted";
        return Err(invalid(format!("Bad Token '{token}', {what}")));
    }
    if name.len() > PreparedQuery::NAME_MAX {
        return Err(invalid(format!("Name is longer than {} bytes", PreparedQuery::NAME_MAX)));
    }
    let nearest = judged(&service, nearest)?;
    let query = PreparedQuery {
        name,
        session: bound(&session)?,
        token,
        template,
        service: ServiceQuery { failover: Failover { nearest, ..service.failover }, ..service },
        dns_ttl: dns_ttl(ttl)?,
        ..PreparedQuery::default()
    };
    if !kind.is_empty() && kind != "name_prefix_match" {
        return Err(Reply::text(500, format!("failed compiling template: Bad Template.Type '{kind}'")));
    }
    match query.rendered(&query.name) {
        Ok(_) => Ok(query),
        Err(bad) => Err(Reply::text(500, format!("failed compiling template: {bad}"))),
    }
}

/// What Consul refuses of a service; how many datacenters the nearest are.
fn judged(service: &ServiceQuery, nearest: i64) -> Result<u32, Reply> {
    if service.service.is_empty() {
        return Err(invalid("Must provide a Service name to query"));
    }
    if nearest < 0 {
        return Err(invalid(format!("Bad NearestN '{nearest}', must be >= 0")));
    }
    let failover = &service.failover;
    if (nearest != 0 || !failover.datacenters.is_empty()) && !failover.targets.is_empty() {
        return Err(invalid("Targets cannot be populated with NearestN or Datacenters"));
    }
    validate_meta(&service.node_meta, true).map_err(invalid)?;
    Ok(u32::try_from(nearest).unwrap_or(u32::MAX))
}

/// The type, and what goes with it.
fn template(object: &Object<'_>) -> Result<(String, Template), BadField> {
    let Some(object) = object.object("Template")? else { return Ok(Default::default()) };
    let (regexp, remove_empty_tags) = (object.string("Regexp")?, object.boolean("RemoveEmptyTags")?);
    let kind = object.string("Type")?;
    let template = Template { prefix_match: !kind.is_empty(), regexp, remove_empty_tags };
    Ok((kind, template))
}

/// The service, and `NearestN` as it was given.
fn service(object: &Object<'_>) -> Result<(ServiceQuery, i64), BadField> {
    let Some(object) = object.object("Service")? else { return Ok(Default::default()) };
    let (failover, nearest) = failover(&object)?;
    let service = ServiceQuery {
        service: object.string("Service")?,
        failover,
        only_passing: object.boolean("OnlyPassing")?,
        ignore_checks: object.strings("IgnoreCheckIDs")?,
        near: object.string("Near")?,
        tags: object.strings("Tags")?,
        node_meta: object.string_map("NodeMeta")?,
        service_meta: object.string_map("ServiceMeta")?,
        connect: object.boolean("Connect")?,
    };
    Ok((service, nearest))
}

fn failover(service: &Object<'_>) -> Result<(Failover, i64), BadField> {
    let Some(object) = service.object("Failover")? else { return Ok(Default::default()) };
    let target = |value| {
        let target = Object::of(value)?;
        Ok(FailoverTarget { peer: target.string("Peer")?, datacenter: target.string("Datacenter")? })
    };
    let targets = object.list("Targets")?.iter().map(target).collect::<Result<_, _>>()?;
    let failover = Failover { nearest: 0, datacenters: object.strings("Datacenters")?, targets };
    Ok((failover, object.integer("NearestN")?.unwrap_or_default()))
}

fn bound(session: &str) -> Result<Option<Uuid>, Reply> {
    if session.is_empty() {
        return Ok(None);
    }
    session::holder(session).map(Some).map_err(|bad| Reply::text(500, bad.to_string()))
}

fn dns_ttl(text: String) -> Result<Ttl, Reply> {
    if text.is_empty() {
        return Ok(Ttl::default());
    }
    if let Some(Ok(span)) = text.strip_prefix('-').map(parse_duration)
        && !span.is_zero()
    {
        return Err(invalid(format!("DNS TTL '-{}', must be >=0", span.as_nanos())));
    }
    let span = parse_duration(&text).map_err(|bad| invalid(format!("Bad DNS TTL '{text}': {bad}")))?;
    Ok(Ttl { span, text })
}
