//! The documents agree with the program: manuals, completions, catalog, examples.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::harness::{require_client, run};

fn read(path: &str) -> String {
    fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR")))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The long flags in the help of all subcommands. That of `client` is the load client's own.
fn flags() -> BTreeSet<String> {
    require_client();
    let helps = [
        &["--help"][..],
        &["serve", "--help"],
        &["check", "--help"],
        &["status", "--help"],
        &["top", "--help"],
        &["drain", "--help"],
        &["undrain", "--help"],
        &["client", "--help"],
    ];
    let mut flags = BTreeSet::new();
    for arguments in helps {
        let (code, help, _) = run(arguments);
        assert_eq!(code, 0);
        let words = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        flags.extend(
            words.filter(|word| word.len() > 3).filter_map(|word| word.strip_prefix("--")).map(str::to_owned),
        );
    }
    assert!(flags.contains("show") && flags.contains("max-conns"), "{flags:?}");
    flags
}

#[test]
fn every_flag_is_in_the_manual_and_in_the_completions() {
    let manual = read("packaging/lsbaws.8").replace("\\-", "-").replace("Fl -", "--").replace("| -", "| --");
    let bash = read("packaging/completions/lsbaws.bash");
    let zsh = read("packaging/completions/_lsbaws");
    let fish = read("packaging/completions/lsbaws.fish");
    for flag in flags() {
        assert!(manual.contains(&format!("--{flag}")), "lsbaws.8 lacks --{flag}");
        assert!(bash.contains(&format!("--{flag}")), "the bash completion lacks --{flag}");
        assert!(zsh.contains(&format!("--{flag}")), "the zsh completion lacks --{flag}");
        assert!(fish.contains(&format!("-l {flag}")), "the fish completion lacks --{flag}");
    }
}

#[test]
fn every_key_is_in_the_manual() {
    let manual = read("packaging/lsbaws.toml.5");
    let shipped = read("etc/lsbaws.toml");
    let keys =
        shipped.lines().filter_map(|line| line.strip_prefix('#')?.split_once(" = ")).map(|(key, _)| key);
    let keys: Vec<_> = keys.filter(|key| !key.contains(' ')).collect();
    assert!(keys.len() > 10, "{keys:?}");
    for key in keys {
        assert!(manual.contains(&format!("\n.It Li {key}")), "lsbaws.toml.5 lacks {key}");
    }
}

#[test]
fn every_key_of_every_handler_is_in_manual_and_shipped_file() {
    let manual = read("packaging/lsbaws.toml.5");
    let shipped = read("etc/lsbaws.toml");
    let (_, _, message) = run(&["check", "--set", "service.web.route=[{handler='magic'}]"]);
    let handlers: Vec<_> = message.split('"').skip(1).step_by(2).filter(|name| *name != "magic").collect();
    assert!(handlers.len() >= 3, "{message}");
    for handler in handlers {
        let route = format!("service.web.route=[{{handler='{handler}',no_such_key=1}}]");
        // Any key of another handler makes it list its own.
        let foreign = if handler == "respond" { "to='/'" } else { "delay='1s'" };
        let route = route.replace("no_such_key=1", foreign);
        let (_, _, message) = run(&["check", "--set", &route]);
        let (_, keys) = message.trim().split_once("expected one of ").expect(&message);
        for key in keys.split(", ") {
            assert!(manual.contains(&format!("\n.It Li {key}")), "lsbaws.toml.5 lacks {key} of {handler}");
            let is_shown = |line: &str| line.trim_start_matches(['#', ' ']).starts_with(&format!("{key} = "));
            assert!(shipped.lines().any(is_shown), "etc/lsbaws.toml lacks {key} of {handler}");
        }
    }
}

/// The literal blocks of a manual, as they are read.
fn literal_blocks(page: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut rest = page;
    while let Some((_, block)) = rest.split_once(".Bd -literal -offset indent\n") {
        let (block, after) = block.split_once(".Ed\n").unwrap();
        blocks.push(block.replace("\\e", "\\").replace("\\-", "-").replace("\\&", ""));
        rest = after;
    }
    blocks
}

/// Pages with configurations, and their minimum number.
const PAGES: [(&str, usize); 5] = [
    ("README.md", 1),
    ("etc/lsbaws.toml", 6),
    ("packaging/lsbaws.8", 0),
    ("packaging/lsbaws.toml.5", 3),
    ("packaging/lsbaws-migration.7", 6),
];

/// The configurations on a page: the blocks that contain a table of lsbaws.toml(5).
fn examples_on(page: &str) -> Vec<String> {
    let text = read(page);
    let fenced = text.split("```toml\n").skip(1).map(|text| text.split_once("```").unwrap().0.to_owned());
    let mut examples: Vec<_> = literal_blocks(&text).into_iter().chain(fenced).collect();
    // In comments of a configuration they are indented.
    let commented =
        text.lines().map(|line| line.strip_prefix("#   ").unwrap_or_default()).collect::<Vec<_>>();
    examples.extend(commented.split(|line| line.is_empty()).map(|lines| lines.join("\n")));
    let is_table = |line: &str| {
        let name = line.trim_start_matches('[').split(['.', ']']).next().unwrap_or_default();
        line.starts_with('[') && ["listen", "limits", "process", "log", "service"].contains(&name)
    };
    examples.retain(|text| text.lines().any(is_table));
    examples
}

/// Creates the directories and programs that an example names, below `folder`. Returns their paths as they are in the
/// example.
fn stand_in(value: &toml::Value, key: &str, folder: &Path) -> Vec<String> {
    let below = |path: &str| folder.join(path.trim_start_matches('/'));
    match (key, value) {
        ("root" | "directory" | "document_root", toml::Value::String(path)) => {
            fs::create_dir_all(below(path)).unwrap();
            vec![path.clone()]
        }
        ("program" | "interpreter" | "command" | "auth_users", toml::Value::String(path)) => {
            fs::create_dir_all(below(path).parent().unwrap()).unwrap();
            fs::write(below(path), "").unwrap();
            fs::set_permissions(below(path), fs::Permissions::from_mode(0o755)).unwrap();
            vec![path.clone()]
        }
        ("virtualenv", toml::Value::String(path)) => {
            stand_in(&format!("{path}/bin/python").into(), "program", folder);
            vec![path.clone()]
        }
        ("writable" | "read" | "python_path", toml::Value::Array(paths)) => {
            paths.iter().flat_map(|path| stand_in(path, "root", folder)).collect()
        }
        ("command", toml::Value::Array(words)) => stand_in(&words[0], key, folder),
        (_, toml::Value::Array(values)) => {
            values.iter().flat_map(|value| stand_in(value, "", folder)).collect()
        }
        (_, toml::Value::Table(table)) => {
            let paths = table.iter().flat_map(|(key, value)| stand_in(value, key, folder)).collect();
            let root = table.get("root").and_then(toml::Value::as_str).unwrap_or_default();
            for (_, page) in table.get("error_pages").and_then(toml::Value::as_table).into_iter().flatten() {
                let page = below(root).join(page.as_str().unwrap());
                fs::create_dir_all(page.parent().unwrap()).unwrap();
                fs::write(page, "").unwrap();
            }
            if let Some(fallback) = table.get("fallback").and_then(toml::Value::as_str) {
                let path = table.get("path").and_then(toml::Value::as_str).unwrap_or("/");
                fs::write(below(root).join(fallback.strip_prefix(path).unwrap()), "").unwrap();
            }
            paths
        }
        _ => Vec::new(),
    }
}

/// Runs `lsbaws check` on an example. Its directories and programs need not exist on this host.
fn check_example(page: &str, example: &str) {
    let folder = tempfile::tempdir().unwrap();
    let table = toml::from_str(example).unwrap_or_else(|error| panic!("{page}: {error}\n{example}"));
    let mut paths = stand_in(&toml::Value::Table(table), "", folder.path());
    paths.sort();
    paths.dedup();
    let mut text = example.to_owned();
    for path in paths {
        let here = format!("\"{}{path}\"", folder.path().display());
        text = text.replace(&format!("\"{path}\""), &here);
    }
    let config = folder.path().join("example.toml");
    fs::write(&config, &text).unwrap();
    let (code, _, message) = run(&["check", "-c", config.to_str().unwrap()]);
    assert_eq!(code, 0, "{page}: {message}\n{text}");
}

#[test]
fn every_configuration_on_a_page_is_valid() {
    for (page, least) in PAGES {
        let examples = examples_on(page);
        assert!(examples.len() >= least, "{page}: {examples:?}");
        for example in examples {
            check_example(page, &example);
        }
    }
}

#[test]
fn every_example_file_is_valid_and_in_the_readme() {
    let readme = read("README.md");
    let folder = format!("{}/examples", env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let page = format!("examples/{}", entry.unwrap().file_name().into_string().unwrap());
        // Others are files of other programs.
        if !page.ends_with(".toml") {
            continue;
        }
        check_example(&page, &read(&page));
        assert!(readme.contains(&format!("({page})")), "README.md does not link to {page}");
        count += 1;
    }
    assert!(count >= 6, "{count}");
}

/// The target of each link within the repository.
fn links_of(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    targets.filter(|target| !target.contains("://") && !target.starts_with('#')).collect()
}

#[test]
fn links_between_documents_lead_to_files() {
    for page in
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"].map(str::to_owned).into_iter().chain(
            ["architecture", "containers", "release", "reliability", "scale", "security"]
                .map(|name| format!("docs/{name}.md")),
        )
    {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(&page).parent().unwrap().to_owned();
        for link in links_of(&read(&page)) {
            assert!(folder.join(link).exists(), "{page} links to {link}");
        }
    }
}

