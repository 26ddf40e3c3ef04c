//! `start_response`, and the `write` that it returns (PEP 3333, "The start_response() Callable").

use pyo3::exceptions::{PyAssertionError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use crate::current::{Number, use_call};
use crate::ffi::encode_latin1;
use crate::input::to_exception;

/// The callable for one request.
#[pyclass(module = "_lsbaws")]
#[derive(Debug)]
pub(crate) struct StartResponse {
    request: Number,
    is_called: bool,
}

impl StartResponse {
    pub(crate) fn new(request: Number) -> Self {
        Self { request, is_called: false }
    }

    pub(crate) fn is_called(&self) -> bool {
        self.is_called
    }
}

#[pymethods]
impl StartResponse {
    #[pyo3(signature = (status, headers, exc_info=None, /))]
    fn __call__(
        &mut self,
        py: Python<'_>,
        status: &Bound<'_, PyString>,
        headers: &Bound<'_, PyList>,
        exc_info: Option<Bound<'_, PyTuple>>,
    ) -> PyResult<Write> {
        if let Some(exc_info) = exc_info {
            if use_call(py, self.request, |call| call.has_begun())? {
                let error = exc_info.get_item(1)?;
                return Err(PyErr::from_value(error));
            }
        } else if self.is_called {
            let sentence = "start_response was called already, and is called again without exc_info";
            return Err(PyAssertionError::new_err(sentence));
        }
        let status = encode_latin1(status)?;
        let mut fields = Vec::with_capacity(headers.len());
        for field in headers.iter() {
            let (name, value): (Bound<'_, PyString>, Bound<'_, PyString>) = field.extract()?;
            fields.push((encode_latin1(&name)?, encode_latin1(&value)?));
        }
        use_call(py, self.request, |call| call.set_head(&status, &fields))?.map_err(PyValueError::new_err)?;
        self.is_called = true;
        Ok(Write { request: self.request })
    }
}

/// What sends content at once.
#[pyclass(module = "_lsbaws")]
#[derive(Debug)]
pub(crate) struct Write {
    request: Number,
}

#[pymethods]
impl Write {
    fn __call__(&self, py: Python<'_>, content: &Bound<'_, PyBytes>) -> PyResult<()> {
        let content = content.as_bytes();
        use_call(py, self.request, |call| call.send(content, false))?.map_err(to_exception)
    }
}
