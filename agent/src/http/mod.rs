//! The HTTP API as plain values: routes, handlers, JSON shapes.

pub mod call;
pub mod params;
