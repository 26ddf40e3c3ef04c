//! The command line.

#![forbid(unsafe_code)]

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

/// What follows the options of each help. Its lines fit 80 columns; everything else is wrapped at the terminal's width.
const EXAMPLES: &str = r#"Examples:
  Serve the files of a folder on port 8888 of this host:
    lsbaws serve /srv/www
  Serve by a file of your own, on another address:
    lsbaws -c my.toml --set listen.web.address=127.0.0.1:8080
  Check the configuration:
    lsbaws check

Manuals: lsbaws(8), lsbaws.toml(5), lsbaws-migration(7)"#;

const SERVE_EXAMPLES: &str = r#"Examples:
  Serve a folder to the network, with listings:
    lsbaws serve /srv/www --listen :8080 --listing
  Serve on all addresses, with all fields of each record on the terminal:
    lsbaws serve --verbose --set 'listen.web.address="[::]:8080"'
  Answer each request after a second:
    lsbaws serve --set 'service.web.route=[{handler="respond",delay="1s"}]'
  As a service of systemd, on the sockets of lsbaws.socket:
    systemctl start lsbaws.socket"#;

const WSGI_EXAMPLES: &str = r#"Examples:
  Serve the callable app of hello.py, on port 8888 of this host:
    lsbaws wsgi hello:app
  Serve a Django project of another folder, by its virtual environment:
    lsbaws wsgi mysite.wsgi:application -d ~/mysite --virtualenv ~/mysite/env
  Serve what a factory returns, on another port:
    lsbaws wsgi 'shop:create_app()' --listen 8000"#;

const CHECK_EXAMPLES: &str = r#"Examples:
  Check the installed configuration as the user that serves by it:
    runuser -u lsbaws -- lsbaws check
  Print every value in effect, and where it comes from:
    lsbaws check --show -c my.toml
  Try one key:
    lsbaws check --set limits.max_connections=2000"#;

const TOP_EXAMPLES: &str = r#"Examples:
  What the daemon of lsbaws.service is doing, every two seconds:
    sudo lsbaws top"#;

const STATUS_EXAMPLES: &str = r#"Examples:
  What the daemon of lsbaws.service is doing:
    sudo lsbaws status
  How many connections each service has, for a script:
    sudo lsbaws status --json | jq '.services[] | {name, now}'
  A daemon that was started with process.status_socket = "/tmp/my.sock":
    lsbaws status --socket /tmp/my.sock"#;

const DRAIN_EXAMPLES: &str = r#"Examples:
  Take this host out of its balancers, and put it back:
    sudo lsbaws drain
    sudo lsbaws undrain"#;

const COMPLETIONS_EXAMPLES: &str = r#"Examples:
  In this shell (the package installs the completions of all shells):
    source <(lsbaws completions bash)"#;

/// A process for every connection: a socket-activated web server.
#[derive(Debug, Parser)]
#[command(name = "lsbaws", version, after_help = EXAMPLES)]
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
        Self::try_parse_within_columns().map_err(|mut error| {
            let stray = error.get(ContextKind::InvalidArg).or(error.get(ContextKind::InvalidSubcommand));
            if let Some(ContextValue::String(word)) = stray
                && let Some(tip) = find_tip(word)
            {
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
            }
            error
        })
    }

    /// Parses them for a help that is as wide as the terminal, or as most are.
    fn try_parse_within_columns() -> Result<Self, clap::Error> {
        let has_terminal =
            io::stdout().is_terminal() || io::stdin().is_terminal() || io::stderr().is_terminal();
        let is_wide = has_terminal || env::var_os("COLUMNS").is_some();
        let command = if is_wide { Self::command() } else { Self::command().term_width(80) };
        Self::from_arg_matches(&command.try_get_matches()?)
    }
}

/// Where the configuration comes from, for every subcommand that needs one.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Read this file, or LSBAWS_CONFIG, then the *.toml files in the folder of the same name ending in .d
    /// [default: /etc/lsbaws.toml]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Set one key, over files and environment (log.level=debug)
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub(crate) set: Vec<String>,
    /// On a terminal, write all fields, as to a file (log.verbose)
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
}

/// Which daemon to ask.
#[derive(Debug, Args)]
pub(crate) struct SocketArgs {
    /// The status socket of the daemon (process.status_socket)
    #[arg(long, value_name = "PATH", default_value = "/run/lsbaws/status.sock")]
    pub(crate) socket: PathBuf,
}

