//! zlib's block writer: the tokens of a block and what they need in codes, and the choice
//! between a stored, a fixed and a dynamic block.

use super::super::alphabet::{
    DISTANCE_CODES, END_OF_BLOCK, FIRST_LENGTH_CODE, LENGTH_ALPHABET, LENGTH_ALPHABET_ORDER, LENGTH_CLASSES,
    MATCH_LEAST_BYTES, MATCH_LIMIT_BYTES, distance_code, distance_extra_bits, first_distance,
};
use super::super::bits::BitWriter;
use super::huffman::{CODE_LIMIT_BITS, Code, CodeWord, LITERAL_CODES};

const LENGTH_ALPHABET_LIMIT_BITS: u8 = 7;

const REPEAT_PREVIOUS: u8 = 16;
const REPEAT_ZERO_SHORT: u8 = 17;
const REPEAT_ZERO_LONG: u8 = 18;

/// Match lengths, less [`MATCH_LEAST_BYTES`], and byte values share one table of 512
/// entries, so that coding a token takes no branch on what it is.
const LENGTHS_FROM: usize = 256;

/// One literal or one match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Token(u32);

impl Token {
    /// A byte that is no part of a match.
    #[inline(always)]
    pub(in super::super) fn literal(byte: u8) -> Self {
        Token(u32::from(byte))
    }

    /// A copy of `length_bytes` (3 to 258) from `distance_bytes` (1 to 32,768) back.
    #[inline(always)]
    pub(in super::super) fn copy(length_bytes: usize, distance_bytes: usize) -> Self {
        debug_assert!((MATCH_LEAST_BYTES..=MATCH_LIMIT_BYTES).contains(&length_bytes));
        debug_assert!((1..=1 << 15).contains(&distance_bytes));
        Token((distance_bytes as u32) << 16 | (length_bytes - MATCH_LEAST_BYTES) as u32)
    }

    /// Bytes of the input that it stands for.
    #[inline(always)]
    pub(in super::super) fn input_bytes(self) -> usize {
        match self.0 > 0xff_ff {
            true => (self.0 & 0xff) as usize + MATCH_LEAST_BYTES,
            false => 1,
        }
    }

    /// Place in a table of 256 literals followed by 256 match lengths.
    #[inline(always)]
    fn table_index(self) -> usize {
        let is_copy = self.0 > 0xff_ff;
        (self.0 & 0xff) as usize | usize::from(is_copy) << 8
    }

    #[inline(always)]
    fn distance_code(self) -> usize {
        distance_code(((self.0 >> 16) as u16).wrapping_sub(1))
    }
}

/// Code lengths run-length coded: symbols of the length alphabet with their extra bits.
struct LengthRuns {
    runs: [(u8, u8); LITERAL_CODES + DISTANCE_CODES],
    len: usize,
}

impl LengthRuns {
    fn new() -> Self {
        LengthRuns {
            runs: [(0, 0); LITERAL_CODES + DISTANCE_CODES],
            len: 0,
        }
    }

    fn push(&mut self, symbol: u8, extra: usize) {
        self.runs[self.len] = (symbol, extra as u8);
        self.len += 1;
    }

    /// Appends one alphabet's lengths. Runs never cross from one alphabet to the next.
    fn extend(&mut self, lengths: impl Iterator<Item = u8>) {
        let mut lengths = lengths.peekable();
        let mut previous = None;
        while let Some(length) = lengths.next() {
            let repeats = previous == Some(length);
            let (most, least) = match length {
                0 => (138, 3),
                _ if repeats => (6, 3),
                _ => (7, 4),
            };
            let mut count = 1;
            while count < most && lengths.next_if_eq(&length).is_some() {
                count += 1;
            }
            if count < least {
                (0..count).for_each(|_| self.push(length, 0));
            } else if length > 0 {
                if !repeats {
                    self.push(length, 0);
                    count -= 1;
                }
                self.push(REPEAT_PREVIOUS, count - 3);
            } else if count <= 10 {
                self.push(REPEAT_ZERO_SHORT, count - 3);
            } else {
                self.push(REPEAT_ZERO_LONG, count - 11);
            }
            previous = Some(length);
        }
    }

    fn iter(&self) -> impl Iterator<Item = (u8, u8)> {
        self.runs[..self.len].iter().copied()
    }
}

/// Count of extra bits behind a symbol of the length alphabet.
fn run_extra_bits(symbol: u8) -> u32 {
    match symbol {
        REPEAT_PREVIOUS => 2,
        REPEAT_ZERO_SHORT => 3,
        REPEAT_ZERO_LONG => 7,
        _ => 0,
    }
}

