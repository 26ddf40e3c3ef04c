use super::*;
use crate::scoreboard::{Scoreboard, describe_target};

#[test]
fn a_slot_is_cleared_when_it_is_taken_again() {
    let mut scoreboard = Scoreboard::new(1).unwrap();
    let slot = scoreboard.take(None).unwrap();
    assert!(scoreboard.is_full() && scoreboard.take(None).is_none());
    slot.set_request(b"GET", b"/a\n\xff\\\"b");
    slot.set_route(2);
    slot.set_status(200);
    slot.add_bytes_in(7);
    slot.set_orphans();
    slot.set_client_gone();
    slot.set_header_error(HeaderError::Late);
    slot.set_error(b"a");
    slot.set_refusal(RequestRefusal::Late);
    slot.enter(Phase::Writing);
    let snapshot = slot.read();
    assert_eq!(snapshot.method.as_deref(), Some("GET"));
    assert_eq!(snapshot.target.as_deref(), Some("/a\\x0a\\xff\\x5c\\x22b"));
    assert_eq!(
        (snapshot.phase, snapshot.status, snapshot.route, snapshot.bytes_in),
        (Phase::Writing, Some(200), Some(2), 7)
    );
    assert!(snapshot.has_orphans && snapshot.is_client_gone);
    assert_eq!(snapshot.header_error, Some(HeaderError::Late));
    assert_eq!((snapshot.error.as_deref(), snapshot.refusal), (Some("a"), Some(RequestRefusal::Late)));
    scoreboard.give_back(slot);
    let snapshot = scoreboard.take(None).unwrap().read();
    assert!(!snapshot.is_client_gone && snapshot.header_error.is_none());
    assert!(snapshot.error.is_none() && snapshot.refusal.is_none());
    assert_eq!(
        (snapshot.phase, snapshot.requests, snapshot.method, snapshot.status, snapshot.has_orphans),
        (Phase::Starting, 0, None, None, false)
    );
}

#[test]
fn long_requests_are_cut() {
    let mut scoreboard = Scoreboard::new(2).unwrap();
    let slot = scoreboard.take(None).unwrap();
    slot.set_request(&[b'M'; 40], &[b'/'; 5000]);
    let snapshot = slot.read();
    assert_eq!(snapshot.method.map(|m| m.len()), Some(METHOD_MAX + 3));
    assert_eq!(snapshot.target, Some(describe_target(&[b'/'; 5000])));
    assert_eq!(snapshot.target.map(|t| t.len()), Some(TARGET_MAX + 3));
}

#[test]
fn drain_is_announced_whatever_else_is_asked() {
    let mut scoreboard = Scoreboard::new(1).unwrap();
    let slot = scoreboard.take(None).unwrap();
    slot.announce_close();
    assert!(slot.is_close_announced() && slot.is_last_response() && !slot.is_close_asked());
    slot.hurry();
    assert!(slot.is_close_announced() && slot.is_close_asked() && slot.is_hurried());
    slot.withdraw_close();
    assert!(!slot.is_close_announced() && slot.is_last_response() && slot.is_hurried());
}
