//! All that comes on a connection: it falls into the same requests here as in hyper, as far as we go. That is what smuggling
//! breaks. hyper may go on where we refuse; what differs there, tests/it/framing lists.

#![no_main]

#[path = "../../tests/it/framing/oracle.rs"]
mod oracle;

use std::cell::RefCell;

use hyper::{Request, Response};
use libfuzzer_sys::fuzz_target;
use lsbaws::http::chunked::Decoder;
use lsbaws::http::framing::Framing;
use lsbaws::http::request::{Scanner, new_field_room, parse};

/// Method, target in origin-form, and content.
type Seen = (String, String, Vec<u8>);

fuzz_target!(|bytes: &[u8]| {
    let ours = take_requests(bytes);
    let hypers = RefCell::new(Vec::new());
    oracle::serve(bytes, |request| note_request(request, &hypers));
    let hypers = hypers.into_inner();
    assert!(hypers.starts_with(&ours), "{ours:?} here, {hypers:?} there");
});

/// No characters of a URL, but browsers leave some of them in queries. hyper refuses most.
const UNENCODED: [char; 9] = ['"', '<', '>', '\\', '^', '`', '{', '|', '}'];

/// Those that are whole and that we would answer, up to the end of the connection.
fn take_requests(bytes: &[u8]) -> Vec<Seen> {
    let (mut rest, mut requests) = (bytes, Vec::new());
    while let Ok(Some(length)) = Scanner::default().find_end(rest) {
        let mut room = new_field_room();
        let Ok(request) = parse(&rest[..length], &mut room) else { break };
        // hyper does not look into a Connection that is not ASCII.
        let is_odd = request.field("Connection").any(|value| !value.is_ascii());
        if is_odd || request.target.contains(UNENCODED) {
            break;
        }
        rest = &rest[length..];
        let content = match request.framing {
            Framing::None => Some(Vec::new()),
            Framing::Length(length) => {
                usize::try_from(length).ok().and_then(|length| rest.split_off(..length)).map(<[u8]>::to_vec)
            }
            Framing::Chunked => take_chunks(&mut rest),
        };
        let Some(content) = content else { break };
        let query = request.query.map_or(String::new(), |query| format!("?{query}"));
        requests.push((request.method.to_owned(), format!("{}{query}", request.raw_path), content));
        if !request.keep_alive {
            break;
        }
    }
    requests
}

fn take_chunks(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let (mut decoder, mut content) = (Decoder::default(), vec![0; rest.len()]);
    let (taken, given) = decoder.decode(rest, &mut content).ok().filter(|_| decoder.is_done())?;
    let (coded, behind) = rest.split_at(taken);
    *rest = behind;
    content.truncate(given);
    // hyper takes no more than 100 trailer fields, and some of these lines may be such.
    let lines = coded.iter().filter(|&&byte| byte == b'\n').count();
    (lines <= 100).then_some(content)
}

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
