//! A document root, a daemon that serves it by the handler `files`, and parsed responses.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::harness::{Server, make_folder, serve};

/// A document root, and a daemon that serves it below `/`.
pub struct Site {
    pub root: TempDir,
    pub server: Server,
}

impl Site {
    /// `keys` belong to the route, or are tables after it.
    pub fn new(keys: &str) -> Self {
        let root = make_folder();
        let server = serve(&configure(root.path(), keys));
        Self { root, server }
    }

    pub fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.root.path().join(name.as_ref())
    }

    /// Writes a file with a modification time in the past, so that its entity tag is strong.
    pub fn write(&self, name: impl AsRef<OsStr>, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        set_time(&path, 784_111_777);
    }

    pub fn get(&self, target: &str) -> Response {
        self.ask("GET", target, "")
    }

    /// `fields` each end with CR LF.
    pub fn ask(&self, method: &str, target: &str, fields: &str) -> Response {
        let mut stream = self.server.connect();
        let request =
            format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{fields}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        Response::parse(&bytes)
    }
}

pub fn configure(root: &Path, keys: &str) -> String {
    format!("[[service.web.route]]\nhandler = 'files'\nroot = '{}'\n{keys}\n", root.display())
}

pub fn set_time(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub content: Vec<u8>,
}

impl Response {
    pub fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head, content: bytes[end + 4..].to_vec() }
    }

    /// The value of a field; empty if it is missing.
    pub fn field(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(own, _)| *own == name).map_or("", |(_, value)| value)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.content).unwrap()
    }
}
