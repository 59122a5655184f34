//! Runs `portreeve_fuzz::inspectors` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portreeve_fuzz::inspectors(data));
