//! The engine against the libraries, one test for each rule in which they might part.

use crate::generate::Random;
use crate::zlib_shared::{filler, plant, unrepeated};
use crate::{generate, zlib_rs_oracle as oracle};
use cratehold::deflate::engines::zlib_rs9::{Release, ZlibRs9};
use std::cell::RefCell;
use std::ops::ControlFlow;

thread_local! {
    static ENGINES: RefCell<[ZlibRs9; 2]> = RefCell::new(oracle::RELEASES.map(ZlibRs9::new));
}

/// Asserts that both make the same of `input`, in both versions.
pub fn check(name: impl std::fmt::Display, input: &[u8]) {
    ENGINES.with_borrow_mut(|engines| {
        for (release, engine) in oracle::RELEASES.into_iter().zip(engines) {
            let expected = oracle::deflate(input, release);
            let (on_one, on_two) = (oracle::own(engine, input), oracle::own_on_threads(release, input));
            for (how, found) in [("one thread", on_one), ("two", on_two)] {
                if found != expected {
                    let common = found.iter().zip(&expected).take_while(|(a, b)| a == b).count();
                    panic!(
                        "{name}, {release:?} on {how}: {} and {} bytes differ at {common}",
                        found.len(),
                        expected.len()
                    );
                }
            }
        }
    });
}

/// How short a stream the engine makes of `input`.
fn own_len(input: &[u8]) -> usize {
    oracle::own(&mut ZlibRs9::new(Release::V06), input).len()
}

/// Blocks are stored from the window, which moves on.
#[test]
fn incompressible_blocks_are_stored() {
    for length in [30_000, 65_534, 65_535, 65_536, 70_000, 98_301, 200_000] {
        check(format_args!("{length} random bytes"), &filler(22, length));
        check(format_args!("{length} unrepeated bytes"), &unrepeated(22, length));
    }
    assert!(own_len(&unrepeated(22, 200_000)) < 200_100);
}

/// An engine is as good as new after any stream, also one that was broken off.
#[test]
fn engines_can_be_reused() {
    let mut engine = ZlibRs9::new(Release::V06);
    let inputs = [
        generate::prose(60, 100_000),
        vec![0; 70_000],
        generate::prose(60, 5000),
        Vec::new(),
        filler(61, 100),
    ];
    for round in 0..3 {
        for input in &inputs {
            assert_eq!(
                oracle::own(&mut engine, input),
                oracle::deflate(input, Release::V06),
                "{round}"
            );
            let mut pieces = 0;
            let whole = engine.deflate(input, &mut |_| {
                pieces += 1;
                ControlFlow::Break(())
            });
            assert!(!whole && pieces == 1);
        }
    }
}

#[test]
fn output_comes_in_pieces() {
    let input = Random::new(62).bytes(1 << 20);
    let mut engine = ZlibRs9::new(Release::V05);
    let mut out = Vec::new();
    let whole = engine.deflate(&input, &mut |piece| {
        assert!((1..=64 << 10).contains(&piece.len()));
        out.extend_from_slice(piece);
        ControlFlow::Continue(())
    });
    assert!(whole);
    assert_eq!(oracle::inflate(&out), input);
}

/// The libraries' own output must not depend on how cargo or this archive feed them.
#[test]
fn libraries_do_not_depend_on_pieces_of_32_kib() {
    for seed in 0..10 {
        let input = generate::prose(seed, 65_274 + 30 * seed as usize);
        for release in oracle::RELEASES {
            assert_eq!(
                oracle::deflate(&input, release),
                oracle::deflate_in_pieces(&input, release, usize::MAX)
            );
        }
    }
}

/// A string at the end of the input, before it the same with another byte behind, before
/// that the same with the byte that the window still holds behind the end: 0.5 takes the
/// farther one, 0.6 the nearer.
#[test]
fn byte_behind_the_end() {
    for length in [3, 4, 5, 7, 8, 9, 31, 33, 100, 255, 256, 257, 258, 259] {
        for total in [
            1000, 40_000, 65_000, 65_274, 65_400, 65_535, 65_536, 65_537, 70_000, 98_050, 98_200, 98_304, 130_941,
        ] {
            for shift in [0, 1] {
                let mut input = filler(80, total);
                let string = filler(81, length);
                let held = if total < 65_536 {
                    0
                } else {
                    input[total - 32_768 + shift]
                };
                plant(&mut input, total - length, &string);
                for (back, behind) in [(2000, !held), (4000, held), (6000, held)] {
                    if back + length < total {
                        plant(&mut input, total - back, &string);
                        input[total - back + length] = behind;
                    }
                }
                check(format_args!("{length} bytes at the end of {total}, {shift}"), &input);
            }
        }
    }
}

#[test]
fn versions_differ() {
    let mut input = filler(82, 1000);
    let string = filler(83, 20);
    for (at, behind) in [(100, 0), (300, 1)] {
        plant(&mut input, at, &string);
        input[at + string.len()] = behind;
    }
    input.extend_from_slice(&string);
    check("an end that the versions see differently", &input);
    let [older, newer] = oracle::RELEASES.map(|release| oracle::deflate(&input, release));
    assert_ne!(older, newer);
}

/// A match to beat that ends one byte before the input: the bucket of the last three bytes
/// is looked at although they are never in it. DNA, so that the budget matters.
#[test]
fn budget_at_the_end_of_the_input() {
    let input = Random::new(84).letters(b"ACGT", 40_000);
    for length in 39_800..40_000 {
        check(format_args!("{length} bases"), &input[..length]);
    }
}

