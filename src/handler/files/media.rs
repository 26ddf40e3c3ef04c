//! Media types by file name extension.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// For other extensions: a client must not guess that the bytes are text, or a page with scripts.
const UNKNOWN: &str = "application/octet-stream";

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
        let own = self.own.iter().find(|(own, _)| own.as_bytes().eq_ignore_ascii_case(extension));
        let known =
            || std::str::from_utf8(extension).ok().and_then(|text| mime_guess::from_ext(text).first_raw());
        let media_type = own.map(|(_, media_type)| media_type.as_str()).or_else(known).unwrap_or(UNKNOWN);
        // XML declares its charset itself, and this parameter would override it (RFC 7303, section 3.2).
        let is_text = media_type.starts_with("text/") && media_type != "text/xml";
        if is_text && !self.charset.is_empty() && !media_type.contains(';') {
            Cow::Owned([media_type, "; charset=", &self.charset].concat())
        } else {
            Cow::Borrowed(media_type)
        }
    }
}

/// What follows the last dot of the name, unless the name begins with it.
fn find_extension(path: &[u8]) -> &[u8] {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    match name.iter().rposition(|&byte| byte == b'.') {
        Some(dot) if dot > 0 => &name[dot + 1..],
        _ => b"",
    }
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
            ("a.svg", "image/svg+xml"),
            ("a.json", "application/json"),
            ("a.wasm", "application/wasm"),
            ("a.woff2", "font/woff2"),
            ("a.tar.gz", "application/gzip"),
            ("a.xml", "text/xml"),
            ("a.Foo", "application/x-foo"),
            ("a.md", "text/html; charset=utf-8"),
            ("a.ini", "text/plain; charset=x"),
            ("README", "application/octet-stream"),
            ("a.d/README", "application/octet-stream"),
            (".html", "application/octet-stream"),
            ("a.", "application/octet-stream"),
            ("a.unknown", "application/octet-stream"),
            ("a.\u{e9}", "application/octet-stream"),
        ] {
            assert_eq!(types.find(path.as_bytes()), expected, "{path}");
        }
        assert_eq!(types.find(b"a.\xff"), "application/octet-stream");
        let types = MediaTypes { charset: String::new(), own: vec![(String::new(), "text/plain".into())] };
        assert_eq!(types.find(b"a.html"), "text/html");
        assert_eq!(types.find(b"README"), "text/plain");
    }
}
