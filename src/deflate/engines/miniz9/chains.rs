//! Where the same few bytes stood before: chains of earlier positions.
//!
//! Three chains link every position to the nearest earlier one that shares its
//! bucket (miniz's own hash of 3 bytes), its next 4 bytes or its next 12 bytes.
//! Links are distances in rings of 2^16, which hold window, lookahead and segment
//! together; a link that leads nowhere is longer than any window.

use super::{LOOKAHEAD_BYTES_MAX, WINDOW_BYTES, common_prefix_bytes};

/// Chains are filled this far at a time, ahead of the search.
const SEGMENT_BYTES: usize = 63 << 9;
/// Age given to heads that lead nowhere: beyond the window now and, counted in
/// 16 bits, for one more segment.
const NOWHERE_BYTES: u16 = (1 << 15) + 256;
/// What an ordinal jumps by where miniz's chain ends: beyond any search limit.
const CHAIN_END: u32 = 1024;

/// Positions that a ring holds.
const RING: usize = 1 << 16;
/// Buckets of miniz's hash.
const BUCKETS: usize = 1 << 15;
const SHORT_HEADS_BITS: u32 = 16;
const LONG_HEADS_BITS: u32 = 16;

/// Positions filled between looks for a period.
const CHUNK_BYTES: usize = 64;
/// The longest period looked for.
const PERIOD_BYTES_MAX: usize = 300;

/// Bytes that positions on the short chain share, but for hash collisions.
pub(super) const SHORT_BYTES: usize = 4;
/// Bytes that positions on the long chain share, but for hash collisions.
pub(super) const LONG_BYTES: usize = 12;

// What is still looked at is not yet overwritten.
const _: () = assert!(WINDOW_BYTES + LOOKAHEAD_BYTES_MAX + SEGMENT_BYTES <= RING);
// Heads age by a segment before they are swept again: none may seem young by then,
// neither those that lead nowhere nor those that were just within the window.
const _: () = assert!(NOWHERE_BYTES as usize > WINDOW_BYTES);
const _: () = assert!(NOWHERE_BYTES as usize + SEGMENT_BYTES < RING);
// Beyond three times the most groups of a search.
const _: () = assert!(CHAIN_END > 3 * 256);

/// One value for each of the last 2^16 positions.
pub(super) struct Ring(Box<[u16; RING]>);

impl Ring {
    fn new() -> Self {
        Self(boxed(0))
    }

    #[inline]
    pub(super) fn at(&self, position: usize) -> u16 {
        self.0[usize::from(position as u16)]
    }

    /// The values of `count` positions, or of those before the ring wraps.
    #[inline]
    pub(super) fn run(&self, position: usize, count: usize) -> &[u16] {
        let from = &self.0[usize::from(position as u16)..];
        &from[..count.min(from.len())]
    }

    #[inline]
    fn set(&mut self, position: usize, value: u16) {
        self.0[usize::from(position as u16)] = value;
    }
}

/// A boxed array that never was on the stack.
fn boxed<T: Copy, const N: usize>(value: T) -> Box<[T; N]> {
    match vec![value; N].into_boxed_slice().try_into() {
        Ok(array) => array,
        Err(_) => unreachable!("the vector was made with N elements"),
    }
}

/// All chains, and how far they are filled.
pub(super) struct Chains {
    /// Distance to the previous position of the same bucket.
    pub(super) bucket_links: Ring,
    /// Distance to the previous position with the same next 4 bytes.
    pub(super) short_links: Ring,
    /// Distance to the previous position with the same next 12 bytes.
    pub(super) long_links: Ring,
    /// Number of each position within its bucket: the difference between two is
    /// the steps that miniz's chain takes from one to the other.
    pub(super) ordinals: Ring,
    /// Newest position of each bucket, below its ordinal.
    bucket_heads: Box<[u32; BUCKETS]>,
    short_heads: Box<[u16; 1 << SHORT_HEADS_BITS]>,
    long_heads: Box<[u16; 1 << LONG_HEADS_BITS]>,
    filled: usize,
}

