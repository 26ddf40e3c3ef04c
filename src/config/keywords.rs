//! The keys whose values are keywords.

use std::fmt;

use serde::de::{Deserialize, Deserializer};
use serde::{Serialize, Serializer};

use super::values::{Scalar, deserialize_scalar, scalar};
use crate::journal::{Level, Target};
use crate::supervisor::settings::Model;

/// Ties the variants of an enum to their keywords.
macro_rules! keywords {
    ($name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl Scalar for $name {
            fn expected() -> String {
                format!("one of {}", [$(concat!("\"", $word, "\"")),+].join(", "))
            }
            fn from_text(text: &str) -> Option<Self> {
                match text { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(match self { $(Self::$variant => $word),+ })
            }
        }
    };
}

keywords!(Model { Fork = "fork", DoubleFork = "double-fork", Iterative = "iterative" });
keywords!(Target { Auto = "auto", Journal = "journal", Stderr = "stderr" });
keywords!(Level { Error = "error", Warn = "warn", Info = "info", Debug = "debug" });
keywords!(Protocol { Http = "http", Exec = "exec" });
keywords!(HandlerName { Respond = "respond", Files = "files", Redirect = "redirect", Cgi = "cgi" });
keywords!(Symlinks { Inside = "inside", Refuse = "refuse" });

/// What a service speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    #[default]
    Http,
    Exec,
}

/// What answers the requests of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HandlerName {
    #[default]
    Respond,
    Files,
    Redirect,
    Cgi,
}

impl HandlerName {
    pub const ALL: [Self; 4] = [Self::Respond, Self::Files, Self::Redirect, Self::Cgi];
}

impl fmt::Display for HandlerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Respond => "respond",
            Self::Files => "files",
            Self::Redirect => "redirect",
            Self::Cgi => "cgi",
        })
    }
}

/// Which symbolic links are followed below a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symlinks {
    /// Those that lead to something below it.
    Inside,
    Refuse,
}

scalar! {
    Model;
    Target;
    Level;
    Protocol;
    HandlerName;
    Symlinks;
}
