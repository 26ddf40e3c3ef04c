//! The keys of `handler = "health"`.

use crate::config::keywords::keywords;
use crate::config::lists::List;
use crate::config::scalar::Text;
use crate::config::scope::build_scope;
use crate::config::table::keys;
use crate::handler::health::{CheckFormat, HealthCheck};

keys! {
    /// The further keys of a route with the handler `health`.
    HealthKeys {
        services: List<Text> = List(Vec::new()),
        format: CheckFormat = CheckFormat::Auto,
    }
}

keywords!(CheckFormat { Auto = "auto", Text = "text", Json = "json" });

impl HealthKeys {
    pub(super) fn build(self) -> HealthCheck {
        HealthCheck { scope: build_scope(self.services), format: self.format }
    }
}
