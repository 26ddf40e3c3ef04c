//! The handler `status`: shows what the daemon does, to people and to Prometheus. The supervisor sends its report with the
//! connection, so that a child need not ask. Each response ends its connection: the next one has a new report.

mod page;

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::exchange::Exchange;
use crate::http::accept::prefers;
use crate::http::failure::Failure;
use crate::http::fields::field;
use crate::outcome::Outcome;
use crate::status::{self, StatusReport, prometheus};

/// How the status is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Format {
    /// By the path, and by what the client accepts.
    Auto,
    Html,
    Json,
    Prometheus,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) format: Format,
}

impl Status {
    /// # Errors
    /// The client has gone, or reads too slowly.
    pub(crate) fn answer(&self, exchange: &mut Exchange<'_, '_>) -> Result<Outcome, Failure> {
        if !exchange.check_method(&["GET", "HEAD"])? {
            return Ok(Outcome::Served);
        }
        exchange.response.close_after();
        let Some(file) = exchange.status else {
            let reason = "this process serves a single connection, and has no supervisor with a status";
            return exchange.fail(503, reason, Outcome::Served);
        };
        let format = self.choose(exchange);
        let content = match format {
            Format::Json => status::read_text(file),
            Format::Prometheus => StatusReport::read(file).map(|report| prometheus::write(&report).into()),
            Format::Html | Format::Auto => {
                StatusReport::read(file).map(|report| page::render(&report).into())
            }
        };
        let content = match content {
            Ok(content) => content,
            Err(error) => {
                exchange.journal.log_system_error(Some(exchange.request.target), "read the status", &error);
                return exchange.fail(500, "unable to read the status", Outcome::SystemError);
            }
        };
        let age = Instant::now().saturating_duration_since(exchange.identity.accepted_at).as_secs();
        let mut head = exchange.response.head(200);
        head.field("Content-Type", format.media_type()).no_sniff();
        head.field("Cache-Control", "no-store").field("Age", age.to_string());
        if self.format == Format::Auto {
            head.field("Vary", "Accept");
        }
        if format == Format::Html {
            head.field("Content-Security-Policy", page::POLICY);
        }
        head.send(&content)?;
        Ok(Outcome::Served)
    }

    /// The format of this response: never `Auto`.
    fn choose(&self, exchange: &Exchange<'_, '_>) -> Format {
        const TEXT: &str = "text/plain";
        let accepted = || field(exchange.request.fields, "Accept");
        match self.format {
            Format::Auto if exchange.request.path.ends_with(b"/metrics") => Format::Prometheus,
            Format::Auto if exchange.request.path.ends_with(b".json") => Format::Json,
            Format::Auto if prefers(accepted(), "text/html", TEXT) => Format::Html,
            Format::Auto if prefers(accepted(), "application/json", TEXT) => Format::Json,
            Format::Auto => Format::Prometheus,
            format => format,
        }
    }
}

impl Format {
    fn media_type(self) -> &'static str {
        match self {
            Self::Html | Self::Auto => "text/html; charset=utf-8",
            Self::Json => "application/json",
            Self::Prometheus => prometheus::MEDIA_TYPE,
        }
    }
}
