//! Calls on their way to where they can be answered.
