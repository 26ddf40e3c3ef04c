//! Where each value came from, by its key such as `service.web.route[0].body`.

use std::collections::BTreeMap;

use config::{Value, ValueKind};

use super::sources::Layer;

/// Keys and the places that set them last. The `config` crate keeps the origin of single values when it
/// merges layers, but not that of tables.
#[derive(Debug, Default)]
pub struct Origins(BTreeMap<String, String>);

impl Origins {
    /// Notes all keys of a layer, which lies over those before it.
    pub fn add(&mut self, layer: &Layer) {
        for (key, value) in layer.keys() {
            self.add_value(key.clone(), value);
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
                let inside = format!("{key}[");
                let below = self.0.range(inside.clone()..).map(|(other, _)| other);
                let stale: Vec<_> = below.take_while(|other| other.starts_with(&inside)).cloned().collect();
                for other in stale {
                    self.0.remove(&other);
                }
                for (index, item) in items.iter().enumerate() {
                    self.add_value(format!("{key}[{index}]"), item);
                }
            }
            _ => {}
        }
        self.0.insert(key, value.origin().unwrap_or_default().to_owned());
    }

    /// What set this very key; `None` when it has its default.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
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
