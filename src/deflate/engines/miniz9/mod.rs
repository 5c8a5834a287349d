//! miniz's level 9, bit for bit, several times as fast.
//!
//! The same bits as `miniz_oxide` 0.9.1 makes of an input given whole: raw, finished by one
//! flush. `search` finds the matches, `block` writes what they become. This file holds the
//! parse: which of the matches found are used.

mod block;
mod huffman;
mod search;

use super::bits::BitWriter;
use super::chains::climb::Match;
use super::chains::{Chains, HashBits};
use block::{BLOCK_LIMIT_BYTES, Block};
use std::ops::ControlFlow;

/// The shortest match there is.
const MATCH_BYTES_MIN: usize = 3;
/// The longest match there is, and all that miniz sees ahead of it.
const LOOKAHEAD_BYTES_MAX: usize = 258;
/// Matches and stored blocks look back no farther, lookahead included.
const WINDOW_BYTES: usize = 32 << 10;
/// A match of this length is used without a look at the next position.
const TAKE_AT_ONCE_BYTES: usize = 128;
/// Output is handed over in pieces of at most this many bytes.
const PIECE_BYTES: usize = 64 << 10;

/// Reusable working memory: no allocation per stream after the first.
pub struct Miniz9 {
    chains: Chains,
    block: Block,
    out: BitWriter,
}

impl Default for Miniz9 {
    fn default() -> Self {
        Self::new()
    }
}

impl Miniz9 {
    /// Allocates the working memory, less than 2 MB.
    pub fn new() -> Self {
        Self {
            chains: Chains::new(HashBits::Fifteen),
            block: Block::new(),
            out: BitWriter::new(BLOCK_LIMIT_BYTES),
        }
    }

    /// Deflates `input`, handing the stream to `sink` as it is made, in pieces of
    /// at most 64 KiB at the end of each block; `false` if the sink broke off.
    pub fn deflate(&mut self, input: &[u8], sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> bool {
        self.chains.reset(input, 0);
        self.block.restart(0);
        self.out.reset();

        // A match waits for one step, in case the next position has a longer one.
        let mut waiting: Option<Match> = None;
        let mut at = 0;
        let mut filled_end = 0;
        while at < input.len() {
            if at >= filled_end {
                filled_end = self.chains.fill_for(input, at);
            }
            let to_beat_bytes = waiting.map_or(MATCH_BYTES_MIN - 1, |waiting| waiting.length_bytes);
            let found = search::find(&self.chains, input, at, to_beat_bytes);
            let step_bytes = match (waiting.take(), found) {
                (Some(used), None) => {
                    self.block.push_match(used.length_bytes, used.distance_bytes);
                    used.length_bytes - 1
                }
                (given_up, found) => {
                    if given_up.is_some() {
                        self.block.push_literal(input[at - 1]);
                    }
                    match found {
                        Some(found) if found.length_bytes >= TAKE_AT_ONCE_BYTES => {
                            self.block.push_match(found.length_bytes, found.distance_bytes);
                            found.length_bytes
                        }
                        Some(found) => {
                            waiting = Some(found);
                            1
                        }
                        None => {
                            self.block.push_literal(input[at]);
                            1
                        }
                    }
                }
            };
            at += step_bytes;
            if self.block.is_full() && self.end_block(input, false, sink).is_break() {
                return false;
            }
        }
        self.end_block(input, true, sink).is_continue()
    }

    /// Writes the block, hands it over and starts the next one.
    fn end_block(
        &mut self,
        input: &[u8],
        is_last: bool,
        sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.block.write(input, is_last, &mut self.out);
        if is_last {
            self.out.align();
        }
        for piece in self.out.take().chunks(PIECE_BYTES) {
            sink(piece)?;
        }
        self.block.restart(self.block.end());
        ControlFlow::Continue(())
    }
}
