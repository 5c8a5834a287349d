//! Every special rule of miniz's level 9, each against the library, bit for bit.

use crate::support::{Random, bucket_entries, collision, difference, library_in_pieces};
use cratehold::deflate::engines::miniz9::Miniz9;
use std::ops::ControlFlow;

fn check(name: &str, input: &[u8]) {
    check_with(&mut Miniz9::new(), name, input);
}

fn check_with(engine: &mut Miniz9, name: &str, input: &[u8]) {
    if let Some(difference) = difference(engine, input, false) {
        panic!("{name}: {difference}");
    }
}

/// `length` bytes to be found again, `entries` of their bucket, and they again.
fn repeat_behind_entries(seed: u64, length: usize, entries: usize, spare: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut phrase = random.bytes(length);
    phrase[..3].copy_from_slice(b"abc");
    let mut input = random.bytes(5);
    input.extend_from_slice(&phrase);
    // A second copy that is shorter, so that the search has something to beat.
    input.extend_from_slice(&random.bytes(9));
    let entries = bucket_entries(&mut random, *b"abc", entries);
    input.extend_from_slice(&entries);
    input.extend_from_slice(&phrase[..spare.min(length)]);
    input.extend_from_slice(&random.bytes(7));
    input.extend_from_slice(&phrase);
    input.extend_from_slice(&random.bytes(40));
    input
}

#[test]
fn the_smallest_inputs() {
    let mut engine = Miniz9::new();
    for bytes in 0..700 {
        check_with(&mut engine, "zeros", &vec![0; bytes]);
        check_with(&mut engine, "random", &Random::new(bytes as u64).bytes(bytes));
        check_with(&mut engine, "letters", &Random::new(bytes as u64).letters(b"ab", bytes));
    }
}

#[test]
fn sizes_around_powers_of_two() {
    let mut engine = Miniz9::new();
    let long = Random::new(3).letters(b"abcdefgh", 200_000);
    let noise = Random::new(4).bytes(200_000);
    for middle in [31 << 10, 32 << 10, 48 << 10, 64 << 10, 96 << 10, 128 << 10] {
        for bytes in [0, 1, 2, 3, 4, 11, 12, 257, 258, 259]
            .iter()
            .flat_map(|by| [middle - by, middle + by])
        {
            check_with(&mut engine, "letters", &long[..bytes]);
            check_with(&mut engine, "noise", &noise[..bytes]);
        }
    }
}

/// 256 groups: between 256 and 768 entries, by what the walk meets.
#[test]
fn the_probe_limit() {
    let mut engine = Miniz9::new();
    for length in [3, 4, 5, 8, 11, 12, 13, 20, 40] {
        for entries in (250..262).chain(505..520).chain(760..772) {
            for spare in [0, 4, 6, 12] {
                let input = repeat_behind_entries(entries as u64, length, entries, spare);
                check_with(
                    &mut engine,
                    &format!("length {length}, {entries} entries, spare {spare}"),
                    &input,
                );
            }
        }
    }
}

/// 64 groups when the match to beat has 32 bytes or more.
#[test]
fn the_probe_limit_after_a_long_match() {
    let mut engine = Miniz9::new();
    for waiting in 30..35 {
        for entries in (60..70).chain(126..132).chain(188..198).chain(250..260) {
            for hits in [0, 1, 3] {
                let mut random = Random::new(entries as u64);
                // "Xabc...": the waiting match starts at X, a longer one right behind.
                let mut phrase = b"Xabc".to_vec();
                phrase.extend(random.bytes(96));
                // Nothing is ever found at position 0.
                let mut input = random.bytes(3);
                input.extend_from_slice(&phrase[1..]);
                input.extend(random.bytes(8));
                for entry in 0..entries {
                    let mut body = random.bytes(waiting + 4);
                    body[..3].copy_from_slice(b"abc");
                    if hits > 0 && entry % hits == 0 {
                        body[waiting - 1..waiting + 1].copy_from_slice(&phrase[waiting..waiting + 2]);
                    }
                    input.extend(body);
                }
                input.extend_from_slice(&phrase[..waiting]);
                input.extend(random.bytes(8));
                input.extend_from_slice(&phrase);
                check_with(
                    &mut engine,
                    &format!("waiting {waiting}, {entries} entries, hits {hits}"),
                    &input,
                );
            }
        }
    }
}

