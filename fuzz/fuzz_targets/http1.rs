//! Runs `portreeve_fuzz::http1` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portreeve_fuzz::http1(data));
