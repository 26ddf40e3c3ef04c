//! From TOML text to a layer: its values, and the location of each key. The `config` crate's own reader of files is of
//! no use here: it drops the line numbers.

use std::collections::BTreeMap;
use std::rc::Rc;

use config::{ConfigError, Map, Source, Value, ValueKind};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Error, describe_syntax, is_duplicate};
use super::key::{KeyPath, quote_name};
use super::provenance::{Location, Mark};

/// A file, a variable or an argument.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) values: LayerValues,
    pub(super) marks: Vec<Mark>,
    pub(super) errors: Vec<Error>,
    /// Nothing is missing but values with an error, so that the rest can be checked.
    pub(super) is_complete: bool,
}

impl Default for Layer {
    fn default() -> Self {
        let values = LayerValues::default();
        Self { values, marks: Vec::new(), errors: Vec::new(), is_complete: true }
    }
}

/// The values of a layer, for the `config` crate.
#[derive(Debug, Clone, Default)]
pub(super) struct LayerValues(Map<String, Value>);

/// The key of all values in the `config` crate. It takes the first key for a path, and so must not get one of ours.
pub(super) const TOP: &str = "lsbaws";

impl Source for LayerValues {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }
    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(Map::from_iter([(TOP.to_owned(), Value::from(self.0.clone()))]))
    }
}

/// Reads the text of a file, the layer `number`.
pub(super) fn read_document(text: &str, layer: &str, number: usize) -> Layer {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader::new(text, layer, number, errors);
    let values = reader.read_table(&KeyPath::default(), document.get_ref());
    let is_complete = reader.report_syntax();
    Layer { values: LayerValues(values), marks: reader.marks, errors: reader.errors, is_complete }
}

/// Lets each list of tables, such as the routes of a service, continue the one of the files before: a file of its own adds a
/// route, and removes none. `files`: their layers, lowest first.
pub(super) fn continue_lists(files: &mut [Layer]) {
    let mut lists = BTreeMap::new();
    for layer in files {
        let mut continued = Vec::new();
        continue_within(&KeyPath::default(), &mut layer.values.0, &mut lists, &mut continued);
        for (list, count) in continued {
            for mark in &mut layer.marks {
                mark.continues |= mark.key == list;
                mark.key.shift(&list, count);
            }
            layer.errors.iter_mut().for_each(|error| error.key.shift(&list, count));
        }
    }
}

/// `lists`: the lists of tables so far. `continued`: those that this layer continues, and their elements before.
fn continue_within(
    path: &KeyPath,
    values: &mut Map<String, Value>,
    lists: &mut BTreeMap<KeyPath, Vec<Value>>,
    continued: &mut Vec<(KeyPath, usize)>,
) {
    for (name, value) in values {
        let path = path.name(name);
        match &mut value.kind {
            ValueKind::Table(table) => continue_within(&path, table, lists, continued),
            ValueKind::Array(list)
                if list.iter().any(|element| matches!(element.kind, ValueKind::Table(_))) =>
            {
                let before = lists.entry(path.clone()).or_default();
                if !before.is_empty() {
                    continued.push((path, before.len()));
                    list.splice(..0, before.iter().cloned());
                }
                before.clone_from(list);
            }
            _ => {}
        }
    }
}

/// Makes the layer `number` of one key and its value, which is TOML or a bare string.
pub(super) fn read_pair(key: &str, value: &str, layer: &str, number: usize) -> Layer {
    let mut reader = Reader::new("", layer, number, Vec::new());
    reader.has_lines = false;
    let names: Vec<_> = key.split('.').collect();
    let mut path = KeyPath::default();
    for (position, name) in names.iter().enumerate() {
        path = path.name(name);
        reader.mark(&path, 0, position + 1 < names.len());
    }
    let mut kind = match DeValue::parse(value) {
        Ok(value) => {
            reader.marks.pop(); // the value may be a table
            reader.mark(&path, 0, is_table(&value));
            reader.read_value(&path, &value)
        }
        Err(error) if is_meant_as_toml(value) => {
            let start = error.span().map_or(0, |span| span.start);
            let position = 1 + value.char_indices().take_while(|(at, _)| *at < start).count();
            let problem = describe_syntax(&error);
            // A template begins like a table.
            let hint = match value.trim_start().strip_prefix('{').map(|rest| rest.split('}').next()) {
                Some(Some(name)) if !name.contains(['=', '"', '\'']) => {
                    format!("; a text that begins with {{ needs quotes: --set {key}='\"{value}\"'")
                }
                _ => String::new(),
            };
            reader.reject(
                path,
                0,
                format!("invalid TOML at character {position} of the value: {problem}{hint}"),
            );
            ValueKind::Nil
        }
        Err(_) => ValueKind::String(value.to_owned()),
    };
    let mut values = Map::new();
    for name in names.into_iter().rev() {
        values = Map::from_iter([(name.to_owned(), Value::new(None, kind))]);
        kind = ValueKind::Table(values.clone());
    }
    Layer { values: LayerValues(values), marks: reader.marks, errors: reader.errors, is_complete: true }
}

