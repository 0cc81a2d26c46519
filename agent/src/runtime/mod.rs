//! The world outside.

pub mod probe;
