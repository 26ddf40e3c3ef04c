//! Who may use a route: `allow`, `deny`, and `auth_*`.

use crate::config::findings::Place;
use crate::config::hidden::describe_hidden;
use crate::config::lists::List;
use crate::config::scalar::{FilePath, Text};
use crate::handler::access::Access;
use crate::handler::auth::BasicAuth;
use crate::handler::users::UserFile;
use crate::source::{AccessList, Network, Networks};

/// What clients see if no realm is configured.
const DEFAULT_REALM: &str = "restricted";

/// The keys of a route that limit its clients and users.
#[derive(Debug)]
pub(super) struct AccessKeys {
    pub(super) allow: List<Network>,
    pub(super) deny: List<Network>,
    pub(super) auth_users: Option<FilePath>,
    pub(super) auth_realm: Option<Text>,
    pub(super) auth_require: List<Text>,
}

impl AccessKeys {
    /// Reads the file of users. `Some(None)`: every client may use the route.
    #[expect(clippy::option_option, reason = "the outer one is an error that was reported")]
    pub(super) fn build(self, place: &Place<'_>) -> Option<Option<Box<Access>>> {
        let clients = AccessList { allow: Networks(self.allow.0), deny: Networks(self.deny.0) };
        let required: Vec<_> = self.auth_require.0.into_iter().map(|Text(name)| name).collect();
        let Some(FilePath(path)) = self.auth_users else {
            let others = [("auth_realm", self.auth_realm.is_some()), ("auth_require", !required.is_empty())];
            for (name, _) in others.into_iter().filter(|(_, is_set)| *is_set) {
                place.key(name).reject("expected only with auth_users");
            }
            return Some((!clients.is_empty()).then(|| Box::new(Access { clients, auth: None })));
        };
        let realm = self.auth_realm.map_or_else(|| DEFAULT_REALM.to_owned(), |Text(realm)| realm);
        let realm = place.key("auth_realm").check(check_realm(realm));
        let hidden = describe_hidden(&path);
        let users = UserFile::read(path, required).map_err(|error| error + &hidden);
        let users = place.key("auth_users").check(users);
        let auth = Some(BasicAuth::new(&realm?, users?));
        Some(Some(Box::new(Access { clients, auth })))
    }
}

fn check_realm(realm: String) -> Result<String, String> {
    if realm.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return Ok(realm);
    }
    Err(format!("expected ASCII characters, found {realm:?}"))
}
