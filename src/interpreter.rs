//! The `#!` line of a script (execve(2)).

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Bytes that the kernel reads of a file to run it.
const LINE_MAX: u64 = 256;

/// What follows `#!` in the first line of a script. `None`: it is no script, or cannot be read.
pub(crate) fn read_line(script: &Path) -> Option<Vec<u8>> {
    let mut start = Vec::new();
    File::open(script).ok()?.take(LINE_MAX).read_to_end(&mut start).ok()?;
    Some(start.split(|&byte| byte == b'\n').next()?.strip_prefix(b"#!")?.to_vec())
}

/// The interpreter that a script names.
pub(crate) fn find(script: &Path) -> Option<PathBuf> {
    let line = read_line(script)?;
    let words = line.split(|byte| b" \t".contains(byte));
    words.into_iter().find(|word| !word.is_empty()).map(|word| OsStr::from_bytes(word).into())
}
