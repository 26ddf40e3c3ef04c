//! The handler `files`: regular files below a directory, and on demand lists of them.
//!
//! [`Files::answer`] reads from top to bottom: the method, then [`super::root`] of the path, then what was
//! found. A file goes through [`send`]: a twin by [`encoding`], [`conditions`], [`ranges`], and out. A
//! directory gets a slash, its index, or a [`page`] of its [`listing`].

mod conditions;
mod encoding;
mod listing;
pub mod media;
mod page;
mod ranges;
mod send;

use std::borrow::Cow;

use super::exchange::Exchange;
use super::root::{Kind, LookupError, Node, Root, is_hidden};
use crate::http::failure::Failure;
use crate::http::target;
use crate::outcome::Outcome;
use listing::Order;
use media::MediaTypes;

/// What is served of a directory, and how.
#[derive(Debug)]
pub struct Files {
    pub root: Root,
    /// Names of the files that stand for their directory, in the order in which they are looked for.
    pub index: Vec<String>,
    /// Directories without an index are listed.
    pub listing: bool,
    pub media_types: MediaTypes,
    /// `name.br`, `name.zst` and `name.gz` are `name`, compressed.
    pub precompressed: bool,
    /// The value of Cache-Control for files.
    pub cache_control: Option<String>,
    /// Contents of errors: by status, a path below the root.
    pub error_pages: Vec<(u16, String)>,
}

/// Statuses for which [`Files::error_pages`] can have a page: those that mean something to a person, and not
/// to a program.
pub const PAGE_STATUSES: [u16; 4] = [403, 404, 500, 503];

/// What is found where a request points.
#[derive(Debug)]
enum Found<'a> {
    /// A file, and its path below the root.
    File(Node, Cow<'a, [u8]>),
    /// A directory that shall be listed.
    Directory(Node),
    /// A directory whose name was given without the slash that its relative links need.
    Unslashed,
}

impl Files {
    pub fn answer(&self, exchange: &mut Exchange<'_, '_>) -> Result<Outcome, Failure> {
        if !exchange.check_method(&["GET", "HEAD"])? {
            return Ok(Outcome::Served);
        }
        match self.find(exchange.rest, exchange.request.path.ends_with(b"/")) {
            Ok(Found::File(file, path)) => self.send_file(exchange, file, &path),
            Ok(Found::Directory(directory)) => self.send_listing(exchange, directory),
            Ok(Found::Unslashed) => add_slash(exchange),
            Err(missing) => self.send_missing(exchange, missing),
        }
    }

    /// Looks up a path below the route's; `is_slashed`: the whole path ends with a slash.
    fn find<'a>(&self, path: &'a [u8], is_slashed: bool) -> Result<Found<'a>, LookupError> {
        if is_hidden(path) {
            return Err(LookupError::NotFound);
        }
        if !is_slashed {
            let node = self.root.find(path)?;
            return Ok(match node.metadata.kind {
                Kind::File => Found::File(node, path.into()),
                Kind::Directory => Found::Unslashed,
            });
        }
        for name in &self.index {
            let path = [path, name.as_bytes()].concat();
            match self.root.find_file(&path) {
                Ok(file) => return Ok(Found::File(file, path.into())),
                Err(LookupError::NotFound) => {}
                // An index that there is, and that cannot be read, must not make way for a listing.
                Err(missing) => return Err(missing),
            }
        }
        if !self.listing {
            return Err(LookupError::NotFound);
        }
        let node = self.root.find(path)?;
        if node.metadata.kind == Kind::Directory {
            Ok(Found::Directory(node))
        } else {
            Err(LookupError::NotFound)
        }
    }

    fn send_listing(&self, exchange: &mut Exchange<'_, '_>, directory: Node) -> Result<Outcome, Failure> {
        let order = Order::from_query(exchange.request.query);
        let mut listing = match listing::read_directory(&self.root, exchange.rest, directory) {
            Ok(listing) => listing,
            Err(missing) => return self.send_missing(exchange, missing),
        };
        listing.sort(order);
        let page = page::render(&exchange.request.path, &listing, order, !exchange.rest.is_empty());
        let mut head = exchange.response.head(200);
        head.field("Content-Type", "text/html; charset=utf-8").field("Content-Security-Policy", page::POLICY);
        head.send(page.as_bytes())?;
        Ok(Outcome::Served)
    }

    /// Says that there is nothing to send, and why: by the page for that status, if there is one.
    fn send_missing(
        &self,
        exchange: &mut Exchange<'_, '_>,
        missing: LookupError,
    ) -> Result<Outcome, Failure> {
        exchange.log_lookup_error(missing);
        let (status, why, outcome) = missing.describe();
        if outcome != Outcome::Served {
            exchange.response.close_after();
        }
        let path = self.error_pages.iter().find(|(own, _)| *own == status).map(|(_, path)| path.as_bytes());
        match path.and_then(|path| Some((self.root.find_file(path).ok()?, path))) {
            Some((page, path)) => self.send_page(exchange, status, &page, path, outcome),
            None => {
                exchange.response.error(status, why)?;
                Ok(outcome)
            }
        }
    }
}

/// Sends the client of a directory to the same path with a slash.
fn add_slash(exchange: &mut Exchange<'_, '_>) -> Result<Outcome, Failure> {
    // A path, and encoded anew: nothing in it can be taken for a host, as in `//host` or `/\host`.
    let mut location = target::encode_path(&exchange.request.path);
    location.push('/');
    if let Some(query) = exchange.request.query {
        location.extend(["?", query]);
    }
    exchange.response.error_with(301, &location, "Location", &location)?;
    Ok(Outcome::Served)
}
