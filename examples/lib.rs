//! Programs to copy from, and programs that show what lictor does.
//!
//! `register`, `srv_lookup` and `sidecar` are for copying: each speaks HTTP and DNS to the agent beside it, as a client in
//! any language would, and uses nothing of this project, not even this library. They need an agent:
//! `cargo run --release -- agent -dev`.
//!
//! `leader_election`, `semaphore`, `barrier` and `queue` are for copying as well, along with `line.rs`, which all four are made of.
//!
//! `three_servers`, `coordination`, `load`, `figures` and `watchers` bring their own cluster of real agents, by [`cluster`].
//!
//! Each runs by its name alone: `cargo run --example register`.

pub mod cluster;
