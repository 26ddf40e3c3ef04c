//! `wsgi.file_wrapper`: a file as the content of a response, which the kernel sends (PEP 3333, "Optional Platform-Specific
//! File Handling").

use std::fs::Metadata;
use std::os::fd::RawFd;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::ffi::borrow_file;

/// Bytes of a block, if the application does not say how many.
const BLOCK: usize = 8192;

/// A file, and an iterable of its blocks.
#[pyclass(module = "_lsbaws")]
#[derive(Debug)]
pub(crate) struct FileWrapper {
    file: Py<PyAny>,
    block: usize,
}

impl FileWrapper {
    /// The part of a regular file that is left, by its descriptor, position and length; `None` for other objects.
    pub(crate) fn find_rest(&self, py: Python<'_>) -> Option<(RawFd, u64, u64)> {
        let file = self.file.bind(py);
        let number: RawFd = file.call_method0("fileno").ok()?.extract().ok()?;
        let position: u64 = file.call_method0("tell").ok()?.extract().ok()?;
        let metadata = borrow_file(number).metadata().ok().filter(Metadata::is_file)?;
        Some((number, position, metadata.len().saturating_sub(position)))
    }
}

#[pymethods]
impl FileWrapper {
    #[new]
    #[pyo3(signature = (file, block_size=BLOCK, /))]
    fn new(file: Py<PyAny>, block_size: usize) -> Self {
        Self { file, block: block_size }
    }

    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let block = self.file.bind(py).call_method1("read", (self.block,))?;
        let is_end = block.cast::<PyBytes>().is_ok_and(|bytes| bytes.as_bytes().is_empty());
        Ok((!is_end).then_some(block))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.file.bind(py).getattr_opt("close")? {
            Some(close) => close.call0().map(drop),
            None => Ok(()),
        }
    }
}
