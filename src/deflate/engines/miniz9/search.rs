//! The search for the match that miniz would find.
//!
//! miniz walks one chain and keeps the nearest of the longest matches among the
//! entries that its budget reaches. How many those are depends on what it meets
//! on the way: at least a number of entries that is known beforehand, at most
//! three times as many. So the fast search looks through all that could count,
//! along chains that skip what cannot be longer, and its answer stands when it
//! lies where the budget surely reaches. Otherwise the walk is done for real.

use super::chains::{Chains, LONG_BYTES, Ring, SHORT_BYTES};
use super::{LOOKAHEAD_BYTES_MAX, MATCH_BYTES_MIN, WINDOW_BYTES, common_prefix_bytes};

/// Groups of up to three entries that miniz looks at.
const GROUPS: u16 = 256;
/// The same when the match to beat is long already.
const GROUPS_AFTER_LONG: u16 = 64;
/// From this length on it counts as long.
const LONG_MATCH_BYTES: usize = 32;
/// A match of three bytes is dropped from this distance on.
const FAR_BYTES: usize = 8 << 10;
/// Candidates that the fast search looks at before it gives up.
const CANDIDATES_MAX: u32 = 1024;
/// Steps taken to bring a chain past the best match so far.
const HOPS_MAX: u32 = 4;
/// Offsets looked at for the chain that jumps farthest.
const OFFSETS_MAX: usize = 64;

/// A match; no match has length and distance 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) len_bytes: usize,
    pub(super) distance_bytes: usize,
}

impl Match {
    pub(super) const NONE: Self = Self {
        len_bytes: 0,
        distance_bytes: 0,
    };
}

/// What a fast search came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// This is miniz's match.
    Found(Match),
    /// Within the budget there is none.
    Nothing,
    /// If the budget reaches this one it is the answer; finding out takes a walk.
    Unsure(Match),
}

/// One search: where, how far back and for what.
struct Search<'a> {
    chains: &'a Chains,
    input: &'a [u8],
    at: usize,
    /// Match lengths up to here, all within the input.
    max_bytes: usize,
    window_bytes: usize,
    /// Only longer matches count.
    beat_bytes: usize,
    groups: u16,
}

/// The match that miniz would use at `at`, longer than `beat_bytes` if any.
#[inline]
pub(super) fn find(chains: &Chains, input: &[u8], at: usize, beat_bytes: usize) -> Match {
    let max_bytes = (input.len() - at).min(LOOKAHEAD_BYTES_MAX);
    if beat_bytes >= max_bytes {
        return Match::NONE;
    }
    let search = Search {
        chains,
        input,
        at,
        max_bytes,
        window_bytes: at.min(WINDOW_BYTES - max_bytes),
        beat_bytes,
        groups: if beat_bytes < LONG_MATCH_BYTES {
            GROUPS
        } else {
            GROUPS_AFTER_LONG
        },
    };
    let found = match search.fast() {
        Outcome::Found(found) => found,
        Outcome::Nothing => return Match::NONE,
        Outcome::Unsure(hoped_for) => search.walk(hoped_for),
    };
    let source = at - found.distance_bytes;
    let is_far = found.len_bytes == MATCH_BYTES_MIN && found.distance_bytes >= FAR_BYTES;
    // miniz compares distance and position within its window, which drops every
    // match that starts at a multiple of it.
    if is_far || source.is_multiple_of(WINDOW_BYTES) {
        Match::NONE
    } else {
        found
    }
}

