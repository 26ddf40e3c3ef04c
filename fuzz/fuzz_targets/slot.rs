//! Feeds [`lsbaws::fuzzing::slot`].

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| lsbaws::fuzzing::slot::check(bytes));
