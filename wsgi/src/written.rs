//! Which files applications write while they are loaded: an audit hook (PEP 578) learns of them.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

/// Paths kept at most. An application that writes more is loaded again once more than it needs.
const FILES_MAX: usize = 10_000;

/// The hook, which Python calls as long as the process lives.
#[pyclass(module = "_lsbaws", frozen)]
#[derive(Debug)]
pub(crate) struct Written {
    /// `None`: files are not recorded any more.
    files: Mutex<Option<Vec<PathBuf>>>,
}

/// Begins to record.
pub(crate) fn record(py: Python<'_>) -> PyResult<Py<Written>> {
    let written = Py::new(py, Written { files: Mutex::new(Some(Vec::new())) })?;
    py.import("sys")?.call_method1("addaudithook", (&written,))?;
    Ok(written)
}

impl Written {
    /// Ends the recording. Returns absolute paths.
    pub(crate) fn take(&self) -> Vec<PathBuf> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }

    fn add(&self, path: PathBuf) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(files) = files.as_mut().filter(|files| files.len() < FILES_MAX)
            && files.last() != Some(&path)
        {
            files.push(path);
        }
    }
}

#[pymethods]
impl Written {
    /// An error would be raised in what the application does.
    fn __call__(&self, event: &Bound<'_, PyString>, arguments: &Bound<'_, PyTuple>) {
        let is_of_interest = event.to_cow().is_ok_and(|event| matches!(&*event, "open" | "os.rename"));
        if is_of_interest && let Ok(Some(path)) = find_written(arguments) {
            self.add(path);
        }
    }
}

/// The path of `open(path, mode, flags)` for writing, or the new one of `os.rename(from, to, ..)`.
fn find_written(arguments: &Bound<'_, PyTuple>) -> PyResult<Option<PathBuf>> {
    let is_open = arguments.len() == 3;
    if is_open && arguments.get_item(2)?.extract::<i32>()? & libc::O_ACCMODE == libc::O_RDONLY {
        return Ok(None);
    }
    let path: PathBuf = arguments.get_item(if is_open { 0 } else { 1 })?.extract()?;
    Ok(std::path::absolute(path).ok())
}
