//! The lazy parse of level 9: a match is taken only when the next position has no longer one.

use super::ring::SEGMENT;
use super::trees::{BlockWriter, MATCH_LEAST_BYTES, MATCH_LIMIT_BYTES, Token};
use std::ops::ControlFlow;

/// The window is twice this long, and moves on by this much.
pub(in super::super) const WINDOW_BYTES: usize = 32_768;
/// More is read when less than this lies ahead.
const LOOKAHEAD_LEAST_BYTES: usize = MATCH_LIMIT_BYTES + MATCH_LEAST_BYTES + 1;
/// zlib's MAX_DIST: the window less the lookahead it insists on.
pub(in super::super) const DISTANCE_LIMIT_BYTES: usize = WINDOW_BYTES - LOOKAHEAD_LEAST_BYTES;
/// The most that is given to the sink at once.
const PIECE_LIMIT_BYTES: usize = 64 << 10;

/// A match found, or the length to beat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Match {
    pub(in super::super) length_bytes: usize,
    pub(in super::super) distance_bytes: usize,
}

const NO_MATCH: Match = Match {
    length_bytes: MATCH_LEAST_BYTES - 1,
    distance_bytes: 0,
};

/// The library's sliding window over the input.
pub(in super::super) struct Window {
    /// Position of the window's first byte.
    pub(in super::super) start: usize,
}

impl Window {
    /// Moves on as the library does before it looks at `at`. True if it moved.
    #[inline(always)]
    fn slide_for(&mut self, at: usize, input_bytes: usize) -> bool {
        let end = input_bytes.min(self.start + 2 * WINDOW_BYTES);
        let is_due = end - at < LOOKAHEAD_LEAST_BYTES && at - self.start >= WINDOW_BYTES + DISTANCE_LIMIT_BYTES;
        if is_due {
            self.start += WINDOW_BYTES;
        }
        is_due
    }

    /// How far back a match from `at` may begin: never at the window's first byte, whose
    /// position the library takes for "none".
    #[inline(always)]
    pub(in super::super) fn distance_limit_bytes(&self, at: usize) -> usize {
        DISTANCE_LIMIT_BYTES.min((at - self.start).saturating_sub(1))
    }
}

/// What one engine finds to copy from.
pub(in super::super) trait Candidates {
    /// Nothing is looked up when less than this lies ahead.
    const SEARCH_LEAST_BYTES: usize;
    /// Whether a match that begins in what has just slid out is no longer there to beat.
    const FORGETS_WHAT_SLID_OUT: bool;

    /// Starts a new stream.
    fn reset(&mut self, input: &[u8]);

    /// Adds the positions from `start` to `end`, at most a segment.
    fn fill(&mut self, input: &[u8], start: usize, end: usize);

    /// The library's match at `at` if longer than `to_beat_bytes`. All positions up to
    /// [`MATCH_LIMIT_BYTES`] beyond it are filled.
    fn longest_match(&mut self, input: &[u8], at: usize, to_beat_bytes: usize, window: &Window) -> Option<Match>;
}

/// Where the sink broke off.
struct BrokenOff;

/// The parse and its reusable working memory: no allocation per stream after the first.
pub(in super::super) struct LazyParse<C> {
    candidates: C,
    /// Positions below this are among the candidates.
    filled: usize,
    writer: BlockWriter,
    /// Tokens of the block begun.
    tokens: Vec<Token>,
    block_limit_tokens: usize,
}

impl<C: Candidates> LazyParse<C> {
    /// Working memory for streams whose blocks have at most so many tokens.
    pub(in super::super) fn new(candidates: C, block_limit_tokens: usize) -> Self {
        LazyParse {
            candidates,
            filled: 0,
            writer: BlockWriter::new(block_limit_tokens),
            tokens: Vec::with_capacity(block_limit_tokens),
            block_limit_tokens,
        }
    }

    /// Deflates `input`, handing the output to `sink` as it is made, in pieces of at most
    /// 64 KiB at the end of each block. False if the sink broke off.
    pub(in super::super) fn deflate(&mut self, input: &[u8], sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> bool {
        self.candidates.reset(input);
        self.filled = 0;
        self.writer.reset();
        self.tokens.clear();
        self.parse(input, sink).is_ok()
    }

    #[inline(always)]
    fn fill_for(&mut self, input: &[u8], at: usize) {
        if self.filled <= at + MATCH_LIMIT_BYTES && self.filled < input.len() {
            self.fill(input);
        }
    }

    #[inline(never)]
    fn fill(&mut self, input: &[u8]) {
        let (start, end) = (self.filled, input.len().min(self.filled + SEGMENT));
        self.candidates.fill(input, start, end);
        self.filled = end;
    }

    fn parse(&mut self, input: &[u8], sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> Result<(), BrokenOff> {
        let mut window = Window { start: 0 };
        let mut block_start = 0;
        let mut at = 0;
        // The match at the position before, and whether that position is still undecided.
        let mut previous = NO_MATCH;
        let mut is_pending = false;
        while at < input.len() {
            let has_slid = window.slide_for(at, input.len());
            if C::FORGETS_WHAT_SLID_OUT && has_slid && at - 1 - previous.distance_bytes < window.start {
                previous = NO_MATCH;
            }
            let found = if input.len() - at < C::SEARCH_LEAST_BYTES {
                None
            } else {
                self.fill_for(input, at);
                self.candidates.longest_match(input, at, previous.length_bytes, &window)
            };
            if found.is_none() && previous.length_bytes >= MATCH_LEAST_BYTES {
                self.tokens
                    .push(Token::copy(previous.length_bytes, previous.distance_bytes));
                at += previous.length_bytes - 1;
                previous = NO_MATCH;
                is_pending = false;
                if self.tokens.len() == self.block_limit_tokens {
                    self.end_block(input, block_start, at, &window, false, sink)?;
                    block_start = at;
                }
            } else {
                if is_pending {
                    self.tokens.push(Token::literal(input[at - 1]));
                    if self.tokens.len() == self.block_limit_tokens {
                        self.end_block(input, block_start, at, &window, false, sink)?;
                        block_start = at;
                    }
                }
                previous = found.unwrap_or(NO_MATCH);
                is_pending = true;
                at += 1;
            }
        }
        if is_pending {
            self.tokens.push(Token::literal(input[at - 1]));
        }
        self.end_block(input, block_start, at, &window, true, sink)
    }

    /// Writes the block from `start` to `end` and hands over what is whole of it.
    #[inline(never)]
    fn end_block(
        &mut self,
        input: &[u8],
        start: usize,
        end: usize,
        window: &Window,
        is_last: bool,
        sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), BrokenOff> {
        // The library stores from its window, so that what has slid out cannot be stored.
        let may_store = start >= window.start;
        self.writer.write(&self.tokens, &input[start..end], may_store, is_last);
        self.tokens.clear();
        for piece in self.writer.take().chunks(PIECE_LIMIT_BYTES) {
            if sink(piece).is_break() {
                return Err(BrokenOff);
            }
        }
        Ok(())
    }
}