impl Search<'_> {
    /// The match by the fast search, or that the walk is needed.
    ///
    /// Longest first: whatever the long chain has within the budget beats all that
    /// the short chain could add.
    #[inline]
    fn fast(&self) -> Outcome {
        let long_beat_bytes = self.beat_bytes.max(LONG_BYTES - 1);
        if long_beat_bytes < self.max_bytes {
            let outcome = self.longest::<LONG_BYTES>(&self.chains.long_links, long_beat_bytes, self.max_bytes);
            if outcome != Outcome::Nothing {
                return outcome;
            }
        }
        let short_beat_bytes = self.beat_bytes.max(SHORT_BYTES - 1);
        let short_max_bytes = self.max_bytes.min(LONG_BYTES - 1);
        if short_beat_bytes < short_max_bytes {
            let outcome = self.longest::<SHORT_BYTES>(&self.chains.short_links, short_beat_bytes, short_max_bytes);
            if outcome != Outcome::Nothing {
                return outcome;
            }
        }
        if self.beat_bytes < MATCH_BYTES_MIN {
            self.nearest_three()
        } else {
            Outcome::Nothing
        }
    }

    /// The longest match above `beat_bytes`, which is `GRAM` - 1 or more, when none
    /// within the budget is longer than `max_bytes`.
    #[inline]
    fn longest<const GRAM: usize>(&self, links: &Ring, beat_bytes: usize, max_bytes: usize) -> Outcome {
        let own_ordinal = self.chains.ordinals.at(self.at);
        let mut best = Match {
            len_bytes: beat_bytes,
            distance_bytes: 0,
        };
        let mut best_steps = 0;
        let mut want = load4(self.input, self.at + beat_bytes - 3);
        let (mut offset, mut distance) = self.choose_chain::<GRAM>(links, best);
        let mut candidates = 0;
        while distance <= self.window_bytes {
            candidates += 1;
            if candidates > CANDIDATES_MAX {
                return Outcome::Unsure(Match::NONE);
            }
            let candidate = self.at - distance;
            if load4(self.input, candidate + best.len_bytes - 3) == want {
                let len_bytes = self.common_bytes(candidate);
                if len_bytes > best.len_bytes {
                    let steps = own_ordinal.wrapping_sub(self.chains.ordinals.at(candidate));
                    if steps > 3 * self.groups {
                        break;
                    }
                    best_steps = steps;
                    best = Match {
                        len_bytes,
                        distance_bytes: distance,
                    };
                    if len_bytes >= max_bytes {
                        break;
                    }
                    want = load4(self.input, self.at + len_bytes - 3);
                    (offset, distance) = self.choose_chain::<GRAM>(links, best);
                    continue;
                }
            }
            distance += usize::from(links.at(candidate + offset));
        }
        if best.distance_bytes == 0 {
            Outcome::Nothing
        } else if best_steps > self.groups {
            Outcome::Unsure(best)
        } else {
            Outcome::Found(best)
        }
    }

    /// Where to look on for a match longer than `best`: the offset whose chain of
    /// `GRAM` bytes jumps farthest, and the distance of the next candidate on it.
    #[inline]
    fn choose_chain<const GRAM: usize>(&self, links: &Ring, best: Match) -> (usize, usize) {
        // A longer match has the gram that ends with its next byte. What was found
        // so far has not, so this chain starts from here and is brought past it.
        let last = best.len_bytes + 1 - GRAM;
        let mut distance = usize::from(links.at(self.at + last));
        for _ in 0..HOPS_MAX {
            if distance > best.distance_bytes {
                break;
            }
            distance += usize::from(links.at(self.at - distance + last));
        }
        if distance > self.window_bytes {
            return (last, distance);
        }
        // It has the grams before that one.
        let first = last.saturating_sub(OFFSETS_MAX);
        let jumps = links.run(self.at - best.distance_bytes + first, last - first);
        if let Some(&farthest) = jumps.iter().max() {
            let farthest_distance = best.distance_bytes + usize::from(farthest);
            if farthest_distance > distance {
                let index = jumps.iter().position(|&jump| jump == farthest).unwrap_or(0);
                return (first + index, farthest_distance);
            }
        }
        (last, distance)
    }

    /// The nearest match of three bytes, when there is none of four.
    #[inline]
    fn nearest_three(&self) -> Outcome {
        let own_ordinal = self.chains.ordinals.at(self.at);
        let want = self.gram(self.at);
        let window_bytes = self.window_bytes.min(FAR_BYTES - 1);
        let mut distance = usize::from(self.chains.bucket_links.at(self.at));
        while distance <= window_bytes {
            let candidate = self.at - distance;
            let steps = own_ordinal.wrapping_sub(self.chains.ordinals.at(candidate));
            if steps > 3 * self.groups {
                break;
            }
            if self.gram(candidate) == want {
                let found = Match {
                    len_bytes: MATCH_BYTES_MIN,
                    distance_bytes: distance,
                };
                return if steps <= self.groups {
                    Outcome::Found(found)
                } else {
                    Outcome::Unsure(found)
                };
            }
            distance += usize::from(self.chains.bucket_links.at(candidate));
        }
        Outcome::Nothing
    }

    /// The match by miniz's own walk, which may end once it has `hoped_for`.
    #[inline(never)]
    fn walk(&self, hoped_for: Match) -> Match {
        let mut best = Match {
            len_bytes: self.beat_bytes,
            distance_bytes: 0,
        };
        let mut distance = 0;
        let first = load2(self.input, self.at);
        let mut want = load2(self.input, self.at + best.len_bytes - 1);
        'groups: for _ in 0..self.groups {
            for _ in 0..3 {
                distance += usize::from(self.chains.bucket_links.at(self.at - distance));
                if distance > self.window_bytes || (self.at - distance).is_multiple_of(1 << 16) {
                    return best.or_none();
                }
                let candidate = self.at - distance;
                if load2(self.input, candidate + best.len_bytes - 1) != want {
                    continue;
                }
                // A look at the bytes ends the group.
                if load2(self.input, candidate) == first {
                    let len_bytes = self.common_bytes(candidate);
                    if len_bytes > best.len_bytes {
                        best = Match {
                            len_bytes,
                            distance_bytes: distance,
                        };
                        if len_bytes >= self.max_bytes || best == hoped_for {
                            return best;
                        }
                        want = load2(self.input, self.at + len_bytes - 1);
                    }
                }
                continue 'groups;
            }
        }
        best.or_none()
    }

    /// How many bytes `candidate` has in common with the place searched for.
    #[inline]
    fn common_bytes(&self, candidate: usize) -> usize {
        common_prefix_bytes(&self.input[self.at..][..self.max_bytes], &self.input[candidate..])
    }

    #[inline]
    fn gram(&self, at: usize) -> &[u8] {
        &self.input[at..at + MATCH_BYTES_MIN]
    }
}

impl Match {
    fn or_none(self) -> Self {
        if self.distance_bytes == 0 { Self::NONE } else { self }
    }
}

#[inline]
fn load2(input: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([input[at], input[at + 1]])
}

#[inline]
fn load4(input: &[u8], at: usize) -> u32 {
    match input[at..].first_chunk() {
        Some(&bytes) => u32::from_le_bytes(bytes),
        None => 0,
    }
}
