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
#[pyclass(module = "_lsbaws", frozen)]
#[derive(Debug)]
pub(crate) struct FileWrapper {
    file: Py<PyAny>,
    block: usize,
}

impl FileWrapper {
    /// The part of a regular file that is left, by its descriptor, position and length; `None` for other objects.
    ///
    /// Only for the objects that `open` makes: what others read need not be what is in the file, such as `gzip.GzipFile`,
    /// which has a descriptor too.
    pub(crate) fn find_rest(&self, py: Python<'_>) -> Option<(RawFd, u64, u64)> {
        let file = find_plain(self.file.bind(py)).ok()??;
        let number: RawFd = file.call_method0("fileno").ok()?.extract().ok()?;
        let position: u64 = file.call_method0("tell").ok()?.extract().ok()?;
        let metadata = borrow_file(number).metadata().ok().filter(Metadata::is_file)?;
        Some((number, position, metadata.len().saturating_sub(position)))
    }
}

/// The object, if it reads what is in its file.
fn find_plain<'py>(file: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let io = file.py().import("io")?;
    let is = |object: &Bound<'_, PyAny>, name: &str| Ok::<_, PyErr>(object.get_type().is(io.getattr(name)?));
    let mut file = file.clone();
    let temporary = file.get_type().fully_qualified_name()?;
    if temporary == "tempfile._TemporaryFileWrapper" {
        file = file.getattr("file")?;
    }
    let is_buffered = is(&file, "BufferedReader")? || is(&file, "BufferedRandom")?;
    let is_plain = match is_buffered {
        true => is(&file.getattr("raw")?, "FileIO")?,
        false => is(&file, "FileIO")?,
    };
    Ok(is_plain.then_some(file))
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
