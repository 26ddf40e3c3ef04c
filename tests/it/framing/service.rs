//! The service behind hyper, equivalent to the routes of the daemon.

use std::convert::Infallible;

use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::{Method, Request, Response, StatusCode};

use super::oracle::read_content;

pub async fn answer(mut request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let content = read_content(request.body_mut()).await;
    let (mut response, uri) = (Response::new(String::new()), request.uri());
    let Some(content) = content else {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(response);
    };
    let method_status = match *request.method() {
        Method::GET | Method::HEAD => StatusCode::OK,
        Method::OPTIONS if uri.path() == "*" => StatusCode::OK,
        Method::OPTIONS => StatusCode::NO_CONTENT,
        Method::POST | Method::PUT | Method::DELETE | Method::PATCH | Method::TRACE => {
            StatusCode::METHOD_NOT_ALLOWED
        }
        _ => StatusCode::NOT_IMPLEMENTED,
    };
    let (status, text) = match uri.path() {
        "/last" => (StatusCode::OK, "last".into()),
        "/blind" => (StatusCode::OK, "hello".into()),
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
