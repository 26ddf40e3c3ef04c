//! The keys of `handler = "redirect"`.

use crate::config::findings::Place;
use crate::config::scalar::{Flag, Scalar, Text};
use crate::config::table::keys;
use crate::handler::redirect::Redirect;

keys! {
    /// The further keys of a route with the handler `redirect`.
    RedirectKeys {
        to: Option<Text> = None,
        status: RedirectStatus = RedirectStatus(301),
        keep_path: Flag = Flag(true),
    }
}

/// A status that redirects with a `Location` (RFC 9110, section 15.4).
#[derive(Debug, Clone, Copy)]
pub(super) struct RedirectStatus(u16);

impl Scalar for RedirectStatus {
    fn expected() -> String {
        "301, 302, 303, 307 or 308".into()
    }
    fn from_integer(status: i64) -> Option<Self> {
        [301, 302, 303, 307, 308].into_iter().find(|known| i64::from(*known) == status).map(Self)
    }
    fn to_toml(&self) -> toml::Value {
        i64::from(self.0).into()
    }
}

impl RedirectKeys {
    pub(super) fn build(self, place: &Place<'_>) -> Option<Redirect> {
        let keep_path = place.key("keep_path").check(Ok(self.keep_path.0));
        let to = place.key("to").check(check_target(self.to, keep_path == Some(true)));
        Some(Redirect { status: self.status.0, to: to?, keep_path: keep_path? })
    }
}

fn check_target(to: Option<Text>, keep_path: bool) -> Result<String, String> {
    let Text(to) = to.unwrap_or_default();
    let is_target = to.starts_with('/')
        || ["http://", "https://", "{scheme}://"].iter().any(|scheme| to.starts_with(scheme));
    if !is_target || !to.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("expected a URL such as \"https://example.org/\" or a path, found {to:?}"));
    }
    if let Some(rest) =
        to.split('{').skip(1).find(|rest| !rest.starts_with("host}") && !rest.starts_with("scheme}"))
    {
        let name = rest.split_inclusive('}').next().unwrap_or_default();
        return Err(format!("expected {{host}} or {{scheme}} as placeholders, found {{{name}"));
    }
    if keep_path && to.contains(['?', '#']) {
        return Err(format!("expected a URL without query or fragment when keep_path = true, found {to:?}"));
    }
    Ok(complete_path(to))
}

/// Gives a URL without a path its `/`: what is appended to a bare host would become part of its name.
fn complete_path(mut to: String) -> String {
    if let Some((_, rest)) = to.split_once("://")
        && let end = rest.find(['/', '?', '#']).unwrap_or(rest.len())
        && !rest[end..].starts_with('/')
    {
        to.insert(to.len() - rest.len() + end, '/');
    }
    to
}
