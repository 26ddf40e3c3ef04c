//! What each subcommand does. Errors are returned up to here, and printed here alone.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::env;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::{Cli, Command, ConfigArgs, ServeArgs, Shell, WsgiArgs};
use crate::config::{self, Application, Effective, Folder, Overrides, Reader, Sandbox, Subject};
use crate::escape::remove_error_numbers;
use crate::listen::activation::{self, Activation};
use crate::supervisor::settings::Settings;
use crate::{access, child, client, forkserver, journal, monitor, supervisor};

/// Exit codes of sysexits.h, which systemd knows by name.
const EXIT_USAGE: u8 = 64;
const EXIT_UNAVAILABLE: u8 = 69;
const EXIT_SYSTEM: u8 = 71;
const EXIT_NO_PERMISSION: u8 = 77;
const EXIT_CONFIG: u8 = 78;

/// What to print, one sentence a line, and the exit code to end with.
struct CommandError(u8, String);

impl From<monitor::Error> for CommandError {
    fn from(error: monitor::Error) -> Self {
        let code = match error {
            monitor::Error::NotRunning(_) => EXIT_UNAVAILABLE,
            monitor::Error::NotPermitted(_) => EXIT_NO_PERMISSION,
            monitor::Error::System { .. } | monitor::Error::Refused(_) => EXIT_SYSTEM,
        };
        Self(code, error.to_string())
    }
}

/// Runs the program: everything but the process itself is here.
pub fn main() -> ExitCode {
    let cli = match Cli::parse_arguments() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print(); // a closed terminal
            return ExitCode::from(if error.use_stderr() { EXIT_USAGE } else { 0 });
        }
    };
    child::exit_on_panic();
    journal::find_style();
    let is_daemon = matches!(
        cli.command,
        None | Some(
            Command::Serve(_) | Command::Wsgi(_) | Command::ForkServer { .. } | Command::AccessWriter { .. }
        )
    );
    match run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(CommandError(code, sentence)) => {
            journal::print_failure(&sentence, is_daemon);
            ExitCode::from(code)
        }
    }
}

fn run(cli: Cli) -> Result<u8, CommandError> {
    match cli.command.unwrap_or(Command::Serve(ServeArgs::default())) {
        Command::Serve(arguments) => serve(Source::new(cli.source, find_folder(arguments))),
        Command::Top { socket } => monitor::watch(&socket.socket).map(|()| 0).map_err(CommandError::from),
        Command::Wsgi(arguments) => serve(Source::new(cli.source, Some(find_application(arguments)))),
        Command::Status { json, socket } => {
            monitor::show(&socket.socket, json).map(|()| 0).map_err(CommandError::from)
        }
        Command::Drain { socket } => {
            monitor::drain(&socket.socket, true).map(|()| 0).map_err(CommandError::from)
        }
        Command::Undrain { socket } => {
            monitor::drain(&socket.socket, false).map(|()| 0).map_err(CommandError::from)
        }
        Command::Check { show, quiet } => check(&Source::new(cli.source, None), show, quiet),
        Command::Completions { shell, written } => {
            let _ = std::io::stdout().write_all(complete(shell, &written).as_bytes()); // a closed pipe
            Ok(0)
        }
        Command::ForkServer { briefing, .. } => {
            forkserver::run(briefing).map_err(|sentence| CommandError(EXIT_SYSTEM, sentence))
        }
        Command::AccessWriter { channel, progress, path } => access::writer::run(channel, progress, &path)
            .map(|()| 0)
            .map_err(|sentence| CommandError(EXIT_SYSTEM, sentence)),
        Command::Client { arguments } => Err(match client::become_client(&arguments) {
            error @ client::Error::Missing { .. } => CommandError(EXIT_UNAVAILABLE, error.to_string()),
            error => CommandError(EXIT_SYSTEM, error.to_string()),
        }),
    }
}

/// The script of a shell, or what it asks for.
fn complete(shell: Shell, written: &str) -> Cow<'static, str> {
    match shell {
        Shell::Bash => include_str!("../packaging/completions/lsbaws.bash").into(),
        Shell::Zsh => include_str!("../packaging/completions/_lsbaws").into(),
        Shell::Fish => include_str!("../packaging/completions/lsbaws.fish").into(),
        Shell::Pairs => config::list_pairs(written).iter().map(|pair| format!("{pair}\n")).collect(),
    }
}

/// Where the configuration comes from. The environment is a copy: the supervisor wipes its own.
struct Source {
    arguments: ConfigArgs,
    subject: Option<Subject>,
    environment: Vec<(OsString, OsString)>,
}

/// The folder that `serve` names.
fn find_folder(arguments: ServeArgs) -> Option<Subject> {
    let ServeArgs { folder, listen, listing, cgi, fallback } = arguments;
    let folder = Folder::new(&folder?).listen(listen).listing(listing).programs(cgi).fallback(fallback);
    Some(Subject::Folder(folder))
}

/// The application that `wsgi` names, with the environment of the terminal.
fn find_application(arguments: WsgiArgs) -> Subject {
    let WsgiArgs { application, directory, python, virtualenv, listen, reload } = arguments;
    let to_text =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let environment = env::vars_os().filter_map(to_text).collect();
    Subject::Application(Application {
        name: application,
        directory,
        python,
        virtualenv,
        listen,
        watches: reload,
        environment,
    })
}

impl Source {
    fn new(arguments: ConfigArgs, subject: Option<Subject>) -> Self {
        Self { arguments, subject, environment: env::vars_os().collect() }
    }

