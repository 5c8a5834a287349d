//! One deflate block: its tokens while it grows, and how it is written.

use super::super::alphabet::{
    END_OF_BLOCK, FIRST_LENGTH_CODE, LENGTH_ALPHABET_ORDER, LENGTH_CLASSES, distance_code, distance_extra_bits,
};
use super::super::bits::BitWriter;
use super::huffman::Codes;

/// Fewer input bytes than this use deflate's fixed codes, whatever their cost.
const FIXED_CODES_BELOW_BYTES: usize = 48;
/// Up to this many input bytes a block is never stored.
const STORED_ABOVE_BYTES: usize = 32;
/// A block may end for compressing badly once it has more input than this.
const BAD_ABOVE_BYTES: usize = 31 * 1024;
/// What miniz's token buffer may hold when a block has to end.
const TOKEN_BYTES_MAX: usize = 64 * 1024 - 8;
/// Every token takes at least a byte there, every eighth one more for its flags.
const TOKENS_MAX: usize = TOKEN_BYTES_MAX + 8;
/// The most that a block takes: a match, which takes 3 bytes there, at most 15 + 5 + 15 + 13
/// bits, a literal, which takes one, 15; and the codes. One is stored only if it is smaller.
pub(super) const BLOCK_LIMIT_BYTES: usize = TOKEN_BYTES_MAX / 3 * 6 + 1024;
/// Marks a match among tokens, its length - 3 above its distance - 1.
const MATCH: u32 = 1 << 31;

const LENGTH_SYMBOLS: usize = 288;
const DISTANCE_SYMBOLS: usize = 32;
/// Extra bits of the code length symbols 16, 17 and 18.
const PACKED_EXTRA_BITS: [u32; 3] = [2, 3, 7];

/// The block being gathered. All parts are reused from block to block.
pub(super) struct Block {
    tokens: Box<[u32]>,
    token_count: usize,
    /// What miniz's buffer would hold: a byte for a literal, three for a match,
    /// and a flag byte for each eight of them, laid before they come.
    token_bytes: usize,
    /// Where the block starts in the input.
    start: usize,
    input_bytes: usize,
    length_counts: [u16; LENGTH_SYMBOLS],
    distance_counts: [u16; DISTANCE_SYMBOLS],
    length_codes: Codes<LENGTH_SYMBOLS>,
    distance_codes: Codes<DISTANCE_SYMBOLS>,
}

impl Block {
    pub(super) fn new() -> Self {
        Self {
            tokens: vec![0; TOKENS_MAX].into_boxed_slice(),
            token_count: 0,
            token_bytes: 1,
            start: 0,
            input_bytes: 0,
            length_counts: [0; LENGTH_SYMBOLS],
            distance_counts: [0; DISTANCE_SYMBOLS],
            length_codes: Codes::new(),
            distance_codes: Codes::new(),
        }
    }

    /// Starts an empty block at `start` of the input.
    pub(super) fn restart(&mut self, start: usize) {
        (self.start, self.input_bytes) = (start, 0);
        (self.token_count, self.token_bytes) = (0, 1);
        self.length_counts = [0; LENGTH_SYMBOLS];
        self.distance_counts = [0; DISTANCE_SYMBOLS];
    }

    #[inline]
    pub(super) fn push_literal(&mut self, byte: u8) {
        self.push(u32::from(byte), 1);
        self.input_bytes += 1;
        self.length_counts[usize::from(byte)] += 1;
    }

    #[inline]
    pub(super) fn push_match(&mut self, len_bytes: usize, distance_bytes: usize) {
        let (length, distance) = (len_bytes - 3, distance_bytes - 1);
        self.push(MATCH | (length as u32) << 16 | distance as u32, 3);
        self.input_bytes += len_bytes;
        self.length_counts[FIRST_LENGTH_CODE + usize::from(LENGTH_CLASSES[length & 255].code)] += 1;
        self.distance_counts[distance_code(distance as u16) % DISTANCE_SYMBOLS] += 1;
    }

    #[inline]
    fn push(&mut self, token: u32, bytes: usize) {
        self.tokens[self.token_count] = token;
        self.token_count += 1;
        self.token_bytes += bytes + usize::from(self.token_count.is_multiple_of(8));
    }

