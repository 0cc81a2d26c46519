//! `/v1/snapshot`: the catalog as one archive, and back from one. The agent that is asked answers: it fetches the archive
//! from a server, or reads it and has its rows staged through the log, so that no large body is passed on whole.

use super::call::{Call, Consistency, Plan, Reply, Source};
use super::{Context, answer, options};

pub fn save(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    options::here(context, call)?;
    Ok(Plan::Stream(Source::Backup(options::consistency(context, call)?)))
}

pub fn restore(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    options::here(context, call)?;
    if options::consistency(context, call)? == Consistency::Stale {
        return Err(Reply::text(400, "stale not allowed for restores"));
    }
    Ok(Plan::Stream(Source::Restore))
}

/// The head of an archive's reply.
#[must_use]
pub fn head(reply: Reply, saved: &crate::rpc::Saved) -> Reply {
    answer::read_headers(reply, saved.index, saved.known_leader, saved.last_contact_ms)
}
