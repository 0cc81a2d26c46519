//! Whole clusters, simulated: one file for each thing that must be so. Replay a failing seed with the command it prints.

mod acknowledged;
mod cluster;
mod determinism;
mod disk;
mod election;
mod fresh_reads;
mod leave;
mod liveness;
mod one_server;
mod replay;
mod snapshot;
mod state_machine;
mod waiters;
