//! The messages between the supervisor and fork servers: one that is accepted means the same when it is written again.

use crate::handover::{Handover, Report, decode};

/// Several encodings of a number mean the same, so the bytes may differ, and the message must not.
macro_rules! check_as {
    ($message:ty, $bytes:expr) => {
        if let Ok(message) = decode::<$message>($bytes) {
            let again = postcard::to_allocvec(&message).expect("a message can be written");
            let second = decode::<$message>(&again).expect("what was written can be read");
            assert_eq!(second, message);
        }
    };
}

/// Checks one input.
pub fn check(bytes: &[u8]) {
    check_as!(Handover<'_>, bytes);
    check_as!(Report, bytes);
}
