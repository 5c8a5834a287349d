//! The order of crate names: by key, compared without making it. Spec section 7.

use std::cmp::Ordering;

/// The order of crate records: by key, then by spelling. [R 7.6]
pub fn name_order(a: &str, b: &str) -> Ordering {
    key_order(a, b).then_with(|| a.cmp(b))
}

/// The order of two names' keys, without making them.
pub fn key_order(a: &str, b: &str) -> Ordering {
    let differing = a
        .bytes()
        .zip(b.bytes())
        .find(|(a, b)| a != b && key_byte(*a) != key_byte(*b));
    match differing {
        Some((a, b)) => key_byte(a).cmp(&key_byte(b)),
        None => a.len().cmp(&b.len()),
    }
}

/// One byte of a name, as its key has it; see [`crate::ids::name_key`].
fn key_byte(c: u8) -> u8 {
    if c == b'-' { b'_' } else { c.to_ascii_lowercase() }
}

/// The first 16 bytes of a name's key as a big-endian number, zeros behind. [R 7.6]
pub(super) fn key_prefix(name: &str) -> u128 {
    let mut prefix = [0; 16];
    for (to, from) in prefix.iter_mut().zip(name.bytes()) {
        *to = key_byte(from);
    }
    u128::from_be_bytes(prefix)
}