    /// Whether miniz ends the block here: its buffer is full, or the block is
    /// long and its tokens take nine tenths of its input.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.token_bytes > TOKEN_BYTES_MAX
            || (self.input_bytes > BAD_ABOVE_BYTES && (self.token_bytes * 115) >> 7 >= self.input_bytes)
    }

    /// Where the next block will start in the input.
    pub(super) fn end(&self) -> usize {
        self.start + self.input_bytes
    }

    /// Writes the block.
    pub(super) fn write(&mut self, input: &[u8], is_last: bool, out: &mut BitWriter) {
        out.put(u64::from(is_last), 1);

        self.length_counts[END_OF_BLOCK] = 1;
        let is_fixed = self.input_bytes < FIXED_CODES_BELOW_BYTES;
        let packed = if is_fixed {
            self.set_fixed_codes();
            None
        } else {
            self.length_codes.fit(&self.length_counts, 15);
            self.distance_codes.fit(&self.distance_counts, 15);
            Some(PackedLengths::new(
                &self.length_codes.len_bits,
                &self.distance_codes.len_bits,
            ))
        };
        let body_bits = 2 + packed.as_ref().map_or(0, PackedLengths::size_bits) + self.tokens_size_bits();
        let whole_bytes = (out.pending_bits() as usize + body_bits) / 8;

        if self.input_bytes > STORED_ABOVE_BYTES && whole_bytes + 1 >= self.input_bytes {
            self.write_stored(input, out);
            return;
        }
        match packed {
            None => out.put(0b01, 2),
            Some(packed) => {
                out.put(0b10, 2);
                packed.write(out);
            }
        }
        self.write_tokens(out);
    }

    fn write_stored(&self, input: &[u8], out: &mut BitWriter) {
        let bytes = &input[self.start..self.end()];
        out.put(0b00, 2);
        out.align();
        let count = bytes.len() as u64 & 0xffff;
        out.put(count, 16);
        out.put(count ^ 0xffff, 16);
        out.put_bytes(bytes);
    }

    fn set_fixed_codes(&mut self) {
        let len_bits = &mut self.length_codes.len_bits;
        len_bits[..144].fill(8);
        len_bits[144..256].fill(9);
        len_bits[256..280].fill(7);
        len_bits[280..].fill(8);
        self.length_codes.assign();
        self.distance_codes.len_bits = [5; DISTANCE_SYMBOLS];
        self.distance_codes.assign();
    }

    /// Size of all tokens and the end mark under the present codes.
    fn tokens_size_bits(&self) -> usize {
        let mut size_bits = 0;
        for (&count, &len_bits) in self.length_counts.iter().zip(&self.length_codes.len_bits) {
            size_bits += usize::from(count) * usize::from(len_bits);
        }
        for (&count, &len_bits) in self.distance_counts.iter().zip(&self.distance_codes.len_bits) {
            size_bits += usize::from(count) * usize::from(len_bits);
        }
        // Four length symbols and two distance symbols have each number of extra
        // bits; 285, the longest length, has none.
        for (at, &count) in self.length_counts[265..285].iter().enumerate() {
            size_bits += usize::from(count) * (at / 4 + 1);
        }
        for (at, &count) in self.distance_counts[4..30].iter().enumerate() {
            size_bits += usize::from(count) * (at / 2 + 1);
        }
        size_bits
    }

    fn write_tokens(&self, out: &mut BitWriter) {
        let (length_codes, distance_codes) = (&self.length_codes, &self.distance_codes);
        // Code and extra bits of every length, laid side by side once per block.
        let mut lengths = [(0u32, 0u32); 256];
        for (length, made) in lengths.iter_mut().enumerate() {
            let class = LENGTH_CLASSES[length];
            let symbol = FIRST_LENGTH_CODE + usize::from(class.code);
            let len_bits = u32::from(length_codes.len_bits[symbol]);
            let extra = length as u32 - u32::from(class.first);
            let bits = u32::from(length_codes.bits[symbol]) | extra << len_bits;
            *made = (bits, len_bits + u32::from(class.extra_bits));
        }
        for &token in &self.tokens[..self.token_count] {
            if token & MATCH == 0 {
                let byte = (token & 0xff) as usize;
                out.put(length_codes.bits[byte].into(), length_codes.len_bits[byte].into());
            } else {
                let (bits, len_bits) = lengths[(token >> 16 & 0xff) as usize];
                let distance = (token & 0x7fff) as usize;
                let symbol = distance_code(distance as u16) % DISTANCE_SYMBOLS;
                let extra_bits = distance_extra_bits(symbol);
                let code_bits = u32::from(distance_codes.len_bits[symbol]);
                let extra = distance as u64 & ((1 << extra_bits) - 1);
                let behind = u64::from(distance_codes.bits[symbol]) | extra << code_bits;
                out.put(u64::from(bits) | behind << len_bits, len_bits + code_bits + extra_bits);
            }
        }
        let end_bits = u32::from(length_codes.len_bits[END_OF_BLOCK]);
        out.put(u64::from(length_codes.bits[END_OF_BLOCK]), end_bits);
    }
}

