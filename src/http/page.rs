//! HTML pages of lsbaws itself: what they have in common. Each is complete: it needs no script and no other resource.

use super::reason_phrase;

/// Colors, fonts, headings, links and tables, in light and dark mode. A page refers to the colors by the variables
/// `--ground`, `--raised`, `--line`, `--text`, `--muted` and `--accent`.
const STYLE: &str = include_str!("page.css");

/// The field Content-Security-Policy of a page without scripts: its style and nothing else.
pub(crate) const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The end of a page.
pub(crate) const END: &str = "</main>\n</body>\n</html>\n";

/// The beginning of a page, up to its content. `title` is escaped; `style` follows the common style.
#[cold]
pub(crate) fn begin(title: &str, style: &str) -> String {
    [
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>",
        title,
        "</title>\n<style>\n",
        STYLE,
        style,
        "</style>\n</head>\n<body>\n<main>\n",
    ]
    .concat()
}

/// Bytes as text, escaped. U+FFFD replaces invalid UTF-8, control characters, and those that change the direction of the
/// text.
pub(crate) fn show_bytes(bytes: &[u8]) -> String {
    let visible = |c: char| match c {
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    escape(&String::from_utf8_lossy(bytes).chars().map(visible).collect::<String>())
}

/// Escapes for text and for quoted attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

const ERROR_STYLE: &str = "main { max-width: 36rem; padding-top: 18vh }\n\
    .status { margin: 0 0 .5rem; font-size: 3.5rem; font-weight: 600; line-height: 1; color: var(--muted) }\n\
    .reason { color: var(--muted); overflow-wrap: anywhere }\n";

/// The page of an error: for the visitor what it means, then the reason.
pub(super) fn render_error(status: u16, reason: &str) -> String {
    let (phrase, reason) = (reason_phrase(status), escape(reason));
    let mut page = begin(format!("{status} {phrase}").trim_end(), ERROR_STYLE);
    let meaning = explain(status);
    page.push_str(&format!(
        "<p class=\"status\">{status}</p>\n<h1>{phrase}</h1>\n<p>{meaning}</p>\n<p class=\"reason\">{reason}</p>\n{END}"
    ));
    page
}

/// What a status means for a visitor.
fn explain(status: u16) -> &'static str {
    match status {
        401 => "This page requires a user name and a password.",
        403 => "Access to this page is denied.",
        404 => "This address leads to no page. It may be misspelled, or the page was moved or removed.",
        405 | 501 => "This page does not support this kind of request.",
        408 => "The request took too long. Please try again.",
        410 => "This page was removed.",
        411..=414 | 416 | 431 => "The server cannot accept this request.",
        429 => "There were too many requests. Please try again later.",
        503 => "The server is overloaded. Please try again later.",
        504 => "The answer took too long. Please try again later.",
        400..=499 => "The server cannot understand this request.",
        _ => "An error has occurred on the server. Please try again later.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_page_without_markup_of_its_reason() {
        for status in 400..600 {
            let page = render_error(status, "<b>&'\"");
            assert!(page.contains(&format!(
                "<title>{}</title>",
                format!("{status} {}", reason_phrase(status)).trim_end()
            )));
            assert!(
                page.contains("<p class=\"reason\">&lt;b&gt;&amp;&#39;&quot;</p>") && page.ends_with(END),
                "{page}"
            );
        }
    }

    #[test]
    fn text_has_no_character_that_is_not_shown() {
        assert_eq!(
            show_bytes("a\u{202e}b\u{2066}\n\x1b\u{85}é".as_bytes()),
            "a\u{fffd}b\u{fffd}\u{fffd}\u{fffd}\u{fffd}é"
        );
        assert_eq!(show_bytes(b"\xff<"), "\u{fffd}&lt;");
    }
}
