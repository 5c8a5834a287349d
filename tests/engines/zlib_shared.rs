//! The rules that zlib and zlib-rs share, or nearly: every input goes through both engines,
//! at both memLevels of the one and in both versions of the other.

use crate::generate::Random;
use crate::zlib9::own_len;
use crate::{generate, zlib_rs9, zlib9};

/// Asserts that each engine makes of `input` what its library makes of it.
fn check(name: impl std::fmt::Display, input: &[u8]) {
    zlib9::check(&name, input);
    zlib_rs9::check(&name, input);
}

/// `count` bytes in which little but what a test plants matches. They take six bits each, so
/// that no block is stored, in which matches would not show.
pub fn filler(seed: u64, count: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..count).map(|_| random.byte() & 0x3f | 0x40).collect()
}

/// `count` bytes of which no three in a row ever recur, so that nothing at all matches.
pub fn unrepeated(seed: u64, count: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut seen = vec![false; 1 << 24];
    let (mut out, mut last_two) = (Vec::with_capacity(count), 0);
    while out.len() < count {
        let byte = random.byte();
        let three = last_two << 8 | usize::from(byte);
        if !std::mem::replace(&mut seen[three], true) {
            out.push(byte);
            last_two = three & 0xffff;
        }
    }
    out
}

pub fn plant(input: &mut [u8], at: usize, string: &[u8]) {
    input[at..at + string.len()].copy_from_slice(string);
}

#[test]
fn shortest_inputs() {
    for length in 0..=20 {
        check(length, &filler(1, length));
        check(length, &vec![b'a'; length]);
        check(length, &generate::periodic(2, 3, length));
    }
}

/// The libraries take position 0 for the end of a chain.
#[test]
fn position_0_is_never_matched() {
    for length in [3, 4, 11, 12, 13, 40] {
        for at in [length, length + 1, 300, 4000, 4096, 4097, 4098, 20_000, 32_505, 32_506] {
            let mut input = filler(length as u64, at + length + 300);
            let string = input[..length].to_vec();
            plant(&mut input, at, &string);
            check(format_args!("{length} bytes from 0 at {at}"), &input);
            let string = input[1..=length].to_vec();
            plant(&mut input, at + 1, &string);
            check(format_args!("{length} bytes from 0 and 1 at {at}"), &input);
        }
    }
}

/// The first entry of a chain may be 32,506 bytes away.
#[test]
fn first_of_chain_at_the_distance_limit() {
    for distance in 32_500..=32_510 {
        for at in [40, 200, 40_000] {
            let mut input = filler(3, at + distance + 2000);
            let string = filler(4, 30);
            plant(&mut input, at, &string);
            plant(&mut input, at + distance, &string);
            check(format_args!("distance {distance} from {at}"), &input);
        }
    }
}

/// Any later entry may be 32,505 bytes away.
#[test]
fn later_of_chain_at_the_distance_limit() {
    for distance in 32_500..=32_510 {
        for shared in [3, 4, 12, 20] {
            let mut input = filler(5, 100 + distance + 2000);
            let string = filler(6, 30);
            plant(&mut input, 50, &string);
            plant(&mut input, 1000, &string[..shared]);
            plant(&mut input, 50 + distance, &string);
            check(format_args!("distance {distance} behind {shared} bytes"), &input);
        }
    }
}

/// When the input ends less than 262 bytes on, the library's window slides one position early,
/// and takes the entry at its new first byte for none.
#[test]
fn window_slides_early_at_the_end_of_the_input() {
    // Several strings, since the planted entry must be the first of its chain. One that
    // begins a position early is found before the slide and then forgotten.
    for (slides, seed) in (0..3).flat_map(|slides| (0..8).map(move |seed| (slides, seed))) {
        let slides_at = 65_274 + slides * 32_768;
        for (at, length) in
            [(0, 30), (1, 30), (2, 30), (1, 3), (0, 5), (1, 5)].map(|(at, length)| (slides_at - 1 + at, length))
        {
            for end in [31, 100, 260, 261, 262, 263].map(|ahead| slides_at + ahead) {
                let mut input = filler(7, end);
                let string = filler(100 + seed, length);
                plant(&mut input, at, &string);
                plant(&mut input, at - 32_506, &string);
                check(format_args!("at {at}, {length} bytes {seed}, end {end}"), &input);
            }
        }
    }
}

/// A long match at the far end of a chain of `count` entries that share `shared` bytes.
fn behind_decoys(seed: u64, count: usize, shared: usize, padding: usize, flip: u8, before: &[u8]) -> Vec<u8> {
    let mut random = Random::new(seed);
    let target = random.bytes(60);
    let mut input = filler(seed + 1, 50);
    input.extend_from_slice(&target);
    let mut decoy = target[..shared].to_vec();
    decoy[0] ^= flip;
    for _ in 0..count {
        input.extend_from_slice(&decoy);
        input.extend(random.bytes(padding));
    }
    input.extend_from_slice(before);
    input.extend_from_slice(&target);
    input.extend(filler(seed + 2, 20));
    input
}

