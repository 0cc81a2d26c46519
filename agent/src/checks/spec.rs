//! A check as its owner defines it.

/// A check definition from the API or a configuration file, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckSpec {}
