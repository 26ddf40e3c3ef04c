//! The field Date (RFC 9110, section 6.6.1), rendered once a second at most. The parent keeps it up to date,
//! so that a child that answers at once inherits it: rendering touches pages of code and the clock's.

use std::io::Write;
use std::time::{Duration, SystemTime};

use httpdate::HttpDate;

/// `Sun, 06 Nov 1994 08:49:37 GMT`
const LENGTH: usize = 29;
/// The end of the year 9999: later ones do not fit.
const LAST_SECOND: u64 = 253_402_300_799;

/// A second, and its text.
#[derive(Debug)]
pub struct Date {
    second: u64,
    text: [u8; LENGTH],
}

impl Date {
    pub fn now() -> Self {
        let mut date = Self { second: u64::MAX, text: [b' '; LENGTH] };
        date.refresh();
        date
    }

    /// Looks at the clock, and renders the text anew if the second is another.
    pub fn refresh(&mut self) {
        let now = SystemTime::now();
        let second = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if second != self.second {
            self.second = second;
            let rendered = SystemTime::UNIX_EPOCH + Duration::from_secs(second.min(LAST_SECOND));
            let _ = write!(&mut self.text[..], "{}", HttpDate::from(rendered)); // always of that length
        }
    }

    /// Seconds since the epoch.
    pub fn second(&self) -> u64 {
        self.second
    }

    pub fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_the_second() {
        let date = Date::now();
        let parsed = httpdate::parse_http_date(std::str::from_utf8(date.as_bytes()).unwrap()).unwrap();
        assert_eq!(parsed.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(), date.second);
    }

    #[test]
    fn an_old_second_is_rendered_anew() {
        let mut date = Date { second: 0, text: [b'x'; LENGTH] };
        date.refresh();
        assert!(date.as_bytes().ends_with(b" GMT"));
    }
}
