//! The bytes of a connection, split into requests.

use crate::http::chunked::Decoder;
use crate::http::framing::Framing;
use crate::http::request::{HeadScanner, new_field_room, parse};
use crate::http::target;

/// Method, target in origin-form, and content.
pub type Seen = (String, String, Vec<u8>);

/// Invalid in a URL, but browsers leave some of them unencoded in queries. hyper refuses most.
const UNENCODED: [char; 9] = ['"', '<', '>', '\\', '^', '`', '{', '|', '}'];

/// The complete requests that lsbaws answers, up to the end of the connection.
pub fn take_requests(bytes: &[u8]) -> Vec<Seen> {
    let (mut rest, mut requests) = (bytes, Vec::new());
    while let Ok(Some(length)) = HeadScanner::default().find_end(rest) {
        let mut room = new_field_room();
        let Ok(request) = parse(&rest[..length], &mut room) else { break };
        // hyper ignores a Connection field that is not ASCII, and refuses some request lines that we respell.
        let is_odd =
            request.field("Connection").any(|value| !value.is_ascii()) || is_respelled(&rest[..length]);
        // hyper takes no escape in the host of a target.
        let has_escape = !request.target.starts_with('/') && request.authority.contains('%');
        if is_odd || has_escape || request.target.contains(UNENCODED) {
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
        let path = target::split(request.target).map_or("", |target| target.path);
        let query = request.query.map_or(String::new(), |query| format!("?{query}"));
        requests.push((request.method.to_owned(), format!("{}{query}", path), content));
        if !request.keep_alive {
            break;
        }
    }
    requests
}

/// Whether the target is not ASCII, or the version is newer than HTTP/1.1.
fn is_respelled(head: &[u8]) -> bool {
    let line = head.split(|&byte| byte == b'\r').map(<[u8]>::trim_ascii_start).find(|line| !line.is_empty());
    line.is_some_and(|line| !line.is_ascii() || !matches!(line.last(), Some(b'0' | b'1')))
}

fn take_chunks(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let (mut decoder, mut content) = (Decoder::default(), vec![0; rest.len()]);
    let (taken, given) = decoder.decode(rest, &mut content).ok().filter(|_| decoder.is_done())?;
    let (coded, behind) = rest.split_at(taken);
    *rest = behind;
    content.truncate(given);
    // hyper accepts 100 trailer fields at most, and these lines may include some.
    let lines = coded.iter().filter(|&&byte| byte == b'\n').count();
    (lines <= 100).then_some(content)
}
