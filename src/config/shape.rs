//! Which keys the configuration has: for completions, and for errors about a key in the wrong table.

/// What the value of a key can be.
#[derive(Debug)]
pub(super) enum Shape {
    /// A value, with its words if it is one of these.
    Value(Vec<&'static str>),
    Table(Vec<(&'static str, Shape)>),
    /// Tables by names that the administrator chooses.
    Named(Box<Shape>),
    /// A list of tables.
    List(Box<Shape>),
}

impl Shape {
    /// `KEY=` for each key that `--set` takes, and `KEY=WORD` for each of its words. `prefix`: the tables around it, each
    /// followed by a dot. `named`: the name of a table for which the administrator chooses one.
    pub(super) fn list_pairs(&self, prefix: &str, named: &str, pairs: &mut Vec<String>) {
        match self {
            Self::Table(keys) => {
                for (name, shape) in keys {
                    shape.list_pairs(&format!("{prefix}{name}."), named, pairs);
                }
            }
            Self::Named(table) => table.list_pairs(&format!("{prefix}{named}."), named, pairs),
            Self::Value(words) => {
                let key = prefix.trim_end_matches('.');
                pairs.push(format!("{key}="));
                pairs.extend(words.iter().map(|word| format!("{key}={word}")));
            }
            Self::List(_) => pairs.push(format!("{}=", prefix.trim_end_matches('.'))),
        }
    }

    /// The tables that have a key of this name, as TOML writes their headings.
    pub(super) fn find_tables(&self, key: &str) -> Vec<String> {
        let mut tables = Vec::new();
        self.collect_tables(key, "", false, &mut tables);
        tables
    }

    fn collect_tables(&self, key: &str, heading: &str, is_list: bool, tables: &mut Vec<String>) {
        match self {
            Self::Table(keys) => {
                if keys.iter().any(|(name, _)| *name == key) && !heading.is_empty() {
                    let heading = if is_list { format!("[[{heading}]]") } else { format!("[{heading}]") };
                    tables.push(heading);
                }
                let dot = if heading.is_empty() { "" } else { "." };
                for (name, shape) in keys {
                    shape.collect_tables(key, &format!("{heading}{dot}{name}"), false, tables);
                }
            }
            Self::Named(table) => table.collect_tables(key, &format!("{heading}.NAME"), false, tables),
            Self::List(table) => table.collect_tables(key, heading, true, tables),
            Self::Value(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        let route = Shape::List(Box::new(Shape::Table(vec![("root", Shape::Value(Vec::new()))])));
        let model = Shape::Value(vec!["fork", "iterative"]);
        Shape::Table(vec![
            ("process", Shape::Table(vec![("model", model)])),
            ("service", Shape::Named(Box::new(Shape::Table(vec![("route", route)])))),
        ])
    }

    #[test]
    fn pairs_have_keys_and_words() {
        let mut pairs = Vec::new();
        shape().list_pairs("", "web", &mut pairs);
        let words = ["process.model=", "process.model=fork", "process.model=iterative", "service.web.route="];
        assert_eq!(pairs, words);
    }

    #[test]
    fn keys_have_their_tables() {
        assert_eq!(shape().find_tables("root"), ["[[service.NAME.route]]"]);
        assert_eq!(shape().find_tables("model"), ["[process]"]);
        assert_eq!(shape().find_tables("nothing"), [""; 0]);
    }
}
