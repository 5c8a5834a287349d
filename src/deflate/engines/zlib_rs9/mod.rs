//! zlib-rs's level 9, bit for bit, faster.
//!
//! The same bits as zlib-rs 0.5.5 or 0.6.8 makes of an input given in pieces of 32 KiB:
//! level 9, windowBits 15, memLevel 8, raw, default strategy, one final flush. This file is
//! the lazy parse; `search` finds the matches on the `chains`, `trees` writes the blocks in
//! the codes of `huffman`, and `bits` their bits.

mod chains;
mod search;

use super::zlib_blocks::trees::{BlockWriter, MATCH_LEAST_BYTES, MATCH_LIMIT_BYTES, Token};
use search::{DISTANCE_LIMIT_BYTES, Match, Scene, Search};
use std::ops::ControlFlow;

/// The library's window is twice this long, and moves on by this much.
const WINDOW_BYTES: usize = 32_768;
/// The library reads on when less than this lies ahead.
const LOOKAHEAD_LEAST_BYTES: usize = MATCH_LIMIT_BYTES + MATCH_LEAST_BYTES + 1;
/// Nothing is looked up when less than this lies ahead.
const SEARCH_LEAST_BYTES: usize = 4;
/// The tokens that fill a block.
const BLOCK_LIMIT_TOKENS: usize = (1 << 14) - 1;
/// The most that is given to the sink at once.
const PIECE_LIMIT_BYTES: usize = 64 << 10;

/// Whose bits: the versions differ at the end of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// zlib-rs 0.5.5.
    V05,
    /// zlib-rs 0.6.8.
    V06,
}

/// Reusable working memory: no allocation per stream after the first.
pub struct ZlibRs9 {
    release: Release,
    search: Search,
    writer: BlockWriter,
    /// Tokens of the block begun.
    tokens: Vec<Token>,
}

/// Where the sink broke off.
struct BrokenOff;

/// The library's sliding window over the input.
struct Window {
    /// Position of the window's first byte.
    start: usize,
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

impl ZlibRs9 {
    /// Working memory for streams of this version.
    #[must_use]
    pub fn new(release: Release) -> Self {
        ZlibRs9 {
            release,
            search: Search::new(),
            writer: BlockWriter::new(BLOCK_LIMIT_TOKENS),
            tokens: Vec::with_capacity(BLOCK_LIMIT_TOKENS),
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

    /// The library's lazy evaluation: a match is taken only when the next position has no
    /// longer one.
    fn parse(&mut self, input: &[u8], sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> Result<(), BrokenOff> {
        const NO_MATCH: Match = Match {
            length_bytes: MATCH_LEAST_BYTES - 1,
            distance_bytes: 0,
        };
        let byte_behind = (self.release == Release::V05).then(|| byte_behind(input));
        let mut window = Window { start: 0 };
        let mut block_start = 0;
        let mut at = 0;
        // The match at the position before, and whether that position is still undecided.
        let mut previous = NO_MATCH;
        let mut is_pending = false;
        while at < input.len() {
            if window.slide_for(at, input.len()) && at - 1 - previous.distance_bytes < window.start {
                // A match that begins in what has just slid out is forgotten.
                previous = NO_MATCH;
            }
            let found = if input.len() - at < SEARCH_LEAST_BYTES {
                None
            } else {
                self.search.fill_for(input, at);
                let scene = Scene {
                    input,
                    at,
                    window_start: window.start,
                    byte_behind,
                };
                self.search.longest_match(&scene, previous.length_bytes)
            };
            if found.is_none() && previous.length_bytes >= MATCH_LEAST_BYTES {
                self.tokens
                    .push(Token::copy(previous.length_bytes, previous.distance_bytes));
                at += previous.length_bytes - 1;
                previous = NO_MATCH;
                is_pending = false;
                if self.tokens.len() == BLOCK_LIMIT_TOKENS {
                    self.end_block(input, block_start, at, &window, false, sink)?;
                    block_start = at;
                }
            } else {
                if is_pending {
                    self.tokens.push(Token::literal(input[at - 1]));
                    if self.tokens.len() == BLOCK_LIMIT_TOKENS {
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
