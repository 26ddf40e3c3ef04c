//! All bytes of a connection: up to our first refusal, they are the same requests for us and for hyper. Request smuggling
//! relies on a difference. tests/it/framing lists the requests that hyper accepts and we refuse.

#![no_main]

#[path = "../../tests/it/framing/oracle.rs"]
mod oracle;

use std::cell::RefCell;

use hyper::{Request, Response};
use libfuzzer_sys::fuzz_target;
use lsbaws::fuzzing::requests::{Seen, take_requests};

fuzz_target!(|bytes: &[u8]| {
    let ours = take_requests(bytes);
    let hypers = RefCell::new(Vec::new());
    oracle::serve(bytes, |request| note_request(request, &hypers));
    let hypers = hypers.into_inner();
    assert!(hypers.starts_with(&ours), "{ours:?} here, {hypers:?} there");
});

async fn note_request(
    mut request: Request<hyper::body::Incoming>,
    seen: &RefCell<Vec<Seen>>,
) -> Result<Response<String>, std::convert::Infallible> {
    if let Some(content) = oracle::read_content(request.body_mut()).await {
        let target = request.uri().path_and_query().map_or(String::new(), ToString::to_string);
        seen.borrow_mut().push((request.method().to_string(), target, content));
    }
    Ok(Response::new(String::new()))
}