    /// Reads the configuration.
    fn load(&self, reader: Reader) -> Result<(Settings, Effective), CommandError> {
        let mut set = self.arguments.set.clone();
        if self.arguments.verbose {
            set.push("log.verbose=true".into());
        }
        let is_variable = self.arguments.config.is_none();
        let overrides = Overrides { file: self.find_file(), is_variable, subject: self.subject.clone(), set };
        config::load(&overrides, &self.environment, reader)
            .map_err(|error| CommandError(EXIT_CONFIG, error.to_string()))
    }

    /// The configuration file, if it is not the default one.
    fn find_file(&self) -> Option<PathBuf> {
        // An empty variable is none.
        let is_file = |(name, value): &&(OsString, OsString)| name == "LSBAWS_CONFIG" && !value.is_empty();
        let from_environment = self.environment.iter().find(is_file).map(|(_, file)| PathBuf::from(file));
        self.arguments.config.clone().or(from_environment)
    }

    /// Reads the configuration of the daemon, with warnings about what the system limits or denies. `children`: connections
    /// that are served already.
    fn load_with_forecast(&self, children: usize) -> Result<Settings, CommandError> {
        let (mut settings, effective) = self.load(Reader::Daemon)?;
        settings.warnings = config::find_warnings(&settings, children);
        settings.warnings.extend(effective.find_denied(&Sandbox::observe()));
        settings.warnings.extend(effective.find_ignored());
        Ok(settings)
    }

    /// Reads the configuration to serve it, if this user may. `children`: see [`Self::load_with_forecast`]; nothing for a
    /// single connection.
    fn load_to_serve(&self, children: Option<usize>) -> Result<Settings, CommandError> {
        // A single connection is served whatever the limits of the system: it does not pay for reading them.
        let load_single = || self.load(Reader::Daemon).map(|(settings, _)| settings);
        let mut settings = children.map_or_else(load_single, |children| self.load_with_forecast(children))?;
        refuse(&settings)?;
        if let Some(subject) = &self.subject {
            if let Some(sentence) = config::find_unreadable(&settings) {
                return Err(CommandError(EXIT_CONFIG, sentence));
            }
            settings.subject = Some(subject.describe(&settings));
            settings.note = subject.find_note();
            settings.listen.iter_mut().for_each(|table| table.is_option = true);
        }
        Ok(settings)
    }
}

/// Fails if this user may not serve by these settings.
fn refuse(settings: &Settings) -> Result<(), CommandError> {
    match config::find_refusals(settings) {
        refusals if refusals.is_empty() => Ok(()),
        refusals => Err(CommandError(EXIT_CONFIG, refusals.join("\n"))),
    }
}

fn serve(source: Source) -> Result<u8, CommandError> {
    supervisor::hold_reopen_signal();
    let fail = |error: &dyn std::error::Error| CommandError(EXIT_SYSTEM, error.to_string());
    // First of all: when standard error is the client's connection, no message may go there.
    let activation = activation::receive().map_err(|error| fail(&error))?;
    let took_stderr = activation.took_stderr();
    let serve = || {
        let is_single = matches!(activation, Activation::Connection { .. });
        let settings = source.load_to_serve((!is_single).then_some(0))?;
        journal::open(settings.log, took_stderr)
            .map_err(|error| CommandError(EXIT_SYSTEM, format!("unable to open the journal: {error}")))?;
        let reload = move |children| {
            let failed = |CommandError(_, sentences): CommandError| sentences.replace('\n', "; ");
            source.load_to_serve(Some(children)).map_err(failed)
        };
        let ended = supervisor::run(settings, activation, Box::new(reload));
        journal::close();
        match ended {
            Ok(outcome) => Ok(outcome.code()),
            Err(error @ supervisor::Error::NoService(_)) => Err(CommandError(EXIT_CONFIG, error.to_string())),
            Err(error) => Err(fail(&error)),
        }
    };
    serve().inspect_err(|CommandError(_, sentence)| {
        if took_stderr {
            journal::report_failure(sentence);
        }
    })
}

fn check(source: &Source, show: bool, quiet: bool) -> Result<u8, CommandError> {
    let is_in_unit = is_started_by_systemd();
    let reader = if is_in_unit { Reader::UnitCheck } else { Reader::Check };
    let (settings, effective) = source.load(reader)?;
    if is_in_unit {
        refuse(&settings)?;
    }
    if quiet {
        return Ok(0);
    }
    // The default file is that of lsbaws.service. In its sandbox, everything can be observed.
    let of_unit = || Sandbox::of_unit(Path::new("/")).filter(|_| !is_in_unit && source.find_file().is_none());
    let sandbox = of_unit().unwrap_or_else(Sandbox::observe);
    let mut warnings = config::find_warnings(&settings, 0);
    warnings.extend(effective.find_denied(&sandbox));
    warnings.extend(effective.find_ignored());
    let mut text = if show { effective.to_string() } else { "configuration OK\n".to_owned() };
    let warnings = warnings.iter().map(|warning| format!("warning: {}", warning.sentence));
    let files = effective.describe_files().into_iter();
    for line in files.chain(config::describe_reach(&settings)).chain(warnings) {
        // What `--show` prints is TOML.
        let comment = if show { "# " } else { "" };
        text.push_str(&format!("{comment}{}\n", remove_error_numbers(line)));
    }
    let _ = std::io::stdout().write_all(text.as_bytes()); // a closed pipe
    Ok(0)
}

/// Whether this process is a command of a unit (systemd.exec(5), `SYSTEMD_EXEC_PID`).
fn is_started_by_systemd() -> bool {
    env::var_os("SYSTEMD_EXEC_PID").is_some_and(|pid| pid == *std::process::id().to_string())
}
