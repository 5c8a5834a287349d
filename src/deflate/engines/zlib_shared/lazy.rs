//! The lazy parse of level 9: a match is taken only when the next position has no longer one.

use super::super::Sink;
use super::super::alphabet::{MATCH_LEAST_BYTES, MATCH_LIMIT_BYTES};
use super::super::chains::climb::Match;
use super::blocks::{Blocks, BrokenOff};
use super::trees::Token;

/// The window is twice this long, and moves on by this much.
pub(in super::super) const WINDOW_BYTES: usize = 32_768;
/// More is read when less than this lies ahead.
const LOOKAHEAD_LEAST_BYTES: usize = MATCH_LIMIT_BYTES + MATCH_LEAST_BYTES + 1;
/// zlib's MAX_DIST: the window less the lookahead it insists on.
pub(in super::super) const DISTANCE_LIMIT_BYTES: usize = WINDOW_BYTES - LOOKAHEAD_LEAST_BYTES;

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
    /// The window once the library has looked at `at`: where it is does not depend on
    /// which positions before were looked at, for they are never far apart.
    pub(in super::super) fn after(at: usize, input_bytes: usize) -> Self {
        // Mid-stream it moves at the first position looked at from here on.
        const MOVES_AT: usize = 2 * WINDOW_BYTES - LOOKAHEAD_LEAST_BYTES + 1;
        let moves = at.checked_sub(MOVES_AT).map_or(0, |past| past / WINDOW_BYTES + 1);
        let mut window = Window {
            start: moves * WINDOW_BYTES,
        };
        // Near the end of the input it may do so one position earlier.
        window.slide_for(at, input_bytes);
        window
    }

    /// The first position before which the library moves the window on.
    fn moves_at(&self, input_bytes: usize) -> usize {
        let end = input_bytes.min(self.start + 2 * WINDOW_BYTES);
        let runs_low_at = (end + 1).saturating_sub(LOOKAHEAD_LEAST_BYTES);
        runs_low_at.max(self.start + WINDOW_BYTES + DISTANCE_LIMIT_BYTES)
    }

    /// Moves on as the library does before it looks at `at`. True if it moved.
    fn slide_for(&mut self, at: usize, input_bytes: usize) -> bool {
        let is_due = at >= self.moves_at(input_bytes);
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

    /// Starts anew, with no position known before `start`.
    fn reset(&mut self, input: &[u8], start: usize);

    /// Writes to all memory, so that the system finds it now.
    fn touch(&mut self);

    /// Makes known what a search at `at` may look at: all before it, and the longest match
    /// beyond. Returns the first position for which there is more to be made known.
    fn fill_for(&mut self, input: &[u8], at: usize) -> usize;

    /// The library's match at `at`, which has been filled for, if longer than `to_beat_bytes`.
    fn longest_match(&mut self, input: &[u8], at: usize, to_beat_bytes: usize, window: &Window) -> Option<Match>;
}

/// Where a parse stands; what follows depends on nothing else but the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct State {
    /// The next position to look at.
    pub(in super::super) at: usize,
    /// The match at the position before.
    previous: Match,
    /// Whether that position is still undecided.
    is_pending: bool,
}

impl State {
    /// At `at`, with everything before decided.
    pub(in super::super) fn decided(at: usize) -> Self {
        State {
            at,
            previous: NO_MATCH,
            is_pending: false,
        }
    }

    /// At the end of the input: what is still undecided is a literal.
    pub(in super::super) fn last_literal(&self, input: &[u8]) -> Option<Token> {
        let last = input.get(self.at.checked_sub(1)?)?;
        self.is_pending.then(|| Token::literal(*last))
    }
}

/// The parse and its reusable working memory.
pub(in super::super) struct LazyParse<C> {
    candidates: C,
}

impl<C: Candidates> LazyParse<C> {
    pub(in super::super) fn new(candidates: C) -> Self {
        LazyParse { candidates }
    }

    /// Prepares to parse from `start` on: all that may be copied from there is filled.
    pub(in super::super) fn reset(&mut self, input: &[u8], start: usize) {
        self.candidates.reset(input, start.saturating_sub(WINDOW_BYTES));
        self.candidates.fill_for(input, start);
    }

    /// Writes to all memory, so that the system finds it now.
    pub(in super::super) fn touch(&mut self) {
        self.candidates.touch();
    }

    /// Prepares to look at `at`. Until the position returned, nothing is to be prepared.
    #[inline(never)]
    fn prepare(&mut self, input: &[u8], at: usize, window: &mut Window, previous: &mut Match) -> usize {
        let has_slid = window.slide_for(at, input.len());
        if C::FORGETS_WHAT_SLID_OUT && has_slid && at - 1 - previous.distance_bytes < window.start {
            *previous = NO_MATCH;
        }
        let fills_at = self.candidates.fill_for(input, at);
        window.moves_at(input.len()).min(fills_at)
    }

    /// Goes on from `state` until there are `limit_tokens`, or up to the first position to
    /// look at that is `end` or behind it.
    #[inline(always)]
    pub(in super::super) fn advance(
        &mut self,
        input: &[u8],
        state: &mut State,
        end: usize,
        tokens: &mut Vec<Token>,
        limit_tokens: usize,
    ) {
        let State {
            mut at,
            mut previous,
            mut is_pending,
        } = *state;
        let looked_at = at.saturating_sub(1);
        let mut window = Window::after(looked_at, input.len());
        let search_end = (input.len() + 1).saturating_sub(C::SEARCH_LEAST_BYTES);
        let mut prepared_end = 0;
        while at < end && tokens.len() < limit_tokens {
            if at >= prepared_end {
                prepared_end = self.prepare(input, at, &mut window, &mut previous);
            }
            let found = if at >= search_end {
                None
            } else {
                self.candidates.longest_match(input, at, previous.length_bytes, &window)
            };
            if found.is_none() && previous.length_bytes >= MATCH_LEAST_BYTES {
                tokens.push(Token::copy(previous.length_bytes, previous.distance_bytes));
                at += previous.length_bytes - 1;
                previous = NO_MATCH;
                is_pending = false;
            } else {
                if is_pending {
                    tokens.push(Token::literal(input[at - 1]));
                }
                previous = found.unwrap_or(NO_MATCH);
                is_pending = true;
                at += 1;
            }
        }
        *state = State {
            at,
            previous,
            is_pending,
        };
    }

    /// Deflates `input`, block by block.
    pub(in super::super) fn deflate(
        &mut self,
        input: &[u8],
        blocks: &mut Blocks,
        sink: &mut Sink<'_>,
    ) -> Result<(), BrokenOff> {
        self.reset(input, 0);
        blocks.reset();
        let mut state = State::decided(0);
        while state.at < input.len() {
            blocks.fill(input, sink, |tokens, limit_tokens| {
                self.advance(input, &mut state, input.len(), tokens, limit_tokens);
            })?;
        }
        blocks.finish(input, state.last_literal(input), sink)
    }
}
