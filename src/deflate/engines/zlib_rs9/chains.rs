//! Chains of the positions at which equal strings begin, nearest first.
//!
//! A chain is kept as steps: for each position the distance to the one before it on the
//! same chain. Chains are filled ahead of the parse, a segment at a time, because a
//! search looks at the chains of the positions behind its own as well.

use super::super::slices::{common_length, word32};
use super::super::zlib_shared::lazy::WINDOW_BYTES;
use super::super::zlib_shared::ring::{OUT_OF_WINDOW, Ring, kept_head, no_head, zeroed};
use std::ops::Range;

/// Positions between two looks for a period.
const BLOCK: usize = 128;
/// The longest period that is made use of: two of them are in the window.
const LONGEST_PERIOD: usize = WINDOW_BYTES / 2;
/// So many numbers are filled at once where the input repeats itself.
const LANES: usize = 16;
/// Length of the strings on our own chains.
pub(super) const STRING_BYTES: usize = 4;
/// The library's buckets.
const BUCKETS: usize = 1 << 15;
/// Heads of our own chains. Every string with the hash of another costs a false candidate,
/// every further head some of the nearest cache.
const HEADS: usize = 1 << 16;

/// The first offset, up to `last_offset`, at which the number less the offset is largest.
#[inline(always)]
pub(super) fn farthest_step(steps: &Ring, at: usize, last_offset: usize) -> usize {
    let [ahead, wrapped] = steps.pieces(at, last_offset);
    let (offset, difference) = farthest_in(ahead, 0);
    let (wrapped_offset, wrapped_difference) = farthest_in(wrapped, ahead.len());
    if wrapped_difference > difference {
        wrapped_offset
    } else {
        offset
    }
}

/// The first offset at which the number less the offset is largest, and the difference.
/// Offsets count from `start`.
#[inline(always)]
fn farthest_in(numbers: &[u16], start: usize) -> (usize, u16) {
    let less = |number: u16, offset: usize| number.saturating_sub(offset as u16);
    let (groups, rest) = numbers.as_chunks::<8>();
    let mut farthest = (start, 0);
    let mut in_group = None;
    for (index, group) in groups.iter().enumerate() {
        let base = start + index * 8;
        let mut differences = [0; 8];
        for (lane, (difference, &number)) in differences.iter_mut().zip(group).enumerate() {
            *difference = less(number, base + lane);
        }
        let difference = differences
            .iter()
            .fold(0, |most: u16, &difference| most.max(difference));
        if difference > farthest.1 {
            farthest = (base, difference);
            in_group = Some(group);
        }
    }
    if let Some(group) = in_group {
        let (base, most) = farthest;
        let mut lanes = group.iter().zip(base..);
        farthest.0 += lanes
            .position(|(&number, offset)| less(number, offset) == most)
            .unwrap_or(0);
    }
    for (&number, offset) in rest.iter().zip(start + groups.len() * 8..) {
        let difference = less(number, offset);
        if difference > farthest.1 {
            farthest = (offset, difference);
        }
    }
    farthest
}

/// The chains over one stream's positions. Heads are the low bits of a chain's last position.
pub(super) struct Chains {
    bucket_heads: Box<[u16; BUCKETS]>,
    string_heads: Box<[u16; HEADS]>,
    used_string_heads: usize,
    period: Period,
    /// The library's chains: of the positions whose first three bytes have the same hash.
    pub(super) bucket_steps: Ring,
    /// Counts the positions within a bucket.
    pub(super) ordinals: Ring,
    /// Chains of equal strings of four bytes, sometimes with others that share a hash.
    pub(super) string_steps: Ring,
}

impl Chains {
    pub(super) fn new() -> Self {
        Chains {
            bucket_heads: zeroed(),
            string_heads: zeroed(),
            used_string_heads: HEADS,
            period: Period::none(0),
            bucket_steps: Ring::new(),
            ordinals: Ring::new(),
            string_steps: Ring::new(),
        }
    }

    /// Starts a stream of `input_bytes`, of which a short one clears only some heads, with
    /// no position before `start`.
    pub(super) fn reset(&mut self, input_bytes: usize, start: usize) {
        self.used_string_heads = HEADS.min(2 * input_bytes.next_power_of_two());
        self.period = Period::none(start);
        self.bucket_heads.fill(no_head(start));
        self.string_heads[..self.used_string_heads].fill(no_head(start));
    }

    /// Adds the positions from `start` to `end`, at most a segment.
    pub(super) fn fill(&mut self, input: &[u8], start: usize, end: usize) {
        if start > 0 {
            let string_heads = &mut self.string_heads[..self.used_string_heads];
            for heads in [&mut self.bucket_heads[..], string_heads] {
                heads.iter_mut().for_each(|head| *head = kept_head(*head, start));
            }
        }
        let strings_end = end.min(input.len().saturating_sub(STRING_BYTES - 1));
        let mut at = start;
        while at < strings_end {
            let block = at..strings_end.min(at + BLOCK);
            self.link(input, block.clone());
            at = block.end;
            if let Some(period) = self.period.find(input, block.len(), at, self.string_steps.get(at - 1)) {
                at = self.link_run(input, at..strings_end, period);
            }
        }
        // At the last three positions nothing is looked up, but the library goes by the
        // bucket of the first of them when a match to beat ends next to the input's end.
        for at in at..end {
            let place = usize::from(at as u16);
            self.string_steps.0[place] = OUT_OF_WINDOW;
            self.bucket_steps.0[place] = match input[at..] {
                [first, second, third] => {
                    let bucket = moved_bucket(moved_bucket(first.into(), second), third);
                    (at as u16).wrapping_sub(self.bucket_heads[bucket])
                }
                _ => OUT_OF_WINDOW,
            };
        }
    }