/// Every source file of the journal.
fn journal_sources() -> String {
    let folder = format!("{}/src/journal", env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// Written at level info. All others are written at warning or worse.
const INFO_MESSAGES: [&str; 13] = [
    "ACCESS",
    "CONNECTION_ENDED",
    "CONNECTION_REFUSED",
    "READY",
    "DRAINING",
    "DRAIN_ANNOUNCED",
    "DRAIN_ENDED",
    "STOPPED",
    "PROGRAM_OUTPUT",
    "RELOADED",
    "IDLE",
    "STATUS",
    "SHORTAGE_OVER",
];

/// `const NAME: &str = "ID";` for each MESSAGE_ID.
fn message_ids(source: &str) -> Vec<(&str, &str)> {
    let constants = source.lines().filter_map(|line| line.split_once("const ")?.1.split_once(": &str = \""));
    let ids = constants.filter_map(|(name, rest)| Some((name, rest.strip_suffix("\";")?)));
    ids.filter(|(_, id)| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).collect()
}

#[test]
fn the_catalog_explains_warnings_and_errors_only() {
    let source = journal_sources();
    let ids = message_ids(&source);
    assert!(ids.len() >= INFO_MESSAGES.len() + 8, "{ids:?}");
    for name in INFO_MESSAGES {
        assert!(ids.iter().any(|(known, _)| *known == name), "no MESSAGE_ID is named {name}");
    }
    let catalog = read("systemd/lsbaws.catalog");
    let explained = ids.iter().filter(|(name, _)| !INFO_MESSAGES.contains(name));
    for (name, id) in explained.clone() {
        assert!(catalog.contains(&format!("\n-- {id}\n")), "the catalog lacks {name}");
    }
    let entries = catalog.matches("\nSubject: ").count();
    assert_eq!(entries, explained.count(), "the catalog has an entry for info, or for nothing");
}

#[test]
fn every_journal_field_is_in_the_manual() {
    let source = journal_sources();
    let manual = read("packaging/lsbaws.8");
    let is_field = |word: &&str| word.len() > 7 && word.starts_with("LSBAWS_");
    let words = |text: &'static str| text.split(|c: char| !(c.is_ascii_uppercase() || c == '_'));
    let fields: BTreeSet<_> = words(source.leak()).filter(is_field).collect();
    for field in &fields {
        assert!(manual.contains(field), "lsbaws.8 lacks {field}");
    }
    for page in ["packaging/lsbaws.8", "packaging/lsbaws-migration.7", "systemd/lsbaws.catalog", "README.md"]
    {
        let variables = ["LSBAWS_CONFIG", "LSBAWS_SECTION__KEY", "LSBAWS_LIMITS__MAX_CONNECTIONS"];
        let is_variable = |word: &&str| variables.contains(word);
        for word in words(read(page).leak()).filter(is_field).filter(|word| !is_variable(word)) {
            assert!(fields.contains(word), "{page}: no field is named {word}");
        }
    }
}

#[test]
fn every_outcome_is_in_the_manual() {
    let source = read("src/outcome.rs");
    let words = source.split("=> \"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0));
    let words: Vec<_> = words.chain(["killed"]).collect();
    assert!(words.len() >= 8 && words.contains(&"client-error"), "{words:?}");
    let manual = read("packaging/lsbaws.8").replace("\\-", "-");
    let (_, fields) = manual.split_once("\n.Sh JOURNAL FIELDS\n").unwrap();
    for word in words {
        assert!(fields.split([' ', '\n']).any(|part| part == word), "lsbaws.8 lacks {word}");
    }
}

#[test]
fn architecture_page_has_the_floors() {
    let source = read("tests/architecture.rs");
    let (_, table) = source.split_once("const FLOORS: &[&[&str]] = &[\n").unwrap();
    let (table, _) = table.split_once("];\n").unwrap();
    let names = |line: &str, quote: char| -> Vec<String> {
        line.split(quote).skip(1).step_by(2).map(str::to_owned).collect()
    };
    let floors: Vec<_> = table.lines().map(|line| names(line, '"')).collect();
    let page = read("docs/architecture.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | "));
    let rows: Vec<_> = rows.map(|(names_of_row, _)| names(&format!("`{names_of_row}"), '`')).collect();
    assert_eq!(rows, floors, "docs/architecture.md and tests/architecture.rs differ");
}

#[test]
fn contributing_page_has_every_test_step() {
    let script = read("tests/run");
    let (steps, _) = script.split_once("\nsteps=(").unwrap().1.split_once(')').unwrap();
    let page = read("CONTRIBUTING.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    assert_eq!(rows.map(|(step, _)| step).collect::<Vec<_>>(), steps.split(' ').collect::<Vec<_>>());
    assert!(script.contains(&format!("only these: {steps}\n")), "the help of tests/run lacks a step");
}

#[test]
fn changelog_describes_this_version() {
    let changelog = read("CHANGELOG.md");
    let latest = changelog.lines().find(|line| line.starts_with("## [") && !line.contains("Unreleased"));
    let heading = format!("## [{}] - ", env!("CARGO_PKG_VERSION"));
    assert!(latest.is_some_and(|line| line.starts_with(&heading)), "{latest:?}");
}
