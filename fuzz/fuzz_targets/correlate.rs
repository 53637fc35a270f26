#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kreset_fuzz_targets::correlate(bytes));
