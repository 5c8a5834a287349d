//! zlib's level 9, bit for bit, several times as fast.
//!
//! The same bits as zlib's `deflate` (1.2.13 to 1.3.2) makes of an input given whole:
//! level 9, windowBits 15, raw, default strategy, one final flush. This file is the lazy
//! parse; `search` finds the matches on the `chains`, `trees` writes the blocks in the codes
//! of `huffman`, and `bits` their bits.

mod chains;
mod search;

use super::zlib_blocks::trees::{BlockWriter, MATCH_LEAST_BYTES, MATCH_LIMIT_BYTES, Token};
use search::{DISTANCE_LIMIT_BYTES, Match, Search};
use std::ops::ControlFlow;

/// zlib's window is twice this long, and moves on by this much.
const WINDOW_BYTES: usize = 32_768;
/// zlib reads on when less than this lies ahead.
const LOOKAHEAD_LEAST_BYTES: usize = MATCH_LIMIT_BYTES + MATCH_LEAST_BYTES + 1;
/// The most that is given to the sink at once.
const PIECE_LIMIT_BYTES: usize = 64 << 10;

/// zlib's memLevel, on which the bits depend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemLevel {
    /// zlib's default: hashes of 15 bits, blocks of 16,383 tokens.
    Eight,
    /// zlib's highest: hashes of 16 bits, blocks of 32,767 tokens.
    Nine,
}

impl MemLevel {
    fn number(self) -> u32 {
        match self {
            MemLevel::Eight => 8,
            MemLevel::Nine => 9,
        }
    }
}

/// Reusable working memory: no allocation per stream after the first.
pub struct Zlib9 {
    search: Search,
    writer: BlockWriter,
    /// Tokens of the block begun.
    tokens: Vec<Token>,
    block_limit_tokens: usize,
}

/// Where the sink broke off.
struct BrokenOff;

/// The input still to come, as zlib's sliding window shows it.
struct Window {
    /// Position of the window's first byte.
    start: usize,
}

impl Window {
    /// Moves on as zlib does before it looks at `at`.
    #[inline(always)]
    fn slide_for(&mut self, at: usize, input_bytes: usize) {
        let end = input_bytes.min(self.start + 2 * WINDOW_BYTES);
        if end - at < LOOKAHEAD_LEAST_BYTES && at - self.start >= WINDOW_BYTES + DISTANCE_LIMIT_BYTES {
            self.start += WINDOW_BYTES;
        }
    }

    /// How far back a match from `at` may begin: never at the window's first byte, whose
    /// position zlib takes for "none".
    #[inline(always)]
    fn distance_limit_bytes(&self, at: usize) -> usize {
        DISTANCE_LIMIT_BYTES.min((at - self.start).saturating_sub(1))
    }
}

impl Zlib9 {
    /// Working memory for streams of this memLevel.
    #[must_use]
    pub fn new(mem_level: MemLevel) -> Self {
        let block_limit_tokens = (1 << (mem_level.number() + 6)) - 1;
        Zlib9 {
            search: Search::new(mem_level.number() + 7),
            writer: BlockWriter::new(block_limit_tokens),
            tokens: Vec::with_capacity(block_limit_tokens),
            block_limit_tokens,
        }
    }

    /// Deflates `input`, handing the output to `sink` as it is made, in pieces of at most
    /// 64 KiB at the end of each block. False if the sink broke off.
    pub fn deflate(&mut self, input: &[u8], sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> bool {
        self.search.reset(input.len());
        self.writer.reset();
        self.tokens.clear();
        self.parse(input, sink).is_ok()
    }

    /// zlib's lazy evaluation: a match is taken only when the next position has no longer one.
    fn parse(&mut self, input: &[u8], sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> Result<(), BrokenOff> {
        const NO_MATCH: Match = Match {
            length_bytes: MATCH_LEAST_BYTES - 1,
            distance_bytes: 0,
        };
        let mut window = Window { start: 0 };
        let mut block_start = 0;
        let mut at = 0;
        // The match at the position before, and whether that position is still undecided.
        let mut previous = NO_MATCH;
        let mut is_pending = false;
        while at < input.len() {
            window.slide_for(at, input.len());
            self.search.fill_for(input, at);
            let found = self
                .search
                .longest_match(input, at, previous.length_bytes, window.distance_limit_bytes(at));
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
        // zlib stores from its window, so that what has slid out cannot be stored.
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
