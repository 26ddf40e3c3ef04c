//! The text of a configuration file: it is refused with a reason, or what `check --show` prints of it means the same.

use crate::config::parse;
use crate::service::find_service;

/// Checks one input.
pub fn check(text: &str) {
    let (config, effective) = match parse(text, "file") {
        Ok(parsed) => parsed,
        Err(errors) => {
            for error in errors.to_string().split('\n') {
                assert!(error.starts_with("file:") && !error.contains(char::is_control), "{error:?}");
            }
            return;
        }
    };
    // The default listener need not lead to a service, until it is used.
    if config.listen.iter().any(|listen| find_service(&config.services, &listen.name).is_err()) {
        return;
    }
    drop(config); // closes what it has opened
    let shown = effective.to_string();
    let (_, again) = parse(&shown, "shown").unwrap_or_else(|error| panic!("{error}: {shown}"));
    assert_eq!(list_values(&again.to_string()), list_values(&shown));
}

/// The lines without their comments, which contain the provenance.
fn list_values(shown: &str) -> Vec<&str> {
    shown.lines().map(|line| line.rsplit_once(" # ").map_or(line, |(value, _)| value.trim_end())).collect()
}
