//! zlib's level 9, bit for bit, several times as fast.
//!
//! The same bits as zlib's `deflate` (1.2.13 to 1.3.2) makes of an input given whole:
//! level 9, windowBits 15, raw, default strategy, one final flush. `search` finds the
//! matches; the parse and the blocks are those of `zlib_shared`.

mod search;

use super::chains::HashBits;
use super::zlib_shared::blocks::Blocks;
use super::zlib_shared::lazy::LazyParse;
use super::zlib_shared::parallel;
use search::Search;
use std::ops::{ControlFlow, RangeInclusive};

/// zlib's memLevel, on which the bits depend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemLevel {
    /// zlib's default: hashes of 15 bits, blocks of 16,383 tokens.
    Eight,
    /// zlib's highest: hashes of 16 bits, blocks of 32,767 tokens.
    Nine,
}

impl MemLevel {
    fn hash_bits(self) -> HashBits {
        match self {
            MemLevel::Eight => HashBits::Fifteen,
            MemLevel::Nine => HashBits::Sixteen,
        }
    }

    /// The tokens that fill a block.
    fn block_limit_tokens(self) -> usize {
        match self {
            MemLevel::Eight => (1 << 14) - 1,
            MemLevel::Nine => (1 << 15) - 1,
        }
    }
}

/// Reusable working memory: no allocation per stream after the first.
pub struct Zlib9 {
    parse: LazyParse<Search>,
    blocks: Blocks,
}

impl Zlib9 {
    /// Working memory for streams of this memLevel.
    #[must_use]
    pub fn new(mem_level: MemLevel) -> Self {
        Zlib9 {
            parse: new_parse(mem_level),
            blocks: Blocks::new(mem_level.block_limit_tokens()),
        }
    }

    /// Deflates `input`, handing the output to `sink` as it is made, in pieces of at most
    /// 64 KiB at the end of each block. False if the sink broke off.
    pub fn deflate(&mut self, input: &[u8], sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> bool {
        self.parse.deflate(input, &mut self.blocks, sink).is_ok()
    }
}

/// As [`Zlib9::deflate`], on so many threads, each with working memory of its own, in pieces
/// of the input. Their lengths are within `piece_bytes`, but for the last, and become shorter.
/// The threads find their memory while `input` makes the input; none if it makes none.
pub fn deflate_on<'i>(
    threads: usize,
    piece_bytes: &RangeInclusive<usize>,
    mem_level: MemLevel,
    input: impl FnOnce() -> Option<&'i [u8]>,
    sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Option<bool> {
    let make = || new_parse(mem_level);
    parallel::deflate(threads, piece_bytes, make, mem_level.block_limit_tokens(), input, sink)
}

fn new_parse(mem_level: MemLevel) -> LazyParse<Search> {
    LazyParse::new(Search::new(mem_level.hash_bits()))
}
