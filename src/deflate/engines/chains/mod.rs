//! Chains of the positions at which equal strings begin, nearest first: what the searches
//! of all engines follow.
//!
//! A chain is kept as steps: for each position the distance to the one before it on the
//! same chain (`ring`). Chains are filled ahead of the parse, a segment at a time, because
//! a search looks at the chains of the positions behind its own as well (`links`); where the
//! input repeats itself they are copied (`period`). What all searches have in common is in
//! `climb`, which chain they follow in `rarity`; which of the matches count is each engine's
//! own.

pub(super) mod climb;
mod links;
mod period;
mod rarity;
mod ring;

use super::alphabet::{MATCH_LEAST_BYTES, MATCH_LIMIT_BYTES};
pub(super) use links::HashBits;
use links::{Buckets, StringChains};
use period::Period;
use ring::{OUT_OF_WINDOW, RING, SEGMENT};

/// Positions between two looks for a period.
const BLOCK: usize = 128;
/// Length of the strings that have chains here. A second kind of chains, of 8 to 16 bytes,
/// costs as much to fill as it saves in the search.
pub(super) const STRING_BYTES: usize = 4;

/// The chains over one stream's positions, in reusable working memory.
pub(super) struct Chains {
    /// The library's own: of the positions whose first three bytes have the same hash.
    pub(super) buckets: Buckets,
    /// Of equal strings of [`STRING_BYTES`], sometimes with others that share a hash.
    pub(super) strings: StringChains,
    period: Period,
    /// Positions below this are on the chains.
    filled: usize,
}

impl Chains {
    /// Working memory for streams whose library hashes three bytes to so many bits.
    pub(super) fn new(hash_bits: HashBits) -> Self {
        Chains {
            buckets: Buckets::new(hash_bits),
            strings: StringChains::new(),
            period: Period::none(0),
            filled: 0,
        }
    }

    /// Starts a stream, with no position before `start`. A short one clears only some heads.
    pub(super) fn reset(&mut self, input: &[u8], start: usize) {
        self.buckets.reset(start);
        self.strings.reset(input.len(), start);
        self.period = Period::none(start);
        self.filled = start;
    }

    /// Writes to all memory, so that the system finds it now.
    pub(super) fn touch(&mut self) {
        self.buckets.touch();
        self.strings.touch();
    }

    /// Fills what a search at `at` may look at: all before it, and the longest match beyond.
    /// Returns the first position for which there is more to fill.
    pub(super) fn fill_for(&mut self, input: &[u8], at: usize) -> usize {
        while self.filled <= at + MATCH_LIMIT_BYTES && self.filled < input.len() {
            self.fill(input, input.len().min(self.filled + SEGMENT));
        }
        match self.filled == input.len() {
            true => usize::MAX,
            false => self.filled - MATCH_LIMIT_BYTES,
        }
    }

    /// Adds the positions up to `end`, at most a segment.
    fn fill(&mut self, input: &[u8], end: usize) {
        let mut at = self.filled;
        self.filled = end;
        if at > 0 {
            self.buckets.sweep(at);
            self.strings.sweep(at);
        }
        let strings_end = end.min((input.len() + 1).saturating_sub(STRING_BYTES));
        while at < strings_end {
            let block = at..strings_end.min(at + BLOCK);
            self.buckets.link(input, block.clone());
            self.strings.link(input, block.clone());
            at = block.end;
            let last_step = self.strings.steps.get(at - 1);
            if let Some(period) = self.period.find(input, block.len(), at, last_step) {
                at = self.link_run(input, at, strings_end, period);
            }
        }
        // Too little of the input is left for a string.
        let buckets_end = end.min((input.len() + 1).saturating_sub(MATCH_LEAST_BYTES)).max(at);
        self.buckets.link(input, at..buckets_end);
        self.buckets.steps.fill(buckets_end..end, OUT_OF_WINDOW);
        self.strings.steps.fill(at..end, OUT_OF_WINDOW);
    }

    /// Adds those positions from `start` to `end` up to which the input repeats itself with
    /// this period, and returns the first not added. It has done so for the whole of the
    /// period before: then the steps are those of one period before, and an ordinal grows by
    /// as much as it did there.
    #[inline(never)]
    fn link_run(&mut self, input: &[u8], start: usize, end: usize, period: usize) -> usize {
        let ahead = &input[start..end + STRING_BYTES - 1];
        let run_end = start + period::run_positions(ahead, &input[start - period..], STRING_BYTES);
        self.buckets.repeat(start..run_end, period);
        self.strings.repeat(start..run_end, period);
        let last_period = start.max(run_end - period)..run_end;
        self.buckets.set_heads(input, last_period.clone());
        self.strings.set_heads(input, last_period);
        run_end
    }
}

// A position up to the longest match beyond a search still has the whole window.
const _: () = assert!(RING > OUT_OF_WINDOW as usize + SEGMENT + MATCH_LIMIT_BYTES);