/// What a block's tokens need in code words.
struct Tally {
    literals: [u16; LITERAL_CODES],
    distances: [u16; DISTANCE_CODES],
    /// Extra bits of lengths and distances, the same whatever the code.
    extra_bits: u64,
}

impl Tally {
    fn of(tokens: &[Token]) -> Self {
        let mut by_index = [0u16; 512];
        let mut by_distance = [0u16; 32];
        for &token in tokens {
            by_index[token.table_index()] += 1;
            by_distance[token.distance_code()] += 1;
        }
        let mut literals = [0; LITERAL_CODES];
        literals[..LENGTHS_FROM].copy_from_slice(&by_index[..LENGTHS_FROM]);
        literals[END_OF_BLOCK] = 1;
        let mut extra_bits = 0;
        for (class, &count) in LENGTH_CLASSES.iter().zip(&by_index[LENGTHS_FROM..]) {
            literals[FIRST_LENGTH_CODE + usize::from(class.code)] += count;
            extra_bits += u64::from(class.extra_bits) * u64::from(count);
        }
        let mut distances = [0; DISTANCE_CODES];
        for (code, (count, &found)) in distances.iter_mut().zip(&by_distance).enumerate() {
            *count = found;
            extra_bits += u64::from(distance_extra_bits(code)) * u64::from(found);
        }
        Tally {
            literals,
            distances,
            extra_bits,
        }
    }
}

/// Bytes that a block of `bits` and its 3 header bits may take, as zlib compares them.
fn block_bytes(bits: u64) -> u64 {
    (bits + 3).div_ceil(8)
}

/// Writes deflate blocks exactly as zlib would.
pub(in super::super) struct BlockWriter {
    bits: BitWriter,
    fixed_literals: Code<288>,
    fixed_distances: Code<DISTANCE_CODES>,
}

impl BlockWriter {
    /// A writer of blocks of at most `token_limit` tokens, which is at most 32,767.
    pub(in super::super) fn new(token_limit: usize) -> Self {
        // No code that is ever chosen takes more than the fixed one, in which a token
        // takes at most 8 + 5 + 5 + 13 bits; a stored block is smaller still.
        let capacity_bytes = token_limit * 31 / 8 + 16;
        let mut literal_lengths = [8; 288];
        literal_lengths[144..256].fill(9);
        literal_lengths[256..280].fill(7);
        BlockWriter {
            bits: BitWriter::new(capacity_bytes),
            fixed_literals: Code::from_lengths(&literal_lengths),
            fixed_distances: Code::from_lengths(&[5; DISTANCE_CODES]),
        }
    }

    /// Forgets everything written, for a new stream.
    pub(in super::super) fn reset(&mut self) {
        self.bits.reset();
    }

    /// The whole bytes made since the last call. To be called after every block.
    pub(in super::super) fn take(&mut self) -> &[u8] {
        self.bits.take()
    }

