//! Targets and their decoded paths: an accepted path stays below the root, and all its spellings decode to the same.

use crate::http::path::{DecodedPath, encode};
use crate::http::target::{decode_host, escape_beyond_ascii, host_of, is_authority, split};

/// Checks one input.
pub fn check(text: &str) {
    if let Some(target) = split(text) {
        check_parts(text, target.authority, target.path, target.query);
        check_path(target.path);
    }
    let escaped = escape_beyond_ascii(text.as_bytes());
    assert!(escaped.is_ascii());
    // Configuration files and programs contain paths as well.
    check_path(&format!("/{text}"));
    // No target contains NUL.
    if !text.contains('\0') {
        assert_eq!(DecodedPath::new(&format!("/{text}")), DecodedPath::new(&format!("/{escaped}")));
    }
    assert!(text.starts_with(host_of(text)));
    if is_authority(text.as_bytes()) {
        let host = decode_host(host_of(text));
        assert!(!host.iter().any(|byte| byte.is_ascii_control() || b" %/?#@\\".contains(byte)));
    }
}

fn check_parts(text: &str, authority: Option<&str>, path: &str, query: Option<&str>) {
    assert!(path == "*" || path.starts_with('/'));
    assert!(!path.contains('?') && text.is_ascii());
    let query = query.map_or(String::new(), |query| format!("?{query}"));
    match authority {
        None => assert_eq!(format!("{path}{query}"), text),
        Some(authority) => {
            assert!(!authority.is_empty() && !authority.contains(['/', '?']));
            let (_, rest) = text.split_once("://").expect("a scheme");
            assert!([path, ""].iter().any(|path| format!("{authority}{path}{query}") == rest));
        }
    }
}

fn check_path(path: &str) {
    let Ok(decoded) = DecodedPath::new(path) else { return };
    assert!(decoded.len() <= path.len());
    assert!(decoded.starts_with(b"/") || path == "*");
    assert!(!decoded.windows(2).any(|pair| pair == b"//"));
    assert!(!decoded.contains(&0) || path.contains('\0'));
    assert!(decoded.split(|&byte| byte == b'/').all(|segment| segment != b"." && segment != b".."));
    assert_eq!(
        decoded.has_encoded_slash(decoded.len()),
        path.to_lowercase().contains("%2f") && decoded.encode_from(0).contains("%2F")
    );
    if decoded.contains(&0) {
        return;
    }
    let encoded = encode(&decoded);
    assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\"<>\\".contains(&byte)));
    assert_eq!(DecodedPath::new(&encoded).as_deref(), Ok(&*decoded));
    // With every byte escaped, it is the same path.
    let escape = |byte: &u8| if *byte == b'/' { "/".into() } else { format!("%{byte:02x}") };
    let escaped: String = decoded.iter().map(escape).collect();
    assert_eq!(DecodedPath::new(&escaped).as_deref(), Ok(&*decoded));
    // Encoded slashes keep their places.
    let again = decoded.encode_from(0);
    let rooted = if again.starts_with('/') || path == "*" { again } else { format!("/{again}") };
    assert_eq!(DecodedPath::new(&rooted).as_ref(), Ok(&decoded));
}
