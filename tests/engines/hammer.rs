//! Random inputs against the libraries, for every engine at once.
//!
//! Inputs are grown from pieces that aim at the engines' limits: copies at chosen
//! distances and lengths, decoys that share a hash or a prefix, runs, dull and wild
//! bytes, and lengths around multiples of the window. A few cases run with the tests;
//! for as long as you like:
//!
//! ```console
//! $ HAMMER_SECONDS=3600 HAMMER_SEED=7 cargo test --release --test engines -- --ignored hammer
//! ```

use crate::generate::{self, Random};
use cratehold::deflate::{Engine, Recipe, redo, redo_by_library, redo_on};
use std::time::{Duration, Instant};

/// Values around which the rules change.
const EDGES: [usize; 22] = [
    1, 3, 4, 5, 7, 8, 9, 16, 31, 32, 33, 257, 258, 259, 262, 1024, 4096, 16_383, 28_672, 32_505, 32_506, 32_768,
];

/// A number near an edge, or any up to the window's size.
fn edgy(random: &mut Random) -> usize {
    match random.below(4) {
        0 => random.within(1, 40_000),
        1 => random.within(1, 300),
        _ => {
            let edge = EDGES[random.below(EDGES.len())];
            (edge + random.below(5)).saturating_sub(2).max(1)
        }
    }
}

/// Bytes of one kind.
fn stuff(random: &mut Random, count: usize) -> Vec<u8> {
    let seed = random.next();
    match random.below(9) {
        0 => random.bytes(count),
        1 => random.letters(b"0123456789abcdef", count),
        2 => random.letters(b"ACGT", count),
        3 => vec![random.byte(); count],
        4 => {
            let period = edgy(random).min(600);
            generate::periodic(seed, period, count)
        }
        5 => generate::table(seed, count),
        6 => generate::prose(seed, count),
        7 => {
            // Mostly one byte, with rare others.
            let rarity = random.within(2, 400);
            (0..count)
                .map(|_| if random.below(rarity) == 0 { random.byte() } else { b' ' })
                .collect()
        }
        _ => {
            // No three bytes twice within the window.
            let step = random.byte() | 1;
            (0..count)
                .map(|at| ((at / 256 * usize::from(step) + at * (at >> 8 | 1)) & 0xff) as u8)
                .collect()
        }
    }
}

/// Many strings that share a hash or a prefix with one that follows.
fn decoys(random: &mut Random) -> Vec<u8> {
    let length = random.within(4, 60);
    let target = random.bytes(length);
    let count = match random.below(3) {
        0 => 1024 + random.below(9) - 4,
        1 => 4096 + random.below(9) - 4,
        _ => random.within(1, 5000),
    };
    let shared = random.within(3, length.min(14));
    let flip = [0, 0, 0x20, 0x10, 0x40][random.below(5)];
    let padding = random.below(5);
    let before = random.byte();
    let mut out = vec![before];
    out.extend_from_slice(&target);
    for _ in 0..count {
        let mut decoy = target[..shared].to_vec();
        decoy[0] ^= flip;
        out.extend(decoy);
        out.extend(random.bytes(padding));
    }
    if random.below(2) == 0 {
        // A shorter copy first, so that the next search has a match to beat.
        out.push(random.byte());
        out.push(before);
        let part = random.within(3, length);
        out.extend_from_slice(&target[..part]);
    }
    out.push(random.byte());
    if random.below(2) == 0 {
        out.push(before);
    }
    out.extend_from_slice(&target);
    out
}

fn input(random: &mut Random) -> Vec<u8> {
    let mut limit = match random.below(6) {
        0 => random.below(600),
        1 => random.below(20_000),
        2 => 32_768 * random.within(1, 4) + random.below(525) - 262,
        3 => 65_274 + 32_768 * random.below(3) + random.below(270),
        4 => random.below(200_000),
        _ => random.below(500_000),
    };
    if random.below(200) == 0 {
        limit += 3 << 20;
    }
    let mut out = Vec::new();
    // Prefer one kind of piece for the whole input, so that long effects show.
    let favourite = random.below(6);
    while out.len() < limit {
        let kind = if random.below(3) == 0 {
            random.below(6)
        } else {
            favourite
        };
        match kind {
            0 | 1 if !out.is_empty() => {
                // A copy, then something else.
                let distance = edgy(random).min(out.len());
                let length = edgy(random).min(40_000);
                let start = out.len() - distance;
                (start..start + length).for_each(|at| out.push(out[at]));
                let count = random.below(4);
                out.extend(random.bytes(count));
            }
            2 => out.extend(decoys(random)),
            3 if !out.is_empty() => {
                // A run of short copies that a flush or the chain limit may cut.
                for _ in 0..random.within(1, 3000) {
                    let distance = random.within(1, out.len().min(33_000));
                    let length = random.within(2, 20);
                    let start = out.len() - distance;
                    (start..start + length).for_each(|at| out.push(out[at]));
                    if random.below(2) == 0 {
                        out.push(random.byte());
                    }
                }
            }
            _ => {
                let count = edgy(random).min(limit);
                out.extend(stuff(random, count));
            }
        }
    }
    out.truncate(limit);
    if random.below(3) == 0 {
        ending(random, &mut out);
    }
    out
}

/// An end that repeats strings of the window, where the versions part: the older one looks
/// one byte behind the end.
fn ending(random: &mut Random, out: &mut Vec<u8>) {
    let length = random.within(3, 260);
    let string = random.bytes(length);
    for _ in 0..random.within(1, 4) {
        out.extend_from_slice(&string[random.below(3)..]);
        out.push(if random.below(2) == 0 { 0 } else { random.byte() });
        let count = random.below(40);
        out.extend(random.bytes(count));
    }
    if out.len() > 70_000 && random.below(2) == 0 {
        // Let a copy be followed by what the window still holds behind the end.
        let at = out.len() - 1;
        out[at] = out[(at + length + 1 - 32_768).min(at)];
    }
    out.extend_from_slice(&string);
}

/// Panics at the first case that an engine makes other bytes of than its library.
fn check(case_seed: u64) {
    let input = input(&mut Random::new(case_seed));
    for engine in Engine::ALL {
        let recipe = Recipe {
            engine,
            header: Vec::new(),
            trailer: Vec::new(),
        };
        let expected = redo_by_library(&input, &recipe).unwrap();
        let on_two = redo_on(2, recipe.engine, input.len(), || Some((&input, recipe.clone())));
        let same = redo(&input, &recipe) == expected && on_two.as_ref() == Some(&expected);
        let (name, bytes) = (engine.name(), input.len());
        assert!(
            same,
            "{name} differs from its library on case {case_seed}, {bytes} bytes"
        );
    }
    // Again, and on threads in short pieces, of which many begin where nothing repeats.
    crate::zlib9::check(case_seed, &input);
    crate::zlib_rs9::check(case_seed, &input);
}

#[test]
fn some_random_inputs() {
    (0..12).for_each(check);
}

#[test]
#[ignore = "runs for HAMMER_SECONDS"]
fn hammer() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (seconds, seed) = (number("HAMMER_SECONDS", 60), number("HAMMER_SEED", 1));
    let start = Instant::now();
    let mut cases = 0;
    while start.elapsed() < Duration::from_secs(seconds) {
        check(seed.wrapping_mul(1_000_003).wrapping_add(cases));
        cases += 1;
    }
    println!("{cases} cases in {seconds} s with seed {seed}: no difference");
}
