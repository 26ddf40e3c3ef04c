//! Files of users, as htpasswd(1) writes them: `NAME:HASH` on each line. Lines that begin with `#` are comments.

mod hash;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use hash::PasswordHash;

pub(super) use hash::PASSWORD_MAX;

/// Bytes of a file: some three thousand users, whom the supervisor reads in a few milliseconds.
const FILE_MAX: u64 = 256 << 10;

/// A user and the hash of its password.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct UserEntry {
    name: String,
    hash: PasswordHash,
}

/// A state of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileStamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds. Not the time of the last change of its content, which programs can set.
    changed: (i64, i64),
}

impl FileStamp {
    fn new(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// What was read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct UserList {
    entries: Vec<UserEntry>,
    /// Of the file when it was last read, whether that succeeded or not.
    stamp: FileStamp,
}

impl UserList {
    /// Reads a file.
    ///
    /// # Errors
    /// A sentence with the path, the line and the remedy.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let (text, stamp) = read_text(path)?;
        Ok(Self { entries: parse(&text, path)?, stamp })
    }
}

/// A file, and the users that were read from it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UserFile {
    path: PathBuf,
    /// The only users that may use the route; empty for all.
    required: Vec<String>,
    list: RwLock<UserList>,
}

impl UserFile {
    /// Reads a file.
    ///
    /// # Errors
    /// A sentence with the path, the line and the remedy.
    pub(crate) fn read(path: PathBuf, required: Vec<String>) -> Result<Self, String> {
        let list = UserList::read(&path)?;
        let is_missing = |name: &&String| list.entries.iter().all(|entry| entry.name != **name);
        if let Some(missing) = required.iter().find(is_missing) {
            return Err(format!("{}: no user {missing:?}", path.display()));
        }
        Ok(Self { path, required, list: RwLock::new(list) })
    }

    /// It has no user.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.read().unwrap_or_else(PoisonError::into_inner).entries.is_empty()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The state of the file now, if it is another than that which was read.
    ///
    /// # Errors
    /// Those of stat(2).
    pub(crate) fn find_change(&self) -> Result<Option<FileStamp>, Errno> {
        let to_errno = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
        let stamp = FileStamp::new(&fs::metadata(&self.path).map_err(to_errno)?);
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        Ok((stamp != list.stamp).then_some(stamp))
    }

    /// Sets what was read of the file, which has changed. Without, the users stay as they are until the file changes again.
    pub(crate) fn set_list(&self, change: FileStamp, new: Option<&UserList>) {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        list.stamp = change;
        if let Some(new) = new {
            list.clone_from(new);
        }
    }

    /// Whether a user of the file may use the route.
    pub(super) fn permits(&self, name: &str) -> bool {
        self.required.is_empty() || self.required.iter().any(|required| required == name)
    }

    /// The hash to verify the password of a user by, and whether it is that of the user. For an unknown name it is that of
    /// another user, always the same one, so that its verification takes as long. `None`: no user exists.
    pub(crate) fn find(&self, name: &str) -> Option<(PasswordHash, bool)> {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        // Each entry is looked at, wherever the name is.
        let mut own = None;
        for entry in &list.entries {
            if entry.name == name {
                own = Some(entry);
            }
        }
        let sum = name.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let other = || list.entries.get(sum % list.entries.len().max(1));
        match own {
            Some(entry) => Some((entry.hash.clone(), true)),
            None => other().map(|entry| (entry.hash.clone(), false)),
        }
    }
}

/// The text of a file, and its state before it was read: a change meanwhile is noticed later.
fn read_text(path: &Path) -> Result<(String, FileStamp), String> {
    let fail = |problem: String| format!("unable to read {}: {problem}", path.display());
    let read = || {
        // Does not wait for a writer, if it is a FIFO.
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let metadata = file.metadata()?;
        let mut text = Vec::new();
        if metadata.is_file() {
            file.take(FILE_MAX + 1).read_to_end(&mut text)?;
        }
        Ok((metadata, text))
    };
    let (metadata, text) = read().map_err(|error: io::Error| fail(error.to_string()))?;
    if !metadata.is_file() {
        return Err(fail("not a regular file".into()));
    }
    if text.len() as u64 > FILE_MAX {
        return Err(fail("larger than 256 KiB".into()));
    }
    let text = String::from_utf8(text).map_err(|_| fail("not UTF-8 text".into()))?;
    Ok((text, FileStamp::new(&metadata)))
}

fn parse(text: &str, path: &Path) -> Result<Vec<UserEntry>, String> {
    let (mut entries, mut names) = (Vec::new(), HashSet::new());
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let fail = |problem: String| format!("{}:{}: {problem}", path.display(), index + 1);
        let Some((name, rest)) = line.split_once(':').filter(|(name, _)| !name.is_empty()) else {
            return Err(fail("expected NAME:HASH".into()));
        };
        if !names.insert(name) {
            return Err(fail(format!("the user {name:?} has an earlier line")));
        }
        // What follows the hash is a comment, as in nginx.
        let hash = rest.split(':').next().unwrap_or_default().trim_end();
        let hash = PasswordHash::parse(hash).map_err(|found| {
            let path = path.display();
            fail(format!(
                "expected a bcrypt or sha-crypt hash for the user {name:?}, found {found}; set the password again: htpasswd -B {path} {name}"
            ))
        })?;
        entries.push(UserEntry { name: name.to_owned(), hash });
    }
    Ok(entries)
}
