//! Changes of the files that applications are made of: `reload = "watch"` (inotify(7)). The names of files decide: what an
//! application writes beside its modules, such as a database, is no change, and what its processes read by themselves, such
//! as templates, is new in each of them anyway.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

/// Changes that follow each other faster are one: those of an editor, of a checkout.
const QUIET: Duration = Duration::from_millis(200);
/// After the first one, further ones delay nothing.
const DELAY_MAX: Duration = Duration::from_secs(2);
/// Folders that are watched. Each takes about a kilobyte of the kernel's memory.
const FOLDERS_MAX: usize = 4096;
/// Larger files are compared by their times: modules have less.
const HASHED_MAX: u64 = 16 << 20;
/// The files of modules.
const SUFFIXES: [&[u8]; 2] = [b".py", b".so"];
/// Folders without modules of the application, beside hidden ones and virtual environments.
const EXCLUDED: [&str; 2] = ["__pycache__", "node_modules"];

/// Changes to wait for.
#[derive(Debug)]
pub(super) struct Changes {
    inotify: Inotify,
    folders: HashMap<WatchDescriptor, WatchedFolder>,
    /// Hashes of the contents of modules: an application may write one that it has, whenever it is imported.
    contents: HashMap<PathBuf, u64>,
    /// Files that are no modules, whatever their names.
    excluded: HashSet<PathBuf>,
    /// Changes that were found, and are not reported yet.
    found: Option<Found>,
}

#[derive(Debug)]
struct Found {
    /// When they are reported if nothing follows them, and at the latest.
    due: Instant,
    latest: Instant,
}

#[derive(Debug)]
struct WatchedFolder {
    path: PathBuf,
    /// Of all that is in it, only this matters: it contains a folder of modules, which may be replaced as a whole.
    only: Option<OsString>,
}

impl Changes {
    /// Watches these folders and all below them. Also gives a warning if that is not possible for all.
    ///
    /// # Errors
    /// Those of inotify_init1(2).
    pub(super) fn watch(roots: &[PathBuf]) -> io::Result<(Self, Option<String>)> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let (folders, contents, excluded) = (HashMap::new(), HashMap::new(), HashSet::new());
        let mut changes = Self { inotify, folders, contents, excluded, found: None };
        let mut failure = None;
        for root in roots {
            if let (Some(parent), Some(name)) = (root.parent(), root.file_name()) {
                let _ = changes.add(parent, Some(name)); // it may be closed to this user
            }
            failure = changes.add_all(root).err().or(failure);
        }
        let warning = failure.map(|(folder, errno)| {
            let (folder, error) = (folder.display(), errno.desc());
            match errno {
                Errno::ENOSPC => format!(
                    "unable to watch {folder} for changes: {error} (at most {FOLDERS_MAX} folders, and fs.inotify.max_user_watches)"
                ),
                _ => format!("unable to watch {folder} for changes: {error}"),
            }
        });
        Ok((changes, warning))
    }

    /// Excludes files that the applications write when they are loaded: the next load writes them again.
    pub(super) fn exclude(&mut self, files: &[PathBuf]) {
        self.excluded.extend(files.iter().map(|file| resolve_folder(file)));
    }

    /// Takes what has happened. True: files have changed, and nothing has followed for a moment.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        while let Ok(events) = self.inotify.read_events() {
            for event in events {
                if self.is_change(&event) {
                    let latest = self.found.as_ref().map_or(now + DELAY_MAX, |found| found.latest);
                    self.found = Some(Found { due: latest.min(now + QUIET), latest });
                }
            }
        }
        self.found.take_if(|found| now >= found.due).is_some()
    }

    /// When [`Self::take`] may find that nothing has followed.
    pub(super) fn next_event(&self) -> Option<Instant> {
        self.found.as_ref().map(|found| found.due)
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.inotify.as_fd().as_raw_fd()
    }

    fn is_change(&mut self, event: &InotifyEvent) -> bool {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            return true; // something was lost
        }
        if event.mask.contains(AddWatchFlags::IN_IGNORED) {
            self.folders.remove(&event.wd);
            return false;
        }
        let (Some(folder), Some(name)) = (self.folders.get(&event.wd), &event.name) else { return false };
        match &folder.only {
            Some(only) if only != name => return false,
            // It is a folder, or a link to one.
            Some(_) => {
                let path = folder.path.join(name);
                let _ = self.add_all(&path); // it may be gone
                return true;
            }
            None => {}
        }
        if !event.mask.contains(AddWatchFlags::IN_ISDIR) {
            let path = folder.path.join(name);
            return is_module(name) && !self.is_excluded(&path) && self.has_new_content(path);
        }
        if is_excluded(name) {
            return false;
        }
        let path = folder.path.join(name);
        match event.mask.intersects(AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO) {
            true => self.add_all(&path).unwrap_or(true),
            false => event.mask.contains(AddWatchFlags::IN_MOVED_FROM), // of a deleted one the files were deleted
        }
    }

    fn is_excluded(&self, path: &Path) -> bool {
        !self.excluded.is_empty() && self.excluded.contains(&resolve_folder(path))
    }

    /// Watches a folder and those below it. True: it has modules already.
    fn add_all(&mut self, root: &Path) -> Result<bool, (PathBuf, Errno)> {
        let (mut left, mut has_modules) = (vec![root.to_owned()], false);
        while let Some(folder) = left.pop() {
            if folder.join("pyvenv.cfg").exists() {
                continue; // a virtual environment
            }
            // First, so that nothing is missed in between.
            self.add(&folder, None).map_err(|errno| (folder.clone(), errno))?;
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let name = entry.file_name();
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() && !is_excluded(&name) => left.push(entry.path()),
                    Ok(kind) if !kind.is_dir() && is_module(&name) => {
                        has_modules = true;
                        self.has_new_content(entry.path());
                    }
                    _ => {}
                }
            }
        }
        Ok(has_modules)
    }

    /// Whether a module is another one than it was, or is gone.
    fn has_new_content(&mut self, path: PathBuf) -> bool {
        match hash_content(&path) {
            Ok(Some(hash)) => self.contents.insert(path, hash) != Some(hash),
            Ok(None) => false,
            Err(_) => {
                self.contents.remove(&path);
                true
            }
        }
    }

    fn add(&mut self, folder: &Path, only: Option<&OsStr>) -> Result<(), Errno> {
        if self.folders.len() >= FOLDERS_MAX {
            return Err(Errno::ENOSPC);
        }
        let flags = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_ONLYDIR;
        let watch = match self.inotify.add_watch(folder, flags) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(()), // gone meanwhile, which is an event
            watch => watch?,
        };
        let only = only.map(OsStr::to_owned);
        let known = self
            .folders
            .entry(watch)
            .or_insert_with(|| WatchedFolder { path: folder.into(), only: only.clone() });
        if only.is_none() {
            *known = WatchedFolder { path: folder.into(), only };
        }
        Ok(())
    }
}

