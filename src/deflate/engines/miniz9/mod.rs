//! Deflate exactly as `miniz_oxide` 0.9.1 does it at level 9, several times faster.
//!
//! The stream is raw (no zlib wrapper), made of the whole input and finished by
//! one flush. `SPEC.md` describes what has to come out; what makes it fast is in
//! `search` and `chains`. This file holds the parse: which of the matches
//! found are used.

mod bits;
mod block;
mod chains;
mod huffman;
mod search;

use bits::BitWriter;
use block::Block;
use chains::Chains;
use search::Match;
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
            chains: Chains::new(),
            block: Block::new(),
            out: BitWriter::new(),
        }
    }

    /// Deflates `input`, handing the stream to `sink` as it is made, in pieces of
    /// at most 64 KiB at the end of each block; `false` if the sink broke off.
    pub fn deflate(&mut self, input: &[u8], sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> bool {
        self.chains.reset();
        self.block.restart(0);
        self.out.reset();

        // A match waits for one step, in case the next position has a longer one.
        let mut waiting = Match::NONE;
        let mut at = 0;
        // Bytes that miniz has at hand behind `at`; a stored block needs all of its own.
        let mut kept_bytes = 0;
        while at < input.len() {
            self.chains.fill_for(input, at);
            let beat_bytes = waiting.len_bytes.max(MATCH_BYTES_MIN - 1);
            let found = search::find(&self.chains, input, at, beat_bytes);

            let step_bytes = if waiting.len_bytes > 0 && found.len_bytes <= waiting.len_bytes {
                self.block.push_match(waiting.len_bytes, waiting.distance_bytes);
                let rest_bytes = waiting.len_bytes - 1;
                waiting = Match::NONE;
                rest_bytes
            } else {
                if waiting.len_bytes > 0 {
                    self.block.push_literal(input[at - 1]);
                    waiting = Match::NONE;
                }
                if found.len_bytes >= TAKE_AT_ONCE_BYTES {
                    self.block.push_match(found.len_bytes, found.distance_bytes);
                    found.len_bytes
                } else {
                    if found.len_bytes > 0 {
                        waiting = found;
                    } else {
                        self.block.push_literal(input[at]);
                    }
                    1
                }
            };
            let lookahead_bytes = (input.len() - at).min(LOOKAHEAD_BYTES_MAX);
            kept_bytes = (at.min(WINDOW_BYTES - lookahead_bytes) + step_bytes).min(WINDOW_BYTES);
            at += step_bytes;

            if self.block.is_full() && self.end_block(input, at, kept_bytes, false, sink).is_break() {
                return false;
            }
        }
        self.end_block(input, at, kept_bytes, true, sink).is_continue()
    }

    /// Writes the block, hands it over and starts the next one.
    fn end_block(
        &mut self,
        input: &[u8],
        at: usize,
        kept_bytes: usize,
        is_last: bool,
        sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let may_store = at - self.block.start() <= kept_bytes;
        self.block.write(input, is_last, may_store, &mut self.out);
        if is_last {
            self.out.pad();
        }
        for piece in self.out.bytes().chunks(PIECE_BYTES) {
            sink(piece)?;
        }
        self.out.clear_bytes();
        self.block.restart(self.block.end());
        ControlFlow::Continue(())
    }
}

/// How many bytes the two have in common at their starts.
#[inline]
fn common_prefix_bytes(a: &[u8], b: &[u8]) -> usize {
    let len_bytes = a.len().min(b.len());
    let (a_words, a_rest) = a[..len_bytes].as_chunks::<8>();
    let (b_words, b_rest) = b[..len_bytes].as_chunks::<8>();
    for (at, (&a, &b)) in a_words.iter().zip(b_words).enumerate() {
        let differing = u64::from_le_bytes(a) ^ u64::from_le_bytes(b);
        if differing != 0 {
            return 8 * at + (differing.trailing_zeros() >> 3) as usize;
        }
    }
    8 * a_words.len() + a_rest.iter().zip(b_rest).take_while(|(a, b)| a == b).count()
}