#[test]
fn chain_limit_of_4096() {
    for count in 4090..=4100 {
        for (shared, padding) in [(3, 1), (3, 4), (4, 2), (5, 2)] {
            let input = behind_decoys(10, count, shared, padding, 0, b"#");
            check(format_args!("{count} of {shared} and {padding}"), &input);
        }
    }
    let (within, beyond) = (
        behind_decoys(10, 4095, 4, 2, 0, b"#"),
        behind_decoys(10, 4096, 4, 2, 0, b"#"),
    );
    assert!(own_len(&within) < own_len(&beyond), "the generator misses the limit");
}

/// The limit falls to a quarter when the match to beat has 32 bytes or more.
#[test]
fn chain_limit_of_1024_after_a_good_match() {
    let target = Random::new(10).bytes(60);
    for good in 30..=34 {
        // The string before the last target is a match of `good` bytes, one position early.
        let mut early = filler(12, 8);
        early.extend_from_slice(&target[..good - 1]);
        for count in 1018..=1030 {
            let mut input = early.clone();
            input.extend(behind_decoys(10, count, 3, 3, 0, &early[7..8]));
            check(format_args!("good {good}, far, {count}"), &input);
            let near = [b"??", &early[7..], b"?", &early[7..8]].concat();
            check(
                format_args!("good {good}, near, {count}"),
                &behind_decoys(10, count, 3, 3, 0, &near),
            );
        }
    }
}

/// Strings of another content but with the same hash count as entries: at memLevel 8
/// all first bytes that differ in the upper 3 bits, at 9 those that differ in the upper 4.
#[test]
fn hash_collisions_count_toward_the_chain_limit() {
    for flip in [0x08, 0x10, 0x20, 0x40, 0x80] {
        for count in (4092..=4099).chain([4500]) {
            check(
                format_args!("flip {flip:x}, {count}"),
                &behind_decoys(13, count, 3, 3, flip, b"#"),
            );
        }
    }
}

#[test]
fn three_bytes_count_up_to_4096_away_in_zlib_only() {
    for distance in [1, 2, 3, 4, 100, 4094, 4095, 4096, 4097, 4098, 10_000] {
        for (length, seed) in (3..=5).flat_map(|length| (0..5).map(move |seed| (length, seed))) {
            let mut input = filler(14 + seed, 400 + distance);
            let string = filler(200 + seed, length);
            plant(&mut input, 200, &string);
            plant(&mut input, 200 + distance, &string);
            check(format_args!("{length} bytes {distance} away, {seed}"), &input);
        }
    }
}

/// Where less than three bytes are left nothing is looked up, and no match exceeds the end.
#[test]
fn last_bytes_of_the_input() {
    for length in 1..=40 {
        for gap in [0, 1, 5, 500] {
            let string = filler(15, length);
            let input = [b"#".as_slice(), &string, &filler(16, gap), &string].concat();
            check(format_args!("{length} bytes again at the end, {gap} between"), &input);
            check("a cut-off copy", &input[..input.len() - length / 2]);
            let longer = [b"#", string.as_slice(), b"xy", &filler(16, gap), &string, b"?", &string].concat();
            check(format_args!("{length} bytes twice"), &longer);
        }
    }
}

#[test]
fn lengths_around_multiples_of_the_window() {
    for multiple in [32_768, 65_536, 98_304, 131_072] {
        let prose = generate::prose(17, multiple + 300);
        let random = filler(18, multiple + 300);
        let periodic = generate::periodic(19, 32_506, multiple + 300);
        for over in [-262, -261, -260, -3, -2, -1, 0, 1, 2, 3, 259, 260, 261, 262] {
            let length = (multiple as isize + over) as usize;
            check(format_args!("prose of {length}"), &prose[..length]);
            check(format_args!("random of {length}"), &random[..length]);
            check(format_args!("periodic of {length}"), &periodic[..length]);
        }
    }
}

#[test]
fn lengths_around_match_limits() {
    for length in [11, 12, 13, 31, 32, 33, 256, 257, 258, 259, 260, 300, 516, 517] {
        for distance in [1, 2, 3, 4, 12, 257, 258, 259, 5000] {
            let mut input = filler(20, 6000);
            for _ in 0..length {
                input.push(input[input.len() - distance]);
            }
            input.extend(filler(21, 20));
            check(format_args!("{length} bytes {distance} away"), &input);
        }
    }
}

