//! The handler `files`: media types, the coding of compressed formats, and OPTIONS.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use crate::harness::{command, find_program, make_folder, serve, skip};
use crate::site::{Site, configure};

/// The table that is built in.
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/handler/files/media/types");
/// Debian's: the package media-types.
const DEBIAN: &str = "/etc/mime.types";
/// The one that the table is made from.
const VERSION: &[u8] = b"10.0.0";

/// Extensions that Debian's list lacks, or has with another media type, and why. "nginx" and "Apache": their
/// configurations have it. "IANA": it is registered there.
const OWN: [(&str, &str, &str); 54] = [
    ("3g2", "video/3gpp2", "RFC 4393"),
    ("3gp", "video/3gpp", "nginx"),
    ("3gpp", "video/3gpp", "nginx"),
    ("asx", "video/x-ms-asf", "nginx"),
    ("bz2", "application/x-bzip2", "Apache"),
    ("cfg", "text/plain", "settings, to be read"),
    ("cjs", "text/javascript", "RFC 9239"),
    ("conf", "text/plain", "settings, to be read"),
    ("cur", "image/vnd.microsoft.icon", "an icon with a hot spot"),
    ("der", "application/x-x509-ca-cert", "nginx"),
    ("ear", "application/java-archive", "nginx"),
    ("gpx", "application/gpx+xml", "read by programs for maps"),
    ("ini", "text/plain", "settings, to be read"),
    ("jardiff", "application/x-java-archive-diff", "nginx"),
    ("json5", "application/json5", "what editors expect"),
    ("jsonl", "application/jsonl", "a JSON value in each line"),
    ("kar", "audio/midi", "nginx"),
    ("log", "text/plain", "to be read"),
    ("lua", "text/x-lua", "source text"),
    ("lz", "application/lzip", "IANA"),
    ("lz4", "application/x-lz4", "shared-mime-info"),
    ("lzma", "application/x-lzma", "shared-mime-info"),
    ("m2t", "video/mp2t", "as ts"),
    ("m2ts", "video/mp2t", "as ts"),
    ("map", "application/json", "ECMA-426: source maps"),
    ("mathml", "application/mathml+xml", "MathML 3"),
    ("mid", "audio/midi", "nginx; Debian has one for scalable polyphony"),
    ("midi", "audio/midi", "nginx"),
    ("mk3d", "video/x-matroska", "Matroska"),
    ("mka", "audio/x-matroska", "Matroska"),
    ("mks", "video/x-matroska", "Matroska"),
    ("mobi", "application/x-mobipocket-ebook", "e-books"),
    ("opml", "text/x-opml", "lists of feeds"),
    ("parquet", "application/vnd.apache.parquet", "IANA"),
    ("pkpass", "application/vnd.apple.pkpass", "Apple"),
    ("rng", "application/xml", "RFC 7303"),
    ("rs", "text/x-rust", "source text; Debian has a list of SIP"),
    ("rss", "application/rss+xml", "nginx, and what feed readers expect"),
    ("scss", "text/x-scss", "source text"),
    ("sea", "application/x-sea", "nginx"),
    ("tbz", "application/x-bzip2", "as bz2"),
    ("tbz2", "application/x-bzip2", "as bz2"),
    ("tga", "image/x-tga", "shared-mime-info"),
    ("toml", "application/toml", "IANA"),
    ("ts", "video/mp2t", "nginx; Debian has translations of Qt"),
    ("txz", "application/x-xz", "as xz"),
    ("tzst", "application/zstd", "as zst"),
    ("war", "application/java-archive", "nginx"),
    ("weba", "audio/webm", "WebM"),
    ("wrz", "model/vrml", "ISO/IEC 14772, with gzip"),
    ("xsd", "application/xml", "RFC 7303"),
    ("yaml", "application/yaml", "RFC 9512"),
    ("yml", "application/yaml", "RFC 9512"),
    ("z", "application/x-compress", "Apache"),
];

#[test]
fn media_types_are_those_of_debian() {
    let version =
        command("dpkg-query").args(["--show", "--showformat", "${Version}", "media-types"]).output();
    if !version.is_ok_and(|version| version.stdout == VERSION) {
        return skip("needs the version of Debian's media-types that the table is made from");
    }
    let debian = fs::read_to_string(DEBIAN).unwrap();
    let mut types = BTreeMap::new();
    for line in debian.lines() {
        let mut words = line.split('#').next().unwrap().split_whitespace();
        let media_type = words.next().unwrap_or_default();
        // Only what follows the last dot of a name counts, as in nginx. Of two media types, the first is taken.
        for extension in words.filter(|word| !word.contains('.')) {
            types.entry(extension.to_ascii_lowercase()).or_insert(media_type);
        }
    }
    assert!(types.len() > 1000, "{}", types.len());
    for (extension, media_type, why) in OWN {
        let before = types.insert(extension.to_owned(), media_type);
        assert!(before != Some(media_type), "Debian has {extension} as well now: remove it from OWN ({why})");
    }
    let expected: String = types.iter().map(|(name, media_type)| format!("{name} {media_type}\n")).collect();
    let table = fs::read_to_string(TABLE).unwrap();
    let list_missing = |of: &str, from: &str| -> Vec<String> {
        of.lines().filter(|line| !from.lines().any(|other| other == *line)).map(str::to_owned).collect()
    };
    let (lacks, has) = (list_missing(&expected, &table), list_missing(&table, &expected));
    assert!(table == expected, "the table lacks {lacks:#?}, and has {has:#?}");
}

