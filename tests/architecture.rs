//! Imports go down only. The modules of src/ stand on floors, and each may use what stands on a lower one; the
//! parts of a folder have floors of their own. This test reads every path in the source, in imports and in code,
//! and names each that goes up, sideways or round. Tests beside the code are left out. A folder's own file and its
//! parts may name each other.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the source fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{ItemMod, ItemUse, UseTree};

/// The floors of src/, from the top down. Modules on one floor do not know each other.
const FLOORS: &[&[&str]] = &[
    &["fuzzing"],
    &["command"],
    &["cli", "client", "config", "monitor"],
    &["forkserver", "supervisor"],
    &["handover"],
    &["child"],
    &["access", "service"],
    &["handler"],
    &["http", "journal", "listen", "status"],
    &["capacity", "confine"],
    &["limits"],
    &["clients", "environment", "json", "scoreboard", "source", "uplink"],
    &["connection", "escape", "interpreter", "notify", "outcome", "refusal", "runtime"],
    &["sys"],
];

/// The floors within a folder; `mod` is the folder's own file. In a folder that is not named here the files must
/// not form a circle, and that is all.
const FOLDERS: &[(&str, &[&[&str]])] = &[
    (
        "config",
        &[
            &["mod"],
            &["settings"],
            &["forecast", "layers", "limits", "listen", "log", "process", "reach", "service", "show"],
            &["subject"],
            &["application"],
            &["folder"],
            &["confine", "document", "permissions", "privileges", "outputs", "published", "route", "sandbox"],
            &["error_pages", "exec", "rlimits", "scope"],
            &["keywords", "lists", "quantity", "unit", "variables"],
            &["hidden"],
            &["account"],
            &["scalar"],
            &["table"],
            &["findings", "shape"],
            &["error"],
            &["provenance"],
            &["key"],
        ],
    ),
    (
        "child",
        &[
            &["spare", "in_place", "supplies"],
            &["mod"],
            &["agent", "program", "session"],
            &["introduction", "preparation", "report"],
            &["proxy"],
            &["work"],
            &["title"],
        ],
    ),
    (
        "handler",
        &[
            &["site"],
            &["mod"],
            &["access", "cgi", "files", "health", "probe", "redirect", "respond", "status", "wsgi"],
            &["auth", "variables"],
            &["error_pages", "exchange", "watch"],
            &["login"],
            &["root", "users"],
        ],
    ),
    (
        "http",
        &[
            &["response"],
            &["body", "compress"],
            &["forwarded", "proxy_protocol", "request"],
            &["framing"],
            &["failure"],
            &["stream", "terms"],
            &["budget", "canned", "error_content", "request_id", "target"],
            &["encoding"],
            &["accept", "chunked", "date", "fields", "limits", "page", "path", "send_queue"],
            &["mod"],
        ],
    ),
    (
        "journal",
        &[
            &["mod"],
            &["child", "events", "record", "report"],
            &["global"],
            &["log"],
            &["note", "queue", "ratelimit", "stderr"],
            &["entry", "socket", "style"],
            &["line"],
            &["message_id", "settings"],
        ],
    ),
    ("listen", &[&["activation", "bind", "urls"], &["hint"], &["mod"], &["address", "holder", "unit"]]),
];

/// Modules that must not know each other, although one stands above the other.
const STRANGERS: &[(&str, &str)] = &[("supervisor", "http"), ("supervisor", "handler"), ("child", "listen")];

/// A path of modules, such as `http::body`.
type Module = Vec<String>;

