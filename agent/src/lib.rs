//! The lictor agent: gossip, checks, local state, consensus, and the faces around them. `ARCHITECTURE.md` is the map.

pub mod agent;
pub mod archive;
pub mod checks;
pub mod cli;
pub mod config;
pub mod consensus;
pub mod dice;
pub mod effect;
pub mod event;
pub mod forward;
pub mod gossip;
pub mod http;
pub mod hub;
pub mod json;
pub mod local;
#[cfg(feature = "malformed")]
pub mod malformed;
pub mod metrics;
pub mod nearest;
pub mod rpc;
pub mod runtime;
pub mod server;
#[cfg(feature = "sim")]
pub mod sim;
pub mod time;
pub mod view;
