//! Texts in slots.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::escape::escape_ascii;

/// Bytes of a target that a slot has room for.
pub(super) const TARGET_MAX: usize = 256;

/// Stores what there is room for. Returns the whole length.
pub(super) fn store_text(words: &[AtomicU64], text: &[u8]) -> u64 {
    for (word, bytes) in words.iter().zip(text.chunks(8)) {
        let mut whole = [0; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        word.store(u64::from_ne_bytes(whole), Relaxed);
    }
    text.len() as u64
}

/// The bytes that were stored, of a text of this length.
pub(super) fn load_bytes(words: &[AtomicU64], length: u64) -> Vec<u8> {
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.load(Relaxed).to_ne_bytes()).collect();
    bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
    bytes
}

/// Text of a slot as a record shows it.
pub(super) fn load_text(words: &[AtomicU64], length: u64) -> Option<String> {
    let bytes = load_bytes(words, length);
    (length > 0).then(|| describe(&bytes, length > bytes.len() as u64))
}

fn describe(text: &[u8], is_cut: bool) -> String {
    escape_ascii(text) + if is_cut { "..." } else { "" }
}

/// A target as a record shows it, for other entries of its connection.
pub(crate) fn describe_target(target: &[u8]) -> String {
    describe(&target[..target.len().min(TARGET_MAX)], target.len() > TARGET_MAX)
}