#[test]
fn imports_go_down() {
    let faults: Vec<_> = list_imports()
        .iter()
        .filter_map(|(file, from, to)| Some(format!("{}: {}", file.display(), judge(from, to)?)))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn files_form_no_circle() {
    let mut imports: BTreeMap<Module, Vec<Module>> = BTreeMap::new();
    for (_, from, to) in list_imports() {
        let to = file_of(&to);
        // A folder's own file may name its parts, and a part the folder's file.
        if from != to && !to.starts_with(&from) {
            imports.entry(from).or_default().push(to);
        }
    }
    for start in imports.keys() {
        let (mut seen, mut next) = (Vec::new(), vec![start]);
        while let Some(module) = next.pop() {
            for to in imports.get(module).into_iter().flatten() {
                assert_ne!(to, start, "a circle: {} and {}", start.join("::"), module.join("::"));
                if !seen.contains(&to) {
                    seen.push(to);
                    next.push(to);
                }
            }
        }
    }
}

#[test]
fn every_module_has_its_floor() {
    let known = FLOORS.concat();
    for entry in fs::read_dir("src").unwrap() {
        let name = entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(["lib", "main"].contains(&&*name) || known.contains(&&*name), "src/{name} has no floor");
    }
}

#[test]
fn unsafe_code_is_forbidden_above_sys() {
    for module in FLOORS.concat().into_iter().filter(|module| *module != "sys") {
        let path = locate(&[module.to_owned()]);
        let text = fs::read_to_string(&path).unwrap();
        let first = text.lines().find(|line| !line.starts_with("//") && !line.is_empty());
        assert_eq!(first, Some("#![forbid(unsafe_code)]"), "{}", path.display());
    }
}

/// What is wrong with an import, if anything.
fn judge(from: &[String], to: &[String]) -> Option<String> {
    let is_down = |floors: &[&[&str]], own: &str, other: &str| {
        let floor = |name: &str| floors.iter().position(|floor| floor.contains(&name));
        matches!((floor(own), floor(other)), (Some(own), Some(other)) if own < other)
    };
    let fault = |what: &str| Some(format!("from {} {what} {}", from.join("::"), to.join("::")));
    let (here, there) = (from.first()?, to.first()?);
    if STRANGERS.contains(&(here.as_str(), there.as_str())) {
        return fault("must not know");
    }
    if here != there {
        return if is_down(FLOORS, here, there) { None } else { fault("not down to") };
    }
    let (_, floors) = FOLDERS.iter().find(|(folder, _)| folder == here)?;
    // What is no file of the folder is an item of the folder's own file.
    let part = |path: &[String]| {
        path.get(1)
            .filter(|part| floors.concat().contains(&part.as_str()))
            .map_or("mod", |part| part)
            .to_owned()
    };
    let (own, other) = (part(from), part(to));
    if own == other || is_down(floors, &own, &other) { None } else { fault("not down to") }
}

/// Every import of src/: the file, its module, and where the path leads.
fn list_imports() -> Vec<(PathBuf, Module, Module)> {
    let mut imports = Vec::new();
    for file in list_sources(Path::new("src")) {
        let mut module: Module =
            file.strip_prefix("src").unwrap().with_extension("").iter().map(to_text).collect();
        if ["mod", "lib", "main"].contains(&module.last().unwrap().as_str()) {
            module.pop();
        }
        let mut reader = Reader { module: module.clone(), paths: Vec::new() };
        reader.visit_file(&syn::parse_file(&fs::read_to_string(&file).unwrap()).unwrap());
        imports.extend(reader.paths.into_iter().map(|to| (file.clone(), module.clone(), to)));
    }
    assert!(imports.len() > 300, "only {} imports were found", imports.len());
    imports
}

fn list_sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_tests = path.file_name().is_some_and(|name| name == "tests.rs");
        if path.is_dir() {
            files.extend(list_sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_tests {
            files.push(path);
        }
    }
    files
}

fn to_text(part: &std::ffi::OsStr) -> String {
    part.to_str().unwrap().to_owned()
}

/// The source file of a module.
fn locate(module: &[String]) -> PathBuf {
    let base = Path::new("src").join(module.iter().collect::<PathBuf>());
    let own = base.join("mod.rs");
    if own.exists() { own } else { base.with_extension("rs") }
}

/// The module of the file that a path leads into.
fn file_of(path: &[String]) -> Module {
    let file = (1..=path.len()).rev().map(|length| &path[..length]).find(|module| locate(module).exists());
    file.unwrap_or_default().to_vec()
}

/// Collects the paths of one file that begin in this crate.
struct Reader {
    module: Module,
    paths: Vec<Module>,
}

impl Reader {
    fn add(&mut self, segments: &[String]) {
        let mut base = match segments.first().map(String::as_str) {
            Some("crate") => Vec::new(),
            Some("super" | "self") => self.module.clone(),
            _ => return self.add_child(segments),
        };
        for segment in segments {
            match segment.as_str() {
                "crate" | "self" => {}
                "super" => _ = base.pop(),
                name => base.push(name.to_owned()),
            }
        }
        self.paths.push(base);
    }

    /// `use part::Item;` in a folder's own file.
    fn add_child(&mut self, segments: &[String]) {
        let path = [self.module.as_slice(), segments].concat();
        if segments.len() > 1 && locate(&path[..=self.module.len()]).exists() {
            self.paths.push(path);
        }
    }

    fn add_tree(&mut self, base: &[String], tree: &UseTree) {
        let join = |name: &syn::Ident| [base, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.add_tree(&join(&path.ident), &path.tree),
            UseTree::Name(name) => self.add(&join(&name.ident)),
            UseTree::Rename(rename) => self.add(&join(&rename.ident)),
            UseTree::Glob(_) => self.add(base),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(base, tree)),
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add(&segments);
        visit::visit_path(self, path);
    }

    /// `pub(super)` is no import.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    /// The arguments of a macro are tokens: `crate::` and `super::` begin a path there as well.
    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let text = call.tokens.to_string().replace(' ', "");
        for start in ["crate::", "super::"] {
            for (at, _) in text.match_indices(start).filter(|(at, _)| !text[..*at].ends_with("::")) {
                let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
                let path = text[at..].split(|c| !is_path(c)).next().unwrap_or_default();
                let segments: Vec<_> =
                    path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
                self.add(&segments);
            }
        }
        visit::visit_macro(self, call);
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        let is_test = module.attrs.iter().any(|attribute| {
            attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
        });
        if !is_test {
            visit::visit_item_mod(self, module);
        }
    }
}
