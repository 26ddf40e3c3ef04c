//! The keys whose values are words out of a fixed list.

use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer};

use super::values::{Scalar, deserialize_scalar, scalar};

/// A value out of a fixed list of words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            #[allow(dead_code)] // not every list is asked for
            pub const ALL: &[Self] = &[$(Self::$variant),+];
        }

        impl Scalar for $name {
            fn expected() -> String {
                let words = [$(concat!("\"", $word, "\"")),+];
                match words.as_slice() {
                    [one] => format!("{one}"),
                    _ => format!("one of {}", words.join(", ")),
                }
            }
            fn from_text(text: &str) -> Option<Self> {
                match text { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),+ })
            }
        }
    };
}

words! {
    /// How a connection gets its process.
    Model {
        /// The parent forks the child and reaps it.
        Fork = "fork",
        /// The parent forks an intermediate that forks the child and ends: the child is adopted.
        DoubleFork = "double-fork",
        /// No child: one connection at a time, in the parent itself.
        Iterative = "iterative",
    }
}
words! {
    /// Where records go.
    LogTarget { Auto = "auto", Journal = "journal", Stderr = "stderr" }
}
words! {
    /// The least important records that are written.
    Level { Error = "error", Warn = "warn", Info = "info", Debug = "debug" }
}
words! {
    /// What a service speaks.
    #[derive(Default)]
    Protocol { #[default] Http = "http", Exec = "exec" }
}
words! {
    /// What answers the requests of a route.
    #[derive(Default)]
    HandlerName { #[default] Hello = "hello", Files = "files", Redirect = "redirect", Cgi = "cgi" }
}
words! {
    /// Which symbolic links are followed below a root.
    Symlinks {
        /// Those that lead to something below it.
        Inside = "inside",
        Refuse = "refuse",
    }
}

scalar! {
    Model;
    LogTarget;
    Level;
    Protocol;
    HandlerName;
    Symlinks;
}
