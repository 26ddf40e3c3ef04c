//! The content of a request, as a program gets it. What came chunked is stored before the program starts, so that the
//! program gets its length: in memory, and above some KiB in a file without a name (open(2), `O_TMPFILE`), which the
//! kernel removes with its last descriptor.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::statvfs::fstatvfs;

use super::Cgi;
use crate::handler::exchange::Exchange;
use crate::http::body::Body;
use crate::http::failure::Failure;

/// Bytes of content that stay in memory: what a pipe holds.
const MEMORY_MAX: usize = 64 * 1024;
/// What stays free of a file system, since others need it as well: this part, and at most so many bytes.
const KEPT_PART: u64 = 10;
const KEPT_MAX: u64 = 1 << 30;
/// Bytes received at once.
const PART: usize = 16 * 1024;

/// Where the standard input of a program comes from.
#[derive(Debug)]
pub(crate) enum Content {
    Nothing,
    /// The client, while the program runs.
    Client,
    Memory(Vec<u8>),
    /// Its position is 0.
    File(File),
}

/// Why the content of a request cannot be had.
#[derive(Debug)]
pub(crate) enum ContentError {
    /// The client has gone, is too slow, or sends malformed content or too much.
    Client(Failure),
    /// The file cannot be made or written.
    File(io::Error),
}

impl From<Failure> for ContentError {
    fn from(failure: Failure) -> Self {
        Self::Client(failure)
    }
}

impl From<io::Error> for ContentError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl From<Errno> for ContentError {
    fn from(errno: Errno) -> Self {
        Self::File(errno.into())
    }
}

impl Content {
    /// The content for a program, and the value of `CONTENT_LENGTH`. Stores what came chunked, unless the settings are to
    /// stream it.
    pub(crate) fn prepare(
        exchange: &mut Exchange<'_, '_>,
        settings: &Cgi,
    ) -> Result<(Self, Option<u64>), ContentError> {
        if exchange.is_internal_redirect {
            return Ok((Self::Nothing, None));
        }
        let Some(length) = exchange.body.length() else {
            if settings.stream {
                return Ok((Self::Client, None));
            }
            let spool = Spool::receive(exchange.body, &settings.spool_directory)?;
            let length = spool.length;
            return Ok((spool.finish()?, Some(length)));
        };
        // Programs that read a form fail without a length, and it may be empty.
        let may_have_content = !matches!(exchange.request.method, "GET" | "HEAD");
        let content = if exchange.body.is_done() { Self::Nothing } else { Self::Client };
        Ok((content, (length > 0 || may_have_content).then_some(length)))
    }
}

/// Content that is being stored.
#[derive(Debug, Default)]
struct Spool {
    memory: Vec<u8>,
    /// What does not stay in memory, from the first byte on.
    file: Option<File>,
    length: u64,
}

impl Spool {
    /// Receives the content to its end, within the limits of `body`. `directory`: for the file.
    fn receive(body: &mut Body<'_>, directory: &Path) -> Result<Self, ContentError> {
        let mut spool = Self::default();
        let mut part = vec![0; PART];
        loop {
            let count = body.read(&mut part)?;
            if count == 0 {
                return Ok(spool);
            }
            spool.add(&part[..count], directory)?;
        }
    }

    fn add(&mut self, bytes: &[u8], directory: &Path) -> io::Result<()> {
        self.length += bytes.len() as u64;
        if self.file.is_none() && self.memory.len() + bytes.len() <= MEMORY_MAX {
            self.memory.extend_from_slice(bytes);
            return Ok(());
        }
        let file = match &mut self.file {
            None => {
                let file = self.file.insert(create(directory)?);
                file.write_all(&std::mem::take(&mut self.memory))?;
                file
            }
            Some(file) => file,
        };
        let space = fstatvfs(&*file)?;
        let kept = (space.blocks() / KEPT_PART).min(KEPT_MAX / space.fragment_size().max(1));
        if space.blocks_available() < kept {
            return Err(Errno::ENOSPC.into());
        }
        file.write_all(bytes)
    }

    fn finish(self) -> io::Result<Content> {
        Ok(match self.file {
            // The program must not write to it: it could fill the disk.
            Some(file) => Content::File(File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?),
            None if self.memory.is_empty() => Content::Nothing,
            None => Content::Memory(self.memory),
        })
    }
}

/// A file that no other process can open by a path, now or later.
fn create(directory: &Path) -> io::Result<File> {
    let flags = OFlag::O_TMPFILE | OFlag::O_EXCL | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    Ok(open(directory, flags, Mode::S_IRUSR | Mode::S_IWUSR)?.into())
}

/// Answers for content that cannot be stored.
pub(crate) fn describe_error(error: &io::Error) -> (u16, &'static str) {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG) => {
            (507, "the server has no room for the request content")
        }
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => (503, "the server cannot open another file"),
        _ => (500, "unable to store the request content"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_in_memory_up_to_the_size_of_a_pipe() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::default();
        spool.add(&[b'a'; MEMORY_MAX], Path::new("/no/such/directory")).unwrap();
        assert!(spool.file.is_none());
        spool.add(b"bcd", folder.path()).unwrap();
        spool.add(b"e", folder.path()).unwrap();
        assert_eq!(spool.length, MEMORY_MAX as u64 + 4);
        let Content::File(file) = spool.finish().unwrap() else { panic!("no file") };
        let text = io::read_to_string(file).unwrap();
        assert!(text.len() == MEMORY_MAX + 4 && text.starts_with("aa") && text.ends_with("aabcde"));
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "it has no name");
        assert!(matches!(Spool::default().finish().unwrap(), Content::Nothing));
    }

    #[test]
    fn full_disk_has_a_status_of_its_own() {
        let file = File::options().write(true).open("/dev/full").unwrap();
        let mut spool = Spool { file: Some(file), ..Spool::default() };
        assert_eq!(describe_error(&spool.add(b"a", Path::new("/")).unwrap_err()).0, 507);
        let mut spool = Spool { memory: vec![0; MEMORY_MAX], ..Spool::default() };
        assert_eq!(describe_error(&spool.add(b"a", Path::new("/no/such/directory")).unwrap_err()).0, 500);
        assert_eq!(describe_error(&Errno::EDQUOT.into()).0, 507);
        assert_eq!(describe_error(&Errno::EMFILE.into()).0, 503);
    }
}
