//! Blocking queries as values.
