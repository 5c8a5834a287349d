//! Watches for input that repeats itself, whose chains need not be looked up.

use super::super::slices::common_length;
use super::ring::OUT_OF_WINDOW;

/// The longest period that is made use of: two of them are in the window.
const LONGEST_PERIOD: usize = 1 << 14;
/// So many numbers are filled at once where the input repeats itself.
const LANES: usize = 64;

/// What is known of a period.
pub(super) struct Period {
    /// The first position on the chains.
    first: usize,
    /// The step seen most at the ends of the last blocks.
    step: u16,
    /// How many positions speak for it. Not all must: some strings share a hash.
    votes: usize,
}

impl Period {
    /// None seen yet, with no position on the chains before `first`.
    pub(super) fn none(first: usize) -> Self {
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
    pub(super) fn find(&mut self, input: &[u8], block: usize, at: usize, last_step: u16) -> Option<usize> {
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

/// How many positions of `ahead` begin a string of `string_bytes` that `before` has too.
pub(super) fn run_positions(ahead: &[u8], before: &[u8], string_bytes: usize) -> usize {
    (common_length(ahead, &before[..ahead.len()]) + 1).saturating_sub(string_bytes)
}
