//! Content negotiation (RFC 9110, section 12): the weights that a client gives, and the field Accept.

/// Whether the values of Accept give one media type more weight than another (RFC 9110, section 12.5.1). False without the
/// field. Parameters of media types are ignored.
pub(crate) fn prefers<'a>(values: impl Iterator<Item = &'a [u8]>, wanted: &str, other: &str) -> bool {
    let mut weights = [Weight::default(), Weight::default()];
    for range in values.flat_map(|value| value.split(|&byte| byte == b',')) {
        let mut parts = range.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let parameter =
            parts.find(|parameter| parameter.len() > 1 && parameter[..2].eq_ignore_ascii_case(b"q="));
        let Some(thousandths) = parameter.map_or(Some(1000), parse_weight) else { continue };
        for (weight, media_type) in weights.iter_mut().zip([wanted, other]) {
            if let Some(precision) = match_range(name, media_type).filter(|own| *own >= weight.precision) {
                *weight = Weight { precision, thousandths };
            }
        }
    }
    weights[0].thousandths > weights[1].thousandths
}

/// The weight of a media type by the most precise range so far.
#[derive(Debug, Default)]
struct Weight {
    precision: u8,
    thousandths: u16,
}

/// How precisely a range, such as `text/*`, names a media type: 3 is the type itself. `None`: not at all.
fn match_range(range: &[u8], media_type: &str) -> Option<u8> {
    let media_type = media_type.as_bytes();
    if range.eq_ignore_ascii_case(media_type) {
        return Some(3);
    }
    if range == b"*/*" {
        return Some(1);
    }
    let kind = range.strip_suffix(b"*").filter(|kind| kind.ends_with(b"/"))?;
    media_type.get(..kind.len())?.eq_ignore_ascii_case(kind).then_some(2)
}

/// `q=` and a number from 0 to 1 with up to three decimals, in thousandths (RFC 9110, section 12.4.2).
pub(crate) fn parse_weight(parameter: &[u8]) -> Option<u16> {
    let (name, value) = parameter.split_at_checked(2)?;
    if !name.eq_ignore_ascii_case(b"q=") {
        return None;
    }
    let (whole, digits) = match value {
        [whole] | [whole, b'.'] => (whole, &[][..]),
        [whole, b'.', digits @ ..] if digits.len() <= 3 => (whole, digits),
        _ => return None,
    };
    let digit = |byte: &u8| char::from(*byte).to_digit(10).and_then(|digit| u16::try_from(digit).ok());
    let mut weight = 0;
    for place in 0..3 {
        weight = weight * 10 + digits.get(place).map_or(Some(0), digit)?;
    }
    match whole {
        b'0' => Some(weight),
        b'1' if weight == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_is_for_clients_that_prefer_it_to_text() {
        let cases: [(&[&str], bool); _] = [
            (&[], false),
            (&[""], false),
            (&["*/*"], false), // curl, wget
            (&["text/*"], false),
            (&["text/html"], true),
            (&["TEXT/Html"], true),
            (&["text/plain, text/html"], false),
            (&["text/html, text/plain;q=0.9"], true),
            (&["text/html;q=0.5, text/plain"], false),
            // Firefox, Chromium, lynx, w3m.
            (&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], true),
            (
                &["text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8,\
                application/signed-exchange;v=b3;q=0.7"],
                true,
            ),
            (&["text/html, text/plain, text/sgml, text/css, */*;q=0.01"], false),
            (&["text/html, text/*;q=0.5, image/*, application/*"], true),
            // The most precise range counts, wherever it stands.
            (&["text/html;q=0.1, */*"], false),
            (&["*/*, text/plain;q=0.1"], true),
            (&["text/*;q=0.3, */*;q=0.9, text/html;q=0.7"], true),
            (&["text/plain;q=0.2", "text/html"], true),
            (&["text/html;level=1;q=0.4, text/plain;q=0.5"], false),
            (&["text/html;q=0, text/plain;q=0"], false),
            (&["application/json"], false),
            // Malformed.
            (&["text/html;q=2"], false),
            (&["text/html;q=, text/plain;q=0.1"], false),
            (&[", ;q=1, text/html ; q=0.001"], true),
            (&["text, html, /html, text/"], false),
        ];
        for (values, expected) in cases {
            let values_of_field = values.iter().map(|value| value.as_bytes());
            assert_eq!(prefers(values_of_field, "text/html", "text/plain"), expected, "{values:?}");
        }
    }
}
