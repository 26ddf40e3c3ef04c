//! The slot of a child that may have written anything into it: what a record shows is short, and plain text.

use crate::scoreboard::Slot;

/// Bytes of an escaped method, and of an escaped target: each byte can become four, and dots mark a cut.
const METHOD_MAX: usize = 16 * 4 + 3;
const TARGET_MAX: usize = 256 * 4 + 3;

/// Checks one input.
pub fn check(bytes: &[u8]) {
    let slot = Slot::with_bytes(bytes);
    let snapshot = slot.read();
    for (text, longest) in [(&snapshot.method, METHOD_MAX), (&snapshot.target, TARGET_MAX)] {
        if let Some(text) = text {
            assert!(!text.is_empty() && text.len() <= longest);
            assert!(text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{text:?}");
            assert!(!text.contains('"'));
        }
    }
    assert!(snapshot.lost_messages <= 1 << 20);
    assert_ne!(snapshot.status, Some(0));
    assert!(!snapshot.phase.to_string().is_empty());
    assert_eq!(slot.bytes(), snapshot.bytes_in.wrapping_add(snapshot.bytes_out));
    assert_eq!(slot.read(), snapshot);
}
