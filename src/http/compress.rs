//! Compression of content on its way to the client.

use std::fmt;
use std::io::{self, Write};
use std::mem;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use super::encoding::{Coding, find_acceptable};
use super::fields::field;
use super::request::Request;

/// Less content is not compressed: it fits into one packet in any case.
const SIZE_MIN: u64 = 1024;
/// That of nginx is 1, that of Caddy 5, that of gzip(1) 6.
const GZIP_LEVEL: u32 = 5;
/// The default of zstd(1).
const ZSTD_LEVEL: i32 = 3;
/// Bytes that a match may be away, as a power of two: 128 KiB. Memory grows with it, by about four times as much.
const ZSTD_WINDOW: u32 = 17;

/// Media types of text whose names do not show it.
const TEXT: [&str; 12] = [
    "application/graphql",
    "application/javascript",
    "application/json",
    "application/rtf",
    "application/sql",
    "application/toml",
    "application/wasm",
    "application/x-javascript",
    "application/x-ndjson",
    "application/x-sh",
    "application/xml",
    "application/yaml",
];
/// Those of formats that do not compress.
const OTHERS: [&str; 6] = [
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/vnd.microsoft.icon",
    "image/x-icon",
    "image/x-portable-pixmap",
];

/// Which codings a route uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Codings(pub(crate) Vec<Coding>);

/// How one response is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// No client gets it compressed.
    Never,
    /// This one gets it as it is; others do not.
    Identity,
    Coded(Coding),
}

impl Choice {
    pub(crate) fn coding(self) -> Option<Coding> {
        match self {
            Self::Coded(coding) => Some(coding),
            Self::Never | Self::Identity => None,
        }
    }
}

impl Codings {
    /// Whether nothing is compressed.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The coding with the highest weight for content of this type. `size`: `None` if it is unknown. A request for a range
    /// gets the content as it is: ranges of content that is compressed again for each request need not fit together.
    #[cold]
    #[inline(never)]
    pub(crate) fn choose(&self, request: &Request<'_>, media_type: &[u8], size: Option<u64>) -> Choice {
        if self.is_empty() || !is_compressible(media_type) || size.is_some_and(|size| size < SIZE_MIN) {
            return Choice::Never;
        }
        if request.field("Range").next().is_some() {
            return Choice::Identity;
        }
        let acceptable = find_acceptable(field(request.fields, "Accept-Encoding"));
        let coding = acceptable.into_iter().find(|coding| self.0.contains(coding));
        coding.map_or(Choice::Identity, Choice::Coded)
    }
}

/// Whether content of a media type becomes much shorter.
fn is_compressible(media_type: &[u8]) -> bool {
    let name = media_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let name = name.to_ascii_lowercase();
    let is = |other: &&str| other.as_bytes() == name;
    name.starts_with(b"text/")
        || name.ends_with(b"+json")
        || name.ends_with(b"+xml")
        || TEXT.iter().chain(&OTHERS).any(is)
}

/// Whether values of Cache-Control forbid to change the content (RFC 9111, section 5.2.2.6).
pub(crate) fn forbids_transform<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> bool {
    let is_it = |directive: &[u8]| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform");
    values.any(|value| value.split(|&byte| byte == b',').any(is_it))
}

/// Compresses content as it comes.
pub(crate) enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Zstandard(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip(_) => "Gzip",
            Self::Zstandard(_) => "Zstandard",
        })
    }
}

impl Encoder {
    /// `size`: of the content, if it is known.
    ///
    /// # Errors
    /// No memory, or a coding that is only used for files that exist already.
    pub(crate) fn new(coding: Coding, size: Option<u64>) -> io::Result<Self> {
        match coding {
            Coding::Brotli => Err(io::ErrorKind::Unsupported.into()),
            Coding::Gzip => Ok(Self::Gzip(GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL)))),
            Coding::Zstandard => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.window_log(ZSTD_WINDOW)?;
                encoder.set_pledged_src_size(size)?;
                Ok(Self::Zstandard(encoder))
            }
        }
    }

    /// Compresses content. Returns what can be sent.
    ///
    /// # Errors
    /// More content than announced.
    pub(crate) fn write(&mut self, content: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => {
                encoder.write_all(content)?;
                Ok(mem::take(encoder.get_mut()))
            }
            Self::Zstandard(encoder) => {
                encoder.write_all(content)?;
                Ok(mem::take(encoder.get_mut()))
            }
        }
    }

    /// The same, so that the client can decode all content so far.
    ///
    /// # Errors
    /// Those of [`Self::write`].
    pub(crate) fn write_through(&mut self, content: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => {
                encoder.write_all(content)?;
                encoder.flush()?;
                Ok(mem::take(encoder.get_mut()))
            }
            Self::Zstandard(encoder) => {
                encoder.write_all(content)?;
                encoder.flush()?;
                Ok(mem::take(encoder.get_mut()))
            }
        }
    }

    /// The end.
    ///
    /// # Errors
    /// Less content than announced.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstandard(encoder) => encoder.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn decode(coding: Coding, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut content)?,
            _ => zstd::stream::read::Decoder::new(bytes)?.read_to_end(&mut content)?,
        };
        Ok(content)
    }

    #[test]
    fn text_is_compressed_and_pictures_are_not() {
        for (media_type, expected) in [
            ("text/html; charset=utf-8", true),
            ("TEXT/CSS", true),
            ("text/event-stream", true),
            ("application/json", true),
            ("application/ld+json", true),
            ("image/svg+xml", true),
            ("application/wasm", true),
            ("font/ttf", true),
            ("image/png", false),
            ("font/woff2", false),
            ("application/octet-stream", false),
            ("application/gzip", false),
            ("application/x-text/html", false),
            ("", false),
        ] {
            assert_eq!(is_compressible(media_type.as_bytes()), expected, "{media_type}");
        }
    }

    #[test]
    fn every_piece_can_be_decoded_at_once() {
        let text: Vec<u8> = (0..50_000_u32).flat_map(|number| number.to_string().into_bytes()).collect();
        for coding in [Coding::Gzip, Coding::Zstandard] {
            let mut encoder = Encoder::new(coding, None).unwrap();
            let mut coded = encoder.write_through(b"data: 1\n\n").unwrap();
            let mut partial = [0; 9];
            match coding {
                Coding::Gzip => flate2::read::GzDecoder::new(&*coded).read_exact(&mut partial).unwrap(),
                _ => {
                    let mut decoder = zstd::stream::read::Decoder::new(&*coded).unwrap();
                    decoder.read_exact(&mut partial).unwrap();
                }
            }
            assert_eq!(&partial, b"data: 1\n\n", "{coding:?}");
            coded.extend(encoder.write(&text).unwrap());
            assert!(decode(coding, &coded).is_err(), "it has no end yet");
            coded.extend(encoder.finish().unwrap());
            assert_eq!(decode(coding, &coded).unwrap(), [b"data: 1\n\n", &*text].concat());
            assert!(coded.len() * 2 < text.len(), "{coding:?}: {} of {}", coded.len(), text.len());
        }
    }

    #[test]
    fn cache_control_may_forbid_to_transform() {
        let forbids = |value: &str| forbids_transform([value.as_bytes()].into_iter());
        assert!(forbids("no-transform") && forbids("max-age=60, No-Transform"));
        assert!(!forbids("max-age=60") && !forbids("x-no-transform"));
    }
}
