//! `compress`: the codings of a route that compresses its content.

use crate::config::keywords::keywords;
use crate::config::lists::List;
use crate::http::compress::Codings;
use crate::http::encoding::Coding;

/// A coding by which content can be compressed on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CompressName {
    Zstandard,
    Gzip,
}

keywords!(CompressName { Zstandard = "zstd", Gzip = "gzip" });

pub(super) fn build_codings(List(names): List<CompressName>) -> Codings {
    let coding = |name| match name {
        CompressName::Zstandard => Coding::Zstandard,
        CompressName::Gzip => Coding::Gzip,
    };
    Codings(names.into_iter().map(coding).collect())
}
