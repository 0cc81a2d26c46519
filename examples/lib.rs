//! Programs to copy from. Each speaks HTTP to an agent as any client in any language would, and uses nothing of lictor.
//!
//! `cargo run -p lictor-examples --example register` needs an agent: `cargo run --release -- agent -dev`.
