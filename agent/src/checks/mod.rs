//! Is it well? Definitions of checks, what each kind does and how it judges what came back, and when each runs.
//!
//! Everything here is sans-IO: a check becomes a [`Probe`], a plain value that the runtime executes, and comes back as an
//! [`Outcome`]. Nothing in this folder opens a socket, starts a process or reads a clock.

mod capture;
mod http;
mod kind;
mod probe;
mod schedule;
mod script;
mod spec;
mod tcp;
mod threshold;
mod ttl;
mod udp;

pub use capture::{Captured, Tail, head};
pub use http::HttpCheck;
pub use kind::{Kind, TlsOptions};
pub use probe::{Outcome, Probe, Verdict};
pub use schedule::{Checks, Judged, Run, Start};
pub use script::ScriptCheck;
pub use spec::{CheckSpec, InvalidCheck, SpecError};
pub use tcp::TcpCheck;
pub use threshold::Thresholds;
pub(crate) use ttl::expired as ttl_expired;
pub use udp::UdpCheck;
