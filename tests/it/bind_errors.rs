//! Addresses that cannot be used: the message names the reason, and what to do. Each error is one of the kernel.

use std::fs;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket};
use nix::unistd::geteuid;

use crate::harness::{Setup, command, make_folder, reserve_port, skip, unique_user};

/// The message of a daemon that cannot listen on `address`, which is TOML.
fn refusal(address: &str, prepare: impl FnOnce(Setup) -> Setup) -> String {
    let setup = Setup::new(&format!("[listen.web]\naddress = {address}\n"));
    let mut server = prepare(setup).spawn();
    assert_eq!(server.wait().code(), Some(71));
    server.wait_line("unable to listen on")
}

fn refusal_of_path(path: &std::path::Path) -> String {
    refusal(&format!("'{}'", path.display()), |setup| setup)
}

/// A prelude that runs the daemon in namespaces of its own, without the privilege to bind low ports, after a script. None,
/// and the test is skipped, without the right to make them.
fn in_namespaces(script: &str) -> Option<String> {
    let unshare = "unshare -rnm setpriv --bounding-set -net_bind_service sh -euc";
    let can_run = command("sh").args(["-c", &format!("{unshare} '{script}' sh")]).status().unwrap().success();
    if !can_run {
        skip("needs a network namespace of its own");
        return None;
    }
    Some(format!("set -- {unshare} '{script}; exec \"$@\"' sh \"$@\""))
}

/// A prelude that lets a system call of the daemon fail with an errno, as the sandbox of a unit does (seccomp(2)).
/// `argument`: only if this is the first one.
fn without_call(call: i64, argument: Option<u32>, errno: i32) -> String {
    // Load the number or the argument; compare; return.
    let mut filter = vec![(0x20, 0, 0, 0_u32)];
    let no = if argument.is_some() { 3 } else { 1 };
    filter.push((0x15, 0, no, u32::try_from(call).unwrap()));
    if let Some(argument) = argument {
        filter.extend([(0x20, 0, 0, 16), (0x15, 0, 1, argument)]);
    }
    filter.extend([(0x06, 0, 0, 0x0005_0000 | errno.cast_unsigned()), (0x06, 0, 0, 0x7fff_0000)]);
    let (count, prctl) = (filter.len(), libc::SYS_prctl);
    let parts =
        filter.iter().map(|(code, yes, no, value)| format!("pack(\"SCCL\",{code},{yes},{no},{value})"));
    let parts = parts.collect::<Vec<_>>().join(",");
    let script = format!(
        "$f=join(\"\",{parts}); $p=pack(\"Sx6P\",{count},$f); syscall({prctl},38,1,0,0,0)==0 or die; \
         syscall({prctl},22,2,$p)==0 or die; exec @ARGV or die"
    );
    format!("set -- perl -e '{script}' -- \"$@\"")
}

#[test]
fn process_that_has_the_port_is_named() {
    let (_reserved, port) = reserve_port();
    let config = format!("[listen.web]\naddress = '127.0.0.1:{port}'\n");
    let first = Setup::new(&config).start();
    for address in [format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}"), format!("[::]:{port}")] {
        let line = refusal(&format!("'{address}'"), |setup| setup);
        let start = format!("unable to listen on {address} (listen.web): Address already in use: ");
        // What a process that is not dumpable holds is hidden even from its own user, who may have others.
        let (start, sure) = if geteuid().is_root() { (start, true) } else { (start + "probably ", false) };
        let (_, named) = line.split_once(&format!("{start}lsbaws (PID ")).unwrap_or_else(|| panic!("{line}"));
        let (pids, rest) = named.split_once(") listens there").unwrap();
        let pids: Vec<_> = pids.split(" or ").map(|pid| pid.split(' ').next().unwrap()).collect();
        assert!(pids.contains(&&*first.pid().to_string()) && (pids.len() == 1 || !sure), "{line}");
        let line = rest;
        assert!(
            line.contains("set listen.web.address, for example --set listen.web.address=127.0.0.1:"),
            "{line}"
        );
    }
    drop(first);
}

