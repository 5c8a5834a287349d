//! The match that the library's level 9 would find, mostly without walking its chains.
//!
//! The library keeps the positions of each 3-byte hash in a chain, nearest first, and has a
//! budget of 4,096 entries to compare (1,024 after a good match). It begins on the chain of
//! that string within the match to beat whose newest entry is farthest back, and after each
//! better match goes on along that of the strings inside it that jumps farthest. A jump is
//! free and skips nothing that could be better, so that the answer is the longest match, the
//! nearest of equal ones, unless the budget runs out first. This module
//!
//! - finds the longest match on chains of equal 4-byte strings, and with it the *stairs*: the
//!   ever longer and farther matches that the library meets on its way;
//! - knows without looking that the budget lasts when the match is no farther away than the
//!   budget is large, because every entry is at least one byte farther than the last;
//! - otherwise follows the library from stair to stair: the positions within a bucket are
//!   numbered (*ordinals*), so what it spends between two of them is a subtraction.

use super::super::alphabet::{MATCH_LEAST_BYTES, MATCH_LIMIT_BYTES};
use super::super::chains::climb::{Match, Place, climb};
use super::super::chains::{Chains, HashBits};
use super::super::slices::{common_length, word32};
use super::super::zlib_shared::lazy::{Candidates, DISTANCE_LIMIT_BYTES, WINDOW_BYTES, Window};
use super::Release;

/// Entries of chains that the library compares in one search, without those it jumps to.
const BUDGET: usize = 4096;
/// The same once the match before is at least [`GOOD_LENGTH_BYTES`] long.
const GOOD_BUDGET: usize = BUDGET / 4;
const GOOD_LENGTH_BYTES: usize = 32;

/// What a search looks at.
pub(super) struct Scene<'a> {
    pub(super) input: &'a [u8],
    /// The position to match, with at least four bytes left.
    pub(super) at: usize,
    /// Position of the first byte in the library's window.
    pub(super) window_start: usize,
    /// What the library finds behind the end of the input, if it takes any notice.
    pub(super) byte_behind: Option<u8>,
}

impl Scene<'_> {
    /// The farthest that an entry may be, except for the first one of a chain. Never the
    /// window's first byte, whose position the library takes for "none".
    #[inline(always)]
    fn distance_limit_bytes(&self) -> usize {
        (DISTANCE_LIMIT_BYTES - 1).min((self.at - self.window_start).saturating_sub(1))
    }

    /// The same for the first entry of the chain of the position itself.
    fn first_distance_limit_bytes(&self) -> usize {
        DISTANCE_LIMIT_BYTES.min((self.at - self.window_start).saturating_sub(1))
    }

    /// The input from the position on, as far as a match may reach.
    #[inline(always)]
    fn scan(&self) -> &[u8] {
        let left = &self.input[self.at..];
        &left[..left.len().min(MATCH_LIMIT_BYTES)]
    }

    fn left_bytes(&self) -> usize {
        self.input.len() - self.at
    }
}

/// What 0.5.5 reads behind the end of the input: what the window held there before it last
/// moved.
fn byte_behind(input: &[u8]) -> u8 {
    if input.len() < 2 * WINDOW_BYTES {
        0
    } else {
        input[input.len() - WINDOW_BYTES]
    }
}

/// The chains over one stream's positions, and what finds matches on them.
pub(super) struct Search {
    release: Release,
    chains: Chains,
    /// What 0.5.5 finds behind the end of this stream's input.
    byte_behind: Option<u8>,
    /// The matches found on the way to the last of them, each longer and farther away than
    /// the one before.
    stairs: Vec<Match>,
}

impl Search {
    pub(super) fn new(release: Release) -> Self {
        Search {
            release,
            chains: Chains::new(HashBits::Fifteen),
            byte_behind: None,
            stairs: Vec::with_capacity(MATCH_LIMIT_BYTES),
        }
    }
}

