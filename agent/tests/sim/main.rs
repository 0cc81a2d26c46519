//! Whole clusters, simulated: storms against which every invariant is held, and scenes. Replay a failing seed with the command
//! it prints.

mod cluster;
mod disk;
mod invariants;
mod one_server;
mod replay;
mod snapshot;