    /// Writes `tokens` as one block. `covered` is the input they stand for, and
    /// `may_store` whether the block may be stored at all.
    pub(in super::super) fn write(&mut self, tokens: &[Token], covered: &[u8], may_store: bool, is_last: bool) {
        let tally = Tally::of(tokens);
        let literals = Code::build(&tally.literals, CODE_LIMIT_BITS);
        let distances = Code::build(&tally.distances, CODE_LIMIT_BITS);
        let mut runs = LengthRuns::new();
        runs.extend(literals.lengths());
        runs.extend(distances.lengths());
        let mut run_frequencies = [0; LENGTH_ALPHABET];
        let mut dynamic_bits = tally.extra_bits;
        for (symbol, _) in runs.iter() {
            run_frequencies[usize::from(symbol)] += 1;
            dynamic_bits += u64::from(run_extra_bits(symbol));
        }
        let run_code = Code::build(&run_frequencies, LENGTH_ALPHABET_LIMIT_BITS);
        let is_sent = |&&symbol: &&usize| run_code.words[symbol].length_bits > 0;
        let unsent = LENGTH_ALPHABET_ORDER
            .iter()
            .rev()
            .take_while(|symbol| !is_sent(symbol))
            .count();
        // Never fewer than five: no block does without codes, and those come behind the first four.
        let sent_lengths = LENGTH_ALPHABET - unsent;

        dynamic_bits += literals.cost_bits(&tally.literals)
            + distances.cost_bits(&tally.distances)
            + run_code.cost_bits(&run_frequencies)
            + 3 * sent_lengths as u64
            + 14;
        let mut fixed_frequencies = [0; 288];
        fixed_frequencies[..LITERAL_CODES].copy_from_slice(&tally.literals);
        let fixed_bits = tally.extra_bits
            + self.fixed_literals.cost_bits(&fixed_frequencies)
            + self.fixed_distances.cost_bits(&tally.distances);

        // Sizes are compared in whole bytes, and on a tie the fixed code wins.
        let fixed_bytes = block_bytes(fixed_bits);
        let best_bytes = fixed_bytes.min(block_bytes(dynamic_bits));
        let is_last = u64::from(is_last);
        if may_store && covered.len() as u64 + 4 <= best_bytes {
            self.bits.put(is_last, 3);
            self.bits.align();
            let length = covered.len() as u16;
            self.bits.put_bytes(&length.to_le_bytes());
            self.bits.put_bytes(&(!length).to_le_bytes());
            self.bits.put_bytes(covered);
        } else if fixed_bytes == best_bytes {
            self.bits.put(1 << 1 | is_last, 3);
            write_tokens(
                &mut self.bits,
                tokens,
                &self.fixed_literals.words,
                &self.fixed_distances.words,
            );
        } else {
            self.bits.put(2 << 1 | is_last, 3);
            self.bits.put((literals.used - FIRST_LENGTH_CODE) as u64, 5);
            self.bits.put((distances.used - 1) as u64, 5);
            self.bits.put((sent_lengths - 4) as u64, 4);
            for &symbol in &LENGTH_ALPHABET_ORDER[..sent_lengths] {
                self.bits.put(u64::from(run_code.words[symbol].length_bits), 3);
            }
            for (symbol, extra) in runs.iter() {
                let word = run_code.words[usize::from(symbol)];
                self.bits.put(u64::from(word.bits), word.length_bits.into());
                self.bits.put(extra.into(), run_extra_bits(symbol));
            }
            write_tokens(&mut self.bits, tokens, &literals.words, &distances.words);
        }
        if is_last == 1 {
            self.bits.align();
        }
    }
}

/// A code word with the extra bits behind it.
#[derive(Clone, Copy, Default)]
struct Sent {
    bits: u32,
    count_bits: u32,
}

/// Writes the tokens and the end of the block in the given codes.
fn write_tokens(bits: &mut BitWriter, tokens: &[Token], literals: &[CodeWord], distances: &[CodeWord; DISTANCE_CODES]) {
    let plain = |word: CodeWord| Sent {
        bits: word.bits.into(),
        count_bits: word.length_bits.into(),
    };
    let mut by_index = [Sent::default(); 512];
    for (sent, &word) in by_index.iter_mut().zip(&literals[..LENGTHS_FROM]) {
        *sent = plain(word);
    }
    for (length, (sent, class)) in by_index[LENGTHS_FROM..].iter_mut().zip(&LENGTH_CLASSES).enumerate() {
        let word = literals[FIRST_LENGTH_CODE + usize::from(class.code)];
        let extra = length as u32 - u32::from(class.first);
        sent.bits = u32::from(word.bits) | extra << word.length_bits;
        sent.count_bits = u32::from(word.length_bits + class.extra_bits);
    }
    // A literal's distance has neither code word nor extra bits, and `first` makes its
    // extra value 0 too.
    #[derive(Clone, Copy)]
    struct SentDistance {
        word: CodeWord,
        first: u32,
        extra_bits: u32,
    }
    let none = SentDistance {
        word: CodeWord::default(),
        first: 0,
        extra_bits: 0,
    };
    let mut by_distance = [none; 32];
    for (code, (sent, &word)) in by_distance.iter_mut().zip(distances).enumerate() {
        *sent = SentDistance {
            word,
            first: first_distance(code) as u32 + 1,
            extra_bits: distance_extra_bits(code),
        };
    }
    for &token in tokens {
        let length = by_index[token.table_index()];
        let distance = by_distance[token.distance_code()];
        let extra = (token.0 >> 16) - distance.first;
        let tail = u64::from(distance.word.bits) | u64::from(extra) << distance.word.length_bits;
        let tail_bits = u32::from(distance.word.length_bits) + distance.extra_bits;
        bits.put(
            u64::from(length.bits) | tail << length.count_bits,
            length.count_bits + tail_bits,
        );
    }
    let end = plain(literals[END_OF_BLOCK]);
    bits.put(end.bits.into(), end.count_bits);
}

#[cfg(test)]
mod tests;
