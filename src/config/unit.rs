//! The settings of lsbaws.service and its drop-ins, read from their files (systemd.unit(5)).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::listen::unit::FOLDERS;

/// The unit of the daemon.
pub(super) const UNIT: &str = "lsbaws.service";

/// The settings of `[Service]`, in the order in which systemd applies them.
#[derive(Debug)]
pub(super) struct UnitFile(Vec<(String, String)>);

impl UnitFile {
    /// `None` if the unit is not installed. A file that cannot be read is skipped.
    pub(super) fn read(root: &Path) -> Option<Self> {
        let folders = FOLDERS.map(|folder| root.join(folder));
        let text = folders.iter().find_map(|folder| fs::read_to_string(folder.join(UNIT)).ok())?;
        let mut settings = Self(Vec::new());
        settings.add(&text);
        for file in list_drop_ins(&folders).into_values() {
            settings.add(&fs::read_to_string(file).unwrap_or_default());
        }
        Some(settings)
    }

    fn add(&mut self, text: &str) {
        let text = text.replace("\\\n", " ");
        let mut section = "";
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
            if line.starts_with('[') {
                section = line;
            } else if let ("[Service]", Some((name, value))) = (section, line.split_once('=')) {
                self.0.push((name.trim().to_owned(), value.trim().to_owned()));
            }
        }
    }

    /// The last value of a setting.
    pub(super) fn get(&self, name: &str) -> &str {
        self.list(name).last().copied().unwrap_or_default()
    }

    /// All values of a setting that is a list. An empty one removes those before it.
    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        let values: Vec<_> =
            self.0.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect();
        let start = values.iter().rposition(|value| value.is_empty()).map_or(0, |empty| empty + 1);
        values[start..].to_vec()
    }

    /// The words of such a list.
    pub(super) fn words(&self, name: &str) -> Vec<&str> {
        self.list(name).into_iter().flat_map(str::split_whitespace).collect()
    }

    pub(super) fn is_on(&self, name: &str) -> bool {
        ["yes", "true", "on", "1"].contains(&self.get(name).to_ascii_lowercase().as_str())
    }
}

/// By their names; of those with equal names, only the first counts.
fn list_drop_ins(folders: &[PathBuf]) -> BTreeMap<String, PathBuf> {
    let mut files = BTreeMap::new();
    for folder in folders {
        for entry in fs::read_dir(folder.join(format!("{UNIT}.d"))).into_iter().flatten().flatten() {
            if let Ok(name) = entry.file_name().into_string()
                && name.ends_with(".conf")
            {
                files.entry(name).or_insert(entry.path());
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_ins_are_applied_in_the_order_of_their_names() {
        let root = tempfile::tempdir().unwrap();
        assert!(UnitFile::read(root.path()).is_none());
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(
            "usr/lib/systemd/system/lsbaws.service",
            "[Unit]\nA=unit\n[Service]\n# A=comment\nA = yes \nB=1\nB=2\nC=1\n[Install]\nA=install\n",
        );
        write("usr/lib/systemd/system/lsbaws.service.d/10.conf", "[Service]\nA=vendor\n");
        write("etc/systemd/system/lsbaws.service.d/10.conf", "[Service]\nB=\nB=3 \\\n4\n");
        write("run/systemd/system/lsbaws.service.d/20.conf", "[Service]\nB=5\nC=");
        write("run/systemd/system/lsbaws.service.d/30.txt", "[Service]\nA=no\n");
        let unit = UnitFile::read(root.path()).unwrap();
        assert_eq!((unit.get("A"), unit.is_on("A"), unit.get("C"), unit.get("D")), ("yes", true, "", ""));
        assert_eq!((unit.list("B"), unit.words("B")), (vec!["3  4", "5"], vec!["3", "4", "5"]));
    }
}
