//! Independence of the caller: limits, umask, environment and temporary folder are the same for every test run.
//! Signals that the caller ignores stay ignored, since the daemon must reset them.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::geteuid;
use std::path::Path;
use tempfile::TempDir;

/// Open files of this process and of the processes that it starts, if the caller permits as many.
const FILES: u64 = 4096;

/// Debian's default.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Sets the umask and the limits of this process, once. Every function here that makes files or processes calls this
/// first.
fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        umask(Mode::S_IWGRP | Mode::S_IWOTH);
        let (_, hard) = getrlimit(Resource::RLIMIT_CORE).unwrap();
        setrlimit(Resource::RLIMIT_CORE, 0, hard).unwrap();
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        // Root may raise the hard limit.
        if setrlimit(Resource::RLIMIT_NOFILE, FILES, hard.max(FILES)).is_err() {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
        }
    });
}

/// A command whose environment is PATH alone, and for lsbaws the permission to serve as root: tests often run as root,
/// or in a user namespace where they are.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    prepare();
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).env("LSBAWS_PROCESS__ALLOW_ROOT", "true");
    command
}

/// A folder that is not below /tmp or /var/tmp, where programs may write.
pub fn make_folder_outside_tmp() -> TempDir {
    let places = [Path::new(env!("CARGO_TARGET_TMPDIR")), Path::new("/var/lib"), Path::new("/dev/shm")];
    let is_outside = |place: &&&Path| !place.starts_with("/tmp") && !place.starts_with("/var/tmp");
    places.iter().filter(is_outside).find_map(|place| tempfile::tempdir_in(place).ok()).unwrap()
}

/// A folder that every user may enter. Its path is short, since the name of a Unix socket has at most 107 bytes
/// (unix(7)).
pub fn make_folder() -> TempDir {
    prepare();
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// A user without other processes, for limits that count the processes of a user. `None` without root: the test is
/// skipped.
pub fn unique_user() -> Option<u32> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    if !geteuid().is_root() {
        skip("needs root to run the daemon as a user without other processes");
        return None;
    }
    let count = COUNT.fetch_add(1, Relaxed);
    assert!(count < 64);
    Some(20_000 + std::process::id() % 700 * 64 + count)
}

/// Whether this process may see the descriptors and the environment of the daemon's, which are not dumpable (proc(5)).
/// If not, the test is skipped.
pub fn can_look_inside() -> bool {
    let is_permitted = geteuid().is_root();
    if !is_permitted {
        skip("needs root to look into processes that are not dumpable");
    }
    is_permitted
}

/// Whether a process may open so many files. If not, the test is skipped.
pub fn can_open(files: u64) -> bool {
    prepare();
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if soft < files {
        skip(&format!("needs a limit of {files} open files (ulimit -n), and may not raise it"));
    }
    soft >= files
}

/// Reports a skipped test on standard error, past the capture of the test runner, and in the list of tests/run. Fails
/// the test if TESTS_NO_SKIP is set.
pub fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
    if let Some(list) = std::env::var_os("TESTS_SKIPPED") {
        let mut list = fs::File::options().create(true).append(true).open(list).unwrap();
        writeln!(list, "{why}").unwrap();
    }
    assert!(std::env::var_os("TESTS_NO_SKIP").is_none(), "TESTS_NO_SKIP is set: {why}");
}
