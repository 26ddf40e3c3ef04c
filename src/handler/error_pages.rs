//! Error pages of the configuration: files that are sent as the content of error responses.

use std::fs::File;
use std::io::Read;

use super::root::Root;
use crate::http::error_content::{ErrorContent, ErrorPages};
use serde::{Deserialize, Serialize};

/// Bytes of an error page, at most. It is read whole before the response begins.
pub(crate) const PAGE_MAX: u64 = 1 << 20;

/// The statuses that a page is for. One status has precedence over a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Statuses {
    One(u16),
    /// Hundreds: 4 or 5.
    Class(u16),
}

impl Statuses {
    fn contains(self, status: u16) -> bool {
        match self {
            Self::One(own) => own == status,
            Self::Class(hundreds) => hundreds == status / 100,
        }
    }
}

/// A file below a root.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ErrorPage {
    pub(crate) statuses: Statuses,
    /// Below the root.
    pub(crate) path: String,
    pub(crate) media_type: String,
    /// The content coding of the file itself.
    pub(crate) coding: Option<String>,
}

impl ErrorPage {
    fn read(&self, root: &Root) -> Option<ErrorContent<'_>> {
        let file = root.find_file(self.path.as_bytes()).ok()?;
        let mut content = Vec::new();
        File::from(file.fd).take(PAGE_MAX + 1).read_to_end(&mut content).ok()?;
        let fields = self.coding.iter().map(|coding| ("Content-Encoding", coding.as_str())).collect();
        let content = ErrorContent { content, media_type: self.media_type.as_str().into(), fields };
        (content.content.len() as u64 <= PAGE_MAX).then_some(content)
    }
}

/// Reads the page for a status, of several with their roots.
pub(super) fn read_page<'a>(
    pages: impl Iterator<Item = (&'a Root, &'a ErrorPage)>,
    status: u16,
) -> Option<ErrorContent<'a>> {
    let fitting = pages.filter(|(_, page)| page.statuses.contains(status));
    let (root, page) = fitting.min_by_key(|(_, page)| page.statuses)?;
    page.read(root)
}

/// The error pages of a service, by their directories.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ServicePages(pub(crate) Vec<(Root, Vec<ErrorPage>)>);

impl ServicePages {
    pub(crate) fn roots(&self) -> impl Iterator<Item = &Root> + Clone {
        self.0.iter().map(|(root, _)| root)
    }
}

impl ErrorPages for ServicePages {
    fn read(&self, status: u16) -> Option<ErrorContent<'_>> {
        let pages = self.0.iter().flat_map(|(root, pages)| pages.iter().map(move |page| (root, page)));
        read_page(pages, status)
    }
}
