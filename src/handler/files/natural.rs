//! The natural order of names: numbers in them by their values, so that `file2` comes before `file10`, and letters without
//! regard to their case.

/// A key by which names are compared as bytes. Names that differ only in case or in leading zeros have equal keys.
pub(super) fn key(name: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(name).to_lowercase();
    let mut key = Vec::with_capacity(text.len() + 8);
    let mut rest = text.as_bytes();
    while let Some(&byte) = rest.first() {
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, after) = rest.split_at(length.max(1));
        if length == 0 {
            key.push(byte);
        } else {
            let zeros = digits.iter().take_while(|&&digit| digit == b'0').count().min(length - 1);
            let digits = &digits[zeros..];
            // A number stands where digits do. One with more digits is greater.
            key.push(b'0');
            key.extend(u32::try_from(digits.len()).unwrap_or(u32::MAX).to_be_bytes());
            key.extend(digits);
        }
        rest = after;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_their_natural_order() {
        let names = [
            "-",
            "1",
            "1.0",
            "1a",
            "01b",
            "2",
            "10",
            "99999999999999999999998",
            "99999999999999999999999",
            "100000000000000000000000",
            "a",
            "A1",
            "a2",
            "a02b",
            "A10",
            "ab",
            "B",
            "file 2.txt",
            "file 10.txt",
            "file2",
            "file2.txt",
            "file10",
            "v1.2.9",
            "v1.2.10",
            "v1.10.0",
            "z",
            "ä",
            "Ö2",
            "ö10",
            "日本2",
            "日本10",
        ];
        for (index, name) in names.iter().enumerate() {
            for later in &names[index + 1..] {
                assert!(key(name.as_bytes()) < key(later.as_bytes()), "{name} {later}");
            }
        }
        for (one, other) in [("a1", "A01"), ("ÄB", "äb"), ("0", "000"), ("", "")] {
            assert_eq!(key(one.as_bytes()), key(other.as_bytes()), "{one} {other}");
        }
    }

    /// All names of up to four of these bytes.
    fn list_names() -> Vec<Vec<u8>> {
        let mut names = vec![Vec::new()];
        let mut longest = names.clone();
        for _ in 0..4 {
            let longer = |name: &Vec<u8>| b"0129 aB\xff".map(|byte| [&name[..], &[byte]].concat());
            longest = longest.iter().flat_map(longer).collect();
            names.extend_from_slice(&longest);
        }
        names
    }

    #[test]
    fn numbers_compare_by_value_wherever_they_stand() {
        let names = list_names();
        let numbers = names.iter().filter_map(|name| str::from_utf8(name).ok()?.parse::<u32>().ok());
        let numbers: Vec<_> = numbers.collect();
        assert!(numbers.len() > 300);
        for (one, other) in numbers.iter().zip(numbers.iter().rev()) {
            for (before, after) in [("", ""), ("a", ""), ("", "b"), ("x-", ".txt")] {
                let make = |number: &u32| key(format!("{before}{number}{after}").as_bytes());
                assert_eq!(make(one).cmp(&make(other)), one.cmp(other), "{before}{one}{after} {other}");
            }
        }
    }

    #[test]
    fn equal_keys_differ_in_case_and_zeros_alone() {
        let mut by_key = std::collections::BTreeMap::<_, Vec<_>>::new();
        for name in list_names() {
            by_key.entry(key(&name)).or_default().push(name);
        }
        let fold = |name: &[u8]| {
            let mut folded = Vec::<u8>::new();
            for part in name.to_ascii_lowercase().split_inclusive(|byte| !byte.is_ascii_digit()) {
                let zeros = part.iter().take_while(|&&byte| byte == b'0').count();
                let has_more = part.get(zeros).is_some_and(u8::is_ascii_digit);
                folded.extend(&part[if has_more { zeros } else { zeros.saturating_sub(1) }..]);
            }
            folded
        };
        for names in by_key.values() {
            assert!(names.iter().all(|name| fold(name) == fold(&names[0])), "{names:?}");
        }
        assert!(by_key.len() > 2000, "{}", by_key.len());
    }
}
