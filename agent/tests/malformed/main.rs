//! The stored corpora of malformed input, and mutations of them, against the properties of `lictor_agent::malformed`.
//!
//! `corpus/DECODER/good/` holds what must be accepted, `corpus/DECODER/bad/` what must be refused with a reason; what a
//! fuzzer finds is added there under a name that says what it is. After a change of format, `STORE_SEEDS=1 cargo test -p
//! lictor-agent --test malformed` writes what the encoders write now under new names: the old ones must go on being read.
#![expect(clippy::unwrap_used, reason = "tests")]

mod corpus;
mod mutations;
mod proportion;
mod routes;
mod targets;