/// Entries of other trigrams in the bucket use the budget up as well.
#[test]
fn hash_collisions_count() {
    let mut engine = Miniz9::new();
    for entries in [100, 254, 255, 256, 257, 300, 500, 766, 767, 768, 769] {
        for seed in 0..8 {
            let mut random = Random::new(seed);
            let mut input = b"abcdefghijklm".to_vec();
            for entry in 0..entries {
                let gram = collision(&mut random, *b"abc");
                input.extend_from_slice(&gram);
                if seed % 2 == 0 {
                    input.extend_from_slice(b"defghijk");
                }
                input.extend_from_slice(&(entry as u16).to_be_bytes());
            }
            input.extend_from_slice(b"abcdefghijklm");
            check_with(&mut engine, &format!("{entries} entries, seed {seed}"), &input);
        }
    }
}

#[test]
fn lengths_around_every_limit() {
    let mut engine = Miniz9::new();
    for first in [
        3, 4, 5, 10, 11, 12, 13, 31, 32, 33, 126, 127, 128, 129, 130, 256, 257, 258, 259, 260, 300,
    ] {
        for second in [3, 4, 11, 12, 31, 32, 33, 34, 127, 128, 129, 257, 258, 259] {
            let mut random = Random::new(first * 1000 + second);
            let phrase = random.bytes(300);
            let mut input = phrase[..first as usize].to_vec();
            input.extend(random.bytes(20));
            input.extend_from_slice(&phrase[1..1 + second as usize]);
            input.extend(random.bytes(20));
            input.extend_from_slice(&phrase);
            check_with(&mut engine, &format!("{first} then {second}"), &input);
        }
    }
}

/// Three bytes are worth a match below 8 KB only.
#[test]
fn three_bytes_far_away() {
    let mut engine = Miniz9::new();
    for gap in (8180..8200).chain([100, 4096, 16384]) {
        let mut random = Random::new(gap as u64);
        let mut input = random.letters(b"0123456789", 50);
        input.extend_from_slice(b"xyz");
        input.extend((0..gap - 3).map(|_| random.next() as u8 | 0x80));
        input.extend_from_slice(b"xyz");
        input.extend((0..60).map(|_| random.next() as u8 | 0x80));
        check_with(&mut engine, &format!("gap {gap}"), &input);
    }
}

/// The window holds the lookahead too, so it is largest at the very end.
#[test]
fn distances_near_the_window() {
    let mut engine = Miniz9::new();
    for tail in [0, 1, 5, 100, 240, 255, 256, 257, 258, 300, 1000] {
        for gap in (32_500..32_520).chain(32_740..32_770) {
            let mut random = Random::new(gap as u64);
            let mut input = random.bytes(77);
            let phrase = random.bytes(10);
            input.extend_from_slice(&phrase);
            input.extend(random.letters(b"abcdefghijklmnop", gap - 10));
            input.extend_from_slice(&phrase);
            input.extend(random.bytes(tail));
            check_with(&mut engine, &format!("gap {gap}, tail {tail}"), &input);
        }
    }
}

/// Matches from multiples of 32 K are dropped; those of 64 K end the chain.
#[test]
fn sources_at_multiples_of_the_window() {
    let mut engine = Miniz9::new();
    for place in [0, 32_768, 65_536, 98_304, 131_072] {
        for shift in -3i64..=3 {
            for length in [3, 4, 6, 12, 20, 200] {
                let mut random = Random::new(place + length);
                let target = (place as i64 + shift).max(0) as usize;
                let phrase = random.bytes(length as usize);
                let mut input = random.letters(b"abcdefghijklmnopqrstuvwxyz", target);
                // An older copy of the phrase, which the end of the chain may hide.
                if target > 2000 {
                    input[target - 1000..target - 1000 + length as usize].copy_from_slice(&phrase);
                }
                input.extend_from_slice(&phrase);
                input.extend(random.bytes(50));
                input.extend_from_slice(&phrase);
                input.extend(random.bytes(50));
                input.extend_from_slice(&phrase);
                input.extend(random.bytes(3000));
                check_with(
                    &mut engine,
                    &format!("place {place}, shift {shift}, length {length}"),
                    &input,
                );
            }
        }
    }
}

