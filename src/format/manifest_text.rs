//! Registry lines, short: what the record says already, and what nearly every line
//! says, as one byte each; then only what differs from the line before.
//! Spec section 7, R 7.7 and R 7.8.

use super::Damaged;
use super::manifest_block::MAX_FRAME_BYTES;
use super::wire::{self, Cursor};
use crate::ids::Digest;

/// Bytes below this stand for something in a stored text. [R 7.7]
const MARKS: u8 = 32;
const LITERAL: u8 = 0;
const NAME: u8 = 1;
const VERSION: u8 = 2;
const DIGEST: u8 = 3;
/// The byte of the first fragment.
const FIRST_FRAGMENT: u8 = 4;

/// What bytes 4 to 31 of a stored text stand for. [R 7.7]
///
/// Chosen by measurement on the crates.io index of 2019 (184,437 lines): they leave
/// 92 of 763 bytes, and what zstd then makes of them is a quarter less than without.
/// The last three are of lines as they have been since.
pub const FRAGMENTS: [&str; 28] = [
    r#"{"name":""#,
    r#"],"cksum":""#,
    r#"},"yanked":false"#,
    r#","links":null}"#,
    r#","rust_version":""#,
    r#","pubtime":"20"#,
    r#"":[""#,
    r#"","req":""#,
    r#"","vers":""#,
    r#"","deps":["#,
    r#"","kind":"normal"}"#,
    r#"","features":{"#,
    r#"","features":[""#,
    r#"","features":[],"optional":false,"default_features":true,"target":null,"kind":"normal"}"#,
    r#"","features":[],"optional":true,"default_features":true,"target":null,"kind":"normal"}"#,
    r#"","features":[],"optional":false,"default_features":true,"target":null,"kind":"dev"}"#,
    r#"","features":[],"optional":false,"default_features":true,"target":null,"kind":"build"}"#,
    r#"","features":[],"optional":false,"default_features":false,"target":null,"kind":"normal"}"#,
    r#"","features":[],"optional":true,"default_features":false,"target":null,"kind":"normal"}"#,
    r#"","features":[],"optional":false,"default_features":true,"target":""#,
    r#"",""#,
    r#""],"optional":false,"default_features":true,"target":null,"kind":"normal"}"#,
    r#""],"optional":false,"default_features":false,"target":null,"kind":"normal"}"#,
    r#""],"optional":true,"default_features":true,"target":null,"kind":"normal"}"#,
    r#""],"optional":true,"default_features":false,"target":null,"kind":"normal"}"#,
    r#""],"optional":false,"default_features":true,"target":null,"kind":"dev"}"#,
    r#""],"optional":false,"default_features":true,"target":""#,
    r#""],""#,
];

/// Of [`FRAGMENTS`], those that `rest` may begin with, told by a few bytes. Where one
/// is the beginning of others it comes last.
fn candidates(rest: &[u8]) -> &'static [usize] {
    match (rest[0], rest.get(1), rest.get(3)) {
        (b'{', ..) => &[0],
        (b']', ..) => &[1],
        (b'}', ..) => &[2],
        (b',', ..) => &[3, 4, 5],
        (b'"', Some(b':'), _) => &[6],
        (b'"', Some(b','), Some(b'f')) => &[12, 13, 14, 15, 16, 17, 18, 19, 11, 20],
        (b'"', Some(b','), Some(b'r' | b'v' | b'd' | b'k')) => &[7, 8, 9, 10, 20],
        (b'"', Some(b','), _) => &[20],
        (b'"', Some(b']'), _) => &[21, 22, 23, 24, 25, 26, 27],
        _ => &[],
    }
}

/// `text` as it is stored. [R 7.7]
pub(super) fn compact(text: &[u8], name: &str, version: &str, digest: Option<&Digest>) -> Vec<u8> {
    if text.iter().any(|&byte| byte < MARKS) {
        return [&[LITERAL], text].concat();
    }
    let digest = digest.map(Digest::to_string).unwrap_or_default();
    // Each counts once, where it stands in quotes.
    let marks = [(NAME, name), (VERSION, version), (DIGEST, digest.as_str())];
    let mut marks = marks.map(|mark| Some(mark).filter(|(_, value)| !value.is_empty()));
    let mut stored = Vec::with_capacity(text.len() / 2);
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if at > 0 && text[at - 1] == b'"' {
            let is_here = |value: &str| rest.starts_with(value.as_bytes()) && rest.get(value.len()) == Some(&b'"');
            let here = marks
                .iter_mut()
                .find(|mark| mark.is_some_and(|(_, value)| is_here(value)));
            if let Some((mark, value)) = here.and_then(Option::take) {
                stored.push(mark);
                at += value.len();
                continue;
            }
        }
        match longest_fragment(rest) {
            Some((mark, bytes)) => {
                stored.push(mark);
                at += bytes;
            }
            None => {
                stored.push(rest[0]);
                at += 1;
            }
        }
    }
    stored
}

/// The longest fragment that `rest` begins with: its byte, and its length.
fn longest_fragment(rest: &[u8]) -> Option<(u8, usize)> {
    let found = candidates(rest)
        .iter()
        .find(|&&i| rest.starts_with(FRAGMENTS[i].as_bytes()))?;
    Some((FIRST_FRAGMENT + *found as u8, FRAGMENTS[*found].len()))
}

