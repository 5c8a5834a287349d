//! The engine against zlib, one test for each rule in which the two might part.

use crate::generate::Random;
use crate::zlib_shared::{filler, plant, unrepeated};
use crate::{generate, oracle};
use cratehold::deflate::engines::zlib9::{MemLevel, Zlib9};
use std::cell::RefCell;
use std::ops::ControlFlow;

thread_local! {
    static ENGINES: RefCell<[Zlib9; 2]> = RefCell::new(oracle::MEM_LEVELS.map(Zlib9::new));
}

/// Asserts that both make the same of `input`, at both memLevels.
pub fn check(name: impl std::fmt::Display, input: &[u8]) {
    ENGINES.with_borrow_mut(|engines| {
        for (mem_level, engine) in oracle::MEM_LEVELS.into_iter().zip(engines) {
            let expected = oracle::deflate(input, mem_level);
            let (on_one, on_two) = (oracle::own(engine, input), oracle::own_on_threads(mem_level, input));
            for (how, found) in [("one thread", on_one), ("two", on_two)] {
                if found != expected {
                    let common = found.iter().zip(&expected).take_while(|(a, b)| a == b).count();
                    panic!(
                        "{name}, {mem_level:?} on {how}: {} and {} bytes differ at {common}",
                        found.len(),
                        expected.len()
                    );
                }
            }
        }
    });
}

/// How short a stream the engine makes of `input`.
pub fn own_len(input: &[u8]) -> usize {
    oracle::own(&mut Zlib9::new(MemLevel::Eight), input).len()
}

/// zlib stores a block from its window, which at memLevel 9 may have moved on.
#[test]
fn block_that_slid_out_of_the_window_is_not_stored() {
    for length in [30_000, 65_534, 65_535, 65_536, 70_000, 98_301, 200_000] {
        check(format_args!("{length} random bytes"), &Random::new(22).bytes(length));
        check(format_args!("{length} unrepeated bytes"), &unrepeated(22, length));
    }
    let input = unrepeated(22, 200_000);
    let stored = oracle::own(&mut Zlib9::new(MemLevel::Eight), &input).len();
    let unstored = oracle::own(&mut Zlib9::new(MemLevel::Nine), &input).len();
    assert!(stored < 200_100 && unstored > 200_100, "{stored} {unstored}");
}

/// What may be stored is asked when the last token of a block is decided, one position into it:
/// the window may move on while a match is passed over.
#[test]
fn block_ended_by_a_match_over_which_the_window_moves() {
    // At memLevel 9 a block of literals is a byte shorter than the step of the window. So block
    // by block they begin a byte earlier in it; this one's last token just before it moves.
    const BLOCK_BYTES: usize = (1 << 15) - 1;
    const BLOCKS: usize = 300;
    let at = BLOCKS * BLOCK_BYTES + BLOCK_BYTES - 1;
    let unrepeated = unrepeated(23, at + 70_000);
    for length in [40, 41, 42, 258] {
        let mut input = unrepeated.clone();
        let string = input[at - 1000..at - 1000 + length].to_vec();
        plant(&mut input, at, &string);
        check(format_args!("{length} bytes"), &input);
    }
}

/// An engine is as good as new after any stream, also one that was broken off.
#[test]
fn engines_can_be_reused() {
    let mut engine = Zlib9::new(MemLevel::Eight);
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
                oracle::deflate(input, MemLevel::Eight),
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
    let mut engine = Zlib9::new(MemLevel::Nine);
    let mut out = Vec::new();
    let whole = engine.deflate(&input, &mut |piece| {
        assert!((1..=64 << 10).contains(&piece.len()));
        out.extend_from_slice(piece);
        ControlFlow::Continue(())
    });
    assert!(whole);
    assert_eq!(oracle::inflate(&out), input);
}

/// zlib's own output must not depend on how cargo or this archive feed it.
#[test]
fn zlib_does_not_depend_on_pieces_of_32_kib() {
    for seed in 0..10 {
        let input = generate::prose(seed, 65_274 + 30 * seed as usize);
        for mem_level in oracle::MEM_LEVELS {
            assert_eq!(
                oracle::deflate(&input, mem_level),
                oracle::deflate_in_pieces(&input, mem_level, 32 << 10)
            );
        }
    }
}
