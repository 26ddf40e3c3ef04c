//! HTML pages of lsbaws itself: what they have in common. Each is complete: it needs no script and no other resource.

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
