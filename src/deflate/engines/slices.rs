//! Reading and comparing slices: what the searches of the engines share.

/// The four bytes at `at`.
#[inline(always)]
pub(super) fn word32(bytes: &[u8], at: usize) -> u32 {
    let Some(word) = bytes[at..].first_chunk() else {
        return 0;
    };
    u32::from_le_bytes(*word)
}

/// The eight bytes at `at`.
#[inline(always)]
pub(super) fn word64(bytes: &[u8], at: usize) -> u64 {
    let Some(word) = bytes[at..].first_chunk() else {
        return 0;
    };
    u64::from_le_bytes(*word)
}

/// Count of equal bytes at the front of two slices of the same length.
#[inline(always)]
pub(super) fn common_length(a: &[u8], b: &[u8]) -> usize {
    let equal_bytes = |difference: u128| (difference.trailing_zeros() / 8) as usize;
    let (a_words, b_words) = (a.as_chunks::<16>().0, b.as_chunks::<16>().0);
    for (index, (&a_word, &b_word)) in a_words.iter().zip(b_words).enumerate() {
        let difference = u128::from_le_bytes(a_word) ^ u128::from_le_bytes(b_word);
        if difference != 0 {
            return index * 16 + equal_bytes(difference);
        }
    }
    // What is left is compared together with some of the last whole word.
    match (a.last_chunk::<16>(), b.last_chunk::<16>()) {
        (Some(&a_word), Some(&b_word)) => {
            let difference = u128::from_le_bytes(a_word) ^ u128::from_le_bytes(b_word);
            a.len() - 16 + equal_bytes(difference)
        }
        _ => a.iter().zip(b).take_while(|(a_byte, b_byte)| a_byte == b_byte).count(),
    }
}
