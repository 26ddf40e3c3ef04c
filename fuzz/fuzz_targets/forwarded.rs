//! Feeds [`lsbaws::fuzzing::forwarded`].

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| lsbaws::fuzzing::forwarded::check(bytes));
