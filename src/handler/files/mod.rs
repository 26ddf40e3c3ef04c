//! The handler `files`: regular files below a directory, and listings.
//!
//! [`Files::answer`] checks the method, looks the path up in the [`super::root`], and answers by what it found. A
//! file is sent by [`send`]: a precompressed variant, or compressed, then by [`conditions`], then [`ranges`]. A
//! directory is answered with its index, a [`page`] of its [`listing`], or a redirect that adds a slash.

mod coded;
mod conditions;
mod json;
mod listing;
pub(crate) mod media;
mod natural;
mod page;
mod ranges;
mod request_log;
mod send;

use std::borrow::Cow;

use super::error_pages::{ErrorPage, read_page};
use super::exchange::{Answer, Exchange, InternalRedirect};
use super::root::{FileKind, LookupError, OpenFile, Root, is_hidden};
use crate::http::accept;
use crate::http::compress::{Choice, Codings, Encoder};
use crate::http::error_content::{ErrorContent, ErrorPages};
use crate::http::failure::Failure;
use crate::http::page::POLICY;
use crate::http::path;
use crate::outcome::Outcome;
use listing::Order;
use media::MediaTypes;
use serde::{Deserialize, Serialize};

/// The settings of the handler.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Files {
    pub(crate) root: Root,
    /// Names of index files, in the order of their precedence.
    pub(crate) index: Vec<String>,
    /// Directories without an index are listed.
    pub(crate) listing: bool,
    pub(crate) media_types: MediaTypes,
    /// `name.br`, `name.zst` and `name.gz` are sent instead of `name` to clients that accept them.
    pub(crate) precompressed: bool,
    /// What is compressed on the way: files without a precompressed variant, and listings.
    pub(crate) compress: Codings,
    /// The value of Cache-Control for files.
    pub(crate) cache_control: Option<String>,
    /// Below the root.
    pub(crate) error_pages: Vec<ErrorPage>,
    /// The path of a request that is answered in place of each that names no file.
    pub(crate) fallback: Option<String>,
}

/// The methods by which files are sent.
const METHODS: [&str; 2] = ["GET", "HEAD"];

/// What a path leads to.
#[derive(Debug)]
enum Found<'a> {
    /// A file, and its path below the root.
    File(OpenFile, Cow<'a, [u8]>),
    /// A directory to list.
    Directory(OpenFile),
    /// A directory without the slash that its relative links need.
    Unslashed,
}

impl Files {
    /// # Errors
    /// The client has gone, or reads too slowly.
    pub(crate) fn answer(&self, exchange: &mut Exchange<'_, '_>) -> Result<Answer, Failure> {
        // A fallback may answer other methods.
        if self.fallback.is_none() && !exchange.check_method(&METHODS)? {
            return Ok(Answer::Sent(Outcome::Served));
        }
        let path = &exchange.request.path;
        let found = match path.has_encoded_slash(path.len()) {
            true => Err(LookupError::NotFound), // no name has a slash
            false => self.find(exchange.rest, path.ends_with(b"/")),
        };
        if let Some(target) = &self.fallback {
            if matches!(found, Err(LookupError::NotFound))
                && let Some(redirect) = fall_back(exchange, target)
            {
                return Ok(Answer::InternalRedirect(redirect));
            }
            if !exchange.check_method(&METHODS)? {
                return Ok(Answer::Sent(Outcome::Served));
            }
        }
        let sent = match found {
            Ok(Found::File(file, path)) => self.send_file(exchange, file, &path),
            Ok(Found::Directory(directory)) => self.send_listing(exchange, directory),
            Ok(Found::Unslashed) => add_slash(exchange),
            Err(error) => send_error(exchange, error),
        };
        sent.map(Answer::Sent)
    }

