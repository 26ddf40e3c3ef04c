//! Basic authentication (RFC 7617): the users of a route, by a file.

use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};

use super::exchange::Exchange;
use super::login::LoginLimit;
use super::users::{PASSWORD_MAX, UserFile};
use crate::http::failure::Failure;
use crate::http::request::Request;
use crate::outcome::Outcome;
use crate::refusal::RequestRefusal;
use crate::scoreboard::Phase;

/// How long a request waits until its password can be verified.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Seconds after which another try is worthwhile.
const RETRY_AFTER: &str = "5";

/// The authentication of a route.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BasicAuth {
    /// The value of WWW-Authenticate.
    challenge: String,
    pub(crate) users: UserFile,
}

/// What a user and a password are accepted as.
enum Verdict {
    Accepted(String),
    /// The name that the client has sent, if it has sent one.
    UnknownUser(Option<String>),
    /// The password of this user is another.
    WrongPassword(String),
    /// Too many passwords are being verified.
    Busy,
}

impl BasicAuth {
    /// `realm`: visible ASCII characters and spaces.
    pub(crate) fn new(realm: &str, users: UserFile) -> Self {
        let realm = realm.replace('\\', "\\\\").replace('"', "\\\"");
        Self { challenge: format!("Basic realm=\"{realm}\", charset=\"UTF-8\""), users }
    }

    /// Answers a request without the credentials of a user. `None`: it has them.
    ///
    /// # Errors
    /// The client has gone, or reads too slowly.
    pub(super) fn refuse<'c>(
        &'c self,
        exchange: &mut Exchange<'_, 'c>,
        limit: &LoginLimit,
    ) -> Result<Option<Outcome>, Failure> {
        let Some(credentials) = find_credentials(exchange.request) else {
            // How a client begins: no failure.
            let reason = "the request has no credentials";
            exchange.response.error_with(401, reason, "WWW-Authenticate", &self.challenge)?;
            return Ok(Some(Outcome::Served));
        };
        let user = exchange.login.find(&self.users, credentials);
        let verdict = match user {
            Some(user) => Verdict::Accepted(user),
            None => self.verify(exchange, credentials, limit),
        };
        match verdict {
            Verdict::Accepted(user) => {
                exchange.login.set(&self.users, credentials, &user);
                exchange.slot.set_user(user.as_bytes());
                if !self.users.permits(&user) {
                    exchange.slot.set_refusal(RequestRefusal::NotRequired);
                    let reason = "this user has no access to this resource";
                    let sent = exchange.fail(403, reason, Outcome::Refused);
                    exchange.slot.set_error(format!("user {user} is not in auth_require").as_bytes());
                    return sent.map(Some);
                }
                exchange.user = Some(user);
                Ok(None)
            }
            Verdict::UnknownUser(claimed) => {
                self.refuse_login(exchange, RequestRefusal::UnknownUser, claimed.as_deref())
            }
            Verdict::WrongPassword(user) => {
                self.refuse_login(exchange, RequestRefusal::WrongPassword, Some(&user))
            }
            Verdict::Busy => {
                exchange.slot.set_refusal(RequestRefusal::Logins);
                exchange.response.close_after();
                let reason = "too many passwords are being verified";
                exchange.response.error_with(503, reason, "Retry-After", RETRY_AFTER)?;
                Ok(Some(Outcome::Refused))
            }
        }
    }

    /// Answers a login that has failed, for the name that the client has claimed.
    fn refuse_login<'c>(
        &'c self,
        exchange: &mut Exchange<'_, 'c>,
        refusal: RequestRefusal,
        claimed: Option<&str>,
    ) -> Result<Option<Outcome>, Failure> {
        exchange.response.close_after();
        let reason = "the user or the password is wrong";
        let sent = exchange.response.error_with(401, reason, "WWW-Authenticate", &self.challenge);
        // A failure of the client, whether it waits for the response or not.
        exchange.slot.enter(Phase::Handling);
        exchange.slot.set_refusal(refusal);
        // More than the client reads.
        let reason = match (refusal, claimed) {
            (RequestRefusal::WrongPassword, Some(user)) => format!("wrong password of user {user}"),
            (_, Some(user)) => format!("no user {user}"),
            (_, None) => "malformed credentials".to_owned(),
        };
        exchange.slot.set_error(reason.as_bytes());
        if let Some(claimed) = claimed {
            exchange.slot.set_user(claimed.as_bytes()); // for the access line: see `Slot::read`
        }
        sent?;
        Ok(Some(Outcome::ClientError))
    }

    fn verify(&self, exchange: &Exchange<'_, '_>, credentials: &[u8], limit: &LoginLimit) -> Verdict {
        let Some((name, password)) = decode(credentials) else { return Verdict::UnknownUser(None) };
        let Some((hash, is_known)) = self.users.find(&name) else {
            return Verdict::UnknownUser(Some(name));
        };
        let stream = exchange.stream;
        let wait_end = Instant::now() + WAIT_MAX;
        let wait_end = stream.end().map_or(wait_end, |end| end.min(wait_end));
        stream.set_waited();
        let may_wait = || !stream.is_hurried() && !stream.is_gone() && Instant::now() < wait_end;
        let Some(_place) = limit.enter(exchange.client_peer(), may_wait) else { return Verdict::Busy };
        match (hash.verify(&password), is_known) {
            (true, true) => Verdict::Accepted(name),
            (false, true) => Verdict::WrongPassword(name),
            (_, false) => Verdict::UnknownUser(Some(name)),
        }
    }
}