impl Candidates for Search {
    const SEARCH_LEAST_BYTES: usize = 4;
    const FORGETS_WHAT_SLID_OUT: bool = true;

    fn reset(&mut self, input: &[u8], start: usize) {
        self.chains.reset(input, start);
        self.byte_behind = (self.release == Release::V05).then(|| byte_behind(input));
    }

    fn touch(&mut self) {
        self.chains.touch();
    }

    fn fill_for(&mut self, input: &[u8], at: usize) -> usize {
        self.chains.fill_for(input, at)
    }

    #[inline(always)]
    fn longest_match(&mut self, input: &[u8], at: usize, to_beat_bytes: usize, window: &Window) -> Option<Match> {
        let scene = Scene {
            input,
            at,
            window_start: window.start,
            byte_behind: self.byte_behind,
        };
        if to_beat_bytes >= scene.scan().len() {
            return None;
        }
        let budget = if to_beat_bytes >= GOOD_LENGTH_BYTES {
            GOOD_BUDGET
        } else {
            BUDGET
        };
        let Some(longest) = self.climb(&scene, to_beat_bytes) else {
            return if to_beat_bytes < MATCH_LEAST_BYTES {
                self.nearest_least_match(&scene)
            } else {
                None
            };
        };
        if scene.byte_behind.is_some() && longest.length_bytes == scene.left_bytes() {
            self.walk(&scene, to_beat_bytes, budget)
        } else if longest.distance_bytes <= budget {
            Some(longest)
        } else {
            self.affordable(&scene, to_beat_bytes, budget)
        }
    }
}

impl Search {
    /// The longest match that has more than three bytes. Leaves the stairs to it.
    #[inline(always)]
    fn climb(&mut self, scene: &Scene<'_>, to_beat_bytes: usize) -> Option<Match> {
        let place = Place {
            input: scene.input,
            at: scene.at,
            scan: scene.scan(),
            limit_bytes: scene.distance_limit_bytes(),
        };
        self.stairs.clear();
        climb(&self.chains.strings, place, to_beat_bytes, |found| {
            self.stairs.push(found);
            true
        })
    }

    /// The last of the stairs that the library reaches within its budget, or what it has
    /// found before the first.
    #[inline(never)]
    fn affordable(&self, scene: &Scene<'_>, to_beat_bytes: usize, mut budget: usize) -> Option<Match> {
        let at = scene.at;
        let (steps, ordinals) = (&self.chains.buckets.steps, &self.chains.buckets.ordinals);
        let longest = *self.stairs.last()?;
        // The library is on the chain of the string at `offset`, whose entry it looks at next
        // has this ordinal.
        let mut offset = if to_beat_bytes < MATCH_LEAST_BYTES {
            0
        } else {
            steps.farthest(at, to_beat_bytes + 1 - MATCH_LEAST_BYTES)
        };
        let mut ordinal = ordinals.get(at + offset).wrapping_sub(1);
        let mut reached = None;
        for &stair in &self.stairs {
            let stair_ordinal = ordinals.get(at + offset - stair.distance_bytes);
            let spent = usize::from(ordinal.wrapping_sub(stair_ordinal));
            if spent >= budget {
                if reached.is_none() && to_beat_bytes < MATCH_LEAST_BYTES {
                    return self.nearest_least_match(scene);
                }
                return reached;
            }
            budget -= spent;
            if longest.distance_bytes - stair.distance_bytes < budget {
                return Some(longest);
            }
            reached = Some(stair);
            ordinal = stair_ordinal;
            // It does not jump after a match that overlaps its copy.
            if stair.length_bytes < stair.distance_bytes {
                let candidate = at - stair.distance_bytes;
                offset = steps.farthest(candidate, stair.length_bytes - MATCH_LEAST_BYTES);
                ordinal = ordinals.get(candidate + offset).wrapping_sub(1);
            }
        }
        reached
    }

