//! `/v1/acl/...` and `/v1/agent/token/...`: there are no access control lists, and clients are told so as an agent of
//! Consul tells them that has them turned off.

use super::Context;
use super::call::{Call, Plan, Reply};

/// What all of them are answered, whatever is asked.
pub fn disabled(_: &Context<'_>, _: &Call, _: &str) -> Result<Plan, Reply> {
    Err(Reply::text(401, "ACL support disabled"))
}
