//! What this agent owns.

mod change;
mod meta;
mod spec;

pub use change::{Change, Refused};
pub use meta::{InvalidMeta, InvalidService, InvalidWeights, PairFault};
pub use spec::ServiceSpec;
