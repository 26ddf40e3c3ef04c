//! The layers of the configuration, lowest first: `/etc/lsbaws.toml`, the drop-ins in the folder of the same name, the
//! environment, the command line.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use super::document::{Layer, continue_lists, read_document, read_pair, reject_key};
use super::provenance::ConfigFiles;
use super::subject::Subject;
use crate::escape::escape_for_journal;

/// The configuration file, unless the command line names another.
const DEFAULT_FILE: &str = "/etc/lsbaws.toml";
/// Its drop-ins.
const DEFAULT_FOLDER: &str = "/etc/lsbaws.d";
/// The variable that names the file. It sets no key.
const FILE_VARIABLE: &str = "LSBAWS_CONFIG";
const PREFIX: &str = "LSBAWS_";
/// Bytes; more than any configuration needs. Keeps a wrong path, such as an image, from filling memory.
const FILE_MAX: u64 = 1 << 20;
/// Names in a dotted key: more than any key has.
const DEPTH_MAX: usize = 8;

/// What the command line sets.
#[derive(Debug, Default, Clone)]
pub(crate) struct Overrides {
    /// The file to read instead of [`DEFAULT_FILE`]; then it must exist.
    pub(crate) file: Option<PathBuf>,
    /// [`FILE_VARIABLE`] names it.
    pub(crate) is_variable: bool,
    /// What to serve. Then [`DEFAULT_FILE`] and its drop-ins are not read.
    pub(crate) subject: Option<Subject>,
    /// `KEY=VALUE` pairs, on top of everything.
    pub(crate) set: Vec<String>,
}

/// Reads all layers, lowest first. One that cannot be read has only its error.
pub(super) fn read_layers(
    overrides: &Overrides,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> (Vec<Layer>, ConfigFiles) {
    let (mut layers, mut files) = (Vec::new(), ConfigFiles::default());
    if let Some(subject) = &overrides.subject {
        subject.push_user(geteuid().is_root(), &mut layers);
    }
    match (&overrides.file, &overrides.subject) {
        (Some(file), _) => {
            let hint = if overrides.is_variable { "; LSBAWS_CONFIG names it" } else { "" };
            read_files(file, Some(hint), &mut layers, &mut files);
        }
        // The default file may be missing: the daemon works without any.
        (None, None) => read_files(Path::new(DEFAULT_FILE), None, &mut layers, &mut files),
        (None, Some(_)) => {}
    }
    continue_lists(&mut layers);
    read_environment(environment, &mut layers);
    if let Some(subject) = &overrides.subject {
        subject.push_keys(&mut layers);
    }
    read_pairs(&overrides.set, &mut layers);
    (layers, files)
}

/// A file and its drop-ins. `hint`: the end of the error if the file is missing; None: it may be.
fn read_files(file: &Path, hint: Option<&str>, layers: &mut Vec<Layer>, files: &mut ConfigFiles) {
    let number = layers.len();
    match read_file(file) {
        Ok(text) => {
            layers.push(read_document(&text, &show_path(file), number));
            files.read.push(show_path(file));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && hint.is_none() => {}
        Err(error) => layers.push(fail(file, &error, hint.unwrap_or_default(), number)),
    }
    let folder = file.with_extension("d");
    match list_drop_ins(&folder, files) {
        Ok(drop_ins) => {
            for file in drop_ins {
                let number = layers.len();
                layers.push(match read_file(&file) {
                    Ok(text) => read_document(&text, &show_path(&file), number),
                    Err(error) => fail(&file, &error, "", number),
                });
                files.read.push(show_path(&file));
            }
        }
        Err(error) => layers.push(fail(&folder, &error, "", layers.len())),
    }
}

fn show_path(path: &Path) -> String {
    escape_for_journal(path.as_os_str().as_encoded_bytes())
}

fn fail(path: &Path, error: &io::Error, hint: &str, number: usize) -> Layer {
    let is_default = [DEFAULT_FILE, DEFAULT_FOLDER].iter().any(|default| path == Path::new(default));
    let is_denied = error.kind() == io::ErrorKind::PermissionDenied && is_default;
    let hint = if is_denied { "; as installed, only root and the group lsbaws may read it" } else { hint };
    Layer {
        is_complete: false,
        ..reject_key(&show_path(path), number, format!("unable to read: {error}{hint}"))
    }
}

fn read_file(path: &Path) -> io::Result<String> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if metadata.len() > FILE_MAX {
        return Err(io::Error::other("larger than 1 MiB"));
    }
    fs::read_to_string(path)
}

/// The `*.toml` files of a drop-in folder in the order of their names. Adds the names of other files that an administrator may
/// take for drop-ins.
fn list_drop_ins(folder: &Path, all: &mut ConfigFiles) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        } else if path.is_file() && !is_put_aside(&name) {
            all.ignored.push(show_path(&path));
        }
    }
    files.sort();
    all.ignored.sort();
    Ok(files)
}

/// Whether a name is that of a note, or of a file that an editor, a package manager or an administrator has put aside.
fn is_put_aside(name: &str) -> bool {
    let endings = ["~", ".bak", ".orig", ".old", ".disabled", ".off", ".rpmnew", ".rpmsave", ".rpmorig"];
    let is_dpkg = name.contains(".dpkg-") || name.contains(".ucf-");
    name.starts_with("README") || is_dpkg || endings.iter().any(|ending| name.ends_with(ending))
}

/// `LSBAWS_LIMITS__MAX_CONNECTIONS=10` sets `limits.max_connections`. A layer for each variable, in the order
/// of their names.
fn read_environment(environment: impl Iterator<Item = (OsString, OsString)>, layers: &mut Vec<Layer>) {
    let ours = environment.filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let mut ours: Vec<_> =
        ours.filter(|(name, _)| name.starts_with(PREFIX) && name != FILE_VARIABLE).collect();
    ours.sort();
    for (name, value) in ours {
        let key = name[PREFIX.len()..].to_ascii_lowercase().replace("__", ".");
        let layer = escape_for_journal(format!("environment variable {name}").as_bytes());
        let number = layers.len();
        layers.push(match value.to_str() {
            Some(value) => read_single(&key, value, &layer, number),
            None => reject_key(&layer, number, format!("{key}: expected UTF-8 text")),
        });
    }
}

/// `--set limits.max_connections=10`. A layer for each, in the order given.
fn read_pairs(pairs: &[String], layers: &mut Vec<Layer>) {
    for pair in pairs {
        let layer = escape_for_journal(format!("--set {pair}").as_bytes());
        let number = layers.len();
        layers.push(match pair.split_once('=').filter(|(key, _)| !key.trim().is_empty()) {
            Some((key, value)) => read_single(key.trim(), value.trim_start(), &layer, number),
            None => reject_key(&layer, number, "expected KEY=VALUE, such as limits.max_connections=10"),
        });
    }
}

fn read_single(key: &str, value: &str, layer: &str, number: usize) -> Layer {
    if key.contains('[') {
        let problem = format!("{}: expected a key without an index: give the whole list", key.escape_debug());
        return reject_key(layer, number, problem);
    }
    if key.split('.').count() > DEPTH_MAX {
        let problem = format!("expected a key of at most {DEPTH_MAX} names");
        return reject_key(layer, number, problem);
    }
    read_pair(key, value, layer, number)
}
