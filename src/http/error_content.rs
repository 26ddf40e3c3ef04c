//! The content of error responses: an error page of the configuration, a page for browsers, or a line of text.

use std::borrow::Cow;
use std::fmt::Debug;

use httparse::Header;

use super::fields::field;
use super::{accept, page, reason_phrase};

/// The content of an error response, and the fields that describe it.
#[derive(Debug)]
pub(crate) struct ErrorContent<'a> {
    pub(crate) content: Vec<u8>,
    pub(crate) media_type: Cow<'a, str>,
    pub(crate) fields: Vec<(&'static str, &'a str)>,
}

/// Error pages of the configuration.
pub(crate) trait ErrorPages: Debug {
    /// Reads the page for a status. `None`: it has no page, or the page cannot be read.
    fn read(&self, status: u16) -> Option<ErrorContent<'_>>;
}

/// What the content of an error response depends on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ErrorTerms<'a> {
    /// The fields of the request. `None` if its head is malformed.
    pub(crate) fields: Option<&'a [Header<'a>]>,
    /// The pages of the service.
    pub(crate) service: Option<&'a dyn ErrorPages>,
    /// The pages of the route, which have precedence.
    pub(crate) route: Option<&'a dyn ErrorPages>,
}

impl<'a> ErrorTerms<'a> {
    /// The content for a status, which `reason` explains.
    #[cold]
    pub(super) fn content(&self, status: u16, reason: &str) -> ErrorContent<'a> {
        if let Some(content) =
            [self.route, self.service].into_iter().flatten().find_map(|pages| pages.read(status))
        {
            return content;
        }
        let text = || ErrorContent {
            content: format!("{status} {}: {reason}\n", reason_phrase(status)).into(),
            media_type: "text/plain; charset=utf-8".into(),
            fields: Vec::new(),
        };
        let Some(fields) = self.fields.filter(|_| status >= 400) else { return text() };
        let mut content = if accept::prefers(field(fields, "Accept"), "text/html", "text/plain") {
            ErrorContent {
                content: page::render_error(status, reason).into(),
                media_type: "text/html; charset=utf-8".into(),
                fields: vec![("Content-Security-Policy", page::POLICY)],
            }
        } else {
            text()
        };
        content.fields.push(("Vary", "Accept"));
        content
    }
}