/// Beyond 31 KiB a block ends once its tokens take 128/115 of its input.
#[test]
fn blocks_that_compress_badly_end_early() {
    let mut engine = Miniz9::new();
    for noise in [31_000, 31_700, 31_744, 31_745, 31_750, 32_000, 33_000, 40_000, 70_000] {
        for text in [0, 100, 3000, 5000, 20_000] {
            let mut random = Random::new(noise as u64 + text as u64);
            let mut input = random.bytes(noise);
            input.extend(random.letters(b"ab", text));
            input.extend(random.bytes(noise));
            check_with(&mut engine, &format!("noise {noise}, text {text}"), &input);
        }
    }
}

/// Literals and matches in every mixture up to the end of miniz's token buffer.
#[test]
fn the_token_buffer_fills_up() {
    let mut engine = Miniz9::new();
    for alphabet in [2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256] {
        let mut random = Random::new(alphabet);
        let letters: Vec<u8> = (0..alphabet).map(|letter| letter as u8).collect();
        check_with(
            &mut engine,
            &format!("alphabet {alphabet}"),
            &random.letters(&letters, 400_000),
        );
    }
    // Four-byte matches only: the most input per token byte that stays a bad one.
    let mut random = Random::new(9);
    let units: Vec<Vec<u8>> = (0..400).map(|_| random.bytes(4)).collect();
    let quads: Vec<u8> = (0..100_000).flat_map(|_| units[random.below(400)].clone()).collect();
    check_with(&mut engine, "quads", &quads);
}

/// Counts like Fibonacci's numbers make codes deeper than deflate allows.
#[test]
fn codes_that_are_too_long() {
    let mut engine = Miniz9::new();
    for seed in 0..6 {
        let mut random = Random::new(seed);
        let (mut input, mut a, mut b) = (Vec::new(), 1usize, 1usize);
        for symbol in 0..22u8 {
            // Shuffled below, so that literals prevail.
            input.extend(std::iter::repeat_n(symbol.wrapping_mul(11).wrapping_add(seed as u8), a));
            (a, b) = (b, a + b);
        }
        for at in (1..input.len()).rev() {
            input.swap(at, random.below(at + 1));
        }
        input.truncate(30_000 + 10_000 * seed as usize);
        check_with(&mut engine, &format!("seed {seed}"), &input);
        // Nor may the code of the code lengths exceed seven bits.
        let skew: Vec<u8> = (0..60_000)
            .map(|_| (random.next() | 1 << 40).trailing_zeros() as u8 * 5)
            .collect();
        check_with(&mut engine, &format!("skew {seed}"), &skew);
    }
}

#[test]
fn stored_blocks() {
    let mut engine = Miniz9::new();
    for bytes in (30..60).chain([
        100, 1000, 31_744, 31_745, 32_508, 32_768, 33_000, 65_536, 100_000, 300_000,
    ]) {
        check_with(
            &mut engine,
            &format!("{bytes} bytes"),
            &Random::new(bytes as u64).bytes(bytes),
        );
    }
    // Almost incompressible: near the limit between stored and coded.
    for letters in 200..256 {
        let alphabet: Vec<u8> = (0..letters).map(|letter| letter as u8).collect();
        check_with(
            &mut engine,
            &format!("{letters} letters"),
            &Random::new(letters).letters(&alphabet, 70_000),
        );
        check_with(
            &mut engine,
            &format!("{letters} letters, few"),
            &Random::new(letters).letters(&alphabet, 600),
        );
    }
    // Far matches of three bytes save token bytes but few bits: blocks that hardly
    // compress grow towards what miniz keeps.
    for gap in 8..60 {
        let mut random = Random::new(gap as u64);
        let mut input = random.bytes(8_000);
        while input.len() < 150_000 {
            let start = input.len() - random.between(4_200, 7_900);
            input.extend_from_within(start..start + 3);
            input.extend(random.bytes(gap));
        }
        check_with(&mut engine, &format!("a match each {gap} bytes"), &input);
    }
}

/// The bits that wait for their byte before a block count toward its size, so that one whose
/// size is just at the limit is stored for them.
#[test]
fn stored_for_the_bits_that_waited() {
    let mut engine = Miniz9::new();
    let alphabet: Vec<u8> = (0..200).collect();
    for seed in 0..4 {
        let letters = Random::new(seed).letters(&alphabet, 3_000);
        for bytes in 600..letters.len() {
            check_with(&mut engine, &format!("seed {seed}, {bytes} bytes"), &letters[..bytes]);
        }
    }
}

