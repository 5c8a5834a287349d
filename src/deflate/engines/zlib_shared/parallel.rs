//! One stream on several threads, with the same bits.
//!
//! The parse is a pure function of its state and the input, and soon forgets where it
//! began: a parse that starts cold in the middle comes, mostly within some hundred bytes,
//! to a state that the parse from the front comes to as well, and from there on they are
//! one. So threads parse pieces, each the next one that none has taken; where two pieces
//! meet, the states at the beginning of the later one are looked for among those of the
//! earlier one, which goes on for as long. If none is shared, the later piece is parsed again
//! from where the earlier one stands. Nothing of this needs to be stored.

use super::super::Sink;
use super::blocks::{Blocks, BrokenOff};
use super::lazy::{Candidates, LazyParse, State};
use super::trees::Token;
use std::iter;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Lengths of pieces: to fill the window before one and to parse what it shares with the
/// next costs as much as some 16 KiB more.
pub(in super::super) const PIECE_BYTES: RangeInclusive<usize> = 128 << 10..=1 << 20;

/// Where the pieces end. Each is its share of half of what is left: the last ones are short,
/// so that no thread is long behind the others, however fast its core is just then.
fn piece_ends(threads: usize, piece_bytes: &RangeInclusive<usize>, input_bytes: usize) -> Vec<usize> {
    let shortest_bytes = OVERLAP_BYTES.max(*piece_bytes.start());
    let longest_bytes = shortest_bytes.max(*piece_bytes.end());
    let end_from = |start: usize| {
        let left_bytes = input_bytes - start;
        let share_bytes = (left_bytes / (2 * threads)).clamp(shortest_bytes, longest_bytes);
        start + share_bytes.min(left_bytes)
    };
    iter::successors(Some(end_from(0)), |&end| (end < input_bytes).then(|| end_from(end))).collect()
}

/// For so long two parses may take to become one. Pieces are no shorter.
const OVERLAP_BYTES: usize = 2 << 10;

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

/// Deflates what `input` gives in pieces, their lengths within `piece_bytes`, on `threads`
/// threads and this one, which only makes the input and writes the blocks. The threads find
/// their memory while the input is made. None if there is no input; false if the sink broke
/// off.
pub(in super::super) fn deflate<'i, C: Candidates>(
    threads: usize,
    piece_bytes: &RangeInclusive<usize>,
    make: impl Fn() -> LazyParse<C> + Sync,
    block_limit_tokens: usize,
    input: impl FnOnce() -> Option<&'i [u8]>,
    sink: &mut Sink<'_>,
) -> Option<bool> {
    let mut blocks = Blocks::new(block_limit_tokens);
    let threads = threads.max(1);
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(threads);
        let start = |_| {
            let (give, given) = sync_channel::<Work<'i>>(1);
            let (make, sender) = (&make, sender.clone());
            let parse = move || {
                let mut parse = make();
                parse.touch();
                if let Ok(work) = given.recv() {
                    work.parse_pieces(parse, &sender);
                }
            };
            // What one that cannot be started would have parsed is left to the others or,
            // if there are none, to this one.
            thread::Builder::new().spawn_scoped(scope, parse).ok().map(|_| give)
        };
        let started: Vec<_> = (0..threads).filter_map(start).collect();
        drop(sender);
        let input = input()?;
        let work = Work {
            input,
            ends: piece_ends(threads, piece_bytes, input.len()).into(),
            next_number: Arc::default(),
        };
        for give in started {
            // One that has ended parses nothing.
            let _ = give.send(work.clone());
        }
        let mut parsed = InOrder::of(receiver, work.ends.len());
        Some(write_blocks(&work, &mut parsed, &make, &mut blocks, sink).is_ok())
    })
}

