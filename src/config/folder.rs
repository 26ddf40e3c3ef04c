//! `lsbaws serve FOLDER`: what the command line sets for one folder, as layers of the configuration.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{self, Component, Path, PathBuf};

use toml::{Table, Value};

use super::account::Accounts;
use super::document::{Layer, read_pair, reject_key};
use super::hidden::describe_hidden;
use crate::escape::escape_for_journal;

/// The port where a folder is served, unless the command line names another: that of the default listener.
const PORT: &str = "8888";
/// What the folder itself shows.
const INDEX: &str = "index.html";
/// The user that serves in the place of root, by its name, or by its number where it has no name.
const NOBODY: (&str, u32) = ("nobody", 65_534);

/// A folder to serve.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Ports and addresses.
    listen: Vec<String>,
    listing: bool,
    /// Folders of programs, below `path`.
    programs: Vec<String>,
    /// The path that answers for those which name no file.
    fallback: Option<String>,
}

impl Folder {
    pub(crate) fn new(path: &Path) -> Self {
        // Not the path behind symbolic links: where these lead may change.
        let path = path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self { path, listen: Vec::new(), listing: false, programs: Vec::new(), fallback: None }
    }

    pub(crate) fn listen(self, listen: Vec<String>) -> Self {
        Self { listen, ..self }
    }

    pub(crate) fn listing(self, listing: bool) -> Self {
        Self { listing, ..self }
    }

    pub(crate) fn programs(self, programs: Vec<String>) -> Self {
        Self { programs, ..self }
    }

    pub(crate) fn fallback(self, fallback: Option<String>) -> Self {
        Self { fallback, ..self }
    }

    /// What is served, for messages.
    pub(super) fn describe(&self) -> String {
        self.path.display().to_string()
    }

    /// What a user should know who opens the URL: a folder without an index has no page.
    pub(super) fn find_note(&self) -> Option<String> {
        let has_page = self.listing || self.fallback.is_some() || self.path.join(INDEX).exists();
        (!has_page).then(|| format!("no {INDEX}: / is answered 404; --listing lists the folder"))
    }

    pub(super) fn push_user(&self, is_root: bool, layers: &mut Vec<Layer>) {
        push_owner(&self.path, &self.name_layer(), is_root, layers);
    }

    /// The layers above the files and the environment: addresses and routes.
    pub(super) fn push_keys(&self, layers: &mut Vec<Layer>) {
        push_addresses(&self.listen, layers);
        match self.list_routes() {
            Ok(routes) => {
                let routes = Value::from(routes).to_string();
                layers.push(read_pair("service.web.route", &routes, &self.name_layer(), layers.len()));
            }
            Err(problem) => layers.push(reject_key(&self.name_layer(), layers.len(), problem)),
        }
    }

    fn list_routes(&self) -> Result<Vec<Value>, String> {
        check_folder(&self.path)?;
        let root = self.path.to_str().ok_or("expected a path of UTF-8 text")?;
        let mut files = new_route("files", "/", root);
        files.insert("listing".into(), self.listing.into());
        if let Some(fallback) = &self.fallback {
            let slash = if fallback.starts_with('/') { "" } else { "/" };
            files.insert("fallback".into(), format!("{slash}{fallback}").into());
        }
        let mut routes = vec![files.into()];
        for programs in &self.programs {
            let name = programs.trim_matches('/');
            let is_below = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
            if name.is_empty() || !is_below {
                return Err(format!("--cgi {programs}: expected a folder below {root}, such as cgi-bin"));
            }
            check_folder(&self.path.join(name)).map_err(|problem| format!("--cgi {programs}: {problem}"))?;
            let root = format!("{}/{name}", root.trim_end_matches('/'));
            routes.push(new_route("cgi", &format!("/{name}/"), &root).into());
        }
        Ok(routes)
    }

    /// The layer, for messages.
    fn name_layer(&self) -> String {
        escape_for_journal(format!("serve {}", self.path.display()).as_bytes())
    }
}

/// The layers of the user that serves if root has started lsbaws. That is the owner of the folder, as if the owner had started
/// it, or nobody for a folder of root. `layer`: for messages.
pub(super) fn push_owner(folder: &Path, layer: &str, is_root: bool, layers: &mut Vec<Layer>) {
    let Ok(metadata) = fs::metadata(folder) else { return };
    if !is_root {
        return;
    }
    let accounts = Accounts::read();
    let (uid, gid) = match metadata.uid() {
        0 => (NOBODY.1, NOBODY.1),
        uid => (uid, metadata.gid()),
    };
    let name = accounts.find_name(uid);
    let mut push = |key: &str, value: String| {
        layers.push(read_pair(&format!("service.web.{key}"), &quote(value), layer, layers.len()));
    };
    push("user", name.map_or_else(|| uid.to_string(), str::to_owned));
    if name.is_none() {
        push("group", gid.to_string());
    }
}