/// miniz's bucket of the lowest three bytes.
#[inline]
fn bucket(gram: u32) -> usize {
    ((gram << 10 ^ gram >> 3 & 0x1fe0 ^ gram >> 16 & 0xff) as usize) & (BUCKETS - 1)
}

#[inline]
fn short_hash(gram: u32) -> usize {
    (gram.wrapping_mul(0x9e37_79b1) >> (32 - SHORT_HEADS_BITS)) as usize
}

#[inline]
fn long_hash(first: u64, rest: u32) -> usize {
    let first = first.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let second = u64::from(rest).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    (first.wrapping_add(second) >> (64 - LONG_HEADS_BITS)) as usize
}

/// Makes `position` the head and gives the distance to the one before.
#[inline]
fn link(head: &mut u16, position: usize) -> u16 {
    let distance = (position as u16).wrapping_sub(*head);
    *head = position as u16;
    distance
}

impl Chains {
    pub(super) fn new() -> Self {
        Self {
            bucket_links: Ring::new(),
            short_links: Ring::new(),
            long_links: Ring::new(),
            ordinals: Ring::new(),
            bucket_heads: boxed(0),
            short_heads: boxed(0),
            long_heads: boxed(0),
            filled: 0,
        }
    }

    /// Forgets everything, for a new stream.
    pub(super) fn reset(&mut self) {
        let nowhere = NOWHERE_BYTES.wrapping_neg();
        self.bucket_heads.fill(u32::from(nowhere));
        self.short_heads.fill(nowhere);
        self.long_heads.fill(nowhere);
        self.filled = 0;
    }

    /// Fills the chains for a search at `position`, unless they already are.
    #[inline]
    pub(super) fn fill_for(&mut self, input: &[u8], position: usize) {
        if self.filled < input.len() && self.filled < position + LOOKAHEAD_BYTES_MAX {
            self.fill_segment(input);
        }
    }

    /// Links the positions of the next segment.
    #[inline(never)]
    fn fill_segment(&mut self, input: &[u8]) {
        let start = self.filled;
        let end = input.len().min(start + SEGMENT_BYTES);
        self.filled = end;
        if start > 0 {
            self.sweep(start);
        }
        // miniz takes a link to position 0, counted in 16 bits, for the end of the
        // chain: nothing from there on down is ever found.
        let chain_end = start.next_multiple_of(1 << 16);
        if chain_end >= end {
            self.fill(input, start, end);
            return;
        }
        self.fill(input, start, chain_end + 1);
        if let Some(&[a, b, c]) = input[chain_end..].first_chunk() {
            let head = &mut self.bucket_heads[bucket(u32::from_le_bytes([a, b, c, 0]))];
            *head = head.wrapping_add(CHAIN_END << 16);
        }
        self.fill(input, chain_end + 1, end);
    }

    /// Cuts off heads that are beyond the window, before their age wraps round.
    fn sweep(&mut self, start: usize) {
        let start = start as u16;
        let nowhere = start.wrapping_sub(NOWHERE_BYTES);
        // All ones when the age is outside 1..=WINDOW_BYTES; this form is made
        // into vector instructions.
        let stale_mask = |head: u16| (start.wrapping_sub(head).wrapping_sub(1) as i16 >> 15) as u16;
        for head in self.bucket_heads.iter_mut() {
            let mask = u32::from(stale_mask(*head as u16));
            *head = *head & !mask | u32::from(nowhere) & mask;
        }
        for heads in [&mut self.short_heads[..], &mut self.long_heads[..]] {
            for head in heads {
                let mask = stale_mask(*head);
                *head = *head & !mask | nowhere & mask;
            }
        }
    }

    /// Links the positions from `start` to `end`.
    fn fill(&mut self, input: &[u8], start: usize, end: usize) {
        let mut position = start;
        while position < end {
            if let Some((period_bytes, count)) = self.repeats(input, position, end) {
                self.fill_repeats(input, position, period_bytes, count);
                position += count;
            } else {
                let next = end.min(position + CHUNK_BYTES);
                self.fill_plainly(input, position, next);
                position = next;
            }
        }
    }