/// Undoes [`compact`].
///
/// # Errors
/// When it asks for a digest that the event has not.
pub(super) fn restore(stored: &[u8], name: &str, version: &str, digest: Option<&Digest>) -> Result<Vec<u8>, Damaged> {
    if stored.first() == Some(&LITERAL) {
        return Ok(stored[1..].to_vec());
    }
    let mut text = Vec::with_capacity(4 * stored.len() + 160);
    let mut plain = stored;
    while let Some(at) = plain.iter().position(|&byte| byte < MARKS) {
        text.extend_from_slice(&plain[..at]);
        match (plain[at], digest) {
            (LITERAL, _) => return Err(Damaged::new("event text", 0, "no byte 0 within", "one")),
            (NAME, _) => text.extend_from_slice(name.as_bytes()),
            (VERSION, _) => text.extend_from_slice(version.as_bytes()),
            (DIGEST, Some(digest)) => push_hexadecimal(&mut text, digest),
            (DIGEST, None) => return Err(Damaged::new("event text", 0, "a digest to put in", "none")),
            (mark, _) => text.extend_from_slice(FRAGMENTS[usize::from(mark - FIRST_FRAGMENT)].as_bytes()),
        }
        if text.len() > MAX_FRAME_BYTES as usize {
            let expected = format!("at most {MAX_FRAME_BYTES} bytes");
            return Err(Damaged::new("event text", 0, expected, "more"));
        }
        plain = &plain[at + 1..];
    }
    text.extend_from_slice(plain);
    Ok(text)
}

fn push_hexadecimal(out: &mut Vec<u8>, digest: &Digest) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in digest.0 {
        out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// Appends what of `stored` differs from `previous`. [R 7.8]
pub(super) fn push_difference(out: &mut Vec<u8>, previous: &[u8], stored: &[u8]) {
    let prefix = previous.iter().zip(stored).take_while(|(a, b)| a == b).count();
    let ends = previous[prefix..].iter().rev().zip(stored[prefix..].iter().rev());
    let suffix = ends.take_while(|(a, b)| a == b).count();
    let middle = &stored[prefix..stored.len() - suffix];
    for length in [prefix, suffix, middle.len()] {
        wire::push_uint(out, length as u64);
    }
    out.extend_from_slice(middle);
}

/// Turns the stored text `previous` into the next one. [R 7.8]
///
/// # Errors
/// When more of it is to be kept than there is.
pub(super) fn apply_difference(differences: &mut Cursor<'_>, previous: &mut Vec<u8>) -> Result<(), Damaged> {
    let at = differences.position() as u64;
    let (prefix, suffix) = (differences.uint()?, differences.uint()?);
    let middle = differences.bytes()?;
    let length = previous.len() as u64;
    if prefix.checked_add(suffix).is_none_or(|kept| kept > length) {
        let expected = format!("at most {length} bytes of the text before");
        return Err(Damaged::new("event text", at, expected, prefix.saturating_add(suffix)));
    }
    previous.splice(prefix as usize..(length - suffix) as usize, middle.iter().copied());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back() {
        let digest = Digest::of(b"x");
        let line = format!(
            r#"{{"name":"x","vers":"1.0.0","deps":[{{"name":"x","req":"1.0.0","features":[],"optional":false,"default_features":true,"target":null,"kind":"normal"}}],"cksum":"{digest}","features":{{"a":["b","c"]}},"yanked":false,"links":null}}"#
        );
        let stored = compact(line.as_bytes(), "x", "1.0.0", Some(&digest));
        assert!(stored.len() < 40, "{}", stored.escape_ascii());
        let all = FRAGMENTS.concat();
        let odd = [
            "",
            "\u{1}\u{2}",
            "no quotes",
            r#"{"name":"x","name":"x"}"#,
            "\u{3}",
            "\"",
            "\u{0}",
            &line,
            &all,
        ];
        for text in odd {
            let stored = compact(text.as_bytes(), "x", "1.0.0", Some(&digest));
            let back = restore(&stored, "x", "1.0.0", Some(&digest)).unwrap();
            assert_eq!(String::from_utf8(back).unwrap(), text);
        }
        // Differences, from each to each, and from nothing.
        let (mut out, mut previous) = (Vec::new(), Vec::new());
        let pairs: Vec<&str> = odd.iter().flat_map(|a| odd.iter().flat_map(|b| [*a, *b])).collect();
        for text in &pairs {
            push_difference(&mut out, &previous, text.as_bytes());
            previous = text.as_bytes().to_vec();
        }
        let (mut cursor, mut back) = (Cursor::new(&out, "test"), Vec::new());
        for text in pairs {
            apply_difference(&mut cursor, &mut back).unwrap();
            assert_eq!(back, text.as_bytes());
        }
        assert!(cursor.is_empty());
    }

    #[test]
    fn more_than_there_is_cannot_be_kept() {
        for bad in [[2, 2, 0], [253, 0, 0], [4, 0, 0], [0, 4, 0]] {
            let mut previous = b"abc".to_vec();
            assert!(apply_difference(&mut Cursor::new(&bad, "test"), &mut previous).is_err());
        }
        assert!(restore(b"a\x00b", "x", "1.0.0", None).is_err());
        assert!(restore(b"\x03", "x", "1.0.0", None).is_err());
    }

    /// What [`candidates`] passes over must never be a longer one.
    #[test]
    fn the_longest_fragment_is_found() {
        assert_eq!(usize::from(MARKS - FIRST_FRAGMENT), FRAGMENTS.len());
        for a in FRAGMENTS {
            for b in FRAGMENTS {
                let text = [a, b].concat();
                let longest = (FIRST_FRAGMENT..)
                    .zip(FRAGMENTS)
                    .filter(|(_, fragment)| text.starts_with(fragment))
                    .max_by_key(|(_, fragment)| fragment.len())
                    .map(|(mark, fragment)| (mark, fragment.len()));
                assert_eq!(longest_fragment(text.as_bytes()), longest, "{text}");
            }
        }
    }
}
