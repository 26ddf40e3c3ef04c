//! The interpreter, as the fork server uses it.

use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::path::PathBuf;

use lsbaws::runtime::{Call, LoadError, Loading, Runtime};
use pyo3::call::PyCallArgs;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyType};

use crate::current::{enter_process, is_own_process, use_current, with_current};
use crate::environ::Environ;
use crate::input::Input;
use crate::output::Outputs;
use crate::respond::respond;
use crate::start_response::{StartResponse, Write};
use crate::written::Written;
use crate::{application, ffi, written};

/// What is logged of an exception: the client waits for that. Bytes of a line, and the last lines.
const LINE_MAX: usize = 1000;
const LINES_MAX: usize = 100;

/// The interpreter of this process. It is attached to the thread that calls it.
pub(crate) struct Interpreter {
    outputs: Outputs,
    loaded: OnceCell<Loaded>,
    /// Why this process, a child, cannot answer: `on_fork` has raised this.
    failed: RefCell<Option<PyErr>>,
    /// Where that is recorded.
    written: OnceCell<Py<Written>>,
}

impl fmt::Debug for Interpreter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interpreter")
    }
}

/// What all children have.
struct Loaded {
    applications: Vec<(String, Py<PyAny>)>,
    on_fork: Option<Py<PyAny>>,
    environ: Environ,
}

impl Interpreter {
    pub(crate) fn new(outputs: Outputs) -> Self {
        let (loaded, failed, written) = (OnceCell::new(), RefCell::new(None), OnceCell::new());
        Self { outputs, loaded, failed, written }
    }

    /// Loads what children need, and applications: the error names the one that cannot be loaded.
    fn try_load(py: Python<'_>, loading: &Loading<'_>) -> Result<Loaded, LoadError> {
        let fail = |name: &str, error: &PyErr| {
            let (summary, others) = describe(py, error);
            LoadError { sentence: format!("unable to load {name}: {summary}"), details: others.join("\n") }
        };
        let prepare = || {
            warm_up(py)?;
            py.import("faulthandler")?.call_method0("enable")?;
            Environ::new(py, loading.is_once)
        };
        let environ = prepare().map_err(|error| fail("the modules of Python", &error))?;
        let mut applications: Vec<(String, Py<PyAny>)> = Vec::new();
        for name in loading.applications {
            if applications.iter().all(|(own, _)| own != name) {
                let application = application::load(py, name).map_err(|error| fail(name, &error))?;
                applications.push(((*name).to_owned(), application.unbind()));
            }
        }
        let on_fork = loading
            .on_fork
            .map(|name| application::load(py, name).map(Bound::unbind).map_err(|error| fail(name, &error)));
        Ok(Loaded { applications, on_fork: on_fork.transpose()?, environ })
    }

    fn try_answer(&self, py: Python<'_>, name: &str, call: &mut dyn Call) -> Result<(), String> {
        let Some(loaded) = self.loaded.get() else { return Err("no application is loaded".into()) };
        let found = loaded.applications.iter().find(|(own, _)| own == name);
        let Some((_, application)) = found else { return Err("the application is not loaded".into()) };
        let environ = loaded.environ.describe(py, call);
        with_current(py, call, |request| {
            let answer = || {
                if let Some(error) = &*self.failed.borrow() {
                    return Err(error.clone_ref(py));
                }
                let environ = environ?;
                Environ::set_input(&environ, Input::new(request))?;
                respond(application.bind(py), environ, request)
            };
            let result = answer();
            if !is_own_process() {
                ffi::exit_now(0); // one that the application has forked, and that has come back from it
            }
            let result = result.map_err(|error| describe_failure(py, &error));
            self.outputs.finish(py);
            result
        })
    }
}

/// The summary of an exception; the other lines go to the journal, unless the client is to blame.
fn describe_failure(py: Python<'_>, error: &PyErr) -> String {
    let (summary, others) = describe(py, error);
    use_current(py, |current| {
        let Some((_, call)) = current.filter(|(_, call)| !call.is_interrupted()) else { return };
        others.iter().for_each(|line| call.log_output(line.as_bytes()));
    });
    summary
}

/// The line of an exception with its type and the first line of its message, and the other lines of the traceback.
fn describe(py: Python<'_>, error: &PyErr) -> (String, Vec<String>) {
    let (value, kind) = (error.value(py), error.get_type(py));
    let lines = format(py, "format_exception", (&kind, value, error.traceback(py)));
    let mut lines = lines.unwrap_or_else(|_| vec![error.to_string()]);
    let own = format(py, "format_exception_only", (&kind, value)).unwrap_or_default();
    // A syntax error has its place before it, and notes follow.
    let name = name_type(&kind).unwrap_or_default();
    let summary = own.iter().find(|line| line.starts_with(&name)).or(own.last()).or(lines.last());
    let summary = summary.cloned().unwrap_or_default();
    if let Some(index) = lines.iter().rposition(|line| *line == summary) {
        lines.remove(index);
    }
    lines.drain(..lines.len().saturating_sub(LINES_MAX));
    (summary, lines)
}

/// The name of the type of an exception, as a traceback has it.
fn name_type(kind: &Bound<'_, PyType>) -> PyResult<String> {
    let (module, name) = (kind.getattr("__module__")?.to_string(), kind.qualname()?.to_string());
    Ok(if matches!(&*module, "builtins" | "__main__") { name } else { format!("{module}.{name}") })
}

