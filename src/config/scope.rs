//! The services that a check of a balancer is about, and the keys of `protocol = "agent-check"`.

use super::findings::Place;
use super::lists::List;
use super::scalar::Text;
use super::table::keys;
use crate::status::health::Scope;

keys! {
    /// The further keys of a service with the protocol agent-check.
    AgentKeys {
        services: List<Text> = List(Vec::new()),
    }
}

/// Rejects the names of services that do not exist. `place`: the key `services`.
pub(super) fn check_scope(List(names): &List<Text>, place: &Place<'_>, known: &[&str]) {
    for (index, Text(name)) in names.iter().enumerate() {
        if !known.contains(&name.as_str()) {
            place
                .element(index)
                .reject(format!("no service has the name {name:?} (configured: {})", known.join(", ")));
        }
    }
}

pub(super) fn build_scope(List(names): List<Text>) -> Scope {
    Scope(names.into_iter().map(|Text(name)| name).collect())
}