/// The budget ends on one of the chains that the library goes along: `rare` strings that
/// share the middle of a target which comes twice before, once longer than the other time.
#[test]
fn budget_along_switched_chains() {
    let mut random = Random::new(85);
    for (near, far) in [(5, 9), (8, 40), (12, 13), (33, 60), (60, 200)] {
        let target = random.bytes(far);
        for budget in [1024, 4096] {
            for over in -4..=4 {
                for offset in [0, 1, near - 3] {
                    let decoy = &target[offset..offset + 3];
                    let count = (budget as isize + over) as usize;
                    let mut input = random.bytes(40);
                    input.extend_from_slice(&target);
                    for _ in 0..count {
                        input.extend_from_slice(decoy);
                        let count = 1 + random.below(3);
                        input.extend(random.bytes(count));
                    }
                    input.extend_from_slice(&target[..near]);
                    input.push(!target[near]);
                    input.extend(random.bytes(30));
                    input.extend_from_slice(&target);
                    input.extend(random.bytes(20));
                    check(
                        format_args!("{near} and {far} bytes, {count} decoys at {offset}"),
                        &input,
                    );
                }
            }
        }
    }
}

/// The budget falls to a quarter when the match to beat has 32 bytes or more. All strings of
/// what is looked for are among the decoys, or the chain of one that is not would lead past.
#[test]
fn budget_of_1024_after_a_good_match() {
    let repeated = |times: usize| b"abc".repeat(times);
    for good in [10, 11] {
        for decoys in (1005..1030).chain([1500]) {
            let mut random = Random::new(77);
            let mut input = [filler(1, 20), repeated(20), filler(2, 20)].concat();
            for _ in 0..decoys {
                input.extend_from_slice(b"abcab");
                input.extend(random.bytes(3).iter().map(|byte| byte | 0x80));
            }
            // A match of 31 or 34 bytes, one position before the longer one.
            input.extend_from_slice(b"#");
            input.extend(repeated(good));
            input.extend(filler(3, 20));
            input.extend_from_slice(b"#");
            input.extend(repeated(20));
            input.extend(filler(4, 20));
            check(format_args!("{good} times, {decoys} decoys"), &input);
        }
    }
}

/// A match of three bytes behind `count` strings of their bucket, and nothing longer.
fn three_bytes_behind(count: usize) -> Vec<u8> {
    let mut random = Random::new(86);
    let mut input = [filler(1, 40), b"xyz?".to_vec()].concat();
    for _ in 0..count {
        // The hash has only the low five bits of the first byte.
        input.extend_from_slice(&[b'x' ^ 0x80, b'y', b'z']);
        input.extend(random.bytes(3).iter().map(|byte| byte & 0x1f));
    }
    input.extend_from_slice(b"#xyz!");
    input.extend(filler(2, 40));
    input
}

#[test]
fn budget_for_three_bytes() {
    for count in (0..5).chain(4088..4104) {
        check(format_args!("{count} entries before"), &three_bytes_behind(count));
    }
    // An entry more always costs a few bits; past the budget a match becomes three literals.
    let more_bytes = |count| own_len(&three_bytes_behind(count)) - own_len(&three_bytes_behind(count - 1));
    assert!(more_bytes(4096) > more_bytes(4095), "the generator misses the budget");
}

/// The library does not switch chains after a match that overlaps its copy, or ends right
/// before it.
#[test]
fn no_switch_after_overlap() {
    let mut random = Random::new(86);
    for length in [4, 5, 8, 20, 40] {
        for gap in 0..4 {
            let unit = random.bytes(length);
            for count in [1015, 1024, 4085, 4096] {
                let mut input = random.bytes(50);
                input.extend([&unit[..], &unit[..], &unit[..length / 2]].concat());
                for _ in 0..count {
                    input.extend_from_slice(&unit[length - 3..]);
                    let count = 1 + random.below(4);
                    input.extend(random.bytes(count));
                }
                for _ in 0..3 {
                    input.extend_from_slice(&unit);
                    let count = random.below(gap + 1);
                    input.extend(random.bytes(count));
                }
                check(format_args!("{length} bytes, gap {gap}, {count} decoys"), &input);
            }
        }
    }
}

/// Runs of a short or long period are filled in one go: they begin and end anywhere, and
/// strings within a period may share a hash.
#[test]
fn periods_that_come_and_go() {
    let mut random = Random::new(87);
    for round in 0..120 {
        let mut input = Vec::new();
        while input.len() < 120_000 {
            let periods = [1, 2, 3, 5, 16, 64, 127, 128, 200, 250, 5000, 12_000, 16_384, 30_000];
            let period = periods[random.below(periods.len())];
            let alphabet: &[u8] = if random.below(2) == 0 {
                b"ab"
            } else {
                b"abcdefghijklmnopqrstuvwxyz"
            };
            let mut unit = random.letters(alphabet, period);
            if period > 100 {
                // A string that comes twice in a period, near its front.
                unit.copy_within(10..18, random.within(20, 60));
            }
            let count = random.within(1, 50_000);
            input.extend(unit.iter().cycle().take(count));
            let count = random.below(300);
            input.extend(random.letters(alphabet, count));
        }
        check(round, &input);
    }
}
