//! The environment of a request (PEP 3333, "environ Variables").

use lsbaws::runtime::{Call, SERVER_SOFTWARE};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::ffi::decode_latin1;
use crate::file::FileWrapper;
use crate::input::Input;

/// What all requests have in common. Made before the forks.
#[derive(Debug)]
pub(crate) struct Environ(Py<PyDict>);

impl Environ {
    /// `is_once`: a process answers one request.
    pub(crate) fn new(py: Python<'_>, is_once: bool) -> PyResult<Self> {
        let common = PyDict::new(py);
        common.set_item("SERVER_SOFTWARE", SERVER_SOFTWARE)?;
        common.set_item("wsgi.version", PyTuple::new(py, [1, 0])?)?;
        common.set_item("wsgi.errors", py.import("sys")?.getattr("stderr")?)?;
        common.set_item("wsgi.multithread", false)?;
        common.set_item("wsgi.multiprocess", true)?;
        common.set_item("wsgi.run_once", is_once)?;
        // The input ends where the content ends, whatever CONTENT_LENGTH says.
        common.set_item("wsgi.input_terminated", true)?;
        common.set_item("wsgi.file_wrapper", py.get_type::<FileWrapper>())?;
        Ok(Self(common.unbind()))
    }

    /// That of one request.
    pub(crate) fn describe<'py>(&self, py: Python<'py>, call: &dyn Call) -> PyResult<Bound<'py, PyDict>> {
        let environ = self.0.bind(py).copy()?;
        let mut result = Ok(());
        call.describe(&mut |name, value| {
            let set = || environ.set_item(PyString::intern(py, name), decode_latin1(py, value)?);
            if result.is_ok() {
                result = set();
            }
        });
        result.map(|()| environ)
    }

    pub(crate) fn set_input(environ: &Bound<'_, PyDict>, input: Input) -> PyResult<()> {
        environ.set_item("wsgi.input", input)
    }
}
