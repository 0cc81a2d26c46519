//! `/v1/lock/sequencer/<key>`: proof of holding a lock, to be shown to whoever is written to. An addition to Consul's API.

use super::call::{Call, Encoding, Form, Plan, Reply};
use super::{Context, kv, options};
use lictor_catalog::model::BadSequencer;
use lictor_catalog::{Query, Sequencer};

/// The present holder's sequencer; 404 while there is none. It blocks as the key itself does.
pub fn sequencer(context: &Context<'_>, call: &Call, key: &str) -> Result<Plan, Reply> {
    let encoding = Encoding { form: Form::Sequencer, ..Encoding::default() };
    options::read_as(context, call, Query::KvGet { key: kv::present(key)? }, encoding)
}

/// `?sequencer=`: the write is made only while this lock is held.
pub(super) fn fence(call: &Call) -> Result<Option<Sequencer>, Reply> {
    let parsed = call.params.get("sequencer").map(str::parse).transpose();
    parsed.map_err(|bad: BadSequencer| Reply::text(400, format!("Invalid sequencer: {bad}")))
}
