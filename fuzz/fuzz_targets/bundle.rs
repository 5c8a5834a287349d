#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cratehold_fuzz::targets::bundle(data));
