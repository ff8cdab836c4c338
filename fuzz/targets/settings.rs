#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sam::fuzz_targets::settings(bytes));