#[test]
fn files_have_the_media_type_of_their_extension() {
    let site = Site::new("");
    for (name, media_type) in [
        ("a.rpm", "application/x-redhat-package-manager"),
        ("a.deb", "application/vnd.debian.binary-package"),
        ("a.tar.zst", "application/zstd"),
        ("a.tar.xz", "application/x-xz"),
        ("a.tar.bz2", "application/x-bzip2"),
        ("a.ts", "video/mp2t"),
        ("a.m3u8", "application/vnd.apple.mpegurl"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.xml", "application/xml"),
        ("a.html.gz", "application/gzip"),
        ("a.tgz", "application/x-gtar-compressed"),
    ] {
        site.write(name, "x");
        let answer = site.get(&format!("/{name}"));
        assert_eq!((answer.status, answer.field("Content-Type")), (200, media_type), "{name}");
        assert_eq!(answer.field("Content-Encoding"), "", "{name}");
    }
}

/// What gzip(1) makes of a text.
fn compress(gzip: &Path, text: &str) -> Vec<u8> {
    let mut gzip = command(gzip).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    gzip.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    gzip.wait_with_output().unwrap().stdout
}

#[test]
fn compressed_image_is_sent_with_its_coding() {
    const IMAGE: &str = "<svg xmlns='http://www.w3.org/2000/svg'/>\n";
    let (Some(gzip), Some(curl)) = (find_program("gzip"), find_program("curl")) else { return };
    let root = make_folder();
    for name in ["a.svgz", "a.svgz.gz", "none.svgz", "b.svg.gz"] {
        fs::write(root.path().join(name), compress(&gzip, IMAGE)).unwrap();
    }
    let keys = "precompressed = true\nerror_pages = { 404 = 'none.svgz' }";
    let site = Site { server: serve(&configure(root.path(), keys)), root };
    for (target, status) in [("/a.svgz", 200), ("/none", 404)] {
        // A client that names no coding gets the file as well: it has no other form.
        for fields in ["", "Accept-Encoding: gzip, br\r\n", "Accept-Encoding: identity\r\n"] {
            let answer = site.ask("GET", target, fields);
            assert_eq!(
                (answer.status, answer.field("Content-Type"), answer.field("Content-Encoding")),
                (status, "image/svg+xml", "gzip"),
                "{target} {fields}"
            );
        }
        let url = format!("http://{}{target}", site.server.address());
        let output = command(&curl).args(["--silent", "--compressed", &url]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), IMAGE);
    }
    let part = site.ask("GET", "/a.svgz", "Range: bytes=0-1\r\n");
    assert_eq!(
        (part.status, &part.content[..], part.field("Content-Encoding")),
        (206, &[0x1f, 0x8b][..], "gzip")
    );
    let own = site.get("/b.svg.gz");
    assert_eq!((own.field("Content-Type"), own.field("Content-Encoding")), ("application/gzip", ""));
}

#[test]
fn options_are_answered_with_the_methods() {
    let site = Site::new("[[service.web.route]]\npath = '/hello'");
    site.write("a.txt", "text");
    for target in ["/a.txt", "/none", "/", "/hello"] {
        let answer = site.ask("OPTIONS", target, "");
        assert_eq!(
            (answer.status, answer.field("Allow"), answer.text()),
            (204, "GET, HEAD, OPTIONS", ""),
            "{target}"
        );
        assert_eq!(answer.field("Content-Length"), "", "RFC 9110, section 8.6");
        assert_eq!(site.ask("POST", target, "").field("Allow"), "GET, HEAD, OPTIONS", "{target}");
    }
    let all = site.ask("OPTIONS", "*", "");
    assert_eq!((all.status, all.field("Content-Length")), (200, "0"));
    assert!(all.field("Allow").contains("OPTIONS"), "{all:?}");
}

#[test]
fn no_answer_of_the_daemon_can_be_taken_for_a_page() {
    let site = Site::new(
        "listing = true\n[[service.web.route]]\npath = '/to'\nhandler = 'redirect'\nto = 'http://a/'\n\
         [[service.web.route]]\npath = '/own'\nhandler = 'files'\nroot = '/'\n\
         headers = { X-Content-Type-Options = 'other' }",
    );
    site.write("a/b.txt", "text");
    for (method, target, status) in [
        ("GET", "/", 200),
        ("GET", "/a/b.txt", 200),
        ("GET", "/none", 404),
        ("GET", "/a", 301),
        ("GET", "/to", 301),
        ("POST", "/", 405),
        ("BREW", "/", 501),
        ("GET", "/%00", 400),
    ] {
        let answer = site.ask(method, target, "");
        assert_eq!(
            (answer.status, answer.field("X-Content-Type-Options")),
            (status, "nosniff"),
            "{method} {target}"
        );
    }
    assert_eq!(site.get("/own/none").field("X-Content-Type-Options"), "other");
}
