//! Media types by file name extension.
//!
//! The built-in ones are those of Debian's package media-types, which is in the public domain, with a few of our own.
//! `tests/it/media.rs` has these with a reason each, and compares the whole list.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::http::encoding::Coding;

/// For other extensions: a client must not guess that the bytes are text, or a page with scripts.
const UNKNOWN: &str = "application/octet-stream";

/// A line for each extension, in the order of the bytes: in lower case without the dot, a space, its media type. Text
/// needs no relocation, and a search touches few of its pages.
static TYPES: &str = include_str!("media/types");
/// Longer extensions are unknown.
const EXTENSION_MAX: usize = 32;

/// Formats whose files are compressed, and whose media type is that of the content: the client undoes the coding, and
/// only if the response names it (SVG 1.1, section 1.2; ISO/IEC 19776 for X3D; ISO/IEC 14772 for VRML). Other
/// compressed files, such as `.tgz` and `.html.gz`, are sent as what they are.
const IN_GZIP: [&str; 4] = ["svgz", "wrz", "x3dvz", "x3dz"];

/// The media types of files.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MediaTypes {
    /// The charset of text; empty for none.
    pub(crate) charset: String,
    /// By extension, in lower case and without the dot; the empty one is for names without an extension. These take
    /// precedence over the built-in types.
    pub(crate) own: Vec<(String, String)>,
}

impl MediaTypes {
    /// The value of Content-Type for the file at `path`.
    pub(crate) fn find(&self, path: &[u8]) -> Cow<'_, str> {
        let extension = find_extension(path);
        let media_type = self.find_own(extension).or_else(|| find_known(extension)).unwrap_or(UNKNOWN);
        if has_charset(media_type) && !self.charset.is_empty() {
            Cow::Owned([media_type, "; charset=", &self.charset].concat())
        } else {
            Cow::Borrowed(media_type)
        }
    }

    /// The coding that a file of this name has itself. A file that the configuration gives another media type is sent
    /// as what it is.
    pub(crate) fn find_coding(&self, path: &[u8]) -> Option<Coding> {
        let extension = find_extension(path);
        let name = IN_GZIP.into_iter().find(|name| name.as_bytes().eq_ignore_ascii_case(extension))?;
        let own = self.find_own(extension);
        (own.is_none() || own == find_known(name.as_bytes())).then_some(Coding::Gzip)
    }

    fn find_own(&self, extension: &[u8]) -> Option<&str> {
        let own = self.own.iter().find(|(own, _)| own.as_bytes().eq_ignore_ascii_case(extension));
        own.map(|(_, media_type)| media_type.as_str())
    }
}

/// Whether a media type is of text without a charset. XML declares its charset itself, and the parameter would override
/// that (RFC 7303, section 3.2).
fn has_charset(media_type: &str) -> bool {
    let is_xml =
        ["text/xml", "text/xml-external-parsed-entity"].contains(&media_type) || media_type.ends_with("+xml");
    media_type.starts_with("text/") && !is_xml && !media_type.contains(';')
}

/// What follows the last dot of the name, unless the name begins with it.
fn find_extension(path: &[u8]) -> &[u8] {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    match name.iter().rposition(|&byte| byte == b'.') {
        Some(dot) if dot > 0 => &name[dot + 1..],
        _ => b"",
    }
}

