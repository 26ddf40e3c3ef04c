//! Which layer set which key, and where.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use super::key::KeyPath;

/// A place in a layer: a line of a file, an environment variable or an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) layer: Rc<str>,
    /// In a file, from 1.
    pub(super) line: Option<usize>,
    /// The number of the layer, and bytes from its start: the order in which errors are reported.
    pub(super) order: (usize, usize),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.layer)?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// A key of one layer. Each table or list comes before what it contains.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) key: KeyPath,
    pub(super) location: Location,
    pub(super) is_table: bool,
    /// A list that continues the one of an earlier layer.
    pub(super) continues: bool,
}

/// The location that set each key last. The `config` crate keeps that of values, but not that of tables.
#[derive(Debug, Default)]
pub(super) struct Provenance(BTreeMap<KeyPath, Mark>);

impl Provenance {
    /// Takes over the keys of a layer that lies over the earlier ones. Tables are merged, and stay where they were
    /// first; everything else is replaced.
    pub(super) fn add(&mut self, marks: Vec<Mark>) {
        for mark in marks {
            match self.0.get(&mark.key) {
                Some(known) if known.is_table && mark.is_table || mark.continues => continue,
                Some(_) => self.remove(&mark.key),
                None => {}
            }
            self.0.insert(mark.key.clone(), mark);
        }
    }

    fn remove(&mut self, key: &KeyPath) {
        let keys = self.0.range(key..).map(|(other, _)| other);
        let within: Vec<_> = keys.take_while(|other| other.is_within(key)).cloned().collect();
        for key in within {
            self.0.remove(&key);
        }
    }

    /// What set this very key; `None` when it has its default.
    pub(super) fn get(&self, key: &KeyPath) -> Option<&Location> {
        self.0.get(key).map(|mark| &mark.location)
    }

    /// What set this key, or else the nearest table or list around it.
    pub(super) fn find(&self, key: &KeyPath) -> Option<&Location> {
        self.get(key).or_else(|| self.find(&key.parent()?))
    }
}

/// The files of a configuration, and those in the folder of its drop-ins that are none.
#[derive(Debug, Default)]
pub(super) struct ConfigFiles {
    pub(super) read: Vec<String>,
    pub(super) ignored: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(key: &KeyPath, line: usize, is_table: bool) -> Mark {
        let location = Location { layer: "f".into(), line: Some(line), order: (0, line) };
        Mark { key: key.clone(), location, is_table, continues: false }
    }

    #[test]
    fn lists_are_replaced_and_tables_are_merged() {
        let table = KeyPath::default().name("t");
        let list = table.name("l");
        let mut provenance = Provenance::default();
        provenance.add(vec![
            mark(&table, 1, true),
            mark(&list, 2, false),
            mark(&list.element(0), 3, false),
            mark(&list.element(1), 4, false),
        ]);
        provenance.add(vec![mark(&table, 5, true), mark(&list, 6, false), mark(&list.element(0), 7, false)]);
        let line = |key: &KeyPath| provenance.find(key).and_then(|location| location.line);
        assert_eq!((line(&table), line(&table.name("x"))), (Some(1), Some(1)));
        assert_eq!(
            (line(&list), line(&list.element(0)), line(&list.element(1))),
            (Some(6), Some(7), Some(6))
        );
        assert_eq!(provenance.get(&list.element(1)), None);
        assert_eq!(line(&KeyPath::default().name("other")), None);
    }
}
