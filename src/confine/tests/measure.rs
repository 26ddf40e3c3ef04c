//! What the confinement costs.

use crate::sys::CONNECTION;
use std::env;
use std::io;

use libc::SYS_mmap;

use super::*;

/// A measurement, not a test: `cargo test --release --lib confine::tests::measure -- --ignored --nocapture`.
#[test]
#[ignore = "measures"]
fn measure() {
    use std::time::Instant;
    let time = |what: &str, count: u32, step: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..count).for_each(|_| step());
        eprintln!("{what}: {:?}", start.elapsed() / count);
    };
    let calls = |what: &str| {
        time(&format!("{what}: getppid"), 1_000_000, &mut || _ = nix::unistd::getppid());
        time(&format!("{what}: fcntl F_GETFL"), 1_000_000, &mut || {
            _ = nix::fcntl::fcntl(io::stdin(), nix::fcntl::FcntlArg::F_GETFL);
        });
        time(&format!("{what}: mmap, munmap"), 100_000, &mut || {
            _ = sys::try_call(SYS_mmap, [0, 0, 1, 0, 0, 0]);
        });
    };
    if env::var_os("CONFINE").is_some_and(|kind| kind == "none") {
        return calls("none");
    }
    let kind =
        if env::var_os("CONFINE").is_some_and(|kind| kind == "programs") { programs() } else { children() };
    let name = if kind.starts_programs { "programs" } else { "children" };
    let start = Instant::now();
    let domain = domain::prepare(&kind, &[], &[]).unwrap().unwrap();
    eprintln!("{name}: prepare the domain: {:?}", start.elapsed());
    let start = Instant::now();
    domain.restrict_self().unwrap();
    eprintln!("{name}: enter it: {:?}", start.elapsed());
    if kind.starts_programs {
        time("separate", 10, &mut || separate(&kind).unwrap());
    }
    let start = Instant::now();
    filter::install(&kind, None, CONNECTION).unwrap();
    eprintln!("{name}: install the filters: {:?}", start.elapsed());
    calls(name);
}
