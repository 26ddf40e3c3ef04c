//! `start_response`, and the `write` that it returns (PEP 3333, "The start_response() Callable").

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use pyo3::PyTypeCheck;
use pyo3::exceptions::{PyAssertionError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use crate::current::{Number, use_call};
use crate::ffi::encode_latin1;
use crate::input::to_exception;

/// The callable for one request. Any thread of the application may call it.
#[pyclass(module = "_lsbaws", frozen)]
#[derive(Debug)]
pub(crate) struct StartResponse {
    request: Number,
    is_called: AtomicBool,
}

impl StartResponse {
    pub(crate) fn new(request: Number) -> Self {
        Self { request, is_called: AtomicBool::new(false) }
    }

    pub(crate) fn is_called(&self) -> bool {
        self.is_called.load(Relaxed)
    }
}

#[pymethods]
impl StartResponse {
    #[pyo3(signature = (status, headers, exc_info=None, /))]
    fn __call__(
        &self,
        py: Python<'_>,
        status: &Bound<'_, PyAny>,
        headers: &Bound<'_, PyAny>,
        exc_info: Option<Bound<'_, PyTuple>>,
    ) -> PyResult<Write> {
        if let Some(exc_info) = exc_info {
            if use_call(py, self.request, |call| call.has_begun())? {
                let error = exc_info.get_item(1)?;
                return Err(PyErr::from_value(error));
            }
        } else if self.is_called() {
            let sentence = "start_response was called already, and is called again without exc_info";
            return Err(PyAssertionError::new_err(sentence));
        }
        let status = encode_latin1(expect::<PyString>(status, "the status", "str")?)?;
        let headers: &Bound<'_, PyList> = expect(headers, "the headers", "a list")?;
        let mut fields = Vec::with_capacity(headers.len());
        for field in headers.iter() {
            let pair = expect::<PyTuple>(&field, "a header", "a tuple of two strings")?;
            if pair.len() != 2 {
                let sentence = format!("expected a header of two strings, found {}", pair.len());
                return Err(PyTypeError::new_err(sentence));
            }
            let (name, value) = (pair.get_item(0)?, pair.get_item(1)?);
            let name = encode_latin1(expect::<PyString>(&name, "the name of a header", "str")?)?;
            fields.push((name, encode_latin1(expect::<PyString>(&value, "the value of a header", "str")?)?));
        }
        use_call(py, self.request, |call| call.set_head(&status, &fields))?.map_err(PyValueError::new_err)?;
        self.is_called.store(true, Relaxed);
        Ok(Write { request: self.request })
    }
}

/// What sends content at once.
#[pyclass(module = "_lsbaws", frozen)]
#[derive(Debug)]
pub(crate) struct Write {
    request: Number,
}

#[pymethods]
impl Write {
    fn __call__(&self, py: Python<'_>, content: &Bound<'_, PyAny>) -> PyResult<()> {
        let content = expect::<PyBytes>(content, "content", "bytes")?.as_bytes();
        use_call(py, self.request, |call| call.send(content, false))?.map_err(to_exception)
    }
}

/// An object of this type.
///
/// # Errors
/// `TypeError`: `what` the object is for, and the type that is `expected`.
pub(crate) fn expect<'a, 'py, T: PyTypeCheck>(
    object: &'a Bound<'py, PyAny>,
    what: &str,
    expected: &str,
) -> PyResult<&'a Bound<'py, T>> {
    object.cast::<T>().map_err(|_| match object.get_type().name() {
        Ok(kind) => PyTypeError::new_err(format!("expected {what} as {expected}, found {kind}")),
        Err(error) => error,
    })
}
