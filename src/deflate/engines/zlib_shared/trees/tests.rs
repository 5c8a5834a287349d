//! zlib's Huffman codes against zlib's own, without any matching.

use super::*;

#[path = "../../../../../tests/engines/generate.rs"]
mod generate;
#[path = "../../../../../tests/engines/libz.rs"]
mod libz;

/// zlib can be told to use no matches, which shows its codes for any frequencies.
fn check_literals(bytes: &[u8]) {
    let tokens: Vec<Token> = bytes.iter().map(|&byte| Token::literal(byte)).collect();
    let mut writer = BlockWriter::new(16_383);
    writer.write(&tokens, bytes, true, true);
    let expected = libz::deflate(bytes, 8, libz_sys::Z_HUFFMAN_ONLY, usize::MAX);
    assert!(writer.take() == expected, "{} bytes", bytes.len());
}

#[test]
fn fibonacci_frequencies_overflow_the_code_limit() {
    for symbols in 2..=18 {
        for rotation in [0, 5, 100] {
            let (mut bytes, mut pair) = (Vec::new(), (1, 1));
            for symbol in 0..symbols {
                bytes.extend(std::iter::repeat_n((symbol as u8).wrapping_mul(rotation + 1), pair.0));
                pair = (pair.1, pair.0 + pair.1);
            }
            bytes.truncate(16_382);
            check_literals(&bytes);
        }
    }
}

#[test]
fn codes_for_any_frequencies() {
    let mut random = generate::Random::new(1);
    for round in 0..3000 {
        let count = random.within(0, [20, 300, 3000, 16_382][round % 4]);
        let (symbols, skew) = (random.within(1, 256), random.within(1, 6));
        let bytes: Vec<u8> = (0..count)
            .map(|_| (0..skew).fold(symbols, |below, _| random.below(below) + 1) as u8)
            .collect();
        check_literals(&bytes);
    }
}