/// The lines that a function of the module `traceback` gives.
fn format<'py, A: PyCallArgs<'py>>(py: Python<'py>, function: &str, arguments: A) -> PyResult<Vec<String>> {
    let parts = py.import("traceback")?.getattr(function)?.call1(arguments)?;
    let text = parts.cast_into::<PyList>()?.iter().map(|part| part.extract::<String>());
    let text = text.collect::<PyResult<Vec<_>>>()?.concat();
    let cut = |line: &str| line[..line.floor_char_boundary(LINE_MAX)].to_owned();
    Ok(text.lines().filter(|line| !line.is_empty()).map(cut).collect())
}

/// Makes what every child would make for itself otherwise: pyo3 makes a type when it is first used.
fn warm_up(py: Python<'_>) -> PyResult<()> {
    for kind in [py.get_type::<Input>(), py.get_type::<StartResponse>(), py.get_type::<Write>()] {
        kind.getattr("__name__")?;
    }
    Ok(())
}

/// Collects what can be collected, and takes what is left out of later collections, which would copy its pages in every child.
fn freeze(py: Python<'_>) -> PyResult<()> {
    let gc = py.import("gc")?;
    gc.call_method0("collect")?;
    gc.call_method0("freeze").map(drop)
}

/// All threads of this process.
fn count_threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

/// Lets libraries end threads that no fork has. A warning, if they do not return from that.
fn end_library_threads(py: Python<'_>) -> Option<String> {
    let has_ended = count_threads() == 1 || ffi::run_fork_handlers(py);
    (!has_ended).then(|| {
        let seconds = ffi::HANDLERS_TIMEOUT.as_secs();
        format!(
            "handlers of pthread_atfork(3) have not returned in a child within {seconds}s; killed that child"
        )
    })
}

/// The threads of Python beside this one, for a warning.
fn find_threads(py: Python<'_>) -> PyResult<Vec<String>> {
    // Not imported for that: each child would run what it does after a fork, for a hundred page faults.
    let modules = py.import("sys")?.getattr("modules")?.cast_into::<PyDict>()?;
    let Some(threading) = modules.get_item("threading")? else { return Ok(Vec::new()) };
    let threads = threading.call_method0("enumerate")?.cast_into::<PyList>()?;
    let names = threads.iter().skip(1).map(|thread| thread.getattr("name")?.extract::<String>());
    names.collect()
}

/// A warning, if there are other threads than this one.
fn describe_threads(py: Python<'_>) -> Option<String> {
    let threads = find_threads(py).unwrap_or_default();
    let others = count_threads().saturating_sub(threads.len() + 1);
    let named = match (threads.join(", "), others) {
        (names, 0) if names.is_empty() => return None,
        (names, 0) => names,
        (names, others) if names.is_empty() => format!("{others} of libraries"),
        (names, others) => format!("{names}, and {others} of libraries"),
    };
    Some(format!("the application has started threads, which its processes do not have: {named}"))
}

impl Runtime for Interpreter {
    fn load(&self, loading: &Loading<'_>) -> Result<(), LoadError> {
        enter_process(); // for the requests before the first fork
        Python::attach(|py| {
            if loading.records_writes
                && let Ok(written) = written::record(py)
            {
                let _ = self.written.set(written); // called once
            }
            let loaded = Self::try_load(py, loading).inspect_err(|_| self.outputs.finish(py));
            if !is_own_process() {
                ffi::exit_now(0); // one that the import has forked, and that has come back from it
            }
            let _ = self.loaded.set(loaded?); // called once
            self.outputs.finish(py);
            Ok(())
        })
    }

    fn settle(&self) -> Result<Vec<String>, String> {
        Python::attach(|py| {
            let warnings = [end_library_threads(py), describe_threads(py)].into_iter().flatten().collect();
            freeze(py).map_err(|error| format!("unable to freeze the objects of Python: {error}"))?;
            Ok(warnings)
        })
    }

    fn take_written(&self) -> Vec<PathBuf> {
        self.written.get().map_or_else(Vec::new, |written| written.get().take())
    }

    fn before_fork(&self) {
        Python::attach(ffi::before_fork);
    }

    fn after_fork_in_parent(&self) {
        Python::attach(ffi::after_fork_in_parent);
    }

    fn after_fork_in_child(&self) -> Result<(), LoadError> {
        enter_process();
        Python::attach(|py| {
            ffi::after_fork_in_child(py);
            let Some(on_fork) = self.loaded.get().and_then(|loaded| loaded.on_fork.as_ref()) else {
                return Ok(());
            };
            let result = on_fork.call0(py);
            if !is_own_process() {
                ffi::exit_now(0); // one that on_fork has forked
            }
            result.map(drop).map_err(|error| {
                let (summary, others) = describe(py, &error);
                self.failed.replace(Some(error));
                LoadError { sentence: format!("on_fork failed: {summary}"), details: others.join("\n") }
            })
        })
    }

    fn detach(&self, action: &mut dyn FnMut()) {
        Python::attach(|py| ffi::detached(py, action));
    }

    fn handle_signals(&self) -> bool {
        Python::attach(|py| {
            let Err(error) = py.check_signals() else { return true };
            error.write_unraisable(py, None);
            self.outputs.finish(py);
            false
        })
    }

    fn answer(&self, application: &str, call: &mut dyn Call) -> Result<(), String> {
        Python::attach(|py| self.try_answer(py, application, call))
    }
}