/// Readable when [`Changes::take`] has something to take.
impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// A hash of what a file contains, or of its metadata if it is large. `None`: it is no file, but a FIFO or the like.
fn hash_content(path: &Path) -> io::Result<Option<u64>> {
    if !fs::metadata(path)?.is_file() {
        return Ok(None);
    }
    // Without waiting, since it may be another one by now.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    let mut hasher = DefaultHasher::new();
    metadata.len().hash(&mut hasher);
    if metadata.len() > HASHED_MAX {
        metadata.modified()?.hash(&mut hasher);
    } else {
        let mut bytes = Vec::new();
        file.take(HASHED_MAX).read_to_end(&mut bytes)?;
        hasher.write(&bytes);
    }
    Ok(Some(hasher.finish()))
}

/// The path without links in that of its folder.
fn resolve_folder(path: &Path) -> PathBuf {
    let resolved = path.parent().zip(path.file_name());
    let resolved = resolved.and_then(|(folder, name)| Some(fs::canonicalize(folder).ok()?.join(name)));
    resolved.unwrap_or_else(|| path.to_owned())
}

fn is_module(name: &OsStr) -> bool {
    SUFFIXES.iter().any(|suffix| name.as_bytes().ends_with(suffix))
}

fn is_excluded(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".") || EXCLUDED.iter().any(|excluded| name == *excluded)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether this is a change.
    fn makes_change(folder: &Path, action: impl FnOnce(&Path)) -> bool {
        let (mut changes, warning) = Changes::watch(&[folder.to_owned()]).unwrap();
        assert_eq!(warning, None);
        action(folder);
        let now = Instant::now();
        assert!(!changes.take(now), "something may follow");
        changes.take(now + QUIET)
    }

    #[test]
    fn modules_are_changes_and_other_files_are_not() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("app");
        fs::create_dir_all(folder.join("package")).unwrap();
        let write = |name: &'static str| move |folder: &Path| fs::write(folder.join(name), "x").unwrap();
        for name in ["a.py", "package/b.py", "package/c.cpython-311.so"] {
            assert!(makes_change(&folder, write(name)), "{name}");
        }
        assert!(!makes_change(&folder, write("a.py")), "its content is the same");
        for name in ["db.sqlite3", "a.pyc", "page.html", ".hidden"] {
            assert!(!makes_change(&folder, write(name)), "{name}");
        }
        assert!(
            makes_change(&folder, |folder| fs::rename(folder.join("a.py"), folder.join("d.txt")).unwrap())
        );
        assert!(
            makes_change(&folder, |folder| fs::rename(folder.join("d.txt"), folder.join("e.py")).unwrap())
        );
        assert!(makes_change(&folder, |folder| fs::remove_file(folder.join("e.py")).unwrap()));
        assert!(makes_change(&folder, |folder| fs::rename(folder.join("package"), folder.join("p")).unwrap()));
        assert!(!makes_change(&folder, |folder| fs::create_dir(folder.join("empty")).unwrap()));
    }

    #[test]
    fn only_files_are_read() {
        let root = tempfile::tempdir().unwrap();
        let make_fifo = |name: &str| {
            let mode = nix::sys::stat::Mode::S_IRWXU;
            nix::unistd::mkfifo(&root.path().join(name), mode).unwrap();
        };
        make_fifo("before.py");
        assert!(!makes_change(root.path(), |_| make_fifo("after.py")));
        let enlarge = |length| {
            let large = fs::File::create(root.path().join("large.so")).unwrap();
            large.set_len(HASHED_MAX + length).unwrap();
        };
        enlarge(1);
        assert!(makes_change(root.path(), |_| enlarge(2)));
    }

    #[test]
    fn changes_that_do_not_end_are_reported_nevertheless() {
        let root = tempfile::tempdir().unwrap();
        let (mut changes, _) = Changes::watch(&[root.path().to_owned()]).unwrap();
        let start = Instant::now();
        for step in 0..20 {
            fs::write(root.path().join("a.py"), step.to_string()).unwrap();
            assert!(!changes.take(start + step * DELAY_MAX / 20), "{step}");
        }
        fs::write(root.path().join("a.py"), "last").unwrap();
        assert!(changes.take(start + DELAY_MAX));
    }

    #[test]
    fn excluded_files_are_no_changes() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(root.path(), root.path().join("link")).unwrap();
        let (mut changes, _) = Changes::watch(&[root.path().to_owned()]).unwrap();
        let now = Instant::now();
        for (name, is_change) in [("version.py", false), ("other.py", true)] {
            fs::write(root.path().join(name), "x").unwrap();
            changes.exclude(&[root.path().join("link/version.py")]);
            assert!(!changes.take(now) && changes.take(now + QUIET) == is_change, "{name}");
        }
    }

    #[test]
    fn new_folders_are_watched_and_other_ones_are_not() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("app");
        fs::create_dir(&folder).unwrap();
        for name in [".git", "__pycache__", "venv"] {
            fs::create_dir(folder.join(name)).unwrap();
            fs::write(folder.join("venv/pyvenv.cfg"), "").unwrap_or_default();
            assert!(
                !makes_change(&folder, |folder| fs::write(folder.join(name).join("a.py"), "").unwrap()),
                "{name}"
            );
        }
        let (mut changes, _) = Changes::watch(std::slice::from_ref(&folder)).unwrap();
        fs::create_dir(folder.join("new")).unwrap();
        let now = Instant::now();
        assert!(!changes.take(now) && !changes.take(now + QUIET), "it is empty");
        fs::write(folder.join("new/a.py"), "").unwrap();
        assert!(!changes.take(now) && changes.take(now + QUIET));
    }

    #[test]
    fn folder_that_is_replaced_as_a_whole_is_a_change() {
        let root = tempfile::tempdir().unwrap();
        for name in ["one", "two"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        let current = root.path().join("current");
        std::os::unix::fs::symlink("one", &current).unwrap();
        let (mut changes, _) = Changes::watch(std::slice::from_ref(&current)).unwrap();
        std::os::unix::fs::symlink("two", root.path().join("next")).unwrap();
        fs::rename(root.path().join("next"), &current).unwrap();
        let now = Instant::now();
        assert!(!changes.take(now) && changes.take(now + QUIET));
        fs::write(root.path().join("two/a.py"), "").unwrap();
        assert!(!changes.take(now) && changes.take(now + QUIET));
    }
}
