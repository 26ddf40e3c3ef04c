//! Sockets that the daemon binds itself.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use crate::harness::{Setup, ask, connect, connect_unix, make_folder, reserve_port};

const REQUEST: &str = "GET /x HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";

#[test]
fn daemon_binds_when_it_receives_no_sockets() {
    let folder = make_folder();
    let path = folder.path().join("web.sock");
    let config = format!("[listen.web]\naddress = '{}'\n", path.display());
    let server = Setup::new(&config).prelude("export LISTEN_FDS=0").start();
    assert!(ask(connect_unix(&path), REQUEST).ends_with("Hello, World!\n"));
    drop(server);
}

#[test]
fn socket_file_of_a_successor_is_kept() {
    let folder = make_folder();
    let path = folder.path().join("web.sock");
    let config = format!("[listen.web]\naddress = '{}'\n", path.display());
    let mut first = Setup::new(&config).start();
    fs::remove_file(&path).unwrap();
    let second = Setup::new(&config).start();
    first.stop();
    assert!(ask(connect_unix(&path), REQUEST).ends_with("Hello, World!\n"));
    drop(second);
}

#[test]
fn bound_unix_socket_has_its_mode_and_is_removed_at_the_end() {
    let folder = make_folder();
    let path = folder.path().join("web.sock");
    let config = format!("[listen.web]\naddress = '{}'\nmode = '0620'\n", path.display());
    let mut server = Setup::new(&config).start();
    let metadata = fs::metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o620);
    server.stop();
    assert!(!path.exists());
}

#[test]
fn stale_unix_socket_is_replaced_and_a_live_one_is_not() {
    let folder = make_folder();
    let path = folder.path().join("web.sock");
    let config = format!("[listen.web]\naddress = '{}'\n", path.display());
    drop(UnixListener::bind(&path).unwrap()); // std does not remove the file
    let server = Setup::new(&config).start();
    let mut other = Setup::new(&config).spawn();
    assert_eq!(other.wait().code(), Some(71));
    let line = other.wait_line("unable to listen on");
    let named = format!("(listen.web): Address already in use: lsbaws (PID {}) listens there;", server.pid());
    assert!(line.contains(&named), "{line}");
    assert!(ask(connect_unix(&path), REQUEST).ends_with("Hello, World!\n"));
    drop(server);
}

#[test]
fn file_that_is_not_a_socket_is_never_removed() {
    let folder = make_folder();
    let path = folder.path().join("precious");
    fs::write(&path, "data").unwrap();
    let mut server = Setup::new(&format!("[listen.web]\naddress = '{}'\n", path.display())).spawn();
    assert_eq!(server.wait().code(), Some(71));
    assert_eq!(fs::read_to_string(&path).unwrap(), "data");
}

#[test]
fn ipv4_and_ipv6_share_a_port() {
    let (_reserved, port) = reserve_port();
    for addresses in
        [format!("['127.0.0.1:{port}', '[::1]:{port}']"), format!("['0.0.0.0:{port}', '[::]:{port}']")]
    {
        let server = Setup::new(&format!("[listen.web]\naddress = {addresses}\n")).start();
        for host in ["127.0.0.1", "[::1]"] {
            let address = format!("{host}:{port}").parse().unwrap();
            assert!(ask(connect(address), REQUEST).ends_with("Hello, World!\n"));
            assert!(server.record().get("peer").starts_with(host));
        }
    }
}

#[test]
fn dual_stack_socket_records_ipv4_peers_as_ipv4() {
    let (_reserved, port) = reserve_port();
    let server = Setup::new(&format!("[listen.web]\naddress = '[::]:{port}'\n")).start();
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    assert!(ask(connect(address), REQUEST).ends_with("Hello, World!\n"));
    assert!(server.record().get("peer").starts_with("127.0.0.1:"));
}
