//! Standard output and standard error of Python: lines for the journal, with the connection whose request is being answered.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyBytes, PyMemoryView};

use crate::current::use_current;

/// Bytes of a line. A longer one is split.
const LINE_MAX: usize = 2048;

/// What a text stream of Python writes to: a raw binary stream. Any thread of the application may write.
#[pyclass(module = "_lsbaws", frozen)]
#[derive(Debug)]
pub(crate) struct Output {
    /// The value of the attribute `name`.
    name: String,
    /// A line whose end has not come. The lock is held while the thread has the interpreter, and by no thread that waits.
    line: Mutex<Vec<u8>>,
}

impl Output {
    /// Adds bytes. Returns the lines that have ended.
    fn add(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = Vec::new();
        for &byte in bytes {
            if byte == b'\n' || line.len() == LINE_MAX {
                lines.push(std::mem::take(&mut *line));
            }
            if byte != b'\n' {
                line.push(byte);
            }
        }
        lines
    }

    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.line.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn write_line(py: Python<'_>, line: Vec<u8>) {
    if line.is_empty() {
        return;
    }
    use_current(py, move |current| match current {
        Some((_, call)) => call.log_output(&line),
        None => write_to_stderr(line),
    });
}

/// While no request is being answered, as during an import: the log of programs of the service, or of the daemon.
fn write_to_stderr(mut line: Vec<u8>) {
    line.push(b'\n');
    let _ = std::io::stderr().write_all(&line); // nothing else could be done
}

#[pymethods]
impl Output {
    /// Of whatever has bytes, as all binary streams of Python.
    fn write(&self, content: &Bound<'_, PyAny>) -> PyResult<usize> {
        let py = content.py();
        let bytes = match content.cast::<PyBytes>() {
            Ok(bytes) => bytes.clone(),
            Err(_) => PyMemoryView::from(content)?.call_method0("tobytes")?.cast_into::<PyBytes>()?,
        };
        let bytes = bytes.as_bytes();
        self.add(bytes).into_iter().for_each(|line| write_line(py, line));
        Ok(bytes.len())
    }

    fn writelines(&self, lines: &Bound<'_, PyAny>) -> PyResult<()> {
        lines.try_iter()?.try_for_each(|line| self.write(&line?).map(drop))
    }

    /// Lines are written when they end. What has no end yet waits for it, or for the end of the request.
    fn flush(&self) {}

    fn finish(&self, py: Python<'_>) {
        write_line(py, self.take());
    }

    fn readable(&self) -> bool {
        false
    }

    fn writable(&self) -> bool {
        true
    }

    fn seekable(&self) -> bool {
        false
    }

    fn isatty(&self) -> bool {
        false
    }

    fn fileno(&self) -> i32 {
        2
    }

    fn close(&self) {}

    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    #[getter]
    fn closed(&self) -> bool {
        false
    }
}

/// The streams that Python writes to by default, and whose lines the journal gets.
#[derive(Debug)]
pub(crate) struct Outputs(Vec<Py<Output>>);

impl Outputs {
    /// Writes lines that have no end.
    pub(crate) fn finish(&self, py: Python<'_>) {
        for output in &self.0 {
            output.get().finish(py);
        }
    }
}

/// Replaces `sys.stdout` and `sys.stderr`.
pub(crate) fn replace_standard_streams(py: Python<'_>) -> PyResult<Outputs> {
    let (io, sys) = (py.import("io")?, py.import("sys")?);
    let mut outputs = Vec::new();
    for name in ["stdout", "stderr"] {
        let output = Py::new(py, Output { name: format!("<{name}>"), line: Mutex::default() })?;
        let terms = [("encoding", "utf-8"), ("errors", "backslashreplace")].into_py_dict(py)?;
        terms.set_item("write_through", true)?;
        let stream = io.getattr("TextIOWrapper")?.call((&output,), Some(&terms))?;
        stream.setattr("mode", "w")?;
        sys.setattr(name, &stream)?;
        sys.setattr(format!("__{name}__"), stream)?;
        outputs.push(output);
    }
    Ok(Outputs(outputs))
}
