//! Runs `portreeve_fuzz::tls` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portreeve_fuzz::tls(data));
