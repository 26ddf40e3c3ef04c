//! The chunked coding: the result of decoding does not depend on the size of the pieces or of the output, agrees with a
//! decoder of whole lines, and reverses encoding.

use crate::http::chunked::Decoder;

/// The content, and the number of bytes read; `None` without the end.
type Decoded = Result<Option<(Vec<u8>, usize)>, ()>;

/// Checks one input.
pub fn check(bytes: &[u8]) {
    let Some((&seed, input)) = bytes.split_first() else { return };
    let (piece, room) = (usize::from(seed & 15) + 1, usize::from(seed >> 4) + 1);
    let decoded = decode(input, input.len().max(1), input.len().max(1));
    assert_eq!(decode(input, piece, room), decoded);
    assert_eq!(decode(input, 1, 1), decoded);
    match &decoded {
        Ok(Some((content, used))) => {
            assert!(content.len() + 5 <= *used && *used <= input.len());
            assert_eq!(decode_lines(&input[..*used]).as_ref(), Some(content));
            // No byte of the next request is read.
            assert_eq!(decode(&input[..*used], piece, room), decoded);
        }
        Ok(None) => {}
        // Further bytes do not repair it.
        Err(()) => assert_eq!(decode(&[input, b"\r\n0\r\n\r\n"].concat(), piece, room), Err(())),
    }
    let encoded = encode(input, piece);
    assert_eq!(decode(&encoded, room, piece), Ok(Some((input.to_vec(), encoded.len()))));
}

fn decode(input: &[u8], piece: usize, room: usize) -> Decoded {
    let mut decoder = Decoder::default();
    let (mut content, mut used) = (Vec::new(), 0);
    let mut output = vec![0; room];
    for part in input.chunks(piece) {
        let mut rest = part;
        while !rest.is_empty() {
            let (taken, given) = decoder.decode(rest, &mut output).map_err(|_| ())?;
            assert!(taken > 0 && given <= taken);
            content.extend_from_slice(&output[..given]);
            used += taken;
            rest = &rest[taken..];
            if decoder.is_done() {
                return Ok(Some((content, used)));
            }
        }
    }
    Ok(None)
}

/// Decodes by lines, for input that is valid and complete.
fn decode_lines(input: &[u8]) -> Option<Vec<u8>> {
    let mut rest = input;
    let take_line = |rest: &mut &[u8]| {
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let (line, behind) = (&rest[..end], &rest[end + 2..]);
        *rest = behind;
        assert!(!line.contains(&b'\n') && !line.contains(&b'\r') && !line.contains(&0));
        Some(line.to_vec())
    };
    let mut content = Vec::new();
    loop {
        let line = take_line(&mut rest)?;
        let digits = line.split(|&byte| byte == b';').next()?.trim_ascii_end();
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        content.extend_from_slice(rest.get(..size)?);
        rest = rest[size..].strip_prefix(b"\r\n")?;
    }
    while !take_line(&mut rest)?.is_empty() {}
    rest.is_empty().then_some(content)
}

fn encode(content: &[u8], piece: usize) -> Vec<u8> {
    let mut encoded = Vec::new();
    for chunk in content.chunks(piece) {
        encoded.extend(format!("{:x}\r\n", chunk.len()).bytes());
        encoded.extend_from_slice(chunk);
        encoded.extend(b"\r\n");
    }
    encoded.extend(b"0\r\n\r\n");
    encoded
}
