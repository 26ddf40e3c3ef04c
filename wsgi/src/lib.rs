//! What Python imports of lsbaws: the fork server of WSGI applications (PEP 3333). The interpreter loads the applications
//! once; each connection gets a fork of it, with the session and the HTTP code of every other child of lsbaws.
//!
//! The supervisor executes the interpreter; src/forkserver/interpreter.rs of lsbaws says how.

mod application;
#[expect(unsafe_code, reason = "the doors to the C interface of Python, and to the request that is answered")]
mod current;
mod environ;
#[expect(unsafe_code, reason = "the doors to the C interface of Python")]
mod ffi;
mod file;
mod input;
mod output;
mod respond;
mod runtime;
mod start_response;
mod written;

use std::io::Write;

use pyo3::prelude::*;

use runtime::Interpreter;

/// The exit code of sysexits.h for a fork server that cannot start, or go on.
const EXIT_SYSTEM: u8 = 71;

/// Serves the supervisor that has started this process, of the same build and with the briefing in this descriptor.
/// `search`: where modules are found.
#[pyfunction]
fn serve(py: Python<'_>, briefing: i32, search: Vec<String>) -> PyResult<()> {
    let outputs = output::replace_standard_streams(py)?;
    py.import("traceback")?; // once for all children, and not one of the application
    application::set_search_path(py, search)?;
    let interpreter: &'static Interpreter = Box::leak(Box::new(Interpreter::new(outputs)));
    let code = lsbaws::serve_applications(briefing, interpreter).unwrap_or_else(|sentence| {
        let _ = writeln!(std::io::stderr(), "{sentence}"); // nothing else could be done
        EXIT_SYSTEM
    });
    // Nothing is finalized: that would wait for threads of the application, and remove its temporary files under the children
    // that still serve.
    ffi::exit_now(code.into())
}

#[pymodule(name = "_lsbaws")]
fn extension(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("__build__", lsbaws::runtime::BUILD)?;
    module.add_function(wrap_pyfunction!(serve, module)?)?;
    module.add_class::<file::FileWrapper>()
}
