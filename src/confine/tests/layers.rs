//! The layers that keep programs of one service apart.

use crate::sys::CONNECTION;
use std::io::{self, Read};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Child, Command, Stdio};
use std::thread;

use super::*;

/// Starts a shell command in a layer of its own.
#[expect(clippy::disallowed_methods, reason = "a domain is that of a thread, and of what it starts")]
fn in_layer(script: &str, layer: Option<fn() -> io::Result<()>>) -> Child {
    let mut command = Command::new("/bin/sh");
    command.args(["-euc", script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let start = move || {
        layer.map_or(Ok(()), |enter| enter()).unwrap();
        command.spawn().unwrap()
    };
    thread::spawn(start).join().unwrap()
}

fn succeeds(program: Child) -> bool {
    program.wait_with_output().unwrap().status.success()
}

fn enter_layer() -> io::Result<()> {
    separate(&programs())
}

fn enter_layer_of_old() -> io::Result<()> {
    domain::enter_with(landlock::Ruleset::default()).map_err(io::Error::other)
}

/// Confines this process, and gives whether one program reaches another, with a layer each: by its environment in /proc,
/// which takes the permission to trace it, by a signal, and by an abstract socket.
fn try_siblings(layer: Option<fn() -> io::Result<()>>) -> [bool; 3] {
    let name = format!("lsbaws-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    apply(&programs(), &[], &[], None, CONNECTION).unwrap();
    let mut victim = in_layer("echo; exec sleep 60", layer);
    victim.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let pid = victim.id();
    let connect = format!(
        "perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0) or die; connect(S, pack_sockaddr_un(\"\\0{name}\")) or die'"
    );
    let attempts = [format!("cat /proc/{pid}/environ"), format!("kill -0 {pid}"), connect];
    let reached = attempts.map(|attempt| succeeds(in_layer(&attempt, layer)));
    // The process that has started them may still end them.
    victim.kill().unwrap();
    victim.wait().unwrap();
    reached
}

#[test]
fn programs_of_one_domain_reach_each_other() {
    in_own_process("layers::programs_of_one_domain_reach_each_other", || {
        // The listener is outside the domain.
        assert_eq!(try_siblings(None), [true, true, false]);
    });
}

#[test]
fn separated_programs_do_not_reach_each_other() {
    in_own_process("layers::separated_programs_do_not_reach_each_other", || {
        assert_eq!(try_siblings(Some(enter_layer)), [false, false, false]);
    });
}

#[test]
fn separated_programs_cannot_be_traced_on_old_kernels() {
    in_own_process("layers::separated_programs_cannot_be_traced_on_old_kernels", || {
        let [traced, ..] = try_siblings(Some(enter_layer_of_old));
        assert!(!traced);
    });
}

#[test]
fn layers_deny_no_files() {
    in_own_process("layers::layers_deny_no_files", || {
        let folder = make_folder();
        apply(
            &Confinement { writable: vec![folder.path().into()], ..programs() },
            &[],
            &[],
            None,
            CONNECTION,
        )
        .unwrap();
        let script = format!("cd {}; mkdir a b; echo >a/x; ln a/x b/x; rm -r a b", folder.path().display());
        for layer in [enter_layer as fn() -> _, enter_layer_of_old] {
            assert!(succeeds(in_layer(&script, Some(layer))));
        }
        // A program that confines itself further has room for it.
        for _ in 0..10 {
            enter_layer().unwrap();
        }
    });
}