/// Below 48 bytes the codes are fixed.
#[test]
fn fixed_and_dynamic_codes() {
    let mut engine = Miniz9::new();
    for bytes in 20..80 {
        check_with(
            &mut engine,
            "text",
            &b"the quick brown fox jumps over the lazy dog, the quick brown fox jumps over it"[..bytes.min(77)],
        );
        check_with(&mut engine, "high", &vec![200; bytes]);
        check_with(&mut engine, "pairs", &b"ab".repeat(bytes / 2));
    }
}

#[test]
fn short_periods() {
    let mut engine = Miniz9::new();
    for period in 1..=310 {
        let mut random = Random::new(period as u64);
        let unit = random.bytes(period);
        let mut input: Vec<u8> = unit.iter().copied().cycle().take(90_000 + period).collect();
        check_with(&mut engine, &format!("period {period}"), &input);
        for _ in 0..200 {
            let at = random.below(input.len());
            input[at] ^= 1 << random.below(8);
        }
        check_with(&mut engine, &format!("period {period}, flawed"), &input);
        let few = random.letters(b"ab", period);
        input = few.iter().copied().cycle().take(70_000).collect();
        check_with(&mut engine, &format!("period {period} of few letters"), &input);
    }
}

#[test]
fn ten_million_zeros() {
    check("zeros", &vec![0; 10_000_000]);
}

#[test]
fn dna_hex_and_tables() {
    let mut engine = Miniz9::new();
    let mut random = Random::new(77);
    check_with(&mut engine, "DNA", &random.letters(b"acgt", 600_000));
    check_with(&mut engine, "hex", &random.letters(b"0123456789abcdef", 600_000));
    let mut table = Vec::new();
    for row in 0u32..40_000 {
        table.extend_from_slice(format!("    [{row:#06x}, {:5}],\n", random.below(900)).as_bytes());
    }
    check_with(&mut engine, "table", &table);
    let counter: Vec<u8> = (0u32..200_000).flat_map(|number| (number * 3).to_le_bytes()).collect();
    check_with(&mut engine, "counter", &counter);
}

/// A link that is 64 K old looks young in 16 bits.
#[test]
fn stale_links() {
    let mut engine = Miniz9::new();
    for gap in [
        32_768, 49_152, 65_000, 65_535, 65_536, 65_537, 66_000, 98_304, 131_072, 140_000,
    ] {
        let mut random = Random::new(gap as u64);
        let phrase = random.bytes(40);
        let mut input = random.bytes(10);
        for _ in 0..4 {
            input.extend_from_slice(&phrase);
            input.extend(random.letters(b"abcdefghijklmnopqrstuvwxyz", gap - 40));
        }
        check_with(&mut engine, &format!("gap {gap}"), &input);
    }
}

/// Nothing of a stream may leak into the next.
#[test]
fn streams_after_one_another() {
    let mut engine = Miniz9::new();
    let mut random = Random::new(5);
    let long = random.letters(b"abcd", 150_000);
    for round in 0..60 {
        let start = random.below(100_000);
        let bytes = random.below(if round % 5 == 0 { 50_000 } else { 600 });
        check_with(&mut engine, &format!("round {round}"), &long[start..start + bytes]);
    }
}

#[test]
fn a_sink_may_break_off() {
    let input = Random::new(1).letters(b"abcdefgh", 300_000);
    let want = library_in_pieces(&input, 32 << 10);
    let mut engine = Miniz9::new();
    for pieces in 0..4 {
        let mut got = Vec::new();
        let mut left = pieces;
        let finished = engine.deflate(&input, &mut |bytes| {
            got.extend_from_slice(bytes);
            left -= 1;
            if left <= 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        assert!(!finished);
        assert!(want.starts_with(&got));
    }
    check_with(&mut engine, "after breaking off", &input);
}

/// How the library is fed makes no difference to it.
#[test]
fn feeding_does_not_matter_to_the_library() {
    let mut random = Random::new(8);
    let mut input = random.letters(b"abcdefgh", 90_000);
    input.extend(random.bytes(50_000));
    input.extend(vec![0; 70_000]);
    let want = library_in_pieces(&input, 32 << 10);
    for piece_bytes in [1, 2, 3, 100, 257, 258, 259, 1000, 40_000, 65_536, input.len()] {
        assert_eq!(library_in_pieces(&input, piece_bytes), want, "pieces of {piece_bytes}");
    }
}
