//! The command line.

use std::env;
use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser};

/// What follows the options of the help. Its lines fit 80 columns; everything else is wrapped at the terminal's width.
const EXAMPLES: &str = "Examples:
  A thousand connections from each of two processes:
    lsbaws client --max-clients 2 --max-conns 1000 http://127.0.0.1:8888/
  A server on a Unix socket, with the report as JSON:
    lsbaws client --json unix:/run/web.sock

Manual: lsbaws(8)";

/// Load-test a server: open many connections, then send one request on each
#[derive(Debug, Parser)]
#[command(
    name = "lsbaws-client",
    bin_name = "lsbaws client",
    version,
    after_help = EXAMPLES
)]
pub(crate) struct Arguments {
    #[arg(help = "URL to request: http://HOST[:PORT]/PATH, where HOST is an address or localhost, or \
                  unix:SOCKET[:/PATH], where SOCKET is an absolute path or @NAME")]
    pub url: String,
    /// Number of client processes
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_clients: u32,
    /// Number of connections that each client process holds open at the same time
    #[arg(long, default_value_t = 1024, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_conns: u32,
    /// Time limit for opening the connections, and again for the responses
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = parse_timeout)]
    pub timeout: Duration,
    /// Print the report as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Be one of the client processes: the program starts itself with this flag.
    #[arg(long, hide = true)]
    pub client_process: bool,
}

impl Arguments {
    /// Parses the arguments of this process, for a help that is as wide as the terminal, or as most are.
    ///
    /// # Errors
    /// What to print, which is the help if that was requested.
    pub(crate) fn parse_arguments() -> Result<Self, clap::Error> {
        let has_terminal =
            io::stdout().is_terminal() || io::stdin().is_terminal() || io::stderr().is_terminal();
        let is_wide = has_terminal || env::var_os("COLUMNS").is_some();
        let command = if is_wide { Self::command() } else { Self::command().term_width(80) };
        Self::from_arg_matches(&command.try_get_matches()?)
    }

    /// Number of connections of all client processes.
    pub(crate) fn connections(&self) -> u64 {
        u64::from(self.max_clients) * u64::from(self.max_conns)
    }
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let time = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string())?,
    };
    let day = Duration::from_secs(24 * 60 * 60);
    if time.is_zero() || time > day {
        Err("expected a time greater than zero and at most one day".into())
    } else {
        Ok(time)
    }
}
