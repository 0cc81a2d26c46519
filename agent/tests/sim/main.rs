//! Whole clusters, simulated: one file for each thing that must be so. Replay a failing seed with the command it prints.

mod acknowledged;
mod bugs;
mod cluster;
mod determinism;
mod disk;
mod election;
mod fresh_reads;
mod leave;
mod liveness;
mod one_cluster;
mod one_server;
mod provoke;
mod replay;
mod snapshot;
mod state_machine;
mod waiters;
