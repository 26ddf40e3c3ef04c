//! A child has no environment: nothing that systemd told the parent is there to be read or handed on.
//! Not part of the other tests since it forks, which their threads forbid.

use std::env;
use std::io::Write;

use lsbaws::sys::{self, Exit};

fn main() {
    assert!(env::vars_os().count() > 0, "the parent has an environment");
    let count = || {
        sys::clear_environment();
        u8::try_from(env::vars_os().count()).unwrap_or(u8::MAX)
    };
    let child = sys::fork_child(count).expect("fork");
    loop {
        if let Some((pid, exit, _)) = sys::reap_one().expect("wait") {
            assert_eq!(
                (pid, exit),
                (child, Exit::Exited(0)),
                "the exit code counts the variables of the child"
            );
            break;
        }
        std::thread::yield_now();
    }
    assert!(env::vars_os().count() > 0, "the parent still has its environment");
    let _ = writeln!(std::io::stdout(), "1 passed, 0 failed");
}
