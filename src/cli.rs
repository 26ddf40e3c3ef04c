//! The command line: what the program can be asked to do.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, Parser, Subcommand};

/// A process for every connection: a socket-activated web server.
#[derive(Debug, Parser)]
#[command(name = "lsbaws", version, after_help = "Full manual: man lsbaws, man lsbaws.toml")]
pub struct Cli {
    #[command(flatten)]
    pub source: ConfigArgs,
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl Cli {
    /// Parses the arguments of this process. Who gives the name of a file alone is told of `-c`.
    ///
    /// Fails with what to print, which is the help if that was asked for.
    pub fn parse_arguments() -> Result<Self, clap::Error> {
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
pub struct ConfigArgs {
    /// Read this file (or the one in LSBAWS_CONFIG) instead of /etc/lsbaws.toml, and after it the *.toml
    /// files in the folder of the same name ending in .d
    #[arg(short, long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set one key, on top of files and environment, such as limits.max_connections=10
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub set: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve connections (the default)
    Serve,
    /// Check the configuration as start-up would, and say what is wrong with it
    Check {
        /// Print the effective configuration and where each value came from
        #[arg(long)]
        show: bool,
    },
    /// Open many connections to a server at once, then ask on each of them
    Client(ClientArgs),
}

#[derive(Debug, Args)]
pub struct ClientArgs {
    /// What to ask, and where.
    #[arg(help = "What to ask for: http://HOST[:PORT]/PATH, where HOST is an address or localhost, or \
                  unix:SOCKET[:/PATH], where SOCKET is an absolute path or @NAME")]
    pub url: String,
    /// Number of client processes
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_clients: u32,
    /// Number of connections that each client process holds open together
    #[arg(long, default_value_t = 1024, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_conns: u32,
    /// Longest wait for one connection or one answer
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = parse_timeout)]
    pub timeout: Duration,
    /// Print the result as one JSON object
    #[arg(long)]
    pub json: bool,
}

fn parse_pair(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((key, _)) if !key.trim().is_empty() => Ok(text.to_owned()),
        _ => Err("expected KEY=VALUE, such as limits.max_connections=10".into()),
    }
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let day = Duration::from_secs(24 * 60 * 60);
    if time.is_zero() || time > day {
        Err("expected a time above zero and up to a day".into())
    } else {
        Ok(time)
    }
}
