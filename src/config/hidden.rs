//! What the sandbox of a unit hides from this process: an error about a path names the setting.

use std::fs;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access, geteuid};

use super::account::Accounts;

/// Directories that `ProtectHome=` hides (systemd.exec(5)).
pub(super) const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];
/// Directories in place of which `PrivateTmp=` mounts new ones.
pub(super) const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];

/// The end of an error about a path that does not work: the setting of the unit that hides it, the folder that this user may not
/// enter, or nothing.
pub(super) fn describe_hidden(path: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    find_hiding(path, &mounts).or_else(|| find_closed(path)).unwrap_or_default()
}

fn find_closed(path: &Path) -> Option<String> {
    let is_closed = |folder: &&Path| access(*folder, AccessFlags::X_OK) == Err(Errno::EACCES);
    let closed = path.ancestors().filter(is_closed).last()?;
    if fs::metadata(closed).is_ok_and(|metadata| !metadata.is_dir()) {
        return None;
    }
    let (uid, accounts) = (geteuid().as_raw(), Accounts::read());
    let user = accounts.find_name(uid).map_or_else(|| uid.to_string(), str::to_owned);
    Some(format!("; the user {user} may not enter {}", closed.display()))
}

/// `mounts`: /proc/self/mountinfo (proc_pid_mountinfo(5)).
fn find_hiding(path: &Path, mounts: &str) -> Option<String> {
    let find = |folders: &[&'static str], is_sandbox: fn(&Mount<'_>) -> bool| {
        let folder = folders.iter().find(|folder| path.starts_with(folder))?;
        let is_hidden = |mount: &Mount<'_>| mount.point == *folder && is_sandbox(mount);
        mounts.lines().filter_map(Mount::parse).any(|mount| is_hidden(&mount)).then_some(*folder)
    };
    // systemd mounts an inaccessible directory or, with ProtectHome=tmpfs, an empty file system.
    let is_home =
        |mount: &Mount<'_>| mount.root.starts_with("/systemd/inaccessible/") || mount.kind == "tmpfs";
    if let Some(folder) = find(&HOMES, is_home) {
        return Some(format!("; ProtectHome= of the unit hides {folder}"));
    }
    let folder = find(&TEMPORARY, |mount| mount.root.contains("/systemd-private-"))?;
    Some(format!("; PrivateTmp= of the unit hides the {folder} of the host"))
}

/// A line of mountinfo.
struct Mount<'m> {
    /// The directory of the file system that is mounted.
    root: &'m str,
    point: &'m str,
    /// The type of the file system.
    kind: &'m str,
}

impl<'m> Mount<'m> {
    fn parse(line: &'m str) -> Option<Self> {
        let (mount, source) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        Some(Self { root: fields.next()?, point: fields.next()?, kind: source.split(' ').next()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From lsbaws.service on Debian 12.
    const MOUNTS: &str = "\
        612 538 0:24 /systemd/inaccessible/dir /home ro,nosuid,nodev,noexec shared:1 - tmpfs tmpfs rw,size=9% 0 0\n\
        613 538 0:24 /systemd/inaccessible/dir /run/user ro,nosuid,nodev,noexec - tmpfs tmpfs rw\n\
        614 538 0:70 / /root ro,nosuid - tmpfs tmpfs ro,mode=755\n\
        615 538 8:1 /tmp/systemd-private-6-lsbaws.service-x/tmp /tmp rw,nosuid - ext4 /dev/vda rw\n";

    #[test]
    fn the_setting_that_hides_a_path_is_named() {
        let find = |path: &str, mounts| find_hiding(Path::new(path), mounts).unwrap_or_default();
        for (path, end) in [
            ("/home/alice/www", "; ProtectHome= of the unit hides /home"),
            ("/root", "; ProtectHome= of the unit hides /root"),
            ("/run/user/1000/x", "; ProtectHome= of the unit hides /run/user"),
            ("/tmp/www", "; PrivateTmp= of the unit hides the /tmp of the host"),
            ("/var/tmp/www", ""),
            ("/homes/x", ""),
            ("/srv/www", ""),
        ] {
            assert_eq!(find(path, MOUNTS), end, "{path}");
            assert_eq!(
                find(path, "25 1 8:1 / / rw - ext4 /dev/vda rw\n26 25 8:2 / /home rw - ext4 /dev/vdb rw"),
                ""
            );
        }
    }
}