/// What follows `Basic` in the field Authorization. `None`: no such field, several, or another scheme.
fn find_credentials<'a>(request: &Request<'a>) -> Option<&'a [u8]> {
    let mut values = request.field("Authorization");
    let value = values.next().filter(|_| values.next().is_none())?;
    let (scheme, credentials) = value.split_at_checked(b"Basic ".len())?;
    scheme.eq_ignore_ascii_case(b"Basic ").then(|| credentials.trim_ascii())
}

/// The user and the password. `None` for those that no user can have.
fn decode(credentials: &[u8]) -> Option<(String, Vec<u8>)> {
    let bytes = Base64::decode_vec(std::str::from_utf8(credentials).ok()?).ok()?;
    let colon = bytes.iter().position(|&byte| byte == b':')?;
    let (name, password) = (&bytes[..colon], &bytes[colon + 1..]);
    if bytes.iter().any(u8::is_ascii_control) || password.len() > PASSWORD_MAX {
        return None;
    }
    Some((String::from_utf8(name.to_vec()).ok()?, password.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_a_name_and_a_password() {
        let decode = |text: &str| decode(Base64::encode_string(text.as_bytes()).as_bytes());
        let pair = |name: &str, password: &str| Some((name.to_owned(), password.as_bytes().to_vec()));
        assert_eq!(decode("alice:a:b"), pair("alice", "a:b"));
        assert_eq!(decode(":"), pair("", ""));
        assert_eq!(decode("j\u{f6}rg:\u{df}"), pair("j\u{f6}rg", "\u{df}"));
        for wrong in ["alice", "alice:a\0b", "al\nice:a", &format!("alice:{}", "x".repeat(PASSWORD_MAX + 1))]
        {
            assert_eq!(decode(wrong), None, "{wrong:?}");
        }
        for wrong in [&b""[..], b"*", b"YWxpY2U6YQ", b"YWxp Y2U6YQ==", b"\xff"] {
            assert_eq!(super::decode(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn realms_are_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        std::fs::write(&path, "").unwrap();
        let auth = BasicAuth::new(r#"a "b" \c"#, UserFile::read(path, Vec::new()).unwrap());
        assert_eq!(auth.challenge, r#"Basic realm="a \"b\" \\c", charset="UTF-8""#);
    }
}
