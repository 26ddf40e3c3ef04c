//! The field Accept-Encoding (RFC 9110, section 12.5.3): which content codings a client accepts.

use serde::{Deserialize, Serialize};

use super::accept::parse_weight;

/// A content coding. Codings of equal weight are tried in this order, the best compression first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Coding {
    Brotli,
    Zstandard,
    Gzip,
}

const CODINGS: [Coding; 3] = [Coding::Brotli, Coding::Zstandard, Coding::Gzip];

impl Coding {
    /// The name in the fields Accept-Encoding and Content-Encoding.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstandard => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// What the name of a variant adds to that of the original.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Zstandard => ".zst",
            Self::Gzip => ".gz",
        }
    }
}

/// The weights of the codings, in thousandths (RFC 9110, section 12.4.2).
#[derive(Debug, Default)]
struct Weights {
    codings: [Option<u16>; CODINGS.len()],
    identity: Option<u16>,
    /// Of all other codings.
    any: Option<u16>,
}

/// The codings that a client accepts with at least the weight of no coding, best first. Empty without the field.
pub(crate) fn find_acceptable<'a>(values: impl Iterator<Item = &'a [u8]>) -> Vec<Coding> {
    let mut weights = Weights::default();
    for value in values {
        value.split(|&byte| byte == b',').for_each(|member| weights.add(member));
    }
    let identity = weights.identity.or(weights.any).unwrap_or(0);
    let weigh = |coding: &Coding| weights.codings[*coding as usize].or(weights.any).unwrap_or(0);
    let mut accepted: Vec<_> =
        CODINGS.into_iter().filter(|coding| weigh(coding) > 0 && weigh(coding) >= identity).collect();
    accepted.sort_by_key(|coding| std::cmp::Reverse(weigh(coding)));
    accepted
}

impl Weights {
    /// Adds `coding [;q=weight]`. Ignores a malformed one.
    fn add(&mut self, member: &[u8]) {
        let mut parts = member.splitn(2, |&byte| byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let Some(weight) = parts.next().map_or(Some(1000), parse_weight) else { return };
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        // x-gzip is gzip (RFC 9110, section 8.4.1.3).
        if let Some(coding) =
            CODINGS.into_iter().find(|coding| is(coding.name()) || *coding == Coding::Gzip && is("x-gzip"))
        {
            self.codings[coding as usize] = Some(weight);
        } else if is("identity") {
            self.identity = Some(weight);
        } else if is("*") {
            self.any = Some(weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_are_chosen_by_weight() {
        let cases: [(&[&str], &[&str]); _] = [
            (&[], &[]),
            (&[""], &[]),
            (&["gzip"], &["gzip"]),
            (&["gzip, deflate, br, zstd"], &["br", "zstd", "gzip"]),
            (&["gzip", "BR"], &["br", "gzip"]),
            (&["x-gzip"], &["gzip"]),
            (&["*"], &["br", "zstd", "gzip"]),
            (&["gzip;q=0"], &[]),
            (&["gzip;q=0, *"], &["br", "zstd"]),
            (&["br;q=0.5, gzip;q=0.8"], &["gzip", "br"]),
            (&["br;q=0.001, gzip ; Q=0.000"], &["br"]),
            // RFC 9110, section 12.5.3.
            (&["compress, gzip"], &["gzip"]),
            (&["compress;q=0.5, gzip;q=1.0"], &["gzip"]),
            (&["gzip;q=1.0, identity; q=0.5, *;q=0"], &["gzip"]),
            // No coding is preferred.
            (&["identity, br;q=0.5"], &[]),
            (&["br;q=0.2, *;q=0.8"], &["zstd", "gzip"]),
            (&["identity;q=0.5, br;q=0.5"], &["br"]),
            // Malformed.
            (&["gzip;q=2"], &[]),
            (&["gzip;q=1.001"], &[]),
            (&["gzip;q=0.1234"], &[]),
            (&["gzip;q="], &[]),
            (&["gzip;x"], &[]),
            (&["gzip;q=0.x"], &[]),
            (&["gzipx, ;q=1, br"], &["br"]),
        ];
        for (values, expected) in cases {
            let found = find_acceptable(values.iter().map(|value| value.as_bytes()));
            let names: Vec<_> = found.into_iter().map(Coding::name).collect();
            assert_eq!(names, expected, "{values:?}");
        }
    }
}
