//! The text of a configuration file: it is refused with a reason, or what `check --show` prints of it means the same.

use crate::config::parse;
use crate::service::find_service;

/// Checks one input.
pub fn check(text: &str) {
    let (config, effective) = match parse(text, "file") {
        Ok(parsed) => parsed,
        Err(error) => {
            let error = error.to_string();
            assert!(!error.trim().is_empty() && error.contains("file:"), "{error:?}");
            assert!(!error.contains('\n'), "{error:?}");
            return;
        }
    };
    // Without a [listen] there is the default one, which need not lead anywhere while nobody asks for it.
    if config.listen.iter().any(|listen| find_service(&config.services, &listen.name).is_err()) {
        return;
    }
    drop(config); // and with it what it has opened
    let shown = effective.to_string();
    let (_, again) = parse(&shown, "shown").unwrap_or_else(|error| panic!("{error}: {shown}"));
    assert_eq!(list_values(&again.to_string()), list_values(&shown));
}

/// The lines without their comments, which say where a value comes from.
fn list_values(shown: &str) -> Vec<&str> {
    shown.lines().map(|line| line.rsplit_once(" # ").map_or(line, |(value, _)| value.trim_end())).collect()
}
