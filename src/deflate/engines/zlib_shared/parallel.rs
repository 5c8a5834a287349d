//! One stream on several threads, with the same bits.
//!
//! The parse is a pure function of its state and the input, and soon forgets where it
//! began: a parse that starts cold in the middle comes, mostly within some hundred bytes,
//! to a state that the parse from the front comes to as well, and from there on they are
//! one. So each thread parses pieces of its own; where two pieces meet, the states at the
//! beginning of the later one are looked for among those of the earlier one, which goes on
//! for as long. If none is shared, the later piece is parsed again from where the earlier
//! one stands. Nothing of this needs to be stored.

use super::super::Sink;
use super::blocks::{Blocks, BrokenOff};
use super::lazy::{Candidates, LazyParse, State};
use super::trees::Token;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// The input of a piece: filling the window before it costs some hundredths of its parse.
const PIECE_BYTES: usize = 512 << 10;
/// The same where otherwise a thread would have none, or less than others.
pub(in super::super) const LEAST_PIECE_BYTES: usize = 256 << 10;

/// Pieces that give each of so many threads as many as the others.
pub(in super::super) fn piece_bytes(threads: usize, input_bytes: usize) -> usize {
    let pieces = input_bytes.div_ceil(PIECE_BYTES).next_multiple_of(threads.max(1));
    input_bytes.div_ceil(pieces.max(1)).max(LEAST_PIECE_BYTES)
}

/// For so long two parses may take to become one. Pieces are no shorter.
const OVERLAP_BYTES: usize = 8 << 10;

/// A state, and the tokens of the piece that come before it.
type Mark = (State, usize);

/// What a parse makes of one piece.
struct Piece {
    tokens: Vec<Token>,
    /// The states at its beginning.
    first: Vec<Mark>,
    /// The states behind its end.
    last: Vec<Mark>,
    /// Where it stands.
    state: State,
}

impl Piece {
    fn parse<C: Candidates>(parse: &mut LazyParse<C>, input: &[u8], from: State, end: usize) -> Piece {
        parse.reset(input, from.at);
        let mut piece = Piece {
            // Source code has about a token for each ten bytes.
            tokens: Vec::with_capacity(end.saturating_sub(from.at) / 8),
            first: Vec::new(),
            last: Vec::new(),
            state: from,
        };
        piece.first = piece.mark(parse, input, from.at + OVERLAP_BYTES);
        parse.advance(input, &mut piece.state, end, &mut piece.tokens, usize::MAX);
        if end < input.len() {
            piece.last = piece.mark(parse, input, end + OVERLAP_BYTES);
        }
        piece
    }

    /// Goes on to `end`, noting every state on the way.
    fn mark<C: Candidates>(&mut self, parse: &mut LazyParse<C>, input: &[u8], end: usize) -> Vec<Mark> {
        let mut marks = Vec::new();
        while self.state.at < end.min(input.len()) {
            marks.push((self.state, self.tokens.len()));
            let next = self.state.at + 1;
            parse.advance(input, &mut self.state, next, &mut self.tokens, usize::MAX);
        }
        marks
    }

    /// How many tokens of this piece come before a state that `next` has too, and how many
    /// of `next`.
    fn meets(&self, next: &Piece) -> Option<(usize, usize)> {
        let mut theirs = next.first.iter().peekable();
        self.last.iter().find_map(|(state, tokens)| {
            while theirs.next_if(|(other, _)| other.at < state.at).is_some() {}
            theirs
                .peek()
                .filter(|(other, _)| other == state)
                .map(|(_, others)| (*tokens, *others))
        })
    }
}

/// Deflates `input` in pieces of `piece_bytes` on `threads` threads and this one, which
/// only writes the blocks.
pub(in super::super) fn deflate<C: Candidates>(
    input: &[u8],
    threads: usize,
    piece_bytes: usize,
    make: impl Fn() -> LazyParse<C> + Sync,
    blocks: &mut Blocks,
    sink: &mut Sink<'_>,
) -> Result<(), BrokenOff> {
    blocks.reset();
    let piece_bytes = piece_bytes.max(OVERLAP_BYTES);
    let pieces = input.len().div_ceil(piece_bytes).max(1);
    let end_of = |number: usize| input.len().min((number + 1) * piece_bytes);
    let threads = threads.clamp(1, pieces);
    thread::scope(|scope| {
        let make = &make;
        let lanes: Vec<Option<Receiver<Piece>>> = (0..threads)
            .map(|lane| {
                let (sender, receiver) = sync_channel(1);
                let starts = (lane..pieces).step_by(threads).map(move |number| number * piece_bytes);
                let work = move || parse_lane(input, starts, piece_bytes, make(), &sender);
                let started = thread::Builder::new().spawn_scoped(scope, work);
                started.is_ok().then_some(receiver)
            })
            .collect();
        let mut own = None;
        // A thread that could not be started, or has failed, leaves its pieces to this one.
        let mut parse_here = |from, number: usize| {
            let parse = own.get_or_insert_with(make);
            Piece::parse(parse, input, from, end_of(number))
        };
        let next_piece = |number: usize| lanes[number % threads].as_ref()?.recv().ok();
        let start = State::decided(0);
        let mut piece = next_piece(0).unwrap_or_else(|| parse_here(start, 0));
        let mut first_token = 0;
        for number in 1..pieces {
            let next = next_piece(number);
            let met = next.and_then(|next| piece.meets(&next).map(|met| (next, met)));
            let (next, (end, next_first)) = met.unwrap_or_else(|| {
                let next = parse_here(piece.state, number);
                (next, (piece.tokens.len(), 0))
            });
            blocks.extend(input, &piece.tokens[first_token..end], sink)?;
            (piece, first_token) = (next, next_first);
        }
        blocks.extend(input, &piece.tokens[first_token..], sink)?;
        blocks.finish(input, piece.state.last_literal(input), sink)
    })
}

/// Parses every piece of a lane, for as long as somebody takes them.
fn parse_lane<C: Candidates>(
    input: &[u8],
    starts: impl Iterator<Item = usize>,
    piece_bytes: usize,
    mut parse: LazyParse<C>,
    sender: &SyncSender<Piece>,
) {
    for start in starts {
        let end = input.len().min(start + piece_bytes);
        let piece = Piece::parse(&mut parse, input, State::decided(start), end);
        if sender.send(piece).is_err() {
            return;
        }
    }
}
