//! Hashes of passwords, as crypt(5) writes them: bcrypt and sha-crypt. Others can be guessed too fast, or are passwords
//! themselves.

use std::fmt;

use base64ct::{Base64Bcrypt, Encoding};
use serde::{Deserialize, Serialize};
use sha_crypt::{Sha256Params, Sha512Params, sha256_crypt_b64, sha512_crypt_b64};
use subtle::ConstantTimeEq;

/// Bytes of a password that bcrypt uses. A NUL ends a shorter one.
const BCRYPT_PASSWORD_MAX: usize = 72;
/// At a cost of 14 a verification takes about a second of processor time. Each step doubles it.
const BCRYPT_COST_MAX: u32 = 14;
const BCRYPT_COST_MIN: u32 = 4;
/// Rounds without `rounds=`.
const ROUNDS_DEFAULT: u32 = 5000;
/// A verification takes about as long as with the highest cost of bcrypt.
const ROUNDS_MAX: u32 = 500_000;
const ROUNDS_MIN: u32 = 1000;
const SALT_MAX: usize = 16;
/// sha-crypt takes the square of this in time.
pub(crate) const PASSWORD_MAX: usize = 256;

/// The hash of a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PasswordHash {
    Bcrypt { cost: u32, salt: [u8; 16], hash: [u8; 23] },
    Sha256 { rounds: u32, salt: String, hash: String },
    Sha512 { rounds: u32, salt: String, hash: String },
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

impl PasswordHash {
    /// # Errors
    /// The end of a sentence about the line of a file: what is there instead, or what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (kind, rest) = split_kind(text);
        match kind {
            "2y" | "2a" | "2b" => parse_bcrypt(rest),
            "5" => parse_sha(rest, 43).map(|(rounds, salt, hash)| Self::Sha256 { rounds, salt, hash }),
            "6" => parse_sha(rest, 86).map(|(rounds, salt, hash)| Self::Sha512 { rounds, salt, hash }),
            "" if text.starts_with("{SHA}") => Err("a SHA-1 hash, {SHA}".into()),
            "" if text.starts_with("{SSHA}") => Err("a SHA-1 hash, {SSHA}".into()),
            "" if text.is_empty() => Err("no hash".into()),
            "" if text.len() == 13 => Err("a DES hash, or a password itself".into()),
            "" => Err("a password itself, or an unknown hash".into()),
            "apr1" | "1" => Err(format!("an MD5 hash, ${kind}$")),
            _ => Err(format!("an unknown hash, ${kind}$")),
        }
    }

    /// Whether this is the hash of the password. Takes long.
    pub(crate) fn verify(&self, password: &[u8]) -> bool {
        match self {
            Self::Bcrypt { cost, salt, hash } => {
                let mut room = [0; BCRYPT_PASSWORD_MAX];
                let length = password.len().min(room.len());
                room[..length].copy_from_slice(&password[..length]);
                let computed = bcrypt::bcrypt(*cost, *salt, &room[..(length + 1).min(room.len())]);
                computed[..hash.len()].ct_eq(hash).into()
            }
            Self::Sha256 { rounds, salt, hash } => {
                let computed = Sha256Params::new(*rounds as usize)
                    .and_then(|params| sha256_crypt_b64(password, salt.as_bytes(), &params));
                computed.is_ok_and(|computed| computed.as_bytes().ct_eq(hash.as_bytes()).into())
            }
            Self::Sha512 { rounds, salt, hash } => {
                let computed = Sha512Params::new(*rounds as usize)
                    .and_then(|params| sha512_crypt_b64(password, salt.as_bytes(), &params));
                computed.is_ok_and(|computed| computed.as_bytes().ct_eq(hash.as_bytes()).into())
            }
        }
    }
}

/// The name between the first two `$`, and what follows it. The name is empty for other texts.
fn split_kind(text: &str) -> (&str, &str) {
    text.strip_prefix('$').and_then(|text| text.split_once('$')).unwrap_or_default()
}

/// `COST$SALTHASH`
fn parse_bcrypt(text: &str) -> Result<PasswordHash, String> {
    let malformed = || "a malformed bcrypt hash".to_owned();
    let (cost, rest) = text.split_once('$').ok_or_else(malformed)?;
    let is_number = cost.len() == 2 && cost.bytes().all(|byte| byte.is_ascii_digit());
    let cost: u32 = cost.parse().ok().filter(|_| is_number).ok_or_else(malformed)?;
    if cost > BCRYPT_COST_MAX {
        return Err(format!(
            "a bcrypt hash of the cost {cost}, which takes seconds of processor time; the maximum is {BCRYPT_COST_MAX}"
        ));
    }
    let (mut salt, mut hash) = ([0; 16], [0; 23]);
    let (salt_text, hash_text) = rest.split_at_checked(22).ok_or_else(malformed)?;
    if cost < BCRYPT_COST_MIN || hash_text.len() != 31 {
        return Err(malformed());
    }
    let decode = |text: &str, room: &mut [u8]| {
        let length = room.len();
        Base64Bcrypt::decode(text, room).ok().filter(|bytes| bytes.len() == length).map(drop)
    };
    decode(salt_text, &mut salt).and_then(|()| decode(hash_text, &mut hash)).ok_or_else(malformed)?;
    Ok(PasswordHash::Bcrypt { cost, salt, hash })
}