/// Writes the blocks of all pieces, as they are parsed.
fn write_blocks<C: Candidates>(
    work: &Work<'_>,
    parsed: &mut InOrder,
    make: impl Fn() -> LazyParse<C>,
    blocks: &mut Blocks,
    sink: &mut Sink<'_>,
) -> Result<(), BrokenOff> {
    let Work { input, ends, .. } = work;
    let mut own = None;
    let mut parse_here = |from, number: usize| {
        let parse = own.get_or_insert_with(&make);
        Piece::parse(parse, input, from, ends[number])
    };
    let mut piece = parsed.next(0).unwrap_or_else(|| parse_here(State::decided(0), 0));
    let mut first_token = 0;
    for number in 1..ends.len() {
        let next = parsed.next(number);
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
}

/// What threads share.
#[derive(Clone)]
struct Work<'i> {
    input: &'i [u8],
    /// Where each piece ends.
    ends: Arc<[usize]>,
    /// The first piece that none has taken.
    next_number: Arc<AtomicUsize>,
}

impl Work<'_> {
    /// Parses one piece after the other that no other thread has taken, for as long as
    /// somebody wants them.
    fn parse_pieces<C: Candidates>(&self, mut parse: LazyParse<C>, sender: &SyncSender<(usize, Piece)>) {
        loop {
            let number = self.next_number.fetch_add(1, Ordering::Relaxed);
            let Some(&end) = self.ends.get(number) else {
                return;
            };
            let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
            let piece = Piece::parse(&mut parse, self.input, State::decided(start), end);
            if sender.send((number, piece)).is_err() {
                return;
            }
        }
    }
}

/// The pieces that threads have parsed, in the order of the input.
struct InOrder {
    receiver: Receiver<(usize, Piece)>,
    /// Those that came before their turn.
    early: Vec<Option<Piece>>,
}

impl InOrder {
    fn of(receiver: Receiver<(usize, Piece)>, pieces: usize) -> Self {
        let early = iter::repeat_with(|| None).take(pieces).collect();
        InOrder { receiver, early }
    }

    /// The piece of this number; none if no thread has parsed it.
    fn next(&mut self, number: usize) -> Option<Piece> {
        while self.early[number].is_none() {
            let (other, piece) = self.receiver.recv().ok()?;
            self.early[other] = Some(piece);
        }
        self.early[number].take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_shorter_and_end_with_the_input() {
        for threads in [1, 2, 7] {
            for input_bytes in [1, OVERLAP_BYTES + 1, 512 << 10, 3_000_001, 70 << 20] {
                let ends = piece_ends(threads, &PIECE_BYTES, input_bytes);
                let lengths: Vec<usize> = ends
                    .iter()
                    .scan(0, |start, end| Some(end - std::mem::replace(start, *end)))
                    .collect();
                assert!(lengths.is_sorted_by(|a, b| a >= b), "{lengths:?}");
                assert_eq!(lengths.iter().sum::<usize>(), input_bytes);
                let (last, others) = lengths.split_last().unwrap();
                assert!((1..=*PIECE_BYTES.end()).contains(last));
                assert!(others.iter().all(|length| PIECE_BYTES.contains(length)), "{lengths:?}");
            }
        }
        assert_eq!(piece_ends(2, &PIECE_BYTES, 0), [0]);
    }

    #[test]
    fn pieces_come_in_order_and_one_that_never_comes_is_none() {
        let (sender, receiver) = sync_channel(3);
        for number in [2, 0, 3] {
            let piece = Piece {
                tokens: Vec::new(),
                first: Vec::new(),
                last: Vec::new(),
                state: State::decided(number),
            };
            sender.send((number, piece)).unwrap();
        }
        drop(sender);
        let mut parsed = InOrder::of(receiver, 4);
        let found = [0, 1, 2, 3].map(|number| parsed.next(number).map(|piece| piece.state.at));
        assert_eq!(found, [Some(0), None, Some(2), Some(3)]);
    }

    #[test]
    fn pieces_are_no_shorter_than_what_two_share() {
        assert_eq!(
            piece_ends(2, &(1..=1), 2 * OVERLAP_BYTES + 1),
            [OVERLAP_BYTES, 2 * OVERLAP_BYTES, 2 * OVERLAP_BYTES + 1]
        );
    }
}