/// The layer of the addresses that `--listen` names, or of the usual ones.
pub(super) fn push_addresses(listen: &[String], layers: &mut Vec<Layer>) {
    let mut addresses: Vec<String> = Vec::new();
    let default = [PORT.to_owned()];
    for text in if listen.is_empty() { &default } else { listen } {
        if let Some(problem) = find_mistake(text) {
            let option = escape_for_journal(format!("--listen {text}").as_bytes());
            return layers.push(reject_key(&option, layers.len(), problem));
        }
        let new = read_address(text).into_iter().filter(|address| !addresses.contains(address));
        addresses.extend(new.collect::<Vec<_>>());
    }
    let options = listen.iter().map(|text| format!("--listen {text}")).collect::<Vec<_>>().join(" ");
    let addresses = Value::from(addresses).to_string();
    let options = escape_for_journal(options.as_bytes());
    layers.push(read_pair("listen.web.address", &addresses, &options, layers.len()));
}

fn new_route(handler: &str, path: &str, root: &str) -> Table {
    let keys = [("handler", handler), ("path", path), ("root", root)];
    keys.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect()
}

fn check_folder(path: &Path) -> Result<(), String> {
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "no such folder".to_owned(),
        _ => format!("{error}{}", describe_hidden(path)),
    })?;
    let hint = match path.extension() {
        Some(extension) if extension == "toml" => "; a configuration file is given with -c",
        _ => "; name the folder that it is in",
    };
    match metadata.is_dir() {
        true => Ok(()),
        false => Err(format!("expected a folder, found a file{hint}")),
    }
}

/// The addresses that a port alone stands for, those of `localhost:PORT`, those of `:PORT`, or the address itself. A path may be
/// relative.
fn read_address(text: &str) -> Vec<String> {
    let pair = |hosts: [&str; 2], port: &str| hosts.map(|host| format!("{host}:{port}")).into();
    let is_port = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.rsplit_once(':') {
        None if is_port(text) => pair(["127.0.0.1", "[::1]"], text),
        Some(("localhost", port)) => pair(["127.0.0.1", "[::1]"], port),
        Some(("", port)) => pair(["0.0.0.0", "[::]"], port),
        // As nginx writes it.
        Some(("unix", path)) if !path.is_empty() => read_address(&format!("./{path}").replace(".//", "/")),
        _ if text.contains('/') && !text.starts_with(['/', '@']) => {
            vec![path::absolute(text).map_or(text.to_owned(), |path| path.display().to_string())]
        }
        _ => vec![text.to_owned()],
    }
}

/// What is wrong with an address of the command line. Names of hosts are left to the check of the key.
fn find_mistake(text: &str) -> Option<String> {
    const FORMS: &str = "expected PORT, :PORT, localhost:PORT, IP:PORT or the path of a Unix socket";
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if text.contains('/') || text.starts_with('@') {
        return None;
    }
    let ip = text.trim_matches(['[', ']']).parse::<IpAddr>();
    let port = match (text.rsplit_once(':'), ip) {
        _ if is_number(text) => text,
        (_, Ok(ip)) => return Some(format!("the port is missing, such as {}", SocketAddr::new(ip, 8000))),
        (None, _) if text == "localhost" => {
            return Some("the port is missing, such as localhost:8000".into());
        }
        (Some((_, port)), _) => port,
        (None, _) => return Some(FORMS.into()),
    };
    match port.parse::<u16>() {
        Ok(_) => None, // 0: the kernel chooses
        Err(_) if is_number(port) => Some(format!("a port is a number from 1 to 65535, found {port}")),
        Err(_) => Some(FORMS.into()),
    }
}

fn quote(text: String) -> String {
    Value::String(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_short_forms() {
        let read = |text: &str| read_address(text).join(" ");
        assert_eq!(read("8080"), "127.0.0.1:8080 [::1]:8080");
        assert_eq!(read("localhost:80"), "127.0.0.1:80 [::1]:80");
        assert_eq!(read(":80"), "0.0.0.0:80 [::]:80");
        for text in ["10.0.0.1:80", "[::1]:80", "/run/a.sock", "@a/b", "example.org:80", "", "80 80"] {
            assert_eq!(read(text), text);
        }
        assert_eq!(read("unix:/run/a.sock"), "/run/a.sock");
        assert_eq!(read("unix:a.sock"), read("./a.sock"));
        assert!(read("./a.sock").ends_with("/a.sock") && read("./a.sock").starts_with('/'));
    }

    #[test]
    fn mistakes_in_addresses_are_named() {
        for text in ["8080", ":80", "localhost:80", "10.0.0.1:80", "[::1]:80", "./a.sock", "unix:/a", "@a"] {
            assert_eq!(find_mistake(text), None, "{text}");
        }
        for (text, words) in [
            ("70000", "a port is a number from 1 to 65535, found 70000"),
            ("10.0.0.1:70000", "a port is a number from 1 to 65535, found 70000"),
            ("0.0.0.0", "the port is missing, such as 0.0.0.0:8000"),
            ("localhost", "the port is missing, such as localhost:8000"),
            ("[::1]", "the port is missing, such as [::1]:8000"),
            ("here", "expected PORT, "),
            ("localhost:", "expected PORT, "),
            ("", "expected PORT, "),
        ] {
            assert!(find_mistake(text).is_some_and(|mistake| mistake.starts_with(words)), "{text}");
        }
    }
}
