//! Feeds [`lsbaws::fuzzing::request_head`].

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| lsbaws::fuzzing::request_head::check(bytes));
