//! Feeds [`lsbaws::fuzzing::cgi_head`].

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| lsbaws::fuzzing::cgi_head::check(bytes));
