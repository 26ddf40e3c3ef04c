//! The field Date (RFC 9110, section 6.6.1), rendered at most once a second. The supervisor keeps it up to date, and
//! a child that answers at once inherits it: rendering touches pages of code and of the clock.

use std::fmt;
use std::io::Write;
use std::time::{Duration, SystemTime};

use httpdate::HttpDate;

/// `Sun, 06 Nov 1994 08:49:37 GMT`
const LENGTH: usize = 29;
/// The last second that a date with a year of four digits can have, in seconds since the epoch.
pub(crate) const LAST_SECOND: u64 = 253_402_300_799;

/// A second, and its text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Date {
    second: u64,
    text: [u8; LENGTH],
}

impl Date {
    pub(crate) fn now() -> Self {
        let mut date = Self { second: u64::MAX, text: [b' '; LENGTH] };
        date.refresh();
        date
    }

    /// Reads the clock, and renders the text if the second has changed.
    pub(crate) fn refresh(&mut self) {
        let now = SystemTime::now();
        let second = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if second != self.second {
            self.second = second;
            let rendered = SystemTime::UNIX_EPOCH + Duration::from_secs(second.min(LAST_SECOND));
            let _ = write!(&mut self.text[..], "{}", HttpDate::from(rendered)); // its length never varies
        }
    }

    /// Seconds since the epoch.
    pub(crate) fn second(&self) -> u64 {
        self.second
    }

    pub(crate) fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.text
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.text).unwrap_or_default()) // ASCII
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_shows_the_second() {
        let date = Date::now();
        let parsed = httpdate::parse_http_date(std::str::from_utf8(date.as_bytes()).unwrap()).unwrap();
        assert_eq!(parsed.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(), date.second);
    }

    #[test]
    fn an_old_second_is_rendered_again() {
        let mut date = Date { second: 0, text: [b'x'; LENGTH] };
        date.refresh();
        assert!(date.as_bytes().ends_with(b" GMT"));
    }
}