#[test]
fn user_of_a_process_that_is_not_visible_is_named() {
    let Some(user) = unique_user() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("'{}'", listener.local_addr().unwrap());
    let line = refusal(&address, |setup| setup.user(user));
    assert!(line.contains(": a process of root listens there, or systemd for a socket unit ("), "{line}");
    let (_reserved, port) = reserve_port();
    let other = unique_user().unwrap();
    // Another program than lsbaws.
    let script = "use IO::Socket::INET; $s = IO::Socket::INET->new(LocalAddr => \"127.0.0.1:\".shift, ReuseAddr => 1, Listen => 1) or die; \
                  $| = 1; print \"ready\\n\"; <STDIN>";
    let mut server = std::os::unix::process::CommandExt::uid(&mut command("perl"), other)
        .args(["-e", script, &port.to_string()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 6];
    std::io::Read::read_exact(server.stdout.as_mut().unwrap(), &mut ready).unwrap();
    let line = refusal(&format!("'127.0.0.1:{port}'"), |setup| setup.user(user));
    assert!(line.contains(&format!(": a process of the user with UID {other} listens there (")), "{line}");
    let line = refusal(&format!("'127.0.0.1:{port}'"), |setup| setup);
    assert!(line.contains(&format!(": perl (PID {}) listens there; ", server.id())), "{line}");
    drop(server.stdin.take());
    server.wait().unwrap();
}

#[test]
fn daemon_that_is_in_its_own_way_says_so() {
    let (_reserved, port) = reserve_port();
    let server = Setup::new(&format!("[listen.web]\naddress = '127.0.0.1:{port}'\n")).start();
    server.reload(&format!("[listen.web]\naddress = '0.0.0.0:{port}'\n"));
    let line = server.wait_line("reload failed");
    let named = format!(": lsbaws (PID {}", server.pid());
    assert!(line.contains(&named) && line.contains(" listens there itself; restart it to "), "{line}");
}

#[test]
fn low_port_names_the_socket_unit() {
    let Some(prelude) = in_namespaces("true") else { return };
    let line = refusal("'127.0.0.1:80'", |setup| setup.prelude(&prelude));
    for part in [
        "(listen.web): Permission denied: ports below 1024 need a privilege; ",
        "ListenStream=80 of lsbaws.socket, then systemctl start lsbaws.socket",
        ", or start lsbaws as root with service.web.user, ",
        "AmbientCapabilities=CAP_NET_BIND_SERVICE",
        "net.ipv4.ip_unprivileged_port_start=80; to choose another address, set listen.web.address",
    ] {
        assert!(line.contains(part), "{line}\n{part}");
    }
}

#[test]
fn address_of_no_interface_says_so() {
    let line = refusal("'192.0.2.1:8080'", |setup| setup);
    assert!(line.contains(": no network interface of this host has it"), "{line}");
    assert!(line.contains("FreeBind=yes in lsbaws.socket"), "{line}");
    if let Some(prelude) = in_namespaces("echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6") {
        let line = refusal("'[::1]:8080'", |setup| setup.prelude(&prelude));
        assert!(line.contains(": IPv6 is disabled on this host (sysctl net.ipv6."), "{line}");
    }
    let line = refusal("'[fe80::1]:8080'", |setup| setup);
    assert!(
        line.contains(
            "a link-local address needs the number of its interface (ip link), such as [fe80::1%2]:8080"
        ),
        "{line}"
    );
}

#[test]
fn what_a_sandbox_denies_names_its_settings() {
    let family =
        |family: i32| without_call(libc::SYS_socket, Some(family.cast_unsigned()), libc::EAFNOSUPPORT);
    let line = refusal("'[::1]:8080'", |setup| setup.prelude(&family(libc::AF_INET6)));
    assert!(line.contains(": this host has no IPv6, or RestrictAddressFamilies= of the unit"), "{line}");
    let line = refusal("'127.0.0.1:8080'", |setup| setup.prelude(&family(libc::AF_INET)));
    assert!(line.contains(": this host has no IPv4, or RestrictAddressFamilies= of the unit"), "{line}");
    for call in [libc::SYS_bind, libc::SYS_listen] {
        let denied = without_call(call, None, libc::EPERM);
        let line = refusal("'127.0.0.1:0'", |setup| setup.prelude(&denied));
        assert!(line.contains(": the sandbox of the unit (SocketBindDeny=, "), "{line}");
    }
}

#[test]
fn path_that_cannot_be_names_its_folder() {
    let folder = make_folder();
    let shown = folder.path().display();
    let line = refusal_of_path(&folder.path().join("a/b/web.sock"));
    assert!(line.contains(&format!(": the folder {shown}/a does not exist; create it")), "{line}");
    fs::write(folder.path().join("file"), "").unwrap();
    let line = refusal_of_path(&folder.path().join("file/b/web.sock"));
    assert!(line.contains(&format!(": {shown}/file is not a folder")), "{line}");
    let line = refusal_of_path(&folder.path().join("file"));
    assert!(line.ends_with("(listen.web): the file exists and is not a socket"), "{line}");
    let setup = Setup::new(&format!("[listen.web]\naddress = '/tmp/{}'\n", "x".repeat(103)));
    let mut server = setup.spawn();
    assert_eq!(server.wait().code(), Some(78));
    server.wait_line("paths and names have at most 107 bytes");
    if let Some(prelude) = in_namespaces("mount -t tmpfs -o ro tmpfs /mnt") {
        let line = refusal("'/mnt/web.sock'", |setup| setup.prelude(&prelude));
        assert!(line.contains(": the folder /mnt is on a read-only file system; in a unit, Ru"), "{line}");
    }
}

#[test]
fn path_that_is_denied_names_the_user_and_the_folder() {
    let Some(user) = unique_user() else { return };
    let folder = make_folder();
    let path = folder.path().join("web.sock");
    let (toml, shown) = (format!("'{}'", path.display()), folder.path().display());
    let line = refusal(&toml, |setup| setup.user(user));
    let words = format!(": the user with UID {user} may not create files in the folder {shown}");
    assert!(line.ends_with(&words), "{line}");
    let listener = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let line = refusal(&toml, |setup| setup.user(user));
    assert!(
        line.contains(&format!("the user with UID {user} may neither connect to the socket that is")),
        "{line}"
    );
    drop(listener);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let line = refusal(&toml, |setup| setup.user(user));
    let words = format!(": the user with UID {user} may not enter the folder {shown}");
    assert!(line.ends_with(&words), "{line}");
    let denied = without_call(libc::SYS_bind, None, libc::EPERM);
    fs::remove_file(&path).unwrap();
    let line = refusal(&toml, |setup| setup.prelude(&denied));
    assert!(line.contains(&format!(": the folder {shown} is immutable (lsattr), or a ")), "{line}");
}

#[test]
fn process_that_has_the_unix_socket_is_named() {
    let folder = make_folder();
    let path = folder.path().join("web.sock");
    let pid = std::process::id();
    let choose = "; to choose another address, set listen.web.address, for example --set listen.web.address=";
    let listener = UnixListener::bind(&path).unwrap();
    let line = refusal_of_path(&path);
    assert!(line.contains(&format!(" (PID {pid}) listens there{choose}/run/")), "{line}");
    drop(listener);
    fs::remove_file(&path).unwrap();
    let datagrams = UnixDatagram::bind(&path).unwrap();
    let line = refusal_of_path(&path);
    assert!(line.contains(": it is a socket of another type"), "{line}");
    drop(datagrams);
    let name = format!("lsbaws-test-{pid}");
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    let line = refusal(&format!("'@{name}'"), |setup| setup);
    assert!(line.contains(&format!(" (PID {pid}) listens there{choose}@lsbaws")), "{line}");
    // A process that another test forks at this moment has the listener for a while: not the same name again.
    drop(listener);
    let name = name + "-silent";
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None).unwrap();
    bind(socket.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes()).unwrap()).unwrap();
    let line = refusal(&format!("'@{name}'"), |setup| setup);
    assert!(line.contains(": a process has it that does not listen"), "{line}");
    drop(socket);
}