/// What `serve` serves in place of the configuration.
#[derive(Debug, Args, Default)]
pub(crate) struct ServeArgs {
    /// Serve the files of this folder, without /etc/lsbaws.toml
    pub(crate) folder: Option<PathBuf>,
    /// Where: PORT on the loopback addresses, :PORT on all addresses, IP:PORT, or the /PATH of a Unix socket [default: 8888]
    #[arg(short, long, value_name = "ADDRESS", requires = "folder")]
    pub(crate) listen: Vec<String>,
    /// List the folders that have no index.html
    #[arg(long, requires = "folder")]
    pub(crate) listing: bool,
    /// Run the programs in this folder below FOLDER, such as cgi-bin
    #[arg(long, value_name = "NAME", requires = "folder")]
    pub(crate) cgi: Vec<String>,
    /// Answer each path that names no file by this one, such as /index.html
    #[arg(long, value_name = "PATH", requires = "folder")]
    pub(crate) fallback: Option<String>,
}

/// The application that `wsgi` serves in place of the configuration.
#[derive(Debug, Args)]
pub(crate) struct WsgiArgs {
    /// The module and the callable, such as hello:app or shop:create_app()
    #[arg(value_name = "MODULE:CALLABLE")]
    pub(crate) application: String,
    /// Where its modules are; it may write there
    #[arg(short, long, value_name = "FOLDER", default_value = ".")]
    pub(crate) directory: PathBuf,
    /// The interpreter [default: that of the virtual environment, or /usr/bin/python3]
    #[arg(long, value_name = "PROGRAM", conflicts_with = "virtualenv")]
    pub(crate) python: Option<PathBuf>,
    /// The virtual environment [default: the active one, or .venv or venv in FOLDER]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) virtualenv: Option<PathBuf>,
    /// Where: PORT on the loopback addresses, :PORT on all addresses, IP:PORT, or the /PATH of a Unix socket [default: 8888]
    #[arg(short, long, value_name = "ADDRESS")]
    pub(crate) listen: Vec<String>,
    /// Load it again when one of its files changes
    #[arg(long)]
    pub(crate) reload: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve connections (the default), or the files of a folder
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),
    /// Serve a Python application (WSGI)
    #[command(after_help = WSGI_EXAMPLES)]
    Wsgi(WsgiArgs),
    /// Check the configuration and exit
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        /// Print the effective configuration and where each value came from
        #[arg(long)]
        show: bool,
        /// Print only errors
        #[arg(short, long, conflicts_with = "show")]
        quiet: bool,
    },
    /// Show what a running daemon is doing
    #[command(after_help = STATUS_EXAMPLES)]
    Status {
        /// Print all of it as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        socket: SocketArgs,
    },
    /// Let balancers send new connections elsewhere, and serve as before
    #[command(after_help = DRAIN_EXAMPLES)]
    Drain {
        #[command(flatten)]
        socket: SocketArgs,
    },
    /// Let balancers send connections here again
    Undrain {
        #[command(flatten)]
        socket: SocketArgs,
    },
    /// Show it on a screen that refreshes itself
    #[command(after_help = TOP_EXAMPLES)]
    Top {
        #[command(flatten)]
        socket: SocketArgs,
    },
    /// Print the completions of a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        shell: Shell,
        /// What has been written of the value of --set
        #[arg(hide = true, default_value = "")]
        written: String,
    },
    /// Fork the children of a service: started by the daemon itself
    #[command(hide = true)]
    ForkServer {
        /// The service
        service: String,
        /// Descriptor of its settings
        briefing: i32,
    },
    /// Append access lines to a file: started by the daemon itself
    #[command(hide = true)]
    AccessWriter {
        /// Descriptor of the channel to the daemon
        channel: i32,
        /// Descriptor of the memory file that counts lines
        progress: i32,
        /// The file
        path: PathBuf,
    },
    /// Load-test a server with many connections
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

/// A shell that completes words, or what it asks for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
    /// What `--set` takes: for the scripts of the shells.
    #[value(hide = true)]
    Pairs,
}

/// What the user may have meant by an argument that is none.
fn find_tip(word: &str) -> Option<String> {
    let is_folder = word.starts_with('.') || word.contains('/') || Path::new(word).is_dir();
    let option = word.split_once('=').map_or(word, |(option, _)| option);
    match option {
        _ if word.ends_with(".toml") => Some(format!("a configuration file is given with -c: '-c {word}'")),
        "-p" | "--port" => Some("a port is given with --listen: 'lsbaws serve FOLDER --listen 8000'".into()),
        _ if is_folder => Some(format!("the files of a folder are served by: 'lsbaws serve {word}'")),
        _ => None,
    }
}

fn parse_pair(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((key, _)) if !key.trim().is_empty() => Ok(text.to_owned()),
        _ => Err("expected KEY=VALUE, such as limits.max_connections=10".into()),
    }
}
