//! `wsgi.input`: the content of a request, as a file (PEP 3333, "Input and Error Streams").

use lsbaws::runtime::Interruption;
use pyo3::exceptions::{PyConnectionResetError, PyOSError, PyTimeoutError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::current::{Number, use_call};

/// Bytes read at once.
const PART: usize = 64 * 1024;

/// The content of one request.
#[pyclass(module = "_lsbaws")]
#[derive(Debug)]
pub(crate) struct Input {
    request: Number,
    /// Bytes that were read ahead for a line, from `start` on.
    ahead: Vec<u8>,
    start: usize,
    is_ended: bool,
}

/// The exception for a request that cannot be read or answered.
pub(crate) fn to_exception(interruption: Interruption) -> PyErr {
    match interruption {
        Interruption::Gone => PyConnectionResetError::new_err("the client has gone"),
        Interruption::TimedOut => PyTimeoutError::new_err("the client is too slow"),
        Interruption::Invalid(reason) => PyOSError::new_err(reason),
    }
}

impl Input {
    pub(crate) fn new(request: Number) -> Self {
        Self { request, ahead: Vec::new(), start: 0, is_ended: false }
    }

    /// Reads ahead until there are `limit` bytes, the content ends, or `is_enough`, which is called with what each read adds.
    fn fill(
        &mut self,
        py: Python<'_>,
        limit: usize,
        is_enough: impl Fn(&[u8]) -> bool + Send,
    ) -> PyResult<()> {
        if self.start > 0 {
            self.ahead.drain(..self.start);
            self.start = 0;
        }
        let (ahead, is_ended) = (&mut self.ahead, &mut self.is_ended);
        if *is_ended || ahead.len() >= limit {
            return Ok(());
        }
        use_call(py, self.request, move |call| {
            loop {
                let filled = ahead.len();
                ahead.resize(filled + PART, 0);
                let read = call.read(&mut ahead[filled..]);
                ahead.truncate(filled + read.unwrap_or(0));
                *is_ended = read? == 0;
                if *is_ended || ahead.len() >= limit || is_enough(&ahead[filled..]) {
                    return Ok(());
                }
            }
        })?
        .map_err(to_exception)
    }

    fn take<'py>(&mut self, py: Python<'py>, length: usize) -> Bound<'py, PyBytes> {
        let length = length.min(self.ahead.len() - self.start);
        let bytes = PyBytes::new(py, &self.ahead[self.start..self.start + length]);
        self.start += length;
        bytes
    }

    /// The next line, of at most `limit` bytes.
    fn take_line<'py>(&mut self, py: Python<'py>, limit: usize) -> PyResult<Bound<'py, PyBytes>> {
        let find = |bytes: &[u8]| bytes.iter().take(limit).position(|&byte| byte == b'\n').map(|at| at + 1);
        let mut end = find(&self.ahead[self.start..]);
        if end.is_none() {
            self.fill(py, limit, |added| added.contains(&b'\n'))?;
            end = find(&self.ahead[self.start..]);
        }
        let length = end.unwrap_or(limit);
        Ok(self.take(py, length))
    }
}

/// None and negative numbers mean everything.
fn to_limit(size: Option<isize>) -> usize {
    size.and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX)
}

#[pymethods]
impl Input {
    #[pyo3(signature = (size=None, /))]
    fn read<'py>(&mut self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        let limit = to_limit(size);
        if self.ahead.len() - self.start < limit {
            self.fill(py, limit, |_| false)?;
        }
        Ok(self.take(py, limit))
    }

    #[pyo3(signature = (size=None, /))]
    fn readline<'py>(&mut self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        self.take_line(py, to_limit(size))
    }

    #[pyo3(signature = (hint=None, /))]
    fn readlines<'py>(&mut self, py: Python<'py>, hint: Option<isize>) -> PyResult<Bound<'py, PyList>> {
        let lines = PyList::empty(py);
        let (limit, mut total) =
            (hint.filter(|&hint| hint > 0).map_or(usize::MAX, |hint| to_limit(Some(hint))), 0);
        while total < limit {
            let line = self.take_line(py, usize::MAX)?;
            match line.as_bytes().len() {
                0 => break,
                length => total += length,
            }
            lines.append(line)?;
        }
        Ok(lines)
    }

    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let line = self.take_line(py, usize::MAX)?;
        Ok((!line.as_bytes().is_empty()).then_some(line))
    }

    /// Some applications close it. The connection stays open.
    fn close(&self) {}
}
