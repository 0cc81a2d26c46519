//! What this agent owns.

mod change;
mod spec;

pub use change::{Change, Refused};
pub use spec::ServiceSpec;
