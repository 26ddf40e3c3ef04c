//! Tests confine a process of their own: each starts the test program again, for itself alone.

mod calls;
mod files;
mod layers;
mod measure;
mod privileges;
mod words;

use std::env;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;

/// Set in the process that a test has for itself.
const OWN_PROCESS: &str = "LSBAWS_TEST_OWN_PROCESS";

/// Runs the rest of a test, whose name follows that of its file, in a process of its own.
fn in_own_process(test: &str, body: impl FnOnce()) {
    if env::var_os(OWN_PROCESS).is_some() {
        body();
        // The test program itself may do little now.
        sys::exit_now(0);
    }
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([&*format!("confine::tests::{test}"), "--exact", "--test-threads=1", "--nocapture"]);
    let output = command.env(OWN_PROCESS, "1").stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&text));
}

fn children() -> Confinement {
    Confinement { is_on: true, landlock: true, seccomp: true, ..Confinement::default() }
}

fn programs() -> Confinement {
    Confinement { starts_programs: true, ..children() }
}

fn errno_of<T>(result: io::Result<T>) -> i32 {
    result.map_or_else(|error| error.raw_os_error().unwrap(), |_| 0)
}

/// Whether a shell command succeeds. The shell is that of the system.
fn sh(script: &str) -> bool {
    Command::new("/bin/sh").args(["-euc", script]).stderr(Stdio::null()).status().unwrap().success()
}

/// A folder that is not below one for temporary files, where programs may write.
fn make_folder() -> tempfile::TempDir {
    // Programs may write below /tmp, where this source may be as well.
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let places = [own.as_path(), Path::new("/var/lib"), Path::new("/dev/shm")];
    let is_outside = |place: &&&Path| !place.starts_with("/tmp") && !place.starts_with("/var/tmp");
    places.iter().filter(is_outside).find_map(|place| tempfile::tempdir_in(place).ok()).unwrap()
}

/// The number that a system call fails with, 0 if it succeeds.
fn try_call(call: (i64, [i64; 6])) -> i32 {
    errno_of(sys::try_call(call.0, call.1))
}

const NULL: [i64; 6] = [0; 6];
const BAD: [i64; 6] = [-1; 6];
