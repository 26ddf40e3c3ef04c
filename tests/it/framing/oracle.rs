//! hyper without a socket: all input is available at once, so that nothing depends on time. Fuzz targets use it too.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use hyper::body::{Body, Bytes, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::{Request, Response};

/// The output of hyper for a client that sends `bytes` and closes its sending side.
pub fn serve<F>(bytes: &[u8], answer: impl Fn(Request<Incoming>) -> F) -> Vec<u8>
where
    F: Future<Output = Result<Response<String>, Infallible>>,
{
    let mut wire = Wire { input: Bytes::copy_from_slice(bytes), output: Vec::new() };
    let mut builder = Builder::new();
    builder.half_close(true).header_read_timeout(None);
    let mut connection = pin!(builder.serve_connection(&mut wire, service_fn(answer)));
    // Both directions are always ready, so it only yields now and then. Its output shows whether it failed.
    let mut poll = || connection.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
    assert!((0..10_000).any(|_| poll()), "hyper does not finish");
    wire.output
}

/// The whole content; `None` if it is invalid or incomplete.
pub async fn read_content(body: &mut Incoming) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
        if let Ok(data) = frame.ok()?.into_data() {
            content.extend_from_slice(&data);
        }
    }
    Some(content)
}

/// The other end of a connection.
struct Wire {
    input: Bytes,
    output: Vec<u8>,
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let count = buffer.remaining().min(self.input.len());
        let piece = self.input.split_to(count);
        buffer.put_slice(&piece);
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.output.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