    /// The period that the input has around `start`, and how many positions from
    /// there up to `end` continue it, if those are enough to be worth it.
    #[inline]
    fn repeats(&self, input: &[u8], start: usize, end: usize) -> Option<(usize, usize)> {
        let period_bytes = usize::from(self.long_links.at(start.wrapping_sub(1)));
        // Neither may the two periods before hold a jump in the ordinals.
        if period_bytes > PERIOD_BYTES_MAX || start % (1 << 16) <= 2 * period_bytes {
            return None;
        }
        let gram_end = input.len().min(end + LONG_BYTES - 1);
        let older = &input[start - 2 * period_bytes..gram_end];
        let common_bytes = common_prefix_bytes(older, &older[period_bytes..]);
        let count = common_bytes.saturating_sub(period_bytes + LONG_BYTES - 1);
        (count >= CHUNK_BYTES + 2 * period_bytes).then_some((period_bytes, count))
    }

    /// Fills `count` positions whose grams all are those of one and of two periods
    /// before: their links are the same again, and their ordinals advance alike.
    fn fill_repeats(&mut self, input: &[u8], start: usize, period_bytes: usize, count: usize) {
        for position in start..start + count {
            let before = position - period_bytes;
            self.bucket_links.set(position, self.bucket_links.at(before));
            self.short_links.set(position, self.short_links.at(before));
            self.long_links.set(position, self.long_links.at(before));
            let ordinal = self.ordinals.at(before);
            let advance = ordinal.wrapping_sub(self.ordinals.at(before - period_bytes));
            self.ordinals.set(position, ordinal.wrapping_add(advance));
        }
        for position in start + count - period_bytes..start + count {
            let Some(&gram) = input[position..].first_chunk() else {
                break;
            };
            let Some(&rest) = input[position + LONG_BYTES - 4..].first_chunk() else {
                break;
            };
            let (first, rest) = (u64::from_le_bytes(gram), u32::from_le_bytes(rest));
            let ordinal = u32::from(self.ordinals.at(position));
            self.bucket_heads[bucket(first as u32)] = ordinal << 16 | u32::from(position as u16);
            self.short_heads[short_hash(first as u32)] = position as u16;
            self.long_heads[long_hash(first, rest)] = position as u16;
        }
    }

    /// Links positions one by one.
    fn fill_plainly(&mut self, input: &[u8], start: usize, end: usize) {
        let mut position = start;
        for gram in input[start..].windows(LONG_BYTES).take(end - start) {
            let (Some(&first), Some(&rest)) = (gram.first_chunk(), gram.last_chunk()) else {
                break;
            };
            let (first, rest) = (u64::from_le_bytes(first), u32::from_le_bytes(rest));
            self.link_bucket(first as u32, position);
            let distance = link(&mut self.short_heads[short_hash(first as u32)], position);
            self.short_links.set(position, distance);
            let distance = link(&mut self.long_heads[long_hash(first, rest)], position);
            self.long_links.set(position, distance);
            position += 1;
        }
        // The last few bytes of the input start no long gram, then no short one.
        for position in position..end {
            match input[position..] {
                [a, b, c, d, ..] => {
                    let gram = u32::from_le_bytes([a, b, c, d]);
                    self.link_bucket(gram, position);
                    let distance = link(&mut self.short_heads[short_hash(gram)], position);
                    self.short_links.set(position, distance);
                }
                [a, b, c] => self.link_bucket(u32::from_le_bytes([a, b, c, 0]), position),
                _ => {}
            }
        }
    }

    /// Makes `position` the head of its bucket, and numbers it.
    #[inline]
    fn link_bucket(&mut self, gram: u32, position: usize) {
        let head = &mut self.bucket_heads[bucket(gram)];
        let ordinal = (*head >> 16) as u16;
        self.bucket_links
            .set(position, (position as u16).wrapping_sub(*head as u16));
        self.ordinals.set(position, ordinal.wrapping_add(1));
        *head = u32::from(ordinal.wrapping_add(1)) << 16 | u32::from(position as u16);
    }
}
