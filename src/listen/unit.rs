//! The socket units of the daemon, read from their files (systemd.unit(5), systemd.socket(5)). systemd does not tell a
//! service which unit has passed a socket.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Directories of units, below the root directory. An earlier one comes first.
pub(crate) const FOLDERS: [&str; 4] =
    ["etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system"];

/// The socket unit of the package, which names no service.
const OWN_UNIT: &str = "lsbaws.socket";
const SERVICE: &str = "lsbaws.service";

/// The unit that passes a socket of this name to the daemon. `None`: its files have not been found.
pub(crate) fn find_socket_unit(root: &Path, name: &str) -> Option<String> {
    let folders = FOLDERS.map(|folder| root.join(folder));
    let mut units = BTreeMap::new();
    for file in folders.iter().flat_map(|folder| list_files(folder, ".socket")) {
        if let Some(name) = file.file_name().and_then(|name| name.to_str()) {
            units.entry(name.to_owned()).or_insert(file);
        }
    }
    let passes = |(unit, file): &(String, PathBuf)| {
        // In the order of their names, whatever their folders. Of those with one name, the first folder's counts.
        let mut drop_ins = BTreeMap::new();
        for file in folders.iter().flat_map(|folder| list_files(&folder.join(format!("{unit}.d")), ".conf")) {
            drop_ins.entry(file.file_name().map(ToOwned::to_owned)).or_insert(file);
        }
        let files = [file.clone()].into_iter().chain(drop_ins.into_values());
        let texts: Vec<_> = files.flat_map(fs::read_to_string).collect();
        let get = |key: &str| {
            let mut values =
                texts.iter().flat_map(|text| text.lines()).filter_map(|line| line.split_once('='));
            values.rfind(|(own, _)| own.trim() == key).map_or("", |(_, value)| value.trim())
        };
        let own_name = Some(get("FileDescriptorName")).filter(|name| !name.is_empty()).unwrap_or(unit);
        strip_suffix(own_name) == strip_suffix(name) && (unit == OWN_UNIT || get("Service") == SERVICE)
    };
    units.into_iter().find(passes).map(|(unit, _)| unit)
}

/// A name without the suffix that systemd leaves at one that it takes from the unit.
pub(crate) fn strip_suffix(name: &str) -> &str {
    name.strip_suffix(".socket").unwrap_or(name)
}

fn list_files(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<_> =
        files.filter(|path| path.to_str().is_some_and(|path| path.ends_with(suffix))).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_found_by_the_names_of_their_sockets() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("usr/lib/systemd/system/lsbaws.socket", "[Socket]\nFileDescriptorName=web\n");
        write(
            "etc/systemd/system/rsync-own.socket",
            "[Socket]\nFileDescriptorName = rsync\nService=lsbaws.service\n",
        );
        write("etc/systemd/system/qotd.socket", "[Socket]\nService=lsbaws.service\n");
        write("usr/lib/systemd/system/files.socket", "[Socket]\nService=lsbaws.service\n");
        write("etc/systemd/system/files.socket.d/10.conf", "[Socket]\nFileDescriptorName=ftp\n");
        write("usr/lib/systemd/system/files.socket.d/20.conf", "[Socket]\nFileDescriptorName=last\n");
        write("etc/systemd/system/files.socket.d/20.conf", "[Socket]\n");
        write("usr/lib/systemd/system/ssh.socket", "[Socket]\nFileDescriptorName=ssh\n");
        for (name, unit) in [
            ("web", Some("lsbaws.socket")),
            ("rsync", Some("rsync-own.socket")),
            ("qotd", Some("qotd.socket")),
            ("qotd.socket", Some("qotd.socket")),
            ("ftp", Some("files.socket")),
            ("files", None),
            ("ssh", None),
            ("lsbaws", None),
        ] {
            assert_eq!(find_socket_unit(root.path(), name).as_deref(), unit, "{name}");
        }
    }
}
