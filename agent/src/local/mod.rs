//! What this agent owns: its services and checks, kept on disk, and made true in the catalog.

mod admit;
mod change;
mod commit;
mod effect;
mod maintenance;
#[cfg(feature = "malformed")]
pub(crate) mod malformed;
mod meta;
mod owned;
mod record;
mod remote;
mod restore;
mod spec;
mod state;
mod sync;

#[cfg(test)]
mod state_tests;
#[cfg(test)]
mod sync_tests;

pub use change::{Change, Refused};
pub use effect::{Effect, Ticket, Write};
pub(crate) use meta::validate_meta;
pub use meta::{InvalidMeta, InvalidService, InvalidWeights, PairFault};
pub use owned::{Owned, OwnedConfig};
pub use record::{BadRecord, RecordKey, RecordKind};
pub use spec::ServiceSpec;
pub use state::{Acceptance, ChecksById, Local, LocalOptions, Services};
pub use sync::{Sync, SyncEffect, SyncError, SyncOptions, SyncTicket};
