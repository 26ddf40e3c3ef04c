//! Calls an application, and sends what it returns (PEP 3333, "Buffering and Streaming").

use std::os::fd::AsFd;

use pyo3::exceptions::PyAssertionError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use crate::current::{Number, use_call};
use crate::ffi::borrow_file;
use crate::file::FileWrapper;
use crate::input::to_exception;
use crate::start_response::{StartResponse, expect};

/// The response of an application to one request.
struct Response<'a, 'py> {
    py: Python<'py>,
    request: Number,
    start: &'a Bound<'py, StartResponse>,
}

/// Lets the application answer the request.
///
/// # Errors
/// What it raises, and what is wrong with its response.
pub(crate) fn respond<'py>(
    application: &Bound<'py, PyAny>,
    environ: Bound<'py, PyDict>,
    request: Number,
) -> PyResult<()> {
    let py = application.py();
    let start = Bound::new(py, StartResponse::new(request))?;
    let result = application.call1((environ, &start))?;
    let response = Response { py, request, start: &start };
    let sent = response.send(&result);
    // In any case (PEP 3333): the application may have files to close.
    let closed = close(&result);
    match (sent, closed) {
        (Err(error), Err(other)) => {
            other.write_unraisable(py, Some(&result));
            Err(error)
        }
        (sent, closed) => sent.and(closed),
    }
}

fn close(result: &Bound<'_, PyAny>) -> PyResult<()> {
    // These have no such method, and to find that out takes an exception.
    if result.is_exact_instance_of::<PyList>() || result.is_exact_instance_of::<PyTuple>() {
        return Ok(());
    }
    match result.getattr_opt("close")? {
        Some(close) => close.call0().map(drop),
        None => Ok(()),
    }
}

impl<'py> Response<'_, 'py> {
    /// Sends the whole response: the client waits for nothing that the application does afterwards.
    fn send(&self, result: &Bound<'py, PyAny>) -> PyResult<()> {
        self.send_content(result)?;
        use_call(self.py, self.request, |call| call.end())?.map_err(to_exception)
    }

    fn send_content(&self, result: &Bound<'py, PyAny>) -> PyResult<()> {
        if let Some(parts) = to_parts(result)? {
            return self.send_parts(&parts);
        }
        if let Ok(wrapper) = result.cast_exact::<FileWrapper>()
            && let Some((number, position, length)) = wrapper.get().find_rest(self.py)
        {
            self.check_started()?;
            return use_call(self.py, self.request, |call| {
                call.send_file(borrow_file(number).as_fd(), position, length)
            })?
            .map_err(to_exception);
        }
        for part in result.try_iter()? {
            let part = part?;
            let part = to_bytes(&part)?;
            if part.is_empty() {
                continue;
            }
            self.check_started()?;
            use_call(self.py, self.request, |call| call.send(part, false))?.map_err(to_exception)?;
            if use_call(self.py, self.request, |call| call.is_without_content())? {
                return Ok(());
            }
        }
        self.check_started()?;
        use_call(self.py, self.request, |call| call.begin(Some(0)))?.map_err(to_exception)
    }

    /// The whole content is known: so is its length.
    fn send_parts(&self, parts: &[Bound<'py, PyBytes>]) -> PyResult<()> {
        self.check_started()?;
        let parts: Vec<_> = parts.iter().map(|part| part.as_bytes()).collect();
        let length = parts.iter().map(|part| part.len() as u64).sum();
        use_call(self.py, self.request, |call| {
            // That of the answer to GET, which an application may have left out (RFC 9110, section 8.6).
            let is_head = call.is_without_content() && length == 0;
            call.begin((!is_head).then_some(length))?;
            parts.iter().try_for_each(|part| call.send(part, true))
        })?
        .map_err(to_exception)
    }

    fn check_started(&self) -> PyResult<()> {
        match self.start.get().is_called() {
            true => Ok(()),
            false => Err(PyAssertionError::new_err("the application has not called start_response")),
        }
    }
}

/// The content, if all of it is there already: a list or a tuple.
fn to_parts<'py>(result: &Bound<'py, PyAny>) -> PyResult<Option<Vec<Bound<'py, PyBytes>>>> {
    let items: Vec<_> = if let Ok(list) = result.cast_exact::<PyList>() {
        list.iter().collect()
    } else if let Ok(tuple) = result.cast_exact::<PyTuple>() {
        tuple.iter().collect()
    } else {
        return Ok(None);
    };
    for item in &items {
        to_bytes(item)?;
    }
    let parts = items.into_iter().map(|item| item.cast_into::<PyBytes>());
    Ok(Some(parts.collect::<Result<_, _>>()?))
}

fn to_bytes<'a>(part: &'a Bound<'_, PyAny>) -> PyResult<&'a [u8]> {
    Ok(expect::<PyBytes>(part, "content", "bytes")?.as_bytes())
}
