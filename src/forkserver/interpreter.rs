//! The fork server of a service with applications: this program prepares and confines the process, and becomes the
//! interpreter, so that nothing of an installation of Python runs unconfined, not even what the interpreter imports at its
//! start.

use std::convert::Infallible;
use std::env;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};

use super::prepare_process;
use crate::confine;
use crate::environment::PATH;
use crate::handler::wsgi::Python;
use crate::handover::briefing::Briefing;
use crate::handover::{Channel, Report};
use crate::outcome::Outcome;
use crate::runtime::BUILD;
use crate::service::Service;
use crate::sys;

/// Imports the extension, by its path, and lets it serve. Without assumptions about the version of Python up to the check, and
/// without modules of the application: the first entry of the path is the working directory.
/// A failure is a report in plain text: see [`crate::handover::PLAIN`].
const START: &str = "
import sys
if sys.path[:1] == ['']:
    del sys.path[0]
import os
extension, daemon, build, briefing, channel = sys.argv[1:6]
def fail(sentence):
    os.write(int(channel), b'\\xff' + sentence.encode('utf-8', 'replace'))
    sys.exit(71)
if sys.version_info < (3, 9):
    fail('lsbaws serves applications with Python 3.9 or later; this is Python %d.%d' % sys.version_info[:2])
import sysconfig
if sysconfig.get_config_var('Py_GIL_DISABLED'):
    fail('lsbaws does not support a free-threaded build of Python')
import importlib.util
os.environ.pop('LD_BIND_NOW', None)
try:
    spec = importlib.util.spec_from_file_location('_lsbaws', extension)
    module = sys.modules['_lsbaws'] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
except ImportError as error:
    fail('unable to import %s: %s' % (extension, error))
if module.__build__ != build:
    fail('%s (build %s) cannot use %s (build %s): install lsbaws and lsbaws-wsgi of one version,'
        ' or build both from one source (packaging/build-wsgi)' % (daemon, build, extension, module.__build__))
sys.exit(module.serve(int(briefing), sys.argv[6:]))
";

/// Turns this process into the interpreter. Returns the exit code when that fails, after a report to the supervisor.
pub(super) fn become_interpreter(briefing: Briefing<Service>) -> Result<u8, String> {
    let open_channel = || briefing.channel.try_clone().map(Channel::new);
    let channel = open_channel().map_err(|error| format!("unable to order descriptors: {error}"))?;
    let sentence = match prepare_and_execute(briefing) {
        Ok(never) => match never {},
        Err(sentence) => sentence,
    };
    channel
        .report(&Report::failed(&sentence, "", false))
        .map_err(|error| format!("{sentence} (unable to report to the supervisor: {error})"))?;
    Ok(Outcome::SystemError.code())
}

fn prepare_and_execute(mut briefing: Briefing<Service>) -> Result<Infallible, String> {
    prepare_process(&briefing.service, briefing.open_files)?;
    // An interpreter does not look at the channel while it imports. It keeps this, and its children do not get it.
    prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(|errno| format!("unable to set PR_SET_PDEATHSIG: {}", errno.desc()))?;
    briefing.text = None; // that of another program
    briefing.confined = Some(confine::find_gaps(&briefing.service.confinement));
    // Before the filter of system calls, which denies memory files.
    let (file, inherited) =
        briefing.write().map_err(|error| format!("unable to write the briefing: {error}"))?;
    let service = &briefing.service;
    service.confine(sys::CONNECTION).map_err(|error| error.describe(&service.name))?;
    let Some(python) = service.python() else { return Err("no application".into()) };
    let mut command = Command::new(&python.program);
    if python.watches {
        // It would not find a change within a second that leaves the size as it is: the compiled file has both.
        command.arg("-B");
    }
    let daemon = env::current_exe().unwrap_or_default();
    command.arg("-c").arg(START).arg(&python.extension).arg(daemon).arg(BUILD);
    command.arg(file.as_raw_fd().to_string()).arg(briefing.channel.as_raw_fd().to_string());
    command.args(&python.search);
    sys::keep_for_program(&mut command, inherited);
    let error = execute(&mut command, python, &briefing).unwrap_or_else(|error| error);
    Err(format!("unable to run {} in {}: {error}", python.program.display(), python.directory.display()))
}

/// Gives the error for which the process is still this one.
fn execute(command: &mut Command, python: &Python, briefing: &Briefing<Service>) -> io::Result<io::Error> {
    command
        .current_dir(&python.directory)
        .env_clear()
        .env("PATH", PATH)
        // Otherwise each child finds the functions again that it is the first to call (ld.so(8)).
        .env("LD_BIND_NOW", "1")
        // Libraries that compute start threads when they are imported (OpenBLAS, OpenMP), and no fork has these.
        .env("OMP_NUM_THREADS", "1")
        .envs(python.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null());
    command.stdout(briefing.program_output.try_clone()?).stderr(briefing.program_output.try_clone()?);
    sys::reset_signal(Signal::SIGXFSZ);
    SigSet::empty().thread_set_mask()?;
    Ok(command.exec())
}
