//! Whether this process may serve as the users that the settings name.

use std::fs;

use nix::unistd::geteuid;

use crate::capacity::process::{CAP_SETGID, CAP_SETUID, has_capability};
use crate::supervisor::settings::Settings;

/// Why this process may not serve these settings: one sentence for each service.
pub(crate) fn find_refusals(settings: &Settings) -> Vec<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let may_switch = [CAP_SETUID, CAP_SETGID].iter().all(|capability| has_capability(&status, *capability));
    let is_root = geteuid().is_root();
    let refuse = |(name, user): (&String, Option<&crate::confine::User>)| match user {
        None if is_root && !settings.process.allow_root => Some(format!(
            "service.{name}: refusing to serve as root; set service.{name}.user, for example \
             --set service.{name}.user=www-data, start lsbaws as another user, or set process.allow_root = true"
        )),
        Some(user) if !may_switch && !user.is_current() => Some(format!(
            "service.{name}.user: this process may not become user {}; it needs CAP_SETUID and CAP_SETGID, which the \
             drop-in {DROP_IN} gives to the unit",
            user.name
        )),
        _ => None,
    };
    let services = settings.services.iter();
    services.map(|(name, service)| (name, service.confinement.user.as_ref())).filter_map(refuse).collect()
}

/// The drop-in of lsbaws.service that lets services have users of their own.
const DROP_IN: &str = "users.conf";