    /// Adds `positions`, at each of which a whole string begins.
    #[inline(always)]
    fn link(&mut self, input: &[u8], positions: Range<usize>) {
        let strings = &input[positions.start..positions.end + STRING_BYTES - 1];
        let used_string_heads = self.used_string_heads;
        // As references of their own, which a loop keeps in registers.
        let (bucket_heads, string_heads) = (&mut *self.bucket_heads, &mut *self.string_heads);
        let (bucket_steps, ordinals, string_steps) = (
            &mut *self.bucket_steps.0,
            &mut *self.ordinals.0,
            &mut *self.string_steps.0,
        );
        // Each byte moves the bucket on by five bits, so that three of them count.
        let mut bucket = moved_bucket(usize::from(strings[0]), strings[1]);
        let mut at = positions.start as u16;
        for string in strings.windows(STRING_BYTES) {
            let place = usize::from(at);
            bucket = moved_bucket(bucket, string[2]);
            let last = std::mem::replace(&mut bucket_heads[bucket], at);
            bucket_steps[place] = at.wrapping_sub(last);
            ordinals[place] = ordinals[usize::from(last)].wrapping_add(1);
            let hash = string_hash(word32(string, 0), used_string_heads);
            let last = std::mem::replace(&mut string_heads[hash], at);
            string_steps[place] = at.wrapping_sub(last);
            at = at.wrapping_add(1);
        }
    }

    /// Adds those of `positions` from the front on up to which the input repeats itself with
    /// this period, and returns the first not added. It has done so for the whole of the
    /// period before: then the steps are those of one period before, and an ordinal grows by
    /// as much as it did there.
    #[inline(never)]
    fn link_run(&mut self, input: &[u8], positions: Range<usize>, period: usize) -> usize {
        let start = positions.start;
        let ahead = &input[start..positions.end + STRING_BYTES - 1];
        let equal_bytes = common_length(ahead, &input[start - period..][..ahead.len()]);
        let run_end = start + equal_bytes.saturating_sub(STRING_BYTES - 1);
        for at in start..run_end {
            let [place, before, twice_before] = [at, at - period, at - 2 * period].map(|at| usize::from(at as u16));
            self.string_steps.0[place] = self.string_steps.0[before];
            self.bucket_steps.0[place] = self.bucket_steps.0[before];
            let growth = self.ordinals.0[before].wrapping_sub(self.ordinals.0[twice_before]);
            self.ordinals.0[place] = self.ordinals.0[before].wrapping_add(growth);
        }
        for at in start.max(run_end - period)..run_end {
            let hash = string_hash(word32(input, at), self.used_string_heads);
            self.string_heads[hash] = at as u16;
            let bucket = moved_bucket(usize::from(input[at]), input[at + 1]);
            self.bucket_heads[moved_bucket(bucket, input[at + 2])] = at as u16;
        }
        run_end
    }
}

/// Watches for input that repeats itself.
struct Period {
    /// The first position on the chains.
    first: usize,
    /// The step seen most at the ends of the last blocks.
    step: u16,
    /// How many positions speak for it. Not all must: some strings share a hash.
    votes: usize,
}

impl Period {
    /// None seen yet, with no position on the chains before `first`.
    fn none(first: usize) -> Self {
        Period {
            first,
            step: OUT_OF_WINDOW,
            votes: 0,
        }
    }

    /// The period with which the whole of the last one before `at` has repeated the one
    /// before, which is on the chains. To be called after each block, with its count of
    /// positions and the step at its last.
    #[inline(always)]
    fn find(&mut self, input: &[u8], block: usize, at: usize, last_step: u16) -> Option<usize> {
        if last_step != self.step {
            self.votes = self.votes.saturating_sub(4 * block);
            if self.votes == 0 {
                self.step = last_step;
            }
            return None;
        }
        self.votes = (self.votes + block).min(LONGEST_PERIOD);
        // A multiple of a short one: numbers that do not wait for each other.
        let period = usize::from(self.step) * LANES.div_ceil(self.step.into());
        if period > LONGEST_PERIOD || self.votes < period || at < self.first + 2 * period {
            return None;
        }
        let repeats = input[at - period..at] == input[at - 2 * period..at - period];
        if !repeats {
            // Not again before as many positions as comparing takes.
            self.votes = 0;
        }
        repeats.then_some(period)
    }
}

/// A hash below `used_heads`, a power of two.
#[inline(always)]
fn string_hash(string: u32, used_heads: usize) -> usize {
    let hash = string.wrapping_mul(0x9e37_79b1) >> (u32::BITS - HEADS.ilog2());
    hash as usize & (used_heads - 1)
}

/// The library's bucket as the next byte of a string moves it on.
#[inline(always)]
fn moved_bucket(bucket: usize, byte: u8) -> usize {
    (bucket << 5 ^ usize::from(byte)) & (BUCKETS - 1)
}
