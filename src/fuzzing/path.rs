//! Targets and their decoded paths: an accepted path stays below the root, and all its spellings decode to the same.

use crate::http::target::{decode_path, encode_path, host_of, split};

/// Checks one input.
pub fn check(text: &str) {
    if let Some(target) = split(text) {
        check_parts(text, target.authority, target.path, target.query);
        check_path(target.path);
    }
    // Configuration files and programs contain paths as well.
    check_path(text);
    assert!(text.starts_with(host_of(text)));
}

fn check_parts(text: &str, authority: Option<&str>, path: &str, query: Option<&str>) {
    assert!(path == "*" || path.starts_with('/'));
    assert!(!path.contains('?') && text.is_ascii());
    let query = query.map_or(String::new(), |query| format!("?{query}"));
    match authority {
        None => assert_eq!(format!("{path}{query}"), text),
        Some(authority) => {
            assert!(!authority.is_empty() && !authority.contains(['/', '?']));
            let rest = &text["http://".len()..];
            assert!([path, ""].iter().any(|path| format!("{authority}{path}{query}") == rest));
        }
    }
}

fn check_path(path: &str) {
    let Some(decoded) = decode_path(path) else { return };
    assert!(decoded.len() <= path.len());
    assert!(!decoded.windows(2).any(|pair| pair == b"//"));
    assert!(!decoded.contains(&0) || path.contains('\0'));
    assert!(decoded.split(|&byte| byte == b'/').all(|segment| segment != b"." && segment != b".."));

    let encoded = encode_path(&decoded);
    assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\"<>\\".contains(&byte)));
    if !decoded.contains(&0) {
        assert_eq!(decode_path(&encoded).as_deref(), Some(&*decoded));
    }
    // With every byte escaped, it is the same path.
    let escape = |byte: &u8| if *byte == b'/' { "/".into() } else { format!("%{byte:02x}") };
    let escaped: String = decoded.iter().map(escape).collect();
    if !decoded.contains(&0) {
        assert_eq!(decode_path(&escaped).as_deref(), Some(&*decoded));
    }
}