/// Stored, fixed and dynamic blocks of about the same size.
#[test]
fn choice_of_block() {
    for count in 0..300 {
        check(count, &Random::new(count as u64).bytes(count));
        check(count, &filler(count as u64, count));
        check(count, &Random::new(23).letters(b"abcdefgh", count));
        check(count, &generate::table(24, count));
        let mut bytes: Vec<u8> = (0..=255).collect();
        bytes.truncate(count);
        check(count, &bytes);
    }
}

/// Blocks of 16,383 tokens, or of 32,767 at memLevel 9, ended by a literal or by a match, and input that
/// ends with the block.
#[test]
fn token_counts_at_block_ends() {
    for tokens in [16_383, 2 * 16_383, 32_767] {
        for over in -3..=3 {
            let count = (tokens as isize + over) as usize;
            check(format_args!("{count} literals"), &unrepeated(70, count));
            for matched in [3, 4, 5, 100] {
                let mut input = unrepeated(70, count - 1);
                let copy = input[100..100 + matched].to_vec();
                input.extend_from_slice(&copy);
                check(format_args!("{count} literals and {matched} bytes"), &input);
                input.extend(b"-.-.");
                check(format_args!("{count} literals, {matched} bytes and more"), &input);
            }
        }
    }
}

/// A block that a literal fills ends before the position moves on, which tells in whether
/// it can be stored and in what it stores.
#[test]
fn block_ended_by_a_literal() {
    for seed in 0..12 {
        let mut random = Random::new(30 + seed);
        let mut input = Vec::new();
        while input.len() < 150_000 {
            let count = random.within(1, 900);
            input.extend(random.bytes(count));
            let (from, length) = (random.below(input.len()), random.within(3, 5));
            let end = input.len().min(from + length);
            input.extend_from_within(from..end);
        }
        check(seed, &input);
    }
}

#[test]
fn dull_inputs() {
    check("10 MB of zeros", &vec![0; 10 << 20]);
    for period in 1..=300 {
        check(
            format_args!("period {period}"),
            &generate::periodic(period as u64, period, 3000 + 300 * (period % 11)),
        );
    }
    for period in [1, 2, 3, 5, 259, 1000, 32_505, 32_506, 32_507, 32_768] {
        check(
            format_args!("period {period}"),
            &generate::periodic(period as u64, period, 200_000),
        );
    }
}

#[test]
fn inputs_by_kind() {
    let mut random = Random::new(40);
    check("random", &random.bytes(300_000));
    check("hex", &random.letters(b"0123456789abcdef", 300_000));
    check("DNA", &random.letters(b"ACGT", 150_000));
    check("bits", &random.letters(b"01", 100_000));
    check("table", &generate::table(41, 500_000));
    check("prose", &generate::prose(42, 500_000));
}

/// Skewed frequencies give codes that are too long, in all three alphabets.
#[test]
fn codes_that_are_too_long() {
    for seed in 0..20 {
        let mut random = Random::new(50 + seed);
        let mut input = Vec::new();
        while input.len() < 120_000 {
            let byte = random.next().trailing_zeros() as u8;
            input.extend([byte, random.byte() & (random.byte() >> (seed % 8))]);
        }
        check(seed, &input);
    }
}

/// Inner nodes deeper than codes may be count toward the overflow as leaves do. It takes a tree
/// of 18 levels to tell: lengths of matches whose numbers grow as those of Fibonacci.
#[test]
fn inner_nodes_that_are_too_deep() {
    const LENGTHS: [usize; 15] = [34, 30, 26, 22, 18, 16, 14, 12, 10, 9, 8, 7, 6, 5, 4];
    let mut random = Random::new(8);
    // At the bottom are the end of the block and what comes out otherwise than meant: some 16
    // symbols that come once, four levels by themselves.
    let mut counts = vec![16, 18];
    while counts.len() <= LENGTHS.len() {
        let all_but_last: usize = counts[..counts.len() - 1].iter().sum();
        counts.push(counts[counts.len() - 1].max(all_but_last + all_but_last / 50 + 1));
    }
    let mut lengths: Vec<usize> = LENGTHS
        .iter()
        .zip(&counts[1..])
        .flat_map(|(&length, &count)| vec![length; count])
        .collect();
    for last in (1..lengths.len()).rev() {
        lengths.swap(last, random.below(last + 1));
    }
    // A block of literals at memLevel 9, then one of matches alone.
    let mut input = random.bytes(2 * 16_383);
    let mut behind = None;
    for length in lengths {
        let start = loop {
            let start = input.len() - random.within(300, 30_000);
            if Some(input[start]) != behind {
                break start;
            }
        };
        behind = Some(input[start + length]);
        input.extend_from_within(start..start + length);
    }
    check("inner nodes", &input);
}
