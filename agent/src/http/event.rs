//! `/v1/event/...`: firing user events, and reading or awaiting those that this agent has heard.

use super::call::{Act, Call, Consistency, Encoding, Plan, Read, Reply, Subject};
use super::{Context, named, options};
use crate::gossip::Announcement;

/// The body is the payload as it is.
pub fn fire(context: &Context<'_>, call: &Call, name: &str) -> Result<Plan, Reply> {
    let name = named(name, "Missing name")?;
    options::here(context, call)?;
    let filter = |name| call.params.get(name).unwrap_or_default().to_owned();
    let announcement = Announcement {
        name,
        payload: call.body.to_vec(),
        node_filter: filter("node"),
        service_filter: filter("service"),
        tag_filter: filter("tag"),
    };
    Ok(Plan::Act(Act::Fire(Box::new(announcement))))
}

/// The latest events, or those of a name, the oldest first. The index is made of the last one's id, and does not rise: who
/// waits is answered as soon as it is another one.
pub fn list(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    let name = call.params.get("name").unwrap_or_default().to_owned();
    let blocking = options::blocking(context.facts, call)?;
    let encoding = Encoding { pretty: options::pretty(context.facts, call), ..Encoding::default() };
    Ok(Plan::Read(Read { subject: Subject::Events { name }, encoding, consistency: Consistency::Stale, blocking }))
}
