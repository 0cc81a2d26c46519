//! The parameters that many endpoints share: consistency, blocking, form, datacenter, and the filters of lists.

use super::Context;
use super::answer::Freshness;
use super::call::{Blocking, Call, Consistency, Encoding, Form, Plan, Read, Reply, Subject};
use super::filter::Filter;
use super::filter::shape::Fields;
use crate::time::parse_duration;
use crate::view::Facts;
use lictor_catalog::{Index, Query, query};
use std::sync::Arc;
use std::time::Duration;

/// Whether the answer is indented: `?pretty`, or always under `-dev`.
#[must_use]
pub fn pretty(facts: &Facts, call: &Call) -> bool {
    facts.dev || call.params.has("pretty")
}

/// The plan of a read of the catalog, with the call's consistency, blocking and form.
pub fn read(context: &Context<'_>, call: &Call, query: Query) -> Result<Plan, Reply> {
    read_as(context, call, query, Encoding::default())
}

/// As [`read`], for lists whose rows have these fields, and can be filtered and sorted by nearness.
pub fn read_list(context: &Context<'_>, call: &Call, query: Query, fields: Fields) -> Result<Plan, Reply> {
    let filter = filter(call, fields)?.map(Arc::new);
    // No other cluster is a peer: what one would have exported is nothing.
    let form = unless_in(call, "peer");
    read_as(context, call, query, Encoding { form, filter, near: near(context, call), ..Encoding::default() })
}

/// How rows are shown, unless this parameter names something else that they would be of: there are none of such.
pub fn unless_in(call: &Call, param: &str) -> Form {
    if matches!(call.params.get(param), None | Some("")) { Form::Plain } else { Form::Absent }
}

/// As [`read`], for endpoints with an encoding of their own.
pub fn read_as(context: &Context<'_>, call: &Call, query: Query, encoding: Encoding) -> Result<Plan, Reply> {
    let blocking = blocking(context.facts, call)?;
    Ok(Plan::Read(Read { blocking, ..at_once(context, call, query, encoding)? }))
}

/// As [`read`], for endpoints that never block.
pub fn read_now(context: &Context<'_>, call: &Call, query: Query) -> Result<Plan, Reply> {
    at_once(context, call, query, Encoding::default()).map(Plan::Read)
}

fn at_once(context: &Context<'_>, call: &Call, query: Query, encoding: Encoding) -> Result<Read, Reply> {
    here(context, call)?;
    cache_control(&call.cache_control)?;
    let encoding = Encoding { pretty: pretty(context.facts, call), gzip: call.gzip, ..encoding };
    Ok(Read { subject: Subject::Catalog(query), encoding, consistency: consistency(context, call)?, blocking: None })
}

/// Refuses a call whose `?dc=` is not ours.
pub fn here(context: &Context<'_>, call: &Call) -> Result<(), Reply> {
    own_datacenter(context, call.params.get("dc").unwrap_or_default())
}

/// Refuses a datacenter that is not ours; an empty name means ours.
pub fn own_datacenter(context: &Context<'_>, name: &str) -> Result<(), Reply> {
    if name.is_empty() || name.eq_ignore_ascii_case(&context.facts.datacenter) {
        Ok(())
    } else {
        Err(Reply::text(500, "No path to datacenter"))
    }
}

pub fn consistency(context: &Context<'_>, call: &Call) -> Result<Consistency, Reply> {
    let params = &call.params;
    let max_stale = match params.get("max_stale").filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => {
            let bad = |_bad| Reply::text(400, format!("Invalid max_stale value {text:?}"));
            Some(parse_duration(text).map_err(bad)?).filter(|span| !span.is_zero())
        }
    };
    let stale = params.has("stale") || max_stale.is_some();
    let consistent = params.has("consistent");
    if stale && consistent {
        return Err(Reply::text(400, "Cannot specify ?stale with ?consistent, conflicting semantics."));
    }
    if params.has("cached") && consistent {
        return Err(Reply::text(400, "Cannot specify ?cached with ?consistent, conflicting semantics."));
    }
    // A view staler than allowed is asked of the leader at once, rather than first answered and then asked again.
    let too_stale = max_stale.is_some_and(|max| Freshness::of(context.view, context.now).last_contact > max);
    Ok(match (consistent, stale && !too_stale) {
        (true, _) => Consistency::Consistent,
        (false, true) => Consistency::Stale,
        (false, false) => Consistency::Default,
    })
}

