//! The handler `files`: regular files below a directory, and listings.
//!
//! [`Files::answer`] checks the method, looks the path up in the [`super::root`], and answers by what it found. A
//! file is sent by [`send`]: a precompressed variant by [`encoding`], then [`conditions`], then [`ranges`]. A
//! directory is answered with its index, a [`page`] of its [`listing`], or a redirect that adds a slash.

mod conditions;
mod encoding;
mod listing;
pub(crate) mod media;
mod page;
mod ranges;
mod send;

use std::borrow::Cow;

use super::exchange::Exchange;
use super::root::{FileKind, LookupError, OpenFile, Root, is_hidden};
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
    /// The value of Cache-Control for files.
    pub(crate) cache_control: Option<String>,
    /// The contents of error responses: by status, a path below the root.
    pub(crate) error_pages: Vec<(u16, String)>,
}

/// Statuses for which [`Files::error_pages`] can have a page.
pub(crate) const PAGE_STATUSES: [u16; 4] = [403, 404, 500, 503];

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
    pub(crate) fn answer(&self, exchange: &mut Exchange<'_, '_>) -> Result<Outcome, Failure> {
        if !exchange.check_method(&["GET", "HEAD"])? {
            return Ok(Outcome::Served);
        }
        let path = &exchange.request.path;
        if path.has_encoded_slash(path.len()) {
            return self.send_error(exchange, LookupError::NotFound); // no name has a slash
        }
        match self.find(exchange.rest, path.ends_with(b"/")) {
            Ok(Found::File(file, path)) => self.send_file(exchange, file, &path),
            Ok(Found::Directory(directory)) => self.send_listing(exchange, directory),
            Ok(Found::Unslashed) => add_slash(exchange),
            Err(error) => self.send_error(exchange, error),
        }
    }

    /// Looks up a path below the route's. `is_slashed`: the path of the request ends with a slash.
    fn find<'a>(&self, path: &'a [u8], is_slashed: bool) -> Result<Found<'a>, LookupError> {
        if is_hidden(path) {
            return Err(LookupError::NotFound);
        }
        if !is_slashed {
            let node = self.root.find(path)?;
            return Ok(match node.metadata.kind {
                FileKind::File => Found::File(node, path.into()),
                FileKind::Directory => Found::Unslashed,
            });
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

    fn send_listing(&self, exchange: &mut Exchange<'_, '_>, directory: OpenFile) -> Result<Outcome, Failure> {
        let order = Order::from_query(exchange.request.query);
        let mut listing = match listing::read_directory(&self.root, exchange.rest, directory) {
            Ok(listing) => listing,
            Err(error) => return self.send_error(exchange, error),
        };
        listing.sort(order);
        let page = page::render(&exchange.request.path, &listing, order, !exchange.rest.is_empty());
        let mut head = exchange.response.head(200);
        head.field("Content-Type", "text/html; charset=utf-8").no_sniff();
        head.field("Content-Security-Policy", POLICY);
        head.send(page.as_bytes())?;
        Ok(Outcome::Served)
    }

    /// Sends an error response, with the page for its status if one is configured.
    fn send_error(&self, exchange: &mut Exchange<'_, '_>, error: LookupError) -> Result<Outcome, Failure> {
        exchange.log_lookup_error(error);
        let (status, reason, outcome) = error.describe();
        if outcome != Outcome::Served {
            exchange.response.close_after();
        }
        let path = self.error_pages.iter().find(|(own, _)| *own == status).map(|(_, path)| path.as_bytes());
        match path.and_then(|path| Some((self.root.find_file(path).ok()?, path))) {
            Some((page, path)) => self.send_page(exchange, status, &page, path, outcome),
            None => {
                exchange.response.error(status, reason)?;
                Ok(outcome)
            }
        }
    }
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
