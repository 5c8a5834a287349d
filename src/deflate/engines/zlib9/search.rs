//! The longest match that zlib's level 9 would find, without walking its chains.
//!
//! zlib keeps the positions of each 3-byte hash in a chain, nearest first, and compares
//! the first 4,096 of them (1,024 after a good match). Its answer is a pure function of
//! the data: the longest match among those entries, the nearest of equal ones. Whatever
//! finds the same answer gives the same bits, so this module
//!
//! - numbers the positions within each of zlib's buckets (*ordinals*), so that whether
//!   zlib would have reached a candidate is one subtraction;
//! - follows chains of equal 4-byte and 12-byte strings, since a match of that length or
//!   longer must lie on them, and mostly few other candidates do;
//! - looks for a match longer than the best by following the chain of any string
//!   inside it: the one that jumps farthest skips the most candidates.

use super::super::slices::{common_length, word32, word64};
use super::super::zlib_shared::lazy::{Candidates, DISTANCE_LIMIT_BYTES, Match, Window};
use super::super::zlib_shared::ring::Ring;
use super::super::zlib_shared::trees::{MATCH_LEAST_BYTES, MATCH_LIMIT_BYTES};
use super::chains::{Buckets, StringChains, fill_both};

/// Matches of the least length count only up to this distance.
const LEAST_MATCH_DISTANCE_BYTES: usize = 4096;

/// Entries of a chain that zlib compares.
const CHAIN_LIMIT: u16 = 4096;
/// The same once the match before is at least [`GOOD_LENGTH_BYTES`] long.
const GOOD_CHAIN_LIMIT: u16 = CHAIN_LIMIT / 4;
const GOOD_LENGTH_BYTES: usize = 32;

/// Length of the strings on the short and on the long chains.
const SHORT_BYTES: usize = 4;
const LONG_BYTES: usize = 12;
/// Heads of these chains. Every string with the hash of another costs a false candidate,
/// every further head some of the nearest cache.
const SHORT_HEADS: usize = 1 << 16;
const LONG_HEADS: usize = 1 << 17;

/// Which candidates zlib would have looked at from one position.
struct Reach {
    distance_limit_bytes: usize,
    chain_limit: u16,
    ordinal: u16,
}

/// The chains over one stream's positions, and what finds matches on them.
pub(super) struct Search {
    buckets: Buckets,
    short: StringChains<SHORT_BYTES, SHORT_HEADS>,
    long: StringChains<LONG_BYTES, LONG_HEADS>,
}

impl Search {
    /// Working memory for streams whose zlib has hashes of `hash_bits`.
    pub(super) fn new(hash_bits: u32) -> Self {
        Search {
            buckets: Buckets::new(hash_bits),
            short: StringChains::new(),
            long: StringChains::new(),
        }
    }
}

impl Candidates for Search {
    const SEARCH_LEAST_BYTES: usize = MATCH_LEAST_BYTES;
    const FORGETS_WHAT_SLID_OUT: bool = false;

    fn reset(&mut self, input: &[u8], start: usize) {
        self.buckets.reset(start);
        self.short.reset(input.len(), start);
        self.long.reset(input.len(), start);
    }

    fn fill(&mut self, input: &[u8], start: usize, end: usize) {
        self.buckets.fill(input, start, end);
        fill_both(&mut self.short, &mut self.long, input, start, end);
    }

    #[inline(always)]
    fn longest_match(&mut self, input: &[u8], at: usize, to_beat_bytes: usize, window: &Window) -> Option<Match> {
        let length_limit_bytes = MATCH_LIMIT_BYTES.min(input.len() - at);
        if to_beat_bytes >= length_limit_bytes {
            return None;
        }
        let is_good = to_beat_bytes >= GOOD_LENGTH_BYTES;
        let reach = Reach {
            distance_limit_bytes: window.distance_limit_bytes(at),
            chain_limit: if is_good { GOOD_CHAIN_LIMIT } else { CHAIN_LIMIT },
            ordinal: self.buckets.ordinals.get(at),
        };
        let scan = &input[at..at + length_limit_bytes];
        if length_limit_bytes >= LONG_BYTES {
            let found = self.climb::<LONG_BYTES>(&self.long.steps, input, at, scan, to_beat_bytes, &reach);
            if found.is_some() {
                return found;
            }
        }
        // Nothing of LONG_BYTES or more matches, so that shorter strings do not either
        // beyond one byte less.
        let scan = &scan[..length_limit_bytes.min(LONG_BYTES - 1)];
        if to_beat_bytes >= scan.len() {
            return None;
        }
        if scan.len() >= SHORT_BYTES {
            let found = self.climb::<SHORT_BYTES>(&self.short.steps, input, at, scan, to_beat_bytes, &reach);
            if found.is_some() {
                return found;
            }
        }
        if to_beat_bytes >= MATCH_LEAST_BYTES {
            return None;
        }
        self.nearest_least_match(input, at, reach.distance_limit_bytes)
    }
}

