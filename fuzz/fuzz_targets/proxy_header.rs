//! Feeds [`lsbaws::fuzzing::proxy_header`].

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| lsbaws::fuzzing::proxy_header::check(bytes));
