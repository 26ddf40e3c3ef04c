//! The keys of `handler = "status"`.

use crate::config::keywords::keywords;
use crate::config::table::keys;
use crate::handler::status::{Format, Status};

keys! {
    /// The further keys of a route with the handler `status`.
    StatusKeys {
        format: Format = Format::Auto,
    }
}

keywords!(Format { Auto = "auto", Html = "html", Json = "json", Prometheus = "prometheus" });

impl StatusKeys {
    pub(super) fn build(self) -> Status {
        Status { format: self.format }
    }
}
