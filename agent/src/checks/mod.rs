//! Is it well?

mod spec;

pub use spec::{CheckSpec, SpecError};
