//! The command line.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, Parser, Subcommand};

/// A process for every connection: a socket-activated web server.
#[derive(Debug, Parser)]
#[command(name = "lsbaws", version, after_help = "Full manual: man lsbaws, man lsbaws.toml")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) source: ConfigArgs,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

impl Cli {
    /// Parses the arguments of this process. Suggests `-c` when a stray argument looks like a file name.
    ///
    /// # Errors
    /// What to print, which is the help if that was requested.
    pub(crate) fn parse_arguments() -> Result<Self, clap::Error> {
        Self::try_parse().map_err(|mut error| {
            let stray = error.get(ContextKind::InvalidArg).or(error.get(ContextKind::InvalidSubcommand));
            if let Some(ContextValue::String(word)) = stray
                && word.ends_with(".toml")
            {
                let tip = format!("a configuration file is given with -c: '-c {word}'");
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
            }
            error
        })
    }
}

/// Where the configuration comes from, for every subcommand that needs one.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Read this file (or the one in LSBAWS_CONFIG) instead of /etc/lsbaws.toml, and after it the *.toml
    /// files in the folder of the same name ending in .d
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Set one key, on top of files and environment, such as limits.max_connections=10
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve connections (the default)
    Serve,
    /// Check the configuration and exit
    Check {
        /// Print the effective configuration and where each value came from
        #[arg(long)]
        show: bool,
        /// Print only errors
        #[arg(short, long, conflicts_with = "show")]
        quiet: bool,
    },
    /// Fork the children of a service: started by the daemon itself
    #[command(hide = true)]
    ForkServer {
        /// The service
        service: String,
        /// Descriptor of its settings
        briefing: i32,
    },
    /// Load-test a server: open many connections, then send one request on each
    #[command(
        disable_help_flag = true,
        override_help = "The options of the load client: lsbaws client --help\n"
    )]
    Client {
        /// Arguments of the load client
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

fn parse_pair(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((key, _)) if !key.trim().is_empty() => Ok(text.to_owned()),
        _ => Err("expected KEY=VALUE, such as limits.max_connections=10".into()),
    }
}
