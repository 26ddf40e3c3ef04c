//! Places that each service keeps for its own connections, so that those of another cannot use up all.

use crate::service::Services;

/// How many places each service keeps.
#[derive(Debug, Default)]
pub(crate) struct Reserves {
    by_service: Vec<(String, usize)>,
    total: usize,
}

impl Reserves {
    pub(crate) fn new(services: &Services) -> Self {
        Self::from_pairs(services.values().map(|service| (service.name.clone(), service.reserve)).collect())
    }

    fn from_pairs(by_service: Vec<(String, usize)>) -> Self {
        let total = by_service.iter().map(|(_, reserve)| reserve).sum();
        Self { by_service, total }
    }

    /// Whether a connection of `service` can have one of the `free` places. `count` counts the connections of a service;
    /// it is called only when few places are free.
    pub(crate) fn has_room(&self, service: &str, free: usize, count: impl Fn(&str) -> usize) -> bool {
        if free > self.total {
            return true;
        }
        free > self.count_kept(service, count)
    }

    /// The places that other services keep and do not use.
    pub(crate) fn count_kept(&self, service: &str, count: impl Fn(&str) -> usize) -> usize {
        let others = self.by_service.iter().filter(|(name, reserve)| name != service && *reserve > 0);
        others.map(|(name, reserve)| reserve.saturating_sub(count(name))).sum()
    }

    /// The services that have more connections than they keep places: connections of others may take these.
    pub(crate) fn find_exceeded(&self, count: impl Fn(&str) -> usize) -> Vec<&str> {
        let exceeded = self.by_service.iter().filter(|(name, reserve)| count(name) > *reserve);
        exceeded.map(|(name, _)| name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_keeps_its_places() {
        let reserves = Reserves::from_pairs(vec![("a".into(), 2), ("b".into(), 3), ("c".into(), 0)]);
        let counts = |a, b| move |name: &str| if name == "a" { a } else { b };
        // Of ten places, as many are free as the others leave.
        let admits = |service, a, b, c| reserves.has_room(service, 10 - a - b - c, counts(a, b));
        assert!(admits("c", 0, 0, 4) && !admits("c", 0, 0, 5), "five are kept for others");
        assert!(admits("c", 2, 3, 4) && !admits("c", 2, 3, 5), "they are used");
        assert!(admits("a", 6, 0, 0) && !admits("a", 7, 0, 0));
        assert!(admits("b", 0, 0, 5) && admits("b", 0, 2, 5) && !admits("b", 0, 3, 5));
        assert!(admits("a", 0, 5, 3) && admits("a", 1, 5, 3), "its own places are free for it");
        assert!(!admits("a", 2, 5, 3));
    }

    #[test]
    fn connections_are_counted_only_when_few_places_are_free() {
        let reserves = Reserves::from_pairs(vec![("a".into(), 2)]);
        assert!(reserves.has_room("b", 3, |_| unreachable!("three places are free")));
        assert!(Reserves::default().has_room("b", 1, |_| unreachable!("no place is kept")));
        assert!(!Reserves::default().has_room("b", 0, |_| 0));
    }
}
