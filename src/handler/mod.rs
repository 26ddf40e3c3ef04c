//! What answers a request: [`site`] finds the route, and the route's handler answers the [`exchange`]. Handlers
//! know the exchange and the [`root`], and not each other.

#![forbid(unsafe_code)]

pub mod cgi;
pub mod exchange;
pub mod files;
pub mod redirect;
pub mod respond;
pub mod root;
pub mod site;

use std::os::fd::RawFd;

use cgi::{Cgi, Programs};
use files::Files;
use redirect::Redirect;
use respond::Respond;

#[derive(Debug)]
pub enum Handler {
    Respond(Respond),
    Files(Box<Files>),
    Redirect(Redirect),
    Cgi(Cgi),
}

impl Handler {
    /// The directory below which it looks for what is asked.
    pub fn descriptor(&self) -> Option<RawFd> {
        match self {
            Self::Cgi(Cgi { programs: Programs::Below { root, .. }, .. }) => Some(root.raw_fd()),
            Self::Files(files) => Some(files.root.raw_fd()),
            Self::Respond(_) | Self::Redirect(_) | Self::Cgi(_) => None,
        }
    }

    /// Its name in the configuration and in records.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Respond(_) => "respond",
            Self::Files(_) => "files",
            Self::Redirect(_) => "redirect",
            Self::Cgi(_) => "cgi",
        }
    }
}