/// `?index=` and `?wait=`, both checked even when only one is given. An index of 0 does not block.
pub fn blocking(facts: &Facts, call: &Call) -> Result<Option<Blocking>, Reply> {
    let wait = wait(facts, call)?;
    let min_index = match call.params.get("index").filter(|text| !text.is_empty()) {
        None => 0,
        Some(text) => go_u64(text).ok_or_else(|| Reply::text(400, "Invalid index"))?,
    };
    Ok((min_index > 0).then_some(Blocking { min_index: Index(min_index), wait }))
}

/// `?wait=`, or for how long is waited without.
pub fn wait(facts: &Facts, call: &Call) -> Result<Duration, Reply> {
    let text = call.params.get("wait").filter(|text| !text.is_empty());
    let wait = text.map(parse_duration).transpose().map_err(|_bad| Reply::text(400, "Invalid wait time"))?;
    Ok(wait.filter(|wait| !wait.is_zero()).unwrap_or(facts.default_query_time).min(facts.max_query_time))
}

fn cache_control(header: &str) -> Result<(), Reply> {
    for directive in header.split(',') {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let name = name.trim();
        let counted = name.eq_ignore_ascii_case("max-age") || name.eq_ignore_ascii_case("stale-if-error");
        if counted && go_u64(value.trim()).is_none() {
            return Err(Reply::text(400, "Invalid Cache-Control header."));
        }
    }
    Ok(())
}

/// `?near=`: the node of that name, or for `_agent` the one that was asked, or for `_ip` the one at the client's address.
fn near(context: &Context<'_>, call: &Call) -> Option<String> {
    match call.params.get("near")? {
        "" => None,
        "_agent" => Some(context.asked(call).to_string()),
        "_ip" => query::node_at(&context.view.store, call.source?).map(|node| node.name.to_string()),
        name => Some(name.to_owned()),
    }
}

/// `?filter=`, compiled for rows with these fields.
pub fn filter(call: &Call, fields: Fields) -> Result<Option<Filter>, Reply> {
    let source = call.params.get("filter").filter(|source| !source.is_empty());
    let compiled = source.map(|source| Filter::compile(source, fields)).transpose();
    compiled.map_err(|bad| Reply::text(400, bad.to_string()))
}

/// `?node-meta=key:value`, any number of times.
#[must_use]
pub fn node_meta(call: &Call) -> Vec<(String, String)> {
    call.params
        .all("node-meta")
        .map(|pair| pair.split_once(':').unwrap_or((pair, "")))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// `?tag=`, any number of times.
#[must_use]
pub fn tags(call: &Call) -> Vec<String> {
    call.params.all("tag").map(str::to_owned).collect()
}

/// `?passing`: true by presence, else as it says.
pub fn passing(call: &Call) -> Result<bool, Reply> {
    match call.params.get("passing") {
        None => Ok(false),
        Some("") => Ok(true),
        Some(text) => go_bool(text).ok_or_else(|| Reply::text(400, "Invalid value for ?passing")),
    }
}

/// `?enable=`, which must be there.
pub fn enable(call: &Call) -> Result<bool, Reply> {
    let text = call.params.get("enable").ok_or_else(|| Reply::text(400, "Missing value for enable"))?;
    go_bool(text).ok_or_else(|| Reply::text(400, format!("Invalid value for enable: {text:?}")))
}

/// The words that Go's `strconv.ParseBool` knows.
pub(super) fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Digits only: Rust's parser also takes a leading `+`, Go's does not.
pub(super) fn go_u64(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}
