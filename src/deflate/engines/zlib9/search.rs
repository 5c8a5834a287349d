//! The longest match that zlib's level 9 would find, without walking its chains.
//!
//! zlib keeps the positions of each 3-byte hash in a chain, nearest first, and compares
//! the first 4,096 of them (1,024 after a good match). Its answer is a pure function of
//! the data: the longest match among those entries, the nearest of equal ones. Whatever
//! finds the same answer gives the same bits, so this module
//!
//! - numbers the positions within each of zlib's buckets (*ordinals*), so that whether
//!   zlib would have reached a candidate is one subtraction;
//! - climbs from match to longer match on chains of equal 4-byte strings (`chains`), and
//!   looks at the buckets themselves only for matches of 3 bytes.

use super::super::alphabet::{MATCH_LEAST_BYTES, MATCH_LIMIT_BYTES};
use super::super::chains::climb::{Match, Place, climb};
use super::super::chains::{Chains, HashBits};
use super::super::zlib_shared::lazy::{Candidates, DISTANCE_LIMIT_BYTES, Window};

/// Matches of the least length count only up to this distance.
const LEAST_MATCH_DISTANCE_BYTES: usize = 4096;

/// Entries of a chain that zlib compares.
const CHAIN_LIMIT: u16 = 4096;
/// The same once the match before is at least [`GOOD_LENGTH_BYTES`] long.
const GOOD_CHAIN_LIMIT: u16 = CHAIN_LIMIT / 4;
const GOOD_LENGTH_BYTES: usize = 32;

/// Which candidates zlib would have looked at from one position.
struct Reach {
    chain_limit: u16,
    ordinal: u16,
}

/// The chains over one stream's positions, and what finds matches on them.
pub(super) struct Search {
    chains: Chains,
}

impl Search {
    /// Working memory for streams whose zlib has hashes of so many bits.
    pub(super) fn new(hash_bits: HashBits) -> Self {
        Search {
            chains: Chains::new(hash_bits),
        }
    }
}

impl Candidates for Search {
    const SEARCH_LEAST_BYTES: usize = MATCH_LEAST_BYTES;
    const FORGETS_WHAT_SLID_OUT: bool = false;

    fn reset(&mut self, input: &[u8], start: usize) {
        self.chains.reset(input, start);
    }

    fn touch(&mut self) {
        self.chains.touch();
    }

    fn fill_for(&mut self, input: &[u8], at: usize) -> usize {
        self.chains.fill_for(input, at)
    }

    #[inline(always)]
    fn longest_match(&mut self, input: &[u8], at: usize, to_beat_bytes: usize, window: &Window) -> Option<Match> {
        let length_limit_bytes = MATCH_LIMIT_BYTES.min(input.len() - at);
        if to_beat_bytes >= length_limit_bytes {
            return None;
        }
        let is_good = to_beat_bytes >= GOOD_LENGTH_BYTES;
        let reach = Reach {
            chain_limit: if is_good { GOOD_CHAIN_LIMIT } else { CHAIN_LIMIT },
            ordinal: self.chains.buckets.ordinals.get(at),
        };
        let place = Place {
            input,
            at,
            scan: &input[at..at + length_limit_bytes],
            limit_bytes: window.distance_limit_bytes(at),
        };
        let accepts = |found: Match| self.reaches(&reach, at - found.distance_bytes, found.distance_bytes);
        let found = climb(&self.chains.strings, place, to_beat_bytes, accepts);
        if found.is_some() {
            return found;
        }
        if to_beat_bytes >= MATCH_LEAST_BYTES {
            return None;
        }
        self.nearest_least_match(input, at, place.limit_bytes)
    }
}

impl Search {
    /// Whether zlib looks at `candidate`, which is in the same bucket.
    #[inline(always)]
    fn reaches(&self, reach: &Reach, candidate: usize, distance_bytes: usize) -> bool {
        let entries = reach.ordinal.wrapping_sub(self.chains.buckets.ordinals.get(candidate));
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
            distance += usize::from(self.chains.buckets.steps.get(at - distance));
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