    /// The nearest match of the least length, when there is no longer one within the budget:
    /// the whole one, since there is none to beat.
    fn nearest_least_match(&self, scene: &Scene<'_>) -> Option<Match> {
        const _: () = assert!(BUDGET.is_multiple_of(2));
        let steps = &self.chains.buckets.steps;
        let limit_bytes = scene.distance_limit_bytes();
        let mut distance_bytes = usize::from(steps.get(scene.at));
        if distance_bytes == DISTANCE_LIMIT_BYTES {
            // The first entry of the chain may be one farther away than all others, at
            // which the search for longer matches has not looked.
            return self.walk(scene, MATCH_LEAST_BYTES - 1, BUDGET);
        }
        let least = |at: usize| word32(scene.input, at) & 0x00ff_ffff;
        let string = least(scene.at);
        let is_match = |distance_bytes: usize| {
            (least(scene.at - distance_bytes.min(limit_bytes)) == string) & (distance_bytes <= limit_bytes)
        };
        let next_bytes =
            |distance_bytes: usize| distance_bytes + usize::from(steps.get(scene.at.wrapping_sub(distance_bytes)));
        // Two entries at a time, since where a chain ends cannot be foreseen.
        for _ in 0..BUDGET / 2 {
            let second_bytes = next_bytes(distance_bytes);
            let (is_first, is_second) = (is_match(distance_bytes), is_match(second_bytes));
            if is_first | is_second {
                return Some(Match {
                    length_bytes: MATCH_LEAST_BYTES,
                    distance_bytes: if is_first { distance_bytes } else { second_bytes },
                });
            }
            distance_bytes = next_bytes(second_bytes);
            if distance_bytes > limit_bytes {
                return None;
            }
        }
        None
    }

    /// The library's own walk, entry by entry, for what is too rare to be worth more.
    #[inline(never)]
    fn walk(&self, scene: &Scene<'_>, to_beat_bytes: usize, mut budget: usize) -> Option<Match> {
        let (input, at, left_bytes) = (scene.input, scene.at, scene.left_bytes());
        let steps = &self.chains.buckets.steps;
        let mut distance_bytes = usize::from(steps.get(at));
        if distance_bytes > scene.first_distance_limit_bytes() {
            return None;
        }
        let limit_bytes = scene.distance_limit_bytes();
        let mut offset = 0;
        if to_beat_bytes >= MATCH_LEAST_BYTES {
            offset = steps.farthest(at, to_beat_bytes + 1 - MATCH_LEAST_BYTES);
            distance_bytes = usize::from(steps.get(at + offset));
            if distance_bytes > limit_bytes {
                return None;
            }
        }
        // With the byte behind the end counted, a match is never long enough without it.
        let enough_bytes = MATCH_LIMIT_BYTES.min(left_bytes + usize::from(scene.byte_behind.is_some()));
        let mut best_bytes = to_beat_bytes;
        let mut found = None;
        loop {
            let candidate = at - distance_bytes;
            let scan = scene.scan();
            let mut length_bytes = common_length(&input[candidate..candidate + scan.len()], scan);
            if length_bytes == left_bytes && scene.byte_behind == Some(input[candidate + left_bytes]) {
                length_bytes += 1;
            }
            let mut jumps = false;
            if length_bytes > best_bytes {
                best_bytes = length_bytes;
                found = Some(Match {
                    length_bytes: length_bytes.min(left_bytes),
                    distance_bytes,
                });
                if length_bytes >= enough_bytes {
                    return found;
                }
                jumps = length_bytes > MATCH_LEAST_BYTES && length_bytes < distance_bytes;
            }
            if jumps {
                offset = steps.farthest(candidate, length_bytes - MATCH_LEAST_BYTES);
            } else {
                budget -= 1;
                if budget == 0 {
                    return found;
                }
            }
            distance_bytes += usize::from(steps.get(candidate + offset));
            if distance_bytes > limit_bytes {
                return found;
            }
        }
    }
}