/// The layer `number` of one key, which cannot be used.
pub(super) fn reject_key(layer: &str, number: usize, problem: impl Into<String>) -> Layer {
    let location = Location { layer: layer.into(), line: None, order: (number, 0) };
    let error = Error { location: Some(location), key: KeyPath::default(), problem: problem.into() };
    Layer { errors: vec![error], ..Layer::default() }
}

/// A bare string begins with none of these characters, except for an IPv6 address with a port.
fn is_meant_as_toml(text: &str) -> bool {
    text.trim_start().starts_with(['[', '{', '"', '\'']) && text.parse::<std::net::SocketAddr>().is_err()
}

fn is_table(value: &Spanned<DeValue<'_>>) -> bool {
    matches!(value.get_ref(), DeValue::Table(_))
}

fn read_float(digits: &str) -> ValueKind {
    ValueKind::Float(digits.parse().unwrap_or(f64::NAN))
}

/// Walks through a document.
struct Reader<'t> {
    text: &'t str,
    layer: Rc<str>,
    number: usize,
    has_lines: bool,
    line_ends: Vec<usize>,
    /// Errors of the syntax by their position, until the value is found that they belong to.
    syntax: BTreeMap<usize, toml::de::Error>,
    marks: Vec<Mark>,
    errors: Vec<Error>,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str, layer: &str, number: usize, errors: Vec<toml::de::Error>) -> Self {
        let mut syntax = BTreeMap::new();
        for error in errors {
            syntax.entry(error.span().map_or(0, |span| span.start)).or_insert(error);
        }
        let line_ends =
            text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
        let (layer, marks, errors) = (layer.into(), Vec::new(), Vec::new());
        Self { text, layer, number, has_lines: true, line_ends, syntax, marks, errors }
    }

    fn locate(&self, offset: usize) -> Location {
        let line = 1 + self.line_ends.partition_point(|&end| end < offset);
        Location {
            layer: Rc::clone(&self.layer),
            line: self.has_lines.then_some(line),
            order: (self.number, offset),
        }
    }

    fn mark(&mut self, key: &KeyPath, offset: usize, is_table: bool) {
        let location = self.locate(offset);
        self.marks.push(Mark { key: key.clone(), location, is_table, continues: false });
    }

    fn reject(&mut self, key: KeyPath, offset: usize, problem: String) {
        let location = Some(self.locate(offset));
        self.errors.push(Error { location, key, problem });
    }

    /// The location of each value is that of its key.
    fn read_table(&mut self, path: &KeyPath, table: &DeTable<'_>) -> Map<String, Value> {
        let mut values = Map::new();
        for (name, value) in table {
            let path = path.name(name.get_ref());
            self.mark(&path, name.span().start, is_table(value));
            values.insert(name.get_ref().to_string(), Value::new(None, self.read_value(&path, value)));
        }
        values
    }

    fn read_list(&mut self, path: &KeyPath, list: &[Spanned<DeValue<'_>>]) -> Vec<Value> {
        let mut values = Vec::new();
        for (index, value) in list.iter().enumerate() {
            let path = path.element(index);
            self.mark(&path, value.span().start, is_table(value));
            values.push(Value::new(None, self.read_value(&path, value)));
        }
        values
    }

    /// Gives `Nil` for a value with an error.
    fn read_value(&mut self, path: &KeyPath, value: &Spanned<DeValue<'_>>) -> ValueKind {
        let kind = match value.get_ref() {
            DeValue::Table(table) => return ValueKind::Table(self.read_table(path, table)),
            DeValue::Array(list) => return ValueKind::Array(self.read_list(path, list)),
            DeValue::String(text) => ValueKind::String(text.to_string()),
            DeValue::Boolean(flag) => ValueKind::Boolean(*flag),
            // No key takes one beyond the range of i64.
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .map_or_else(|_| read_float(integer.as_str()), ValueKind::I64),
            DeValue::Float(float) => read_float(float.as_str()),
            DeValue::Datetime(datetime) => ValueKind::String(datetime.to_string()),
        };
        let span = value.span();
        let Some((&start, _)) = self.syntax.range(span.start..=span.end).next() else { return kind };
        // A string without its end may have swallowed further lines.
        if self.text.get(span).is_some_and(|text| !text.contains('\n'))
            && let Some(error) = self.syntax.remove(&start)
        {
            self.reject(path.clone(), start, describe_syntax(&error));
        }
        ValueKind::Nil
    }

    /// Reports the errors that belong to no value. Gives whether the other values are as they were written.
    fn report_syntax(&mut self) -> bool {
        let mut is_complete = true;
        let mut last_line = None;
        for (start, error) in std::mem::take(&mut self.syntax) {
            let line = self.locate(start).line;
            // What follows on the same line is a consequence.
            if last_line == line {
                continue;
            }
            last_line = line;
            let line_start = self.text[..start.min(self.text.len())].rfind('\n').map_or(0, |end| end + 1);
            let mut problem = describe_syntax(&error);
            if is_duplicate(&error) {
                let name = error.span().and_then(|span| self.text.get(span)).unwrap_or_default();
                problem = format!("{}: {problem}", quote_name(name));
            }
            // A second table is dropped with its keys.
            is_complete &= is_duplicate(&error) && !self.text[line_start..].trim_start().starts_with('[');
            self.reject(KeyPath::default(), start, problem);
        }
        is_complete
    }
}