/// `[rounds=ROUNDS$]SALT$HASH`
fn parse_sha(text: &str, length: usize) -> Result<(u32, String, String), String> {
    let malformed = || "a malformed sha-crypt hash".to_owned();
    let (rounds, text) = match text.strip_prefix("rounds=").and_then(|text| text.split_once('$')) {
        Some((rounds, rest)) => (rounds.parse().map_err(|_| malformed())?, rest),
        None => (ROUNDS_DEFAULT, text),
    };
    if rounds > ROUNDS_MAX {
        return Err(format!(
            "a sha-crypt hash of {rounds} rounds, which take seconds of processor time; the maximum is {ROUNDS_MAX}"
        ));
    }
    let (salt, hash) = text.split_once('$').ok_or_else(malformed)?;
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"./".contains(&byte);
    let is_valid = salt.len() <= SALT_MAX && hash.len() == length && hash.bytes().all(is_digit);
    if !is_valid || rounds < ROUNDS_MIN {
        return Err(malformed());
    }
    Ok((rounds, salt.to_owned(), hash.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By htpasswd(1) of Apache and openssl-passwd(1).
    const SECRET: [&str; 4] = [
        "$2y$05$IyViyuiVZkEaIK0Yy2J8D.Lt/HwfP5vjqxizoNorMCtbr14XA30Fi",
        "$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM.",
        "$6$abcdefghijklmnop$J/AWykHqo2Tx5UtavGnFc3ytI33la50JpzLTarSWVhkIXK6wOjNwwZjsrIw2UgmrER2EKrSHCeQyAINEEXAk1/",
        "$6$rounds=1000$xy$c9aXEsVGfLfUXt7tNYgM8d4iUrfqossx9C6Q0lksBwt04R/fUyK79e5lpuuHo8JyyXN8zM.pcrz3C2PpYGRDA/",
    ];

    #[test]
    fn hashes_of_other_programs_are_verified() {
        for text in SECRET {
            let hash = PasswordHash::parse(text).unwrap();
            assert!(hash.verify(b"secret"), "{text}");
            for wrong in [&b""[..], b"Secret", b"secret ", b"secret\0", b"secre"] {
                assert!(!hash.verify(wrong), "{text} {wrong:?}");
            }
        }
    }

    #[test]
    fn weak_expensive_and_malformed_hashes_are_refused() {
        let bcrypt = SECRET[0];
        for (text, expected) in [
            ("$apr1$z/iOvTzI$V1pZsJpmTnTF0cGPJ5WrC0".to_owned(), "an MD5 hash, $apr1$"),
            ("$1$z/iOvTzI$V1pZsJpmTnTF0cGPJ5WrC0".to_owned(), "an MD5 hash, $1$"),
            ("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=".to_owned(), "a SHA-1 hash, {SHA}"),
            ("rEK1ecacw.7.c".to_owned(), "a DES hash, or a password itself"),
            ("secret".to_owned(), "a password itself, or an unknown hash"),
            (String::new(), "no hash"),
            ("$y$j9T$x$y".to_owned(), "an unknown hash, $y$"),
            ("$2x$05$x".to_owned(), "an unknown hash, $2x$"),
            (bcrypt.replace("$05$", "$15$"), "a bcrypt hash of the cost 15, which takes"),
            (bcrypt.replace("$05$", "$03$"), "a malformed bcrypt hash"),
            (bcrypt.replace("$05$", "$5$"), "a malformed bcrypt hash"),
            (bcrypt.replace("$05$", "$+5$"), "a malformed bcrypt hash"),
            (format!("{bcrypt}."), "a malformed bcrypt hash"),
            (bcrypt[..40].to_owned(), "a malformed bcrypt hash"),
            ("$6$salt$short".to_owned(), "a malformed sha-crypt hash"),
            ("$5$rounds=x$salt$y".to_owned(), "a malformed sha-crypt hash"),
            ("$5$rounds=500001$salt$y".to_owned(), "a sha-crypt hash of 500001 rounds, which take"),
        ] {
            let error = PasswordHash::parse(&text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn no_hash_is_printed() {
        assert_eq!(format!("{:?}", PasswordHash::parse(SECRET[0]).unwrap()), "PasswordHash");
    }
}
