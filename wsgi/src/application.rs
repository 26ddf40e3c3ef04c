//! Finding the applications.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyList;

/// Sets where modules are found, before those that are installed, and the arguments of a program that has none.
pub(crate) fn set_search_path(py: Python<'_>, search: Vec<String>) -> PyResult<()> {
    let sys = py.import("sys")?;
    let path = sys.getattr("path")?.cast_into::<PyList>()?;
    for (index, folder) in search.into_iter().enumerate() {
        path.insert(index, folder)?;
    }
    sys.setattr("argv", [""].as_slice())
}

/// Imports an application, or what is called in each child, by `MODULE:CALLABLE` or `MODULE:FACTORY()`.
pub(crate) fn load<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let (module, callable) = name.split_once(':').unwrap_or((name, "application"));
    let (path, is_factory) = match callable.strip_suffix("()") {
        Some(factory) => (factory, true),
        None => (callable, false),
    };
    let mut found = py.import(module)?.into_any();
    for attribute in path.split('.') {
        found = found.getattr(attribute)?;
    }
    if is_factory {
        found = found.call0()?;
    }
    if !found.is_callable() {
        let kind = found.get_type().name()?;
        return Err(PyTypeError::new_err(format!("{name} is not callable: it is of type {kind}")));
    }
    Ok(found)
}
