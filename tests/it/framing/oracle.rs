//! hyper, with a service that answers as the routes of the daemon do. Without a socket: it reads all there is at
//! once, so that nothing depends on time.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use hyper::body::{Body, Bytes, Incoming};
use hyper::header::HOST;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};

/// What hyper sends to a client that sends `bytes` and ends its side.
pub fn serve(bytes: &[u8]) -> Vec<u8> {
    let mut wire = Wire { input: Bytes::copy_from_slice(bytes), output: Vec::new() };
    let mut builder = Builder::new();
    builder.half_close(true).header_read_timeout(None);
    let mut connection = pin!(builder.serve_connection(&mut wire, service_fn(answer)));
    // Both ends are always ready, so it has no reason to wait, but lets others have a turn now and then. Whether it
    // ended well shows in what it sent.
    let mut poll = || connection.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
    assert!((0..10_000).any(|_| poll()), "hyper waits for something");
    wire.output
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let content = read_content(request.body_mut()).await;
    let (mut response, uri) = (Response::new(String::new()), request.uri());
    let Some(content) = content else {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(response);
    };
    let method_status = match *request.method() {
        Method::GET | Method::HEAD => StatusCode::OK,
        Method::OPTIONS if uri.path() == "*" => StatusCode::OK,
        Method::OPTIONS | Method::POST | Method::PUT | Method::DELETE | Method::PATCH | Method::TRACE => {
            StatusCode::METHOD_NOT_ALLOWED
        }
        _ => StatusCode::NOT_IMPLEMENTED,
    };
    let (status, text) = match uri.path() {
        "/last" => (StatusCode::OK, "last".into()),
        "/echo" => (StatusCode::OK, String::from_utf8(content).unwrap()),
        path => match path.strip_prefix("/where/") {
            Some(rest) => {
                let host = uri.host().or(request.headers().get(HOST).and_then(|host| host.to_str().ok()));
                let query = uri.query().map_or(String::new(), |query| format!("?{query}"));
                (StatusCode::MOVED_PERMANENTLY, format!("http://{}/{rest}{query}", host.unwrap_or_default()))
            }
            None if method_status == StatusCode::OK && path != "*" => (method_status, "hello".into()),
            None => (method_status, String::new()),
        },
    };
    *response.status_mut() = status;
    *response.body_mut() = text;
    Ok(response)
}

/// The whole content; `None` when it is no content, or not all of it comes.
async fn read_content(body: &mut Incoming) -> Option<Vec<u8>> {
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
