//! Runs `portreeve_fuzz::redact` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portreeve_fuzz::redact(data));
