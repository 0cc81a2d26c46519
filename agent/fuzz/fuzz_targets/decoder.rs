//! The one fuzz target: the program's name says which decoder's property it runs.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lictor_agent::malformed::check(env!("CARGO_BIN_NAME"), bytes));
