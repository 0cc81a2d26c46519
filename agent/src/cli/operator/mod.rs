//! `operator`: tools for those who run the cluster.

pub(crate) mod raft;
