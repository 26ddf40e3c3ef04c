//! `user` and `group` of a service. The accounts are read from /etc/passwd and /etc/group alone: lsbaws is linked
//! statically, so that it has no other sources (nss(5)).

use std::fs;

use super::findings::Place;
use super::scalar::Scalar;
use crate::confine::User;

/// A user or group: its name, or its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account(String);

impl Scalar for Account {
    fn expected() -> String {
        r#"a name such as "www-data", or a number"#.into()
    }
    fn from_integer(number: i64) -> Option<Self> {
        // The last number means "no change" to setresuid(2).
        let number = u32::try_from(number).ok().filter(|number| *number != u32::MAX);
        number.map(|number| Self(number.to_string()))
    }
    fn from_text(text: &str) -> Option<Self> {
        match text.parse::<i64>() {
            Ok(number) => Self::from_integer(number),
            Err(_) => (!text.is_empty() && !text.contains([':', '\n', '\0'])).then(|| Self(text.into())),
        }
    }
    fn to_toml(&self) -> toml::Value {
        self.0.as_str().into()
    }
}

/// The accounts of the system.
#[derive(Debug)]
pub(super) struct Accounts {
    passwd: String,
    group: String,
}

impl Accounts {
    pub(super) fn read() -> Self {
        let read = |path: &str| {
            fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
        };
        Self { passwd: read("/etc/passwd"), group: read("/etc/group") }
    }

    /// The user and groups that a service runs as. `place`: the table of the service.
    pub(super) fn find(
        &self,
        user: Option<Account>,
        group: Option<Account>,
        place: &Place<'_>,
    ) -> Option<Option<User>> {
        let Some(Account(user)) = user else {
            if group.is_some() {
                place.key("group").reject("expected only together with user");
            }
            return Some(None);
        };
        let entry = self.find_user(&user);
        let uid = entry.as_ref().map(|(_, uid, _)| *uid).or_else(|| user.parse().ok());
        let uid = uid.ok_or_else(|| format!("no such user in /etc/passwd: {user:?}"));
        let uid = place.key("user").check(uid);
        let own = group.map(|Account(group)| {
            let gid = group.parse().ok().or_else(|| self.find_group(&group));
            place.key("group").check(gid.ok_or(format!("no such group in /etc/group: {group:?}")))
        });
        let uid = uid?;
        let gid = match (own, &entry) {
            (Some(gid), _) => gid?,
            (None, Some((_, _, gid))) => *gid,
            (None, None) => {
                let problem = format!("expected a group: user {user} is not in /etc/passwd");
                place.key("group").reject(problem);
                return None;
            }
        };
        let groups = entry.map_or(Vec::new(), |(name, _, _)| self.list_groups(name, gid));
        Some(Some(User { name: user, uid, gid, groups }))
    }

    /// The name of a user.
    pub(super) fn find_name(&self, uid: u32) -> Option<&str> {
        self.find_user(&uid.to_string()).map(|(name, ..)| name)
    }

    /// The name, uid and gid of a user (passwd(5)).
    fn find_user(&self, user: &str) -> Option<(&str, u32, u32)> {
        self.passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (name, uid, gid) = (fields.next()?, fields.nth(1)?, fields.next()?);
            (name == user || uid == user).then_some((name, uid.parse().ok()?, gid.parse().ok()?))
        })
    }

    fn find_group(&self, group: &str) -> Option<u32> {
        self.groups().find(|(name, ..)| *name == group).map(|(_, gid, _)| gid)
    }

    /// The groups that a user is a member of, the own one first.
    fn list_groups(&self, user: &str, own: u32) -> Vec<u32> {
        let others = self
            .groups()
            .filter(|(_, gid, members)| *gid != own && members.split(',').any(|member| member == user));
        [own].into_iter().chain(others.map(|(_, gid, _)| gid)).collect()
    }

    /// The name, gid and members of each group (group(5)).
    fn groups(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        self.group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, gid, members) = (fields.next()?, fields.nth(1)?, fields.next()?);
            Some((name, gid.parse().ok()?, members))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::findings::Findings;

    fn find(user: &str, group: Option<&str>) -> Result<User, String> {
        let accounts = Accounts {
            passwd: "root:x:0:0:root:/root:/bin/sh\n+::::::\nweb:x:33:34::/srv:/bin/false\n".into(),
            group: "root:x:0:\nweb:x:34:\nlog:x:4:adm,web\nmail:x:8:web2\n".into(),
        };
        let findings = Findings::default();
        let account = |text: &str| Account::from_text(text).unwrap();
        let found = accounts.find(Some(account(user)), group.map(account), &Place::top(&findings));
        let error = findings.list_errors().first().map(ToString::to_string);
        error.map_or_else(|| Ok(found.unwrap().unwrap()), Err)
    }

    #[test]
    fn users_have_their_groups() {
        let web = User { name: "web".into(), uid: 33, gid: 34, groups: vec![34, 4] };
        assert_eq!(find("web", None), Ok(web.clone()));
        assert_eq!(find("33", None), Ok(User { name: "33".into(), ..web.clone() }));
        assert_eq!(find("web", Some("mail")), Ok(User { gid: 8, groups: vec![8, 4], ..web }));
        assert_eq!(find("77", Some("99")), Ok(User { name: "77".into(), uid: 77, gid: 99, groups: vec![] }));
        assert_eq!(find("77", None).unwrap_err(), "group: expected a group: user 77 is not in /etc/passwd");
        assert_eq!(find("nobody", None).unwrap_err(), "user: no such user in /etc/passwd: \"nobody\"");
        assert_eq!(find("web", Some("x")).unwrap_err(), "group: no such group in /etc/group: \"x\"");
    }

    #[test]
    fn accounts_are_names_or_numbers() {
        assert_eq!(Account::from_integer(33), Some(Account("33".into())));
        assert_eq!(Account::from_integer(-1), None);
        for bad in ["", "a:b", "4294967295", "-1", "a\nb"] {
            assert_eq!(Account::from_text(bad), None, "{bad:?}");
        }
    }
}
