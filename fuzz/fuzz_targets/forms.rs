//! Runs `portreeve_fuzz::forms` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portreeve_fuzz::forms(data));
