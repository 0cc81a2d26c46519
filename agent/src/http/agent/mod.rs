//! `/v1/agent/...`: what the agent that was asked knows and owns. Never forwarded, never blocking.

pub mod checks;
pub mod health;
pub mod identity;
pub mod insight;
pub mod maintenance;
pub mod members;
pub mod services;
pub mod stats;
