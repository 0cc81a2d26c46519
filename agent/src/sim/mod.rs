//! The simulator: a whole cluster as one value, in one thread, under one seed.
//!
//! Every node runs the real agent, hub, log store and handlers; what is simulated is what lies outside of them: the
//! network, the disk's bytes, the clocks, chance, and the checked endpoints. The host around the agent (`runtime/`) is
//! mirrored here step by step, with the same decisions ([`crate::forward`]) and the same orders of events.
//!
//! What it never does: it decides nothing that an agent decides, and it asks no clock and no generator but its own. Two
//! runs of one seed therefore have the same trace, which is how that is proved.

mod bug;
mod call;
mod client;
mod clock;
mod disk;
mod effects;
mod fault;
mod fetch;
mod history;
mod invariant;
pub mod linear;
mod locks;
mod logs;
mod net;
mod node;
mod rpc;
mod storm;
mod trace;
mod walk;
mod world;

pub use bug::Bug;
pub use client::call;
pub use clock::Clock;
pub use disk::{ByteDisk, Mounted};
pub use fault::names as fault_names;
pub use history::{Deed, Kind, Mode, Op, Seen, Sight};
pub use invariant::{INVARIANTS, Invariant, broken};
pub use logs::{Agreed, Election, Logs, Place};
pub use net::{Endpoint, Net};
pub use node::{Node, Process};
pub use storm::{Death, Plan, Storm};
pub use world::{MS, SECOND, Setup, World};
