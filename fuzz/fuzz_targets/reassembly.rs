//! Runs `portreeve_fuzz::reassembly` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portreeve_fuzz::reassembly(data));
