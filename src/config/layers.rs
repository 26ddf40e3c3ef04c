//! The layers of the configuration, lowest first: `/etc/lsbaws.toml`, the drop-ins beside it, the
//! environment, the command line. Each value keeps the place that it came from as its origin, for
//! which the `config` crate's own file source is of no use: it drops the line numbers.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use config::{ConfigError, Map, Source, Value, ValueKind};
use toml::de::{DeTable, DeValue};

use super::Error;

/// Where the configuration file is, unless the command line says otherwise.
pub const DEFAULT_FILE: &str = "/etc/lsbaws.toml";
/// The variable that names the file: it configures the configuration, so it is no key.
const FILE_VARIABLE: &str = "LSBAWS_CONFIG";
const PREFIX: &str = "LSBAWS_";
/// More than any configuration needs; keeps a wrong path (a device, an image) from filling memory.
const FILE_MAX: u64 = 1 << 20;
/// Names in a dotted key: more than any key has.
const DEPTH_MAX: usize = 8;

/// One layer: keys (dotted paths) and values that know their origin.
#[derive(Debug, Clone)]
pub struct Layer(Map<String, Value>);

impl Layer {
    pub fn keys(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter()
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }
    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

/// What the command line says about the configuration.
#[derive(Debug, Default, Clone)]
pub struct Overrides {
    /// The file to read instead of [`DEFAULT_FILE`]; then it must exist.
    pub file: Option<PathBuf>,
    /// `KEY=VALUE` pairs, on top of everything.
    pub set: Vec<String>,
}

/// Reads all layers, lowest first.
pub fn read_layers(
    overrides: &Overrides,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<Layer>, Error> {
    let file = overrides.file.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
    let mut layers = Vec::new();
    match read_file(file) {
        Ok(layer) => layers.push(layer),
        // No file at all is a working daemon, unless somebody asked for that very file.
        Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound && overrides.file.is_none() => {}
        Err(error) => return Err(error.at(file)),
    }
    for drop_in in list_drop_ins(&file.with_extension("d"))? {
        layers.push(read_file(&drop_in).map_err(|error| error.at(&drop_in))?);
    }
    layers.extend(read_environment(environment)?);
    layers.extend(read_pairs(&overrides.set)?);
    Ok(layers)
}

enum ReadError {
    Io(io::Error),
    Syntax(Error),
}

impl ReadError {
    fn at(self, path: &Path) -> Error {
        match self {
            Self::Io(error) => Error::new(path.display().to_string(), "", format!("unable to read: {error}")),
            Self::Syntax(error) => error,
        }
    }
}

fn read_file(path: &Path) -> Result<Layer, ReadError> {
    let metadata = fs::metadata(path).map_err(ReadError::Io)?;
    let refuse = |why: &str| ReadError::Io(io::Error::other(why.to_owned()));
    if !metadata.is_file() {
        return Err(refuse("not a regular file"));
    }
    if metadata.len() > FILE_MAX {
        return Err(refuse("larger than 1 MiB"));
    }
    let text = fs::read_to_string(path).map_err(ReadError::Io)?;
    parse_toml(&text, &path.display().to_string()).map_err(ReadError::Syntax)
}

/// The `*.toml` files of a drop-in folder in the order of their names; none when there is no folder.
fn list_drop_ins(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let fail =
        |error: io::Error| Error::new(folder.display().to_string(), "", format!("unable to read: {error}"));
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(fail(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(fail)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Parses a document; each value's origin is `name:line`, the line of its key.
pub fn parse_toml(text: &str, name: &str) -> Result<Layer, Error> {
    let line_ends: Vec<usize> =
        text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
    let line_of = |offset: usize| 1 + line_ends.partition_point(|&end| end < offset);
    let document = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(span.start));
        let (key, problem) = describe_syntax(&error, text);
        Error::new(format!("{name}:{line}"), key, problem)
    })?;
    let origin_of = |offset: usize| format!("{name}:{}", line_of(offset));
    // The config crate takes the keys of a layer for paths: here they are names.
    for key in document.get_ref().keys() {
        if !key.get_ref().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
            return Err(Error::new(origin_of(key.span().start), key.get_ref(), "unknown key"));
        }
    }
    Ok(Layer(convert_table(document.get_ref(), &origin_of)))
}

/// The key, where it is known, and what is wrong with the text: the parser's own words lead astray at times.
fn describe_syntax<'t>(error: &toml::de::Error, text: &'t str) -> (&'t str, String) {
    let message = error.message();
    // It has begun to read `true`, `false`, `nan` or `inf` from a word without quotes.
    let bare_words = ["string values must be quoted", "invalid boolean", "invalid float, expected `"];
    if bare_words.iter().any(|begin| message.starts_with(begin)) {
        return ("", "expected a value; a string is written in quotes".into());
    }
    if message == "duplicate key" {
        let key = error.span().and_then(|span| text.get(span)).unwrap_or_default();
        return (key, "the same key or table again".into());
    }
    ("", message.replace('\n', ", "))
}

