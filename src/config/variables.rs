//! `environment`: the variables of programs. A secret is better kept out of the configuration: the value may name a
//! credential of systemd or a file instead.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

use super::findings::{Place, Reader};
use super::hidden::describe_hidden;
use super::scalar::{FilePath, Scalar, Text};
use super::table::{KeyType, RawValue, keys, table};

/// Where systemd puts the credentials of a unit (systemd.exec(5), `LoadCredential=`).
pub(super) const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";
/// Bytes of a secret. execve(2) takes no variable longer than 128 KiB.
const SECRET_MAX: u64 = 64 << 10;

keys! {
    /// Where a value is read from. Exactly one of the keys is set, unless there is an error.
    SourceKeys {
        credential: Option<Text> = None,
        file: Option<FilePath> = None,
    }
}

table!(SourceKeys);

/// The value of a variable, as it is configured.
#[derive(Debug)]
enum Variable {
    Text(Text),
    Source(SourceKeys),
}

impl KeyType for Variable {
    fn read(raw: &RawValue<'_>) -> Option<Self> {
        if let Some(entries) = raw.entries() {
            match (entries.contains_key("credential"), entries.contains_key("file")) {
                (true, true) => raw.place.reject("expected either a credential or a file, found both"),
                (false, false) if entries.is_empty() => {
                    raw.place.reject("expected a credential or a file, found neither");
                }
                _ => {}
            }
            return SourceKeys::read(raw).map(Self::Source);
        }
        let Some(value) = raw.text() else {
            raw.reject("a string, { credential = \"NAME\" } or { file = \"/PATH\" }");
            return None;
        };
        Some(Self::Text(Text(value.to_owned())))
    }

    fn show(&self) -> Option<toml::Value> {
        match self {
            Self::Text(text) => Some(text.to_toml()),
            Self::Source(keys) => keys.show(),
        }
    }
}

/// Variables by their names.
#[derive(Debug, Default)]
pub(super) struct Variables(BTreeMap<String, Variable>);

impl KeyType for Variables {
    fn read(raw: &RawValue<'_>) -> Option<Self> {
        let Some(entries) = raw.entries() else {
            raw.reject("a table, such as { NAME = \"value\" }");
            return None;
        };
        let read = |name: &String| Some((name.clone(), raw.read(name)?));
        Some(Self(entries.keys().filter_map(read).collect()))
    }

    fn show(&self) -> Option<toml::Value> {
        let variables = self.0.iter().filter_map(|(name, variable)| Some((name.clone(), variable.show()?)));
        Some(toml::Value::Table(variables.collect()))
    }
}

impl Variables {
    /// Checks every variable, and reads the values that are elsewhere.
    pub(super) fn build(self, place: &Place<'_>) -> Option<Vec<(String, String)>> {
        let build = |(name, variable): (String, Variable)| {
            let place = place.key(&name);
            let value = match variable {
                Variable::Text(Text(value)) => Ok(value),
                Variable::Source(SourceKeys { credential: Some(Text(name)), file: None }) => {
                    read_credential(&name, place.credentials(), place.reader())
                }
                Variable::Source(SourceKeys { credential: None, file: Some(FilePath(path)) }) => {
                    read_secret(&path).map_err(|problem| {
                        format!("unable to read {}: {problem}{}", path.display(), describe_hidden(&path))
                    })
                }
                Variable::Source(_) => return None,
            };
            place.check(value.and_then(|value| check_variable(name, value)))
        };
        // All of them, so that all errors are reported.
        self.0.into_iter().map(build).collect::<Vec<_>>().into_iter().collect()
    }
}

fn check_variable(name: String, value: String) -> Result<(String, String), String> {
    if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
        return Err("expected a variable without = in its name and without NUL".into());
    }
    Ok((name, value))
}

/// `folder`: the directory of the credentials, if there is one. Gives nothing for a credential that `reader` cannot read.
fn read_credential(name: &str, folder: Option<&OsStr>, reader: Reader) -> Result<String, String> {
    if name.is_empty() || name.contains(['/', '\0']) || name == "." || name == ".." {
        return Err(format!("expected the name of a credential, found {name:?}"));
    }
    let fail =
        |problem: String| format!("no credential {name:?}: {problem}; set LoadCredential= in the unit");
    let Some(folder) = folder else {
        return match reader {
            Reader::Check => Ok(String::new()),
            _ => Err(fail(format!("${CREDENTIALS_VARIABLE} is not set"))),
        };
    };
    let path = Path::new(folder).join(name);
    let is_hidden = fs::metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    if is_hidden && reader == Reader::UnitCheck {
        return Ok(String::new());
    }
    read_secret(&path).map_err(|problem| fail(format!("unable to read {}: {problem}", path.display())))
}

/// The text of a file, without a newline at its end.
fn read_secret(path: &Path) -> Result<String, String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("not a regular file".into());
    }
    if metadata.len() > SECRET_MAX {
        return Err("larger than 64 KiB".into());
    }
    let mut text = fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => "not UTF-8 text".into(),
        _ => error.to_string(),
    })?;
    if text.contains('\0') {
        return Err("contains NUL".into());
    }
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_lose_one_newline() {
        let folder = tempfile::tempdir().unwrap();
        let read = |content: &[u8]| {
            fs::write(folder.path().join("db"), content).unwrap();
            read_credential("db", Some(folder.path().as_os_str()), Reader::Daemon)
        };
        for (content, secret) in
            [("s3cr3t\n", "s3cr3t"), ("s3cr3t", "s3cr3t"), ("a\nb\n\n", "a\nb\n"), ("", "")]
        {
            assert_eq!(read(content.as_bytes()).as_deref(), Ok(secret));
        }
        for (content, problem) in [
            (&b"a\0b"[..], "contains NUL"),
            (b"\xff", "not UTF-8 text"),
            (&[b'x'; 70_000], "larger than 64 KiB"),
        ] {
            let error = read(content).unwrap_err();
            assert!(error.contains(&format!("db: {problem}; ")), "{error}");
        }
    }

    #[test]
    fn credentials_are_names_in_their_directory() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", ".", "..", "../db", "/etc/passwd", "a/b"] {
            let error = read_credential(name, Some(folder.path().as_os_str()), Reader::Check).unwrap_err();
            assert_eq!(error, format!("expected the name of a credential, found {name:?}"));
        }
        let error = read_credential("db", Some(folder.path().as_os_str()), Reader::Daemon).unwrap_err();
        assert!(
            error.contains("db: No such file") && error.ends_with("set LoadCredential= in the unit"),
            "{error}"
        );
        for reader in [Reader::Daemon, Reader::UnitCheck] {
            let error = read_credential("db", None, reader).unwrap_err();
            assert!(error.contains("$CREDENTIALS_DIRECTORY is not set"), "{error}");
        }
        assert_eq!(read_credential("db", None, Reader::Check), Ok(String::new()));
    }
}
