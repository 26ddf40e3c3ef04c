//! Files, programs and the network.

use crate::sys::CONNECTION;
use std::fs;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Command;

use libc::*;

use super::*;

fn open_folder(path: &Path) -> OwnedFd {
    fs::File::open(path).unwrap().into()
}

#[test]
fn children_read_their_roots_alone() {
    in_own_process("files::children_read_their_roots_alone", || {
        let folder = make_folder();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("root/sub")).unwrap();
        fs::write(at("root/sub/file"), "content").unwrap();
        fs::write(at("secret"), "").unwrap();
        let own_port = TcpListener::bind("127.0.0.1:0").unwrap();
        let root = open_folder(&at("root"));
        // Without seccomp, which would deny the same: the domain must hold alone.
        let confinement = Confinement { seccomp: false, ..children() };
        let gaps = apply(&confinement, &[root.as_fd()], &[], None, CONNECTION).unwrap();
        assert_eq!(gaps, find_gaps(&confinement));
        assert_eq!(fs::read(at("root/sub/file")).unwrap(), b"content");
        assert_eq!(fs::read_dir(at("root")).unwrap().count(), 1);
        for path in [&*at("secret"), Path::new("/etc/passwd"), Path::new("/proc/self/status")] {
            assert_eq!(errno_of(fs::read(path)), EACCES, "{}", path.display());
        }
        for path in [at("root/sub/file"), at("root/new"), "/tmp/new".into(), "/dev/null".into()] {
            let opened = fs::OpenOptions::new().create(true).append(true).open(&path);
            assert_eq!(errno_of(opened), EACCES, "{}", path.display());
        }
        assert_eq!(errno_of(fs::remove_file(at("root/sub/file"))), EACCES);
        assert_eq!(errno_of(fs::create_dir(at("root/new"))), EACCES);
        assert_eq!(errno_of(Command::new("/bin/true").status()), EACCES);
        let address = own_port.local_addr().unwrap();
        assert_eq!(errno_of(TcpStream::connect(address)), EACCES);
        assert_eq!(errno_of(TcpListener::bind("127.0.0.1:0")), EACCES);
    });
}

#[test]
fn network_permits_internet_sockets() {
    in_own_process("files::network_permits_internet_sockets", || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        apply(&Confinement { network: true, ..programs() }, &[], &[], None, CONNECTION).unwrap();
        assert!(TcpStream::connect(listener.local_addr().unwrap()).is_ok());
        assert!(TcpListener::bind("127.0.0.1:0").is_ok());
        assert!(UdpSocket::bind("[::]:0").is_ok());
        let netlink =
            |protocol: i32| (SYS_socket, [AF_NETLINK.into(), SOCK_RAW.into(), protocol.into(), 0, 0, 0]);
        assert_eq!(try_call(netlink(NETLINK_ROUTE)), 0);
        assert_eq!(try_call(netlink(NETLINK_NETFILTER)), EAFNOSUPPORT);
        assert_eq!(try_call((SYS_socket, [AF_VSOCK.into(), SOCK_STREAM.into(), 0, 0, 0, 0])), EAFNOSUPPORT);
    });
}

#[test]
fn programs_have_no_network() {
    in_own_process("files::programs_have_no_network", || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // An open socket can be connected to another address: the domain must hold alone.
        apply(&Confinement { seccomp: false, ..programs() }, &[], &[], None, CONNECTION).unwrap();
        assert_eq!(errno_of(TcpStream::connect(listener.local_addr().unwrap())), EACCES);
        assert_eq!(errno_of(TcpListener::bind("127.0.0.1:0")), EACCES);
    });
}

#[test]
fn programs_write_and_execute_where_permitted() {
    in_own_process("files::programs_write_and_execute_where_permitted", || {
        let folder = make_folder();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        for name in ["root", "writable", "else", "execute"] {
            fs::create_dir(at(name)).unwrap();
            assert!(sh(&format!(
                "cp /bin/true {0}/true; echo '#!/bin/sh' >{0}/script; chmod +x {0}/script",
                at(name)
            )));
        }
        let root = open_folder(Path::new(&at("root")));
        let confinement = Confinement {
            writable: vec![at("writable").into()],
            execute: vec![at("execute").into()],
            ..programs()
        };
        apply(&confinement, &[root.as_fd()], &[], None, CONNECTION).unwrap();
        for command in [
            format!("{}/true; {}/script", at("root"), at("root")),
            format!("{}/true", at("execute")),
            format!("cat {}/script >/dev/null", at("else")),
            format!("echo x >{}/new", at("writable")),
            // To move between directories takes a right of its own.
            format!(
                "mkdir {0}/a {0}/b; echo >{0}/a/x; ln {0}/a/x {0}/b/x; ln -s b {0}/c; rm -r {0}/a",
                at("writable")
            ),
            "name=/tmp/lsbaws-test.$$; echo x >$name; rm $name".into(),
            "echo x >/dev/null; head -c 1 /dev/urandom >/dev/zero".into(),
            "perl -MPOSIX -e 'exit 0'".into(),
        ] {
            assert!(sh(&command), "{command}");
        }
        for command in [
            format!("echo x >{}/new", at("else")),
            format!("echo x >{}/new", at("root")),
            format!("rm {}/true", at("else")),
            format!(": >>{}/true", at("else")),
            format!("{}/true", at("else")),
            format!("{}/script", at("else")),
            format!("{}/true", at("writable")),
            "cp /bin/true /tmp/lsbaws-true.$$; trap 'rm /tmp/lsbaws-true.$$' EXIT; /tmp/lsbaws-true.$$"
                .into(),
            "echo 200 >/proc/self/oom_score_adj".into(),
            "mknod /tmp/lsbaws-device.$$ c 1 3".into(),
        ] {
            assert!(!sh(&command), "{command}");
        }
    });
}

#[test]
fn read_narrows_what_programs_read() {
    in_own_process("files::read_narrows_what_programs_read", || {
        let folder = make_folder();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        for name in ["root", "read", "else"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(format!("{}/file", at(name)), "").unwrap();
        }
        let root = open_folder(Path::new(&at("root")));
        apply(
            &Confinement { read: Some(vec![at("read").into()]), ..programs() },
            &[root.as_fd()],
            &[],
            None,
            CONNECTION,
        )
        .unwrap();
        for path in [at("root"), at("read")] {
            assert!(sh(&format!("cat {path}/file; ls {path} >/dev/null")), "{path}");
        }
        assert!(sh(
            "ls /etc /usr /proc/self /tmp >/dev/null; perl -MFile::Temp -e 'defined(getpwnam(\"root\")) or die'"
        ));
        for path in [at("else"), "/root".into(), "/var/lib".into(), "/home".into(), "/".into()] {
            assert!(!sh(&format!("ls {path}")), "{path}");
        }
        assert!(!sh(&format!("cat {}/file", at("else"))));
    });
}
