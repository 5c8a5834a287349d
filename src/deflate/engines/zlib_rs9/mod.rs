//! zlib-rs's level 9, bit for bit, faster.
//!
//! The same bits as zlib-rs 0.5.5 or 0.6.8 makes of an input given in pieces of 32 KiB:
//! level 9, windowBits 15, memLevel 8, raw, default strategy, one final flush. `search`
//! finds the matches; the parse and the blocks are those of `zlib_shared`.

mod search;

use super::zlib_shared::blocks::Blocks;
use super::zlib_shared::lazy::LazyParse;
use super::zlib_shared::parallel;
use search::Search;
use std::ops::{ControlFlow, RangeInclusive};

/// The tokens that fill a block.
const BLOCK_LIMIT_TOKENS: usize = (1 << 14) - 1;

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
    parse: LazyParse<Search>,
    blocks: Blocks,
}

impl ZlibRs9 {
    /// Working memory for streams of this version.
    #[must_use]
    pub fn new(release: Release) -> Self {
        ZlibRs9 {
            parse: new_parse(release),
            blocks: Blocks::new(BLOCK_LIMIT_TOKENS),
        }
    }

    /// Deflates `input`, handing the output to `sink` as it is made, in pieces of at most
    /// 64 KiB at the end of each block. False if the sink broke off.
    pub fn deflate(&mut self, input: &[u8], sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> bool {
        self.parse.deflate(input, &mut self.blocks, sink).is_ok()
    }
}

/// As [`ZlibRs9::deflate`], on so many threads, each with working memory of its own, in pieces
/// of the input. Their lengths are within `piece_bytes`, but for the last, and become shorter.
/// The threads find their memory while `input` makes the input; none if it makes none.
pub fn deflate_on<'i>(
    threads: usize,
    piece_bytes: &RangeInclusive<usize>,
    release: Release,
    input: impl FnOnce() -> Option<&'i [u8]>,
    sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Option<bool> {
    let make = || new_parse(release);
    parallel::deflate(threads, piece_bytes, make, BLOCK_LIMIT_TOKENS, input, sink)
}

fn new_parse(release: Release) -> LazyParse<Search> {
    LazyParse::new(Search::new(release))
}
