//! Deflate's alphabets: what RFC 1951 says of the codes for lengths and distances. What
//! code words they get is each engine's own.

use std::hint::select_unpredictable;

/// The longest match deflate can express.
pub(super) const MATCH_LIMIT_BYTES: usize = 258;
/// The shortest match deflate can express.
pub(super) const MATCH_LEAST_BYTES: usize = 3;

/// Behind the 256 byte values.
pub(super) const END_OF_BLOCK: usize = 256;
/// The code of the shortest match.
pub(super) const FIRST_LENGTH_CODE: usize = 257;
/// Distance codes that mean something.
pub(super) const DISTANCE_CODES: usize = 30;

/// The alphabet that code lengths are themselves coded in.
pub(super) const LENGTH_ALPHABET: usize = 19;
/// The order in which the lengths of the length alphabet's own codes are sent.
pub(super) const LENGTH_ALPHABET_ORDER: [usize; LENGTH_ALPHABET] =
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// One of deflate's length codes, as seen from a length.
#[derive(Clone, Copy)]
pub(super) struct Class {
    /// Less [`FIRST_LENGTH_CODE`].
    pub(super) code: u8,
    pub(super) extra_bits: u8,
    /// The code's first length, less [`MATCH_LEAST_BYTES`].
    pub(super) first: u16,
}

/// The code of each match length less [`MATCH_LEAST_BYTES`].
pub(super) const LENGTH_CLASSES: [Class; 256] = {
    let mut classes = [Class {
        code: 0,
        extra_bits: 0,
        first: 0,
    }; 256];
    let (mut code, mut length) = (0, 0);
    while length < 256 {
        // Eight codes without extra bits, then four for each number of extra bits.
        let extra_bits = if code < 8 { 0 } else { code / 4 - 1 };
        let next = length + (1 << extra_bits);
        let first = length as u16;
        while length < next {
            classes[length] = Class {
                code,
                extra_bits,
                first,
            };
            length += 1;
        }
        code += 1;
    }
    // 258 bytes have a code of their own, although the code before could express them.
    classes[255] = Class {
        code: 28,
        extra_bits: 0,
        first: 255,
    };
    classes
};

/// Extra bits behind a distance code.
pub(super) const fn distance_extra_bits(code: usize) -> u32 {
    if code < 4 { 0 } else { (code / 2 - 1) as u32 }
}

/// The first distance of a code, less 1.
pub(super) const fn first_distance(code: usize) -> usize {
    if code < 4 {
        code
    } else {
        (2 + code % 2) << (code / 2 - 1)
    }
}

/// Stands for the distance of a literal, which is coded in no bits at all.
const NO_DISTANCE: usize = DISTANCE_CODES;

/// Distance codes: the first 256 entries for a distance less 1 below 256, the rest for
/// its upper bits, since larger codes change only every 128 distances. What is no distance
/// has the last one.
const DISTANCE_TABLE: [u8; 768] = {
    let mut table = [NO_DISTANCE as u8; 768];
    let mut code = 0;
    while code < DISTANCE_CODES {
        let (first, extra_bits) = (first_distance(code), distance_extra_bits(code));
        let (mut at, end) = (first, first + (1 << extra_bits));
        while at < end {
            if at < 256 {
                table[at] = code as u8;
                at += 1;
            } else {
                table[256 + (at >> 7)] = code as u8;
                at += 128;
            }
        }
        code += 1;
    }
    table
};

/// The code of a distance less 1, and [`NO_DISTANCE`] for none less 1.
#[inline(always)]
pub(super) fn distance_code(distance_less_1: u16) -> usize {
    // How far away a match is cannot be foreseen.
    let place = select_unpredictable(distance_less_1 < 256, distance_less_1, 256 + (distance_less_1 >> 7));
    usize::from(DISTANCE_TABLE[usize::from(place)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_and_distance_is_within_its_code() {
        for (length, class) in LENGTH_CLASSES.iter().enumerate() {
            let extra = length - usize::from(class.first);
            assert!(class.code < 29 && extra >> class.extra_bits == 0, "{length}");
        }
        // 284 is as long as it may be, and 285 has no extra bits.
        assert_eq!([254, 255].map(|length: usize| LENGTH_CLASSES[length].code), [27, 28]);
        for distance in 0..1 << 15 {
            let code = distance_code(distance);
            let extra = usize::from(distance) - first_distance(code);
            assert!(
                code < DISTANCE_CODES && extra >> distance_extra_bits(code) == 0,
                "{distance}"
            );
        }
        assert_eq!(distance_code(u16::MAX), NO_DISTANCE);
    }
}
