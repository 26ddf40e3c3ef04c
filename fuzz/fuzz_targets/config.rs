//! Feeds [`lsbaws::fuzzing::config`].

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| lsbaws::fuzzing::config::check(text));