/// The built-in media type of an extension.
fn find_known(extension: &[u8]) -> Option<&'static str> {
    let mut room = [0; EXTENSION_MAX];
    let name = room.get_mut(..extension.len())?;
    name.copy_from_slice(extension);
    name.make_ascii_lowercase();
    let mut rest = TYPES;
    while !rest.is_empty() {
        // The line in the middle.
        let middle = rest.len() / 2;
        let start = rest.as_bytes()[..middle].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let end = rest.as_bytes()[middle..].iter().position(|&byte| byte == b'\n')? + middle;
        let (own, media_type) = rest[start..end].split_once(' ')?;
        match own.as_bytes().cmp(name) {
            Ordering::Less => rest = &rest[end + 1..],
            Ordering::Equal => return Some(media_type),
            Ordering::Greater => rest = &rest[..start],
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_have_media_types() {
        let own = [("foo", "application/x-foo"), ("md", "text/html"), ("ini", "text/plain; charset=x")];
        let own = own.map(|(extension, media_type)| (extension.into(), media_type.into())).into();
        let types = MediaTypes { charset: "utf-8".into(), own };
        for (path, expected) in [
            ("index.html", "text/html; charset=utf-8"),
            ("a/b.CSS", "text/css; charset=utf-8"),
            ("app.js", "text/javascript; charset=utf-8"),
            ("app.min.js", "text/javascript; charset=utf-8"),
            ("app.mjs", "text/javascript; charset=utf-8"),
            ("a.svg", "image/svg+xml"),
            ("a.svgz", "image/svg+xml"),
            ("a.json", "application/json"),
            ("a.wasm", "application/wasm"),
            ("a.woff2", "font/woff2"),
            ("a.tar.gz", "application/gzip"),
            ("a.html.gz", "application/gzip"),
            ("a.tgz", "application/x-gtar-compressed"),
            ("a.xml", "application/xml"),
            ("a.ent", "application/xml-external-parsed-entity"),
            ("a.rpm", "application/x-redhat-package-manager"),
            ("a.deb", "application/vnd.debian.binary-package"),
            ("a.ts", "video/mp2t"),
            ("a.pkg.tar.zst", "application/zstd"),
            ("a.%", "application/x-trash"),
            ("a.Foo", "application/x-foo"),
            ("a.md", "text/html; charset=utf-8"),
            ("a.ini", "text/plain; charset=x"),
            ("README", "application/octet-stream"),
            ("a.d/README", "application/octet-stream"),
            (".html", "application/octet-stream"),
            ("a.", "application/octet-stream"),
            ("a.unknown", "application/octet-stream"),
            ("a.html text", "application/octet-stream"),
            ("a.\u{e9}", "application/octet-stream"),
        ] {
            assert_eq!(types.find(path.as_bytes()), expected, "{path}");
        }
        assert_eq!(types.find(b"a.\xff"), "application/octet-stream");
        assert_eq!(types.find(&[b"a.", &[b'x'; 300][..]].concat()), "application/octet-stream");
        let types = MediaTypes { charset: String::new(), own: vec![(String::new(), "text/plain".into())] };
        assert_eq!(types.find(b"a.html"), "text/html");
        assert_eq!(types.find(b"README"), "text/plain");
    }

    #[test]
    fn every_line_of_the_table_is_found() {
        let names: Vec<_> = TYPES.lines().map(|line| line.split_once(' ').unwrap().0).collect();
        assert!(names.is_sorted_by(|one, next| one.as_bytes() < next.as_bytes()));
        assert!(names.iter().all(|name| name.len() <= EXTENSION_MAX && *name == name.to_ascii_lowercase()));
        for line in TYPES.lines() {
            let (name, media_type) = line.split_once(' ').unwrap();
            assert_eq!(find_known(name.as_bytes()), Some(media_type));
            assert_eq!(find_known(name.to_ascii_uppercase().as_bytes()), Some(media_type));
            assert_eq!(find_known(format!("{name}\n").as_bytes()), None);
        }
    }

    #[test]
    fn text_has_a_charset_unless_it_is_xml() {
        for (media_type, expected) in [
            ("text/plain", true),
            ("text/javascript", true),
            ("text/vtt", true),
            ("text/plain; charset=x", false),
            ("text/xml", false),
            ("text/xml-external-parsed-entity", false),
            ("text/vnd.a+xml", false),
            ("application/json", false), // always UTF-8 (RFC 8259, section 11)
            ("image/svg+xml", false),
        ] {
            assert_eq!(has_charset(media_type), expected, "{media_type}");
        }
    }

    #[test]
    fn compressed_formats_have_a_coding() {
        let own = [("x3dz", "application/octet-stream"), ("x3dvz", "model/x3d-vrml")];
        let own = own.map(|(extension, media_type)| (extension.into(), media_type.into())).into();
        let types = MediaTypes { charset: String::new(), own };
        for (path, expected) in [
            ("a.svgz", Some(Coding::Gzip)),
            ("a/b.SvgZ", Some(Coding::Gzip)),
            ("a.wrz", Some(Coding::Gzip)),
            ("a.x3dvz", Some(Coding::Gzip)),
            ("a.x3dz", None),
            ("a.svg", None),
            ("a.svg.gz", None),
            ("a.html.gz", None),
            ("a.tgz", None),
            ("svgz", None),
        ] {
            assert_eq!(types.find_coding(path.as_bytes()), expected, "{path}");
        }
        for name in IN_GZIP {
            let media_type = find_known(name.as_bytes()).unwrap();
            assert!(
                TYPES.lines().any(|line| line.ends_with(media_type) && !line.starts_with(name)),
                "{name}"
            );
        }
    }
}
