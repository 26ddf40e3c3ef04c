//! Feeds [`lsbaws::fuzzing::path`].

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| lsbaws::fuzzing::path::check(text));
