//! From tokens to blocks of the stream: where each ends, and what it may be.

use super::super::Sink;
use super::lazy::Window;
use super::trees::{BlockWriter, Token};

/// The most that is given to the sink at once.
const PIECE_LIMIT_BYTES: usize = 64 << 10;

/// The sink broke off.
#[derive(Debug)]
pub(in super::super) struct BrokenOff;

/// The block begun and its reusable working memory: no allocation per stream after the
/// first.
pub(in super::super) struct Blocks {
    writer: BlockWriter,
    tokens: Vec<Token>,
    limit_tokens: usize,
    /// Where in the input the block begins.
    start: usize,
}

impl Blocks {
    /// Working memory for streams whose blocks have at most so many tokens.
    pub(in super::super) fn new(limit_tokens: usize) -> Self {
        Blocks {
            writer: BlockWriter::new(limit_tokens),
            tokens: Vec::with_capacity(limit_tokens),
            limit_tokens,
            start: 0,
        }
    }

    /// Starts a new stream.
    pub(in super::super) fn reset(&mut self) {
        self.writer.reset();
        self.tokens.clear();
        self.start = 0;
    }

    /// Lets `parse` add tokens up to the limit it is given, and ends the block there.
    #[inline(always)]
    pub(in super::super) fn fill(
        &mut self,
        input: &[u8],
        sink: &mut Sink<'_>,
        parse: impl FnOnce(&mut Vec<Token>, usize),
    ) -> Result<(), BrokenOff> {
        parse(&mut self.tokens, self.limit_tokens);
        match self.tokens.len() == self.limit_tokens {
            true => self.end_block(input, false, sink),
            false => Ok(()),
        }
    }

    /// Adds `tokens`, parsed elsewhere.
    pub(in super::super) fn extend(
        &mut self,
        input: &[u8],
        mut tokens: &[Token],
        sink: &mut Sink<'_>,
    ) -> Result<(), BrokenOff> {
        while !tokens.is_empty() {
            let (now, later) = tokens.split_at(tokens.len().min(self.limit_tokens - self.tokens.len()));
            self.fill(input, sink, |block, _| block.extend_from_slice(now))?;
            tokens = later;
        }
        Ok(())
    }

    /// Ends the stream, behind a `last` token if there is one.
    pub(in super::super) fn finish(
        &mut self,
        input: &[u8],
        last: Option<Token>,
        sink: &mut Sink<'_>,
    ) -> Result<(), BrokenOff> {
        self.tokens.extend(last);
        self.end_block(input, true, sink)
    }

    /// Writes the block and hands over what is whole of it.
    #[inline(never)]
    fn end_block(&mut self, input: &[u8], is_last: bool, sink: &mut Sink<'_>) -> Result<(), BrokenOff> {
        let covered_bytes: usize = self.tokens.iter().map(|token| token.input_bytes()).sum();
        let end = self.start + covered_bytes;
        // A token is decided at the position behind its first, if there is one.
        let behind_first = end - self.tokens.last().map_or(0, |token| token.input_bytes() - 1);
        let looked_at = behind_first.min(input.len().saturating_sub(1));
        // The library stores from its window, so that what has slid out cannot be stored.
        let may_store = self.start >= Window::after(looked_at, input.len()).start;
        self.writer
            .write(&self.tokens, &input[self.start..end], may_store, is_last);
        self.tokens.clear();
        self.start = end;
        for piece in self.writer.take().chunks(PIECE_LIMIT_BYTES) {
            if sink(piece).is_break() {
                return Err(BrokenOff);
            }
        }
        Ok(())
    }
}
