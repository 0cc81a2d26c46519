//! The whole binary over real sockets and a real disk, at its default ports on addresses of 127.0.0.0/8.
#![expect(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod autopilot;
mod bad_input;
mod cli;
mod cluster;
mod connect;
mod coordinates;
mod debug;
mod dev;
mod dig;
mod endpoint;
mod events;
mod faces;
mod faults;
mod lock_command;
mod locks;
mod openapi;
mod operate;
mod prepared;
mod road;
mod snapshot;
mod txn;
mod ui;
mod watch;
