//! Chains of the positions at which equal strings begin, nearest first: what the searches
//! of all engines follow.
//!
//! A chain is kept as steps: for each position the distance to the one before it on the
//! same chain (`ring`). Chains are filled ahead of the parse, a segment at a time, because
//! a search looks at the chains of the positions behind its own as well (`links`); where the
//! input repeats itself they are copied (`period`). What all searches have in common is in
//! `climb`; which of the matches count is each engine's own.

pub(super) mod climb;
mod links;
mod period;
pub(super) mod ring;

use super::zlib_shared::trees::{MATCH_LEAST_BYTES, MATCH_LIMIT_BYTES};
use links::{Buckets, StringChains, link_both};
use period::Period;
use ring::{OUT_OF_WINDOW, RING, SEGMENT};

/// Positions between two looks for a period.
const BLOCK: usize = 128;
/// Length of the strings on the short and on the long chains.
pub(super) const SHORT_BYTES: usize = 4;
pub(super) const LONG_BYTES: usize = 12;
/// Heads of these chains. Every string with the hash of another costs a false candidate,
/// every further head some of the nearest cache.
const SHORT_HEADS: usize = 1 << 16;
const LONG_HEADS: usize = 1 << 17;

/// The chains over one stream's positions, in reusable working memory.
pub(super) struct Chains<const HAS_LONG: bool> {
    /// The library's own: of the positions whose first three bytes have the same hash.
    pub(super) buckets: Buckets,
    /// Of equal strings of [`SHORT_BYTES`], sometimes with others that share a hash.
    pub(super) short: StringChains<SHORT_BYTES, SHORT_HEADS>,
    /// Of equal strings of [`LONG_BYTES`], if this engine follows them.
    pub(super) long: StringChains<LONG_BYTES, LONG_HEADS>,
    period: Period,
    /// Positions below this are on the chains.
    filled: usize,
}

impl<const HAS_LONG: bool> Chains<HAS_LONG> {
    /// Length of the longest strings that have chains here.
    const LONGEST_BYTES: usize = if HAS_LONG { LONG_BYTES } else { SHORT_BYTES };

    /// Working memory for streams whose library has hashes of `hash_bits`.
    pub(super) fn new(hash_bits: u32) -> Self {
        Chains {
            buckets: Buckets::new(hash_bits),
            short: StringChains::new(),
            long: StringChains::new(),
            period: Period::none(0),
            filled: 0,
        }
    }

    /// Starts a stream, with no position before `start`. A short one clears only some heads.
    pub(super) fn reset(&mut self, input: &[u8], start: usize) {
        self.buckets.reset(start);
        self.short.reset(input.len(), start);
        if HAS_LONG {
            self.long.reset(input.len(), start);
        }
        self.period = Period::none(start);
        self.filled = start;
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
            self.short.sweep(at);
            if HAS_LONG {
                self.long.sweep(at);
            }
        }
        let whole_end = end.min((input.len() + 1).saturating_sub(Self::LONGEST_BYTES));
        while at < whole_end {
            let block = at..whole_end.min(at + BLOCK);
            self.buckets.link(input, block.clone());
            at = block.end;
            let last_step = if HAS_LONG {
                link_both(&mut self.short, &mut self.long, input, block.clone());
                self.long.steps.get(at - 1)
            } else {
                self.short.link(input, block.clone());
                self.short.steps.get(at - 1)
            };
            if let Some(period) = self.period.find(input, block.len(), at, last_step) {
                at = self.link_run(input, at, whole_end, period);
            }
        }
        // Too little of the input is left for a long string, then for any.
        let short_end = end.min((input.len() + 1).saturating_sub(SHORT_BYTES)).max(at);
        let bucket_end = end.min((input.len() + 1).saturating_sub(MATCH_LEAST_BYTES)).max(at);
        self.buckets.link(input, at..bucket_end);
        self.short.link(input, at..short_end);
        self.buckets.steps.fill(bucket_end..end, OUT_OF_WINDOW);
        self.short.steps.fill(short_end..end, OUT_OF_WINDOW);
        if HAS_LONG {
            self.long.steps.fill(at..end, OUT_OF_WINDOW);
        }
    }

    /// Adds those positions from `start` to `end` up to which the input repeats itself with
    /// this period, and returns the first not added. It has done so for the whole of the
    /// period before: then the steps are those of one period before, and an ordinal grows by
    /// as much as it did there.
    #[inline(never)]
    fn link_run(&mut self, input: &[u8], start: usize, end: usize, period: usize) -> usize {
        let ahead = &input[start..end + Self::LONGEST_BYTES - 1];
        let run_end = start + period::run_positions(ahead, &input[start - period..], Self::LONGEST_BYTES);
        self.buckets.repeat(start..run_end, period);
        self.short.steps.repeat(start..run_end, period);
        let last_period = start.max(run_end - period)..run_end;
        self.buckets.set_heads(input, last_period.clone());
        self.short.set_heads(input, last_period.clone());
        if HAS_LONG {
            self.long.steps.repeat(start..run_end, period);
            self.long.set_heads(input, last_period);
        }
        run_end
    }
}

// A position up to the longest match beyond a search still has the whole window.
const _: () = assert!(RING > OUT_OF_WINDOW as usize + SEGMENT + MATCH_LIMIT_BYTES);
