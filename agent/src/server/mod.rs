//! The leader's work.
