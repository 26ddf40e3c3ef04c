//! Ids by which a balancer names a request, or a connection, and by which the records of several hosts are found: a field such
//! as `X-Unique-ID`, an extension of the PROXY protocol, and the trace of `traceparent`. They are labels: an invalid one is
//! ignored.

use httparse::Header;

use super::fields::field;

/// Bytes of the longest id.
pub(crate) const ID_MAX: usize = 128;

/// The id of a connection, in the header of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UniqueId {
    bytes: [u8; ID_MAX],
    length: usize,
}

impl UniqueId {
    /// `None`: it is not valid.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        let id = to_id(bytes)?;
        let mut bytes = [0; ID_MAX];
        bytes[..id.len()].copy_from_slice(id.as_bytes());
        Some(Self { bytes, length: id.len() })
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default() // it is ASCII
    }
}

/// An id: letters, digits and these marks, of which it does not begin with a full stop or a hyphen. Programs use `UNIQUE_ID`
/// as the name of a file, or as a word of a command line.
fn to_id(bytes: &[u8]) -> Option<&str> {
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:@=+-".contains(byte);
    let is_valid = (1..=ID_MAX).contains(&bytes.len())
        && bytes.iter().all(is_allowed)
        && !bytes.starts_with(b".")
        && !bytes.starts_with(b"-");
    std::str::from_utf8(bytes).ok().filter(|_| is_valid)
}

/// The value of the last field of this name, which the last proxy has added.
pub(crate) fn read_id<'a>(fields: &'a [Header<'a>], name: &str) -> Option<&'a str> {
    to_id(field(fields, name).last()?)
}

/// The id of the trace that a request belongs to: 32 hexadecimal digits (W3C, Trace Context, section 3.2). Two fields are
/// invalid.
pub(crate) fn read_trace_id<'a>(fields: &'a [Header<'a>]) -> Option<&'a str> {
    let mut values = field(fields, "traceparent");
    let value = std::str::from_utf8(values.next().filter(|_| values.next().is_none())?).ok()?;
    let mut parts = value.split('-');
    let version = parts.next().filter(|version| is_hex(version, 2) && *version != "ff")?;
    let trace = parts.next().filter(|trace| is_hex(trace, 32) && !is_zero(trace))?;
    parts.next().filter(|parent| is_hex(parent, 16) && !is_zero(parent))?;
    parts.next().filter(|flags| is_hex(flags, 2))?;
    // Later versions may have more.
    (version != "00" || parts.next().is_none()).then_some(trace)
}

/// Lower-case digits.
fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_zero(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields<'a>(name: &'a str, values: &[&'a str]) -> Vec<Header<'a>> {
        values.iter().map(|value| Header { name, value: value.as_bytes() }).collect()
    }

    #[test]
    fn last_valid_field_is_the_id() {
        let long = "x".repeat(ID_MAX + 1);
        for (values, expected) in [
            (&[][..], None),
            (
                &["7F000001:8296_7F00001E:1F90_4F7B0A69_0003:790A"],
                Some("7F000001:8296_7F00001E:1F90_4F7B0A69_0003:790A"),
            ),
            (&["of-the-client", "of-the-proxy"], Some("of-the-proxy")),
            (&["a", ""], None),
            (&["Root=1-67891233-abcdef012345678912345678"], Some("Root=1-67891233-abcdef012345678912345678")),
            (&["a b"], None),
            (&["../../etc/passwd"], None),
            (&["a/b"], None),
            (&[".a"], None),
            (&["-rf"], None),
            (&["$(id)"], None),
            (&["a;b"], None),
            (&["`id`"], None),
            (&["a'b"], None),
            (&["\u{e9}"], None),
            (&[&long[1..]], Some(&long[1..])),
            (&[&long], None),
        ] {
            assert_eq!(read_id(&fields("x-unique-id", values), "X-Unique-ID"), expected, "{values:?}");
            let own = values.last().and_then(|value| UniqueId::new(value.as_bytes()));
            assert_eq!(own.as_ref().map(UniqueId::as_str), expected);
        }
    }

    #[test]
    fn trace_id_is_that_of_a_valid_traceparent() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let valid = format!("00-{trace}-00f067aa0ba902b7-01");
        let read = |values: &[&str]| read_trace_id(&fields("Traceparent", values)).map(str::to_owned);
        assert_eq!(read(&[&valid]).as_deref(), Some(trace));
        assert_eq!(
            read(&[&valid.replacen("00", "cc", 1).replace("-01", "-01-more")]).as_deref(),
            Some(trace)
        );
        for invalid in [
            "",
            "00",
            &valid[..54],
            &format!("{valid}-more"),
            &valid.replacen("00", "ff", 1),
            &valid.to_uppercase(),
            &valid.replace(trace, &"0".repeat(32)),
            &valid.replace("00f067aa0ba902b7", &"0".repeat(16)),
        ] {
            assert_eq!(read(&[invalid]), None, "{invalid}");
        }
        assert_eq!(read(&[&valid, &valid]), None);
    }
}