fn convert_table(table: &DeTable<'_>, origin_of: &impl Fn(usize) -> String) -> Map<String, Value> {
    let convert = |(key, value): (&toml::Spanned<_>, &toml::Spanned<_>)| {
        let origin = origin_of(key.span().start);
        let key: &std::borrow::Cow<'_, str> = key.get_ref();
        (key.to_string(), Value::new(Some(&origin), convert_value(value.get_ref(), origin_of)))
    };
    table.iter().map(convert).collect()
}

fn convert_value(value: &DeValue<'_>, origin_of: &impl Fn(usize) -> String) -> ValueKind {
    match value {
        DeValue::String(text) => ValueKind::String(text.to_string()),
        DeValue::Boolean(boolean) => ValueKind::Boolean(*boolean),
        // Out of range of i64: as text, which no key that wants a number takes.
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map_or_else(|_| ValueKind::String(integer.as_str().to_owned()), ValueKind::I64),
        DeValue::Float(float) => float
            .as_str()
            .parse()
            .map_or_else(|_| ValueKind::String(float.as_str().to_owned()), ValueKind::Float),
        DeValue::Datetime(datetime) => ValueKind::String(datetime.to_string()),
        DeValue::Array(array) => ValueKind::Array(
            array
                .iter()
                .map(|item| {
                    Value::new(Some(&origin_of(item.span().start)), convert_value(item.get_ref(), origin_of))
                })
                .collect(),
        ),
        DeValue::Table(table) => ValueKind::Table(convert_table(table, origin_of)),
    }
}

/// `LSBAWS_LIMITS__MAX_CONNECTIONS=10` sets `limits.max_connections`. A layer for each variable, in the order
/// of their names.
fn read_environment(environment: impl Iterator<Item = (OsString, OsString)>) -> Result<Vec<Layer>, Error> {
    let ours = environment.filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let mut ours: Vec<_> =
        ours.filter(|(name, _)| name.starts_with(PREFIX) && name != FILE_VARIABLE).collect();
    ours.sort();
    let read = |(name, value): (String, OsString)| {
        let key = name[PREFIX.len()..].to_ascii_lowercase().replace("__", ".");
        let origin = format!("environment variable {name}");
        match value.to_str() {
            Some(value) => single(&key, value, &origin),
            None => Err(Error::new(origin, &key, "expected UTF-8 text")),
        }
    };
    ours.into_iter().map(read).collect()
}

/// `--set limits.max_connections=10`. A layer for each, in the order given.
fn read_pairs(pairs: &[String]) -> Result<Vec<Layer>, Error> {
    let read = |pair: &String| {
        let origin = format!("--set {pair}");
        match pair.split_once('=').filter(|(key, _)| !key.trim().is_empty()) {
            Some((key, value)) => single(key.trim(), value.trim_start(), &origin),
            None => Err(Error::new(origin, "", "expected KEY=VALUE, such as limits.max_connections=10")),
        }
    };
    pairs.iter().map(read).collect()
}

/// A layer of one key. The config crate takes it for a path, and would make a list as long as any index.
fn single(key: &str, value: &str, origin: &String) -> Result<Layer, Error> {
    if key.contains('[') {
        return Err(Error::new(origin, key, "expected a key without an index: give the whole list"));
    }
    if key.split('.').count() > DEPTH_MAX {
        return Err(Error::new(origin, "", format!("expected a key of at most {DEPTH_MAX} names")));
    }
    let value = parse_value(value, origin).map_err(|problem| Error::new(origin, key, problem))?;
    Ok(Layer(Map::from_iter([(key.to_owned(), value)])))
}

/// A value outside a file is TOML, or a bare string: `10` is a number, `30s` a string.
fn parse_value(text: &str, origin: &String) -> Result<Value, String> {
    let kind = match DeValue::parse(text) {
        Ok(value) => convert_value(value.get_ref(), &|_| origin.clone()),
        Err(error) if is_meant_as_toml(text) => {
            let start = error.span().map_or(0, |span| span.start);
            let position = 1 + text.char_indices().take_while(|(at, _)| *at < start).count();
            let (_, problem) = describe_syntax(&error, text);
            return Err(format!("invalid TOML at character {position} of the value: {problem}"));
        }
        Err(_) => ValueKind::String(text.to_owned()),
    };
    Ok(Value::new(Some(origin), kind))
}

/// A bare string begins with none of these characters, except for an IPv6 address with a port.
fn is_meant_as_toml(text: &str) -> bool {
    text.trim_start().starts_with(['[', '{', '"', '\'']) && text.parse::<SocketAddr>().is_err()
}
