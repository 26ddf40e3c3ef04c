//! The handler `health`: answers the checks of balancers. The supervisor sends what it has observed with the connection, so
//! that a child need not ask. Each response ends its connection: the next one is as fresh. What came with a connection that was
//! kept open is older; but a drain, which the supervisor announces to each child, is answered at once.

use serde::{Deserialize, Serialize};

use super::exchange::Exchange;
use crate::http::accept::prefers;
use crate::http::failure::Failure;
use crate::http::fields::field;
use crate::outcome::Outcome;
use crate::status::health::{Health, HealthReport, Scope};

/// How the result of a check is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CheckFormat {
    /// By what the client accepts: text, unless it prefers JSON.
    Auto,
    Text,
    Json,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HealthCheck {
    pub(crate) scope: Scope,
    pub(crate) format: CheckFormat,
}

/// The content as JSON.
#[derive(Serialize)]
struct CheckResult {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl HealthCheck {
    /// # Errors
    /// The client has gone, or reads too slowly.
    pub(crate) fn answer(&self, exchange: &mut Exchange<'_, '_>) -> Result<Outcome, Failure> {
        exchange.response.close_after();
        // OPTIONS is the default of HAProxy's `option httpchk`: it gets the result as well.
        if exchange.request.method != "OPTIONS" && !exchange.check_method(&["GET", "HEAD"])? {
            return Ok(Outcome::Served);
        }
        let report = match exchange.status.map(HealthReport::read).transpose() {
            Ok(report) => report,
            Err(error) => {
                exchange.journal.log_system_error(Some(exchange.request.target), "read the status", &error);
                return exchange.fail(500, "unable to read the status", Outcome::SystemError);
            }
        };
        let is_draining = exchange.slot.is_close_announced();
        let health = Health::judge(report.as_ref(), &self.scope, is_draining);
        let (media_type, content) = match self.is_json(exchange) {
            true => ("application/json", describe(health)),
            false => ("text/plain; charset=utf-8", format!("{health}\n")),
        };
        let status = if matches!(health, Health::Ok { .. }) { 200 } else { 503 };
        let mut head = exchange.response.head(status);
        head.field("Content-Type", media_type).no_sniff();
        head.field("Cache-Control", "no-store");
        if self.format == CheckFormat::Auto {
            head.field("Vary", "Accept");
        }
        head.send(content.as_bytes())?;
        Ok(Outcome::Served)
    }

    fn is_json(&self, exchange: &Exchange<'_, '_>) -> bool {
        match self.format {
            CheckFormat::Auto => {
                prefers(field(exchange.request.fields, "Accept"), "application/json", "text/plain")
            }
            format => format == CheckFormat::Json,
        }
    }
}

fn describe(health: Health<'_>) -> String {
    let result = CheckResult { status: health.word(), reason: health.reason() };
    serde_json::to_string(&result).unwrap_or_default() + "\n" // two strings: cannot fail
}
