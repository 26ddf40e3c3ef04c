//! What an administrator can do about an address that cannot be used: the end of a message.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use nix::sys::socket::UnixAddr;
use nix::unistd::{AccessFlags, access, geteuid};

use super::ListenTable;
use super::address::Address;
use super::holder;

/// An example of an address.
const LOOPBACK: &str = "127.0.0.1:8080";

/// The rest of a sentence about an error of socket(2), bind(2) or listen(2) for this address of `listen.NAME`. Empty for errors
/// that need no more words.
pub(super) fn describe(table: &ListenTable, address: &Address, error: &io::Error) -> String {
    let hint = match address {
        Address::Tcp(tcp) => describe_tcp(table, *tcp, error),
        Address::Path(path) => describe_path(table, path, error),
        Address::Abstract(text) if error.raw_os_error() == Some(libc::EADDRINUSE) => {
            UnixAddr::new_abstract(text.as_bytes())
                .ok()
                .map(|address| describe_held(table, &address, "@lsbaws"))
        }
        Address::Abstract(_) => None,
    };
    hint.map_or_else(String::new, |hint| format!(": {hint}"))
}

fn choose_another(table: &ListenTable, example: &str) -> String {
    let name = &table.name;
    match table.is_option {
        true => format!("to choose another address, use --listen, for example --listen {example}"),
        false => format!(
            "to choose another address, set listen.{name}.address, for example --set listen.{name}.address={example}"
        ),
    }
}

fn describe_held(table: &ListenTable, address: &UnixAddr, example: &str) -> String {
    format!("{}; {}", holder::describe_unix(address), choose_another(table, example))
}

fn describe_tcp(table: &ListenTable, address: SocketAddr, error: &io::Error) -> Option<String> {
    let port = address.port();
    Some(match error.raw_os_error()? {
        libc::EADDRINUSE => match holder::describe_tcp(address) {
            (holder, true) => {
                format!("{holder} itself; restart it to exchange an address for one that contains it")
            }
            (holder, false) => {
                format!("{holder}; {}", choose_another(table, LOOPBACK))
            }
        },
        libc::EACCES if port < first_unprivileged_port() => format!(
            "ports below {} need a privilege; let systemd listen (ListenStream={port} of lsbaws.socket, then \
             systemctl start lsbaws.socket), or start lsbaws as root with service.{}.user, or set AmbientCapabilities=CAP_NET_BIND_SERVICE in a unit of your own, or \
             sysctl net.ipv4.ip_unprivileged_port_start={port}; {}",
            first_unprivileged_port(),
            table.name,
            choose_another(table, LOOPBACK),
        ),
        libc::EACCES | libc::EPERM => {
            let modules = "Landlock, SELinux or AppArmor";
            format!("the sandbox of the unit (SocketBindDeny=, SystemCallFilter=), {modules} denies it")
        }
        libc::EADDRNOTAVAIL if address.is_ipv6() && is_ipv6_disabled() => {
            "IPv6 is disabled on this host (sysctl net.ipv6.conf.all.disable_ipv6)".into()
        }
        libc::EADDRNOTAVAIL => {
            let later = "for one that comes later, let systemd listen, with FreeBind=yes in lsbaws.socket";
            format!("no network interface of this host has it (ip address lists all); {later}")
        }
        libc::EAFNOSUPPORT => {
            let family = if address.is_ipv6() { "IPv6" } else { "IPv4" };
            format!(
                "this host has no {family}, or RestrictAddressFamilies= of the unit denies it, as in lsbaws.service, for which \
                 systemd listens (ListenStream= of lsbaws.socket)"
            )
        }
        libc::EINVAL if is_link_local(address) => {
            format!(
                "a link-local address needs the number of its interface (ip link), such as [{}%2]:{port}",
                address.ip()
            )
        }
        _ => return None,
    })
}

fn describe_path(table: &ListenTable, path: &Path, error: &io::Error) -> Option<String> {
    let folder = path.parent()?;
    let user = geteuid();
    Some(match error.raw_os_error()? {
        libc::EADDRINUSE => describe_held(table, &UnixAddr::new(path).ok()?, "/run/lsbaws/other.sock"),
        libc::ENOENT => {
            let missing =
                folder.ancestors().take_while(|folder| fs::symlink_metadata(folder).is_err()).last();
            let missing = missing.unwrap_or(folder).display();
            format!(
                "the folder {missing} does not exist; create it, in a unit by RuntimeDirectory= below /run"
            )
        }
        libc::ENOTDIR => {
            let is_file = |folder: &&Path| fs::metadata(folder).is_ok_and(|metadata| !metadata.is_dir());
            format!("{} is not a folder", folder.ancestors().find(is_file).unwrap_or(folder).display())
        }
        libc::EACCES if fs::symlink_metadata(path).is_ok() => {
            format!("the user with UID {user} may neither connect to the socket that is there nor replace it")
        }
        libc::EACCES => {
            let is_closed = |folder: &&Path| access(*folder, AccessFlags::X_OK).is_err();
            let closed = folder.ancestors().filter(is_closed).last();
            match closed {
                Some(closed) => {
                    format!("the user with UID {user} may not enter the folder {}", closed.display())
                }
                None => format!(
                    "the user with UID {user} may not create files in the folder {}",
                    folder.display()
                ),
            }
        }
        libc::EPERM => {
            format!("the folder {} is immutable (lsattr), or a security module denies it", folder.display())
        }
        libc::EROFS => format!(
            "the folder {} is on a read-only file system; in a unit, RuntimeDirectory= or ReadWritePaths= makes it writable",
            folder.display()
        ),
        libc::EAFNOSUPPORT => "RestrictAddressFamilies= of the unit denies Unix sockets".into(),
        _ => return None,
    })
}

/// Processes without CAP_NET_BIND_SERVICE may bind this port and all above it (ip(7)).
fn first_unprivileged_port() -> u16 {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024)
}

fn is_ipv6_disabled() -> bool {
    let text = fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6");
    text.is_ok_and(|text| text.trim() != "0")
}

fn is_link_local(address: SocketAddr) -> bool {
    matches!(address.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local())
}
