//! Arguments in, exit code out: see [`lsbaws::main`].

use std::process::ExitCode;

fn main() -> ExitCode {
    lsbaws::main()
}
