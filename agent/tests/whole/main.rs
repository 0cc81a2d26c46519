//! The whole binary over real sockets and a real disk, at its default ports on addresses of 127.0.0.0/8.
#![expect(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod bad_input;
mod cli;
mod cluster;
mod connect;
mod dev;
mod dig;
mod endpoint;
mod faces;
mod faults;
mod locks;
mod operate;
mod prepared;
mod road;
mod txn;
mod watch;