    /// Looks up a path below the route's. `is_slashed`: the path of the request ends with a slash.
    fn find<'a>(&self, path: &'a [u8], is_slashed: bool) -> Result<Found<'a>, LookupError> {
        if is_hidden(path) {
            return Err(LookupError::NotFound);
        }
        if !is_slashed {
            let node = self.root.find(path)?;
            return match node.metadata.kind {
                FileKind::File => Ok(Found::File(node, path.into())),
                // The fallback answers this path as it answers the one with a slash.
                FileKind::Directory if self.fallback.is_some() && !self.has_page(path) => {
                    Err(LookupError::NotFound)
                }
                FileKind::Directory => Ok(Found::Unslashed),
            };
        }
        for name in &self.index {
            let path = [path, name.as_bytes()].concat();
            match self.root.find_file(&path) {
                Ok(file) => return Ok(Found::File(file, path.into())),
                Err(LookupError::NotFound) => {}
                // An index that exists but cannot be read must not be replaced by a listing.
                Err(error) => return Err(error),
            }
        }
        if !self.listing {
            return Err(LookupError::NotFound);
        }
        let node = self.root.find(path)?;
        if node.metadata.kind == FileKind::Directory {
            Ok(Found::Directory(node))
        } else {
            Err(LookupError::NotFound)
        }
    }

    /// Whether a directory has an index, which another route may answer, or is listed.
    fn has_page(&self, directory: &[u8]) -> bool {
        let is_index = |name: &String| self.root.is_file(&[directory, b"/", name.as_bytes()].concat());
        self.listing || self.index.iter().any(is_index)
    }

    fn send_listing(&self, exchange: &mut Exchange<'_, '_>, directory: OpenFile) -> Result<Outcome, Failure> {
        let order = Order::from_query(exchange.request.query);
        let mut listing = match listing::read_directory(&self.root, exchange.rest, directory) {
            Ok(listing) => listing,
            Err(error) => return send_error(exchange, error),
        };
        listing.sort(order);
        let request = exchange.request;
        let is_json = accept::prefers(request.field("Accept"), "application/json", "text/html");
        let (content, media_type) = match is_json {
            true => (json::render(&listing), "application/json"),
            false => {
                (page::render(&request.path, exchange.rest, &listing, order), "text/html; charset=utf-8")
            }
        };
        let (content, choice) = self.compress_page(exchange, media_type, content.into());
        let mut head = exchange.response.head(200);
        head.field("Content-Type", media_type);
        if !is_json {
            head.field("Content-Security-Policy", POLICY);
        }
        head.no_sniff().field("Vary", "Accept");
        if choice != Choice::Never {
            head.field("Vary", "Accept-Encoding");
        }
        if let Some(coding) = choice.coding() {
            head.field("Content-Encoding", coding.name());
        }
        head.send(&content)?;
        Ok(Outcome::Served)
    }
}

impl Files {
    /// A page, compressed if the route and the client do so.
    fn compress_page(
        &self,
        exchange: &Exchange<'_, '_>,
        media_type: &str,
        page: Vec<u8>,
    ) -> (Vec<u8>, Choice) {
        let choice = match self.compress.is_empty() {
            true => Choice::Never,
            false => self.compress.choose(exchange.request, media_type.as_bytes(), Some(page.len() as u64)),
        };
        let encode = |coding| {
            let mut encoder = Encoder::new(coding, Some(page.len() as u64))?;
            let start = encoder.write(&page)?;
            Ok::<_, std::io::Error>([start, encoder.finish()?].concat())
        };
        match choice.coding().map(encode) {
            Some(Ok(coded)) => (coded, choice),
            Some(Err(_)) => (page, Choice::Identity),
            None => (page, choice),
        }
    }
}

fn send_error(exchange: &mut Exchange<'_, '_>, error: LookupError) -> Result<Outcome, Failure> {
    exchange.log_lookup_error(error);
    let (status, reason, outcome) = error.describe();
    exchange.fail(status, reason, outcome)
}

impl ErrorPages for Files {
    fn read(&self, status: u16) -> Option<ErrorContent<'_>> {
        read_page(self.error_pages.iter().map(|page| (&self.root, page)), status)
    }
}

/// The internal redirect to the fallback of a route, for a path that names no file. Hidden names are answered 404, as
/// without a fallback, and so is a fallback that is missing itself.
#[cold]
fn fall_back(exchange: &Exchange<'_, '_>, target: &str) -> Option<InternalRedirect> {
    let is_answered = !exchange.is_fallback && !is_hidden(exchange.rest);
    let query = exchange.request.query.map_or_else(String::new, |query| format!("?{query}"));
    let target = path::encode(target.as_bytes()) + &query;
    is_answered.then_some(InternalRedirect { target, as_get: false, is_fallback: true })
}

/// Redirects the client to the same path with a slash.
fn add_slash(exchange: &mut Exchange<'_, '_>) -> Result<Outcome, Failure> {
    // Encoded from the decoded path, so that clients cannot take it for a host, as in `//host` or `/\host`.
    let mut location = path::encode(&exchange.request.path);
    location.push('/');
    if let Some(query) = exchange.request.query {
        location.extend(["?", query]);
    }
    exchange.response.error_with(301, &location, "Location", &location)?;
    Ok(Outcome::Served)
}
