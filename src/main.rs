//! Arguments in, exit code out. Errors are returned up to here, and printed here alone.

use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use lsbaws::cli::{Cli, Command, ConfigArgs};
use lsbaws::config::{self, Config, Effective, Overrides};
use lsbaws::listen::activation;
use lsbaws::{child, client, journal, supervisor, walls};

/// Exit codes of sysexits.h, which systemd knows by name.
const EXIT_USAGE: u8 = 64;
const EXIT_SYSTEM: u8 = 71;
const EXIT_CONFIG: u8 = 78;

/// What to print and the exit code to end with.
struct Failure(u8, String);

fn main() -> ExitCode {
    let cli = match Cli::parse_arguments() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print(); // a closed terminal
            return ExitCode::from(if error.use_stderr() { EXIT_USAGE } else { 0 });
        }
    };
    child::end_on_panic();
    match run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(Failure(code, sentence)) => {
            // journald takes the prefix for the priority of an error (sd-daemon(3)).
            let priority = if libsystemd::logging::connected_to_journal() { "<3>" } else { "" };
            let _ = writeln!(std::io::stderr(), "{priority}lsbaws: {sentence}");
            ExitCode::from(code)
        }
    }
}

fn run(cli: Cli) -> Result<u8, Failure> {
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve(cli.source),
        Command::Check { show } => check(cli.source, show),
        Command::Client(args) => match client::run(&args) {
            Ok(all_well) => Ok(u8::from(!all_well)),
            Err(error @ client::Error::BadUrl(_)) => Err(Failure(EXIT_USAGE, error.to_string())),
            Err(error) => Err(Failure(EXIT_SYSTEM, error.to_string())),
        },
    }
}

fn load(source: &ConfigArgs) -> Result<(Config, Effective), Failure> {
    // An empty variable is none.
    let from_environment = || env::var_os("LSBAWS_CONFIG").filter(|file| !file.is_empty()).map(PathBuf::from);
    let file = source.config.clone().or_else(from_environment);
    let overrides = Overrides { file, set: source.set.clone() };
    config::load(&overrides, env::vars_os()).map_err(|error| Failure(EXIT_CONFIG, error.to_string()))
}

fn serve(source: ConfigArgs) -> Result<u8, Failure> {
    let fail = |error: &dyn std::error::Error| Failure(EXIT_SYSTEM, error.to_string());
    // First of all: when standard error is the client's connection, no message may go there.
    let activation = activation::receive().map_err(|error| fail(&error))?;
    let took_stderr = activation.took_stderr();
    let serve = || {
        let (config, _) = load(&source)?;
        journal::open(config.log_target, config.log_level, config.log_max_rate, took_stderr)
            .map_err(|error| Failure(EXIT_SYSTEM, format!("unable to open the journal: {error}")))?;
        let reread = move || load(&source).map(|(config, _)| config).map_err(|Failure(_, sentence)| sentence);
        let ended = supervisor::run(config, activation, Box::new(reread));
        journal::close();
        match ended {
            Ok(outcome) => Ok(outcome.code()),
            Err(error @ supervisor::Error::NoService(_)) => Err(Failure(EXIT_CONFIG, error.to_string())),
            Err(error) => Err(fail(&error)),
        }
    };
    serve().inspect_err(|Failure(_, sentence)| {
        if took_stderr {
            journal::report_failure(sentence);
        }
    })
}

fn check(source: ConfigArgs, show: bool) -> Result<u8, Failure> {
    let (config, effective) = load(&source)?;
    let mut text = if show { effective.to_string() } else { "configuration OK\n".to_owned() };
    for warning in walls::find_warnings(&config, 0) {
        // What `--show` prints is TOML.
        let comment = if show { "# " } else { "" };
        text.push_str(&format!("{comment}warning: {}\n", warning.sentence));
    }
    let _ = std::io::stdout().write_all(text.as_bytes()); // a closed pipe
    Ok(0)
}
