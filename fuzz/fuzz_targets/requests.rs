//! All that comes on a connection: it falls into the same requests here as in hyper, as far as we go. That is what smuggling
//! breaks. hyper may go on where we refuse; what differs there, tests/it/framing lists.

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
