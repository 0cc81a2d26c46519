//! `operator`: tools for those who run the cluster.

pub(crate) mod autopilot;
pub(crate) mod raft;
pub(crate) mod usage;