/// The code lengths of a block as deflate sends them: run-length encoded, then
/// under a code of their own.
struct PackedLengths {
    length_count: usize,
    distance_count: usize,
    /// Symbol, and the value of its extra bits.
    runs: [(u8, u8); LENGTH_SYMBOLS + DISTANCE_SYMBOLS],
    run_count: usize,
    counts: [u16; 19],
    codes: Codes<19>,
}

impl PackedLengths {
    fn new(length_bits: &[u8; LENGTH_SYMBOLS], distance_bits: &[u8; DISTANCE_SYMBOLS]) -> Self {
        let used = |len_bits: &[u8]| len_bits.iter().rposition(|&bits| bits != 0).map_or(0, |last| last + 1);
        let mut packed = Self {
            length_count: used(&length_bits[..286]).max(257),
            distance_count: used(&distance_bits[..30]).max(1),
            runs: [(0, 0); LENGTH_SYMBOLS + DISTANCE_SYMBOLS],
            run_count: 0,
            counts: [0; 19],
            codes: Codes::new(),
        };
        // Runs go on from the first alphabet into the second.
        let mut all = [0; LENGTH_SYMBOLS + DISTANCE_SYMBOLS];
        let (lengths, distances) = all.split_at_mut(packed.length_count);
        lengths.copy_from_slice(&length_bits[..packed.length_count]);
        distances[..packed.distance_count].copy_from_slice(&distance_bits[..packed.distance_count]);
        for run in all[..packed.length_count + packed.distance_count].chunk_by(|a, b| a == b) {
            packed.push_run(run[0], run.len());
        }
        packed.codes.fit(&packed.counts, 7);
        packed
    }

    /// Zeros go in runs of up to 138; other lengths once, then in repeats of 3 to 6.
    fn push_run(&mut self, len_bits: u8, mut times: usize) {
        if len_bits == 0 {
            while times > 0 {
                let these = times.min(138);
                match these {
                    1..=2 => self.push_plain(0, these),
                    3..=10 => self.push(17, these - 3),
                    _ => self.push(18, these - 11),
                }
                times -= these;
            }
            return;
        }
        self.push_plain(len_bits, 1);
        times -= 1;
        while times > 0 {
            let these = times.min(6);
            match these {
                1..=2 => self.push_plain(len_bits, these),
                _ => self.push(16, these - 3),
            }
            times -= these;
        }
    }

    fn push_plain(&mut self, len_bits: u8, times: usize) {
        for _ in 0..times {
            self.push(len_bits, 0);
        }
    }

    fn push(&mut self, symbol: u8, extra: usize) {
        self.runs[self.run_count] = (symbol, extra as u8);
        self.run_count += 1;
        self.counts[usize::from(symbol)] += 1;
    }

    fn order_count(&self) -> usize {
        let last = LENGTH_ALPHABET_ORDER
            .iter()
            .rposition(|&symbol| self.codes.len_bits[symbol] != 0);
        last.map_or(4, |last| last + 1)
    }

    fn size_bits(&self) -> usize {
        let mut size_bits = 5 + 5 + 4 + 3 * self.order_count();
        for (symbol, &count) in self.counts.iter().enumerate() {
            let extra_bits = symbol.checked_sub(16).map_or(0, |at| PACKED_EXTRA_BITS[at]);
            size_bits += usize::from(count) * (usize::from(self.codes.len_bits[symbol]) + extra_bits as usize);
        }
        size_bits
    }

    fn write(&self, out: &mut BitWriter) {
        let order_count = self.order_count();
        out.put(self.length_count as u64 - 257, 5);
        out.put(self.distance_count as u64 - 1, 5);
        out.put(order_count as u64 - 4, 4);
        for &symbol in &LENGTH_ALPHABET_ORDER[..order_count] {
            out.put(u64::from(self.codes.len_bits[symbol]), 3);
        }
        for &(symbol, extra) in &self.runs[..self.run_count] {
            let at = usize::from(symbol);
            out.put(self.codes.bits[at].into(), self.codes.len_bits[at].into());
            if at >= 16 {
                out.put(extra.into(), PACKED_EXTRA_BITS[at - 16]);
            }
        }
    }
}
