//! Whole clusters, simulated: storms against which every invariant is held, and scenes. Replay a failing seed with the command
//! it prints.

mod bugs;
mod cluster;
mod disk;
mod invariants;
mod leave;
mod locks;
mod one_server;
mod plain;
mod provoke;
mod replay;
mod snapshot;
