//! What the operator said.
