//! Runs `portreeve_fuzz::reader` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portreeve_fuzz::reader(data));