impl Search {
    /// The longest match of `scan`, which is the input at `at`, that has at least `STRING`
    /// bytes, on chains of equal strings of that length.
    #[inline(always)]
    fn climb<const STRING: usize>(
        &self,
        steps: &Ring,
        input: &[u8],
        at: usize,
        scan: &[u8],
        to_beat_bytes: usize,
        reach: &Reach,
    ) -> Option<Match> {
        let mut found = None;
        let mut best_bytes = to_beat_bytes.max(STRING - 1);
        // All candidates lie on the chain of every string within the next longer match.
        let (mut offset, mut distance) = match best_bytes + 1 - STRING {
            0 => (0, usize::from(steps.get(at))),
            last_offset => steps.largest(at, last_offset),
        };
        while distance <= reach.distance_limit_bytes {
            let candidate = at - distance;
            if ends_match::<STRING>(input, candidate, scan, best_bytes + 1) {
                let length = common_length(&input[candidate..candidate + scan.len()], scan);
                if length > best_bytes {
                    if !self.reaches(reach, candidate, distance) {
                        // Nor does it reach anything farther.
                        return found;
                    }
                    found = Some(Match {
                        length_bytes: length,
                        distance_bytes: distance,
                    });
                    if length == scan.len() {
                        return found;
                    }
                    best_bytes = length;
                    // The strings within the match are the same at both places; the one
                    // that ends just behind it is known only here.
                    let (inside, step) = steps.largest(candidate, length - STRING);
                    let behind = length + 1 - STRING;
                    let first = usize::from(steps.get(at + behind));
                    (offset, distance) = if first > distance + step {
                        (behind, first)
                    } else {
                        (inside, distance + step)
                    };
                    continue;
                }
            }
            distance += usize::from(steps.get(candidate + offset));
        }
        found
    }

    /// Whether zlib looks at `candidate`, which is in the same bucket.
    #[inline(always)]
    fn reaches(&self, reach: &Reach, candidate: usize, distance_bytes: usize) -> bool {
        let entries = reach.ordinal.wrapping_sub(self.buckets.ordinals.get(candidate));
        // The first entry of a chain may be one farther away than the others.
        entries <= reach.chain_limit && (distance_bytes < DISTANCE_LIMIT_BYTES || entries == 1)
    }

    /// The nearest match of exactly the least length. So near, the chain limit is no limit.
    fn nearest_least_match(&self, input: &[u8], at: usize, distance_limit_bytes: usize) -> Option<Match> {
        const _: () = assert!(LEAST_MATCH_DISTANCE_BYTES <= CHAIN_LIMIT as usize);
        let limit_bytes = distance_limit_bytes.min(LEAST_MATCH_DISTANCE_BYTES);
        let string = &input[at..at + MATCH_LEAST_BYTES];
        let mut distance = 0;
        loop {
            distance += usize::from(self.buckets.steps.get(at - distance));
            if distance > limit_bytes {
                return None;
            }
            if input[at - distance..].starts_with(string) {
                return Some(Match {
                    length_bytes: MATCH_LEAST_BYTES,
                    distance_bytes: distance,
                });
            }
        }
    }
}

/// Whether the last `STRING` bytes (at most 8) of the first `length_bytes` at `candidate`
/// are those of `scan`: a cheap test for a match that long.
#[inline(always)]
fn ends_match<const STRING: usize>(input: &[u8], candidate: usize, scan: &[u8], length_bytes: usize) -> bool {
    if STRING >= 8 {
        word64(input, candidate + length_bytes - 8) == word64(scan, length_bytes - 8)
    } else {
        word32(input, candidate + length_bytes - 4) == word32(scan, length_bytes - 4)
    }
}
