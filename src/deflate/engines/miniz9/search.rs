//! The match that miniz's level 9 would find, mostly without walking its chain.
//!
//! miniz walks one chain and keeps the nearest of the longest matches among the entries
//! that its budget reaches. How many those are depends on what it meets on the way: at
//! least a number that is known beforehand, at most three times as many. So this module
//! looks through all that could count, along chains that skip what cannot be longer, and
//! the answer stands if it lies where the budget surely reaches. Otherwise the walk is
//! done for real.

use super::super::chains::Chains;
use super::super::chains::climb::{Match, Place, climb};
use super::super::slices::common_length;
use super::{LOOKAHEAD_BYTES_MAX, MATCH_BYTES_MIN, WINDOW_BYTES};

/// Groups of up to [`GROUP_ENTRIES`] that miniz looks at.
const GROUPS: u16 = 256;
/// The same when the match to beat is long already.
const GROUPS_AFTER_LONG: u16 = 64;
/// From this length on it counts as long.
const LONG_MATCH_BYTES: usize = 32;
const GROUP_ENTRIES: u16 = 3;
/// A match of three bytes is dropped from this distance on.
const FAR_BYTES: usize = 8 << 10;
/// At multiples of this position miniz's chains end: links count in 16 bits, and 0 is none.
const CHAIN_END_BYTES: usize = 1 << 16;

/// One search: where, how far back and for what.
struct Search<'a> {
    chains: &'a Chains,
    input: &'a [u8],
    at: usize,
    /// The input from there, as far as a match may reach.
    scan: &'a [u8],
    limit_bytes: usize,
    /// Only longer matches count.
    to_beat_bytes: usize,
    groups: u16,
}

/// The match that miniz would use at `at`, for which the chains are filled, if longer than
/// `to_beat_bytes`.
#[inline]
pub(super) fn find(chains: &Chains, input: &[u8], at: usize, to_beat_bytes: usize) -> Option<Match> {
    let length_limit_bytes = (input.len() - at).min(LOOKAHEAD_BYTES_MAX);
    if to_beat_bytes >= length_limit_bytes {
        return None;
    }
    let search = Search {
        chains,
        input,
        at,
        scan: &input[at..at + length_limit_bytes],
        limit_bytes: distance_limit_bytes(chains, input, at, length_limit_bytes),
        to_beat_bytes,
        groups: if to_beat_bytes < LONG_MATCH_BYTES {
            GROUPS
        } else {
            GROUPS_AFTER_LONG
        },
    };
    let found = search.longest()?;
    let is_far = found.length_bytes == MATCH_BYTES_MIN && found.distance_bytes >= FAR_BYTES;
    // miniz compares distance and position within its window, which drops every match that
    // starts at a multiple of it.
    let is_dropped = is_far || (at - found.distance_bytes).is_multiple_of(WINDOW_BYTES);
    (!is_dropped).then_some(found)
}

/// How far back from `at` miniz's chain goes.
#[inline]
fn distance_limit_bytes(chains: &Chains, input: &[u8], at: usize, length_limit_bytes: usize) -> usize {
    let limit_bytes = at.min(WINDOW_BYTES - length_limit_bytes);
    let since_end_bytes = at % CHAIN_END_BYTES;
    let bucket_at = |at: usize| chains.buckets.bucket(&input[at..]);
    if (1..=limit_bytes).contains(&since_end_bytes) && bucket_at(at) == bucket_at(at - since_end_bytes) {
        since_end_bytes - 1
    } else {
        limit_bytes
    }
}

impl Search<'_> {
    /// The nearest of the longest matches that miniz's budget reaches.
    #[inline]
    fn longest(&self) -> Option<Match> {
        let found = self.longest_in_reach()?;
        if self.steps_to(found) <= self.groups {
            Some(found)
        } else {
            self.walk(found)
        }
    }

    /// The same if the budget reached as far as it ever does.
    #[inline]
    fn longest_in_reach(&self) -> Option<Match> {
        let place = Place {
            input: self.input,
            at: self.at,
            scan: self.scan,
            limit_bytes: self.limit_bytes,
        };
        let accepts = |found: Match| self.steps_to(found) <= GROUP_ENTRIES * self.groups;
        let found = climb(&self.chains.strings, place, self.to_beat_bytes, accepts);
        if found.is_some() {
            return found;
        }
        if self.to_beat_bytes >= MATCH_BYTES_MIN {
            return None;
        }
        self.nearest_three()
    }

    /// How many entries miniz's chain takes to a match.
    #[inline(always)]
    fn steps_to(&self, found: Match) -> u16 {
        let ordinals = &self.chains.buckets.ordinals;
        ordinals
            .get(self.at)
            .wrapping_sub(ordinals.get(self.at - found.distance_bytes))
    }

    /// The nearest match of three bytes, when there is none of four.
    #[inline]
    fn nearest_three(&self) -> Option<Match> {
        let steps = &self.chains.buckets.steps;
        let limit_bytes = self.limit_bytes.min(FAR_BYTES - 1);
        let string = &self.scan[..MATCH_BYTES_MIN];
        let mut distance = 0;
        for _ in 0..GROUP_ENTRIES * self.groups {
            distance += usize::from(steps.get(self.at - distance));
            if distance > limit_bytes {
                return None;
            }
            if self.input[self.at - distance..].starts_with(string) {
                return Some(Match {
                    length_bytes: MATCH_BYTES_MIN,
                    distance_bytes: distance,
                });
            }
        }
        None
    }

    /// The match by miniz's own walk, which may end once it has `hoped_for`.
    #[inline(never)]
    fn walk(&self, hoped_for: Match) -> Option<Match> {
        let (input, scan, steps) = (self.input, self.scan, &self.chains.buckets.steps);
        let two_bytes = |bytes: &[u8], at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let mut best = None;
        let mut best_bytes = self.to_beat_bytes;
        let mut distance = 0;
        'groups: for _ in 0..self.groups {
            for _ in 0..GROUP_ENTRIES {
                distance += usize::from(steps.get(self.at - distance));
                if distance > self.limit_bytes {
                    return best;
                }
                let candidate = self.at - distance;
                if two_bytes(input, candidate + best_bytes - 1) != two_bytes(scan, best_bytes - 1) {
                    continue;
                }
                // A look at the bytes ends the group.
                let length = common_length(&input[candidate..candidate + scan.len()], scan);
                if length > best_bytes {
                    let better = Match {
                        length_bytes: length,
                        distance_bytes: distance,
                    };
                    best = Some(better);
                    if length == scan.len() || better == hoped_for {
                        return best;
                    }
                    best_bytes = length;
                }
                continue 'groups;
            }
        }
        best
    }
}
