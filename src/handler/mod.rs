//! Handlers. [`site`] finds the route of a request, and the route's handler answers the [`exchange`]. Handlers use
//! the exchange and the [`root`], and no other handler.

#![forbid(unsafe_code)]

pub(crate) mod access;
pub(crate) mod auth;
pub(crate) mod cgi;
pub(crate) mod error_pages;
pub(crate) mod exchange;
pub(crate) mod files;
pub(crate) mod health;
pub(crate) mod login;
#[cfg(feature = "attacks")]
pub(crate) mod probe;
pub(crate) mod redirect;
pub(crate) mod respond;
pub(crate) mod root;
pub(crate) mod site;
pub(crate) mod status;
pub(crate) mod users;
mod variables;
pub(crate) mod watch;
pub(crate) mod wsgi;

use crate::http::error_content::ErrorPages;
use cgi::{Cgi, Programs};
use files::Files;
use health::HealthCheck;
use redirect::Redirect;
use respond::Respond;
use root::Root;
use serde::{Deserialize, Serialize};
use status::Status;
use wsgi::Wsgi;

/// What answers the requests of a route.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Handler {
    Respond(Respond),
    Files(Box<Files>),
    Redirect(Redirect),
    Cgi(Cgi),
    Status(Status),
    Health(HealthCheck),
    Wsgi(Wsgi),
    #[cfg(feature = "attacks")]
    Probe(probe::Probe),
}

impl Handler {
    /// Its root directory, which children keep open.
    pub(crate) fn root(&self) -> Option<&Root> {
        match self {
            Self::Cgi(Cgi { programs: Programs::Below { root, .. }, .. }) => Some(root),
            Self::Files(files) => Some(&files.root),
            Self::Respond(_)
            | Self::Redirect(_)
            | Self::Cgi(_)
            | Self::Status(_)
            | Self::Health(_)
            | Self::Wsgi(_) => None,
            #[cfg(feature = "attacks")]
            Self::Probe(_) => None,
        }
    }

    /// Its error pages.
    pub(crate) fn error_pages(&self) -> Option<&dyn ErrorPages> {
        match self {
            Self::Files(files) if !files.error_pages.is_empty() => Some(&**files),
            _ => None,
        }
    }

    /// The name in the configuration and in records.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Respond(_) => "respond",
            Self::Files(_) => "files",
            Self::Redirect(_) => "redirect",
            Self::Cgi(_) => "cgi",
            Self::Status(_) => "status",
            Self::Health(_) => "health",
            Self::Wsgi(_) => "wsgi",
            #[cfg(feature = "attacks")]
            Self::Probe(_) => "probe",
        }
    }
}
