//! Where each value came from, by its key such as `service.web.route[0].body`.

use std::collections::BTreeMap;

use config::{Value, ValueKind};

use super::layers::Layer;

/// Keys and the places that set them last. The `config` crate keeps the origin of single values when it
/// merges layers, but not that of tables.
#[derive(Debug, Default)]
pub struct Provenance(BTreeMap<String, Origin>);

#[derive(Debug)]
struct Origin {
    place: String,
    is_table: bool,
}

impl Provenance {
    /// Notes all keys of a layer, which lies over those before it.
    pub fn add(&mut self, layer: &Layer) {
        for (key, value) in layer.keys() {
            self.add_tables_around(key, value);
            self.add_value(key.clone(), value);
        }
    }

    /// A variable, or `--set`, gives one key and makes the tables around it, in place of what else may be there.
    fn add_tables_around(&mut self, key: &str, value: &Value) {
        for (end, _) in key.match_indices('.') {
            let around = &key[..end];
            if !self.0.get(around).is_some_and(|origin| origin.is_table) {
                self.insert(around.to_owned(), value, true);
            }
        }
    }

    fn add_value(&mut self, key: String, value: &Value) {
        match &value.kind {
            ValueKind::Table(table) => {
                for (name, value) in table {
                    self.add_value(format!("{key}.{name}"), value);
                }
            }
            ValueKind::Array(items) => {
                // A list replaces the one below it as a whole.
                self.0
                    .retain(|other, _| !other.strip_prefix(&*key).is_some_and(|rest| rest.starts_with('[')));
                for (index, item) in items.iter().enumerate() {
                    self.add_value(format!("{key}[{index}]"), item);
                }
            }
            _ => {}
        }
        self.insert(key, value, matches!(value.kind, ValueKind::Table(_)));
    }

    fn insert(&mut self, key: String, value: &Value, is_table: bool) {
        let place = value.origin().unwrap_or_default().to_owned();
        self.0.insert(key, Origin { place, is_table });
    }

    /// What set this very key; `None` when it has its default.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|origin| origin.place.as_str())
    }

    /// What set this key, or else the nearest table or list around it.
    pub fn find(&self, key: &str) -> &str {
        let mut key = key;
        loop {
            match (self.get(key), key.rfind(['.', '['])) {
                (Some(origin), _) => return origin,
                (None, Some(end)) => key = &key[..end],
                (None, None) => return "",
            }
        }
    }
}
