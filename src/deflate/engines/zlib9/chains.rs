//! Chains of the positions at which equal strings begin, nearest first.
//!
//! A chain is kept as steps: for each position the distance to the one before it on the
//! same chain. Chains are filled ahead of the parse, a segment at a time, because a
//! search looks at the chains of the positions behind its own as well.

use super::super::slices::{word32, word64};
use super::super::zlib_shared::ring::{OUT_OF_WINDOW, RING, Ring, kept_head, no_head, zeroed};
use super::super::zlib_shared::trees::MATCH_LEAST_BYTES;

/// The input of all strings of `string_bytes` that begin from `start` to `end`.
fn covered(input: &[u8], start: usize, end: usize, string_bytes: usize) -> &[u8] {
    &input[start..input.len().min(end + string_bytes - 1)]
}

/// Gives the positions from `at` to `end` no step: too little of the input is left there.
fn end_steps(steps: &mut [u16; RING], mut at: u16, end: usize) {
    while at != end as u16 {
        steps[usize::from(at)] = OUT_OF_WINDOW;
        at = at.wrapping_add(1);
    }
}

/// The chains of equal strings of `STRING` bytes, sometimes with others that share a hash.
pub(super) struct StringChains<const STRING: usize, const HEADS: usize> {
    /// The low bits of the last position of each hash.
    heads: Box<[u16; HEADS]>,
    used_heads: usize,
    pub(super) steps: Ring,
}

impl<const STRING: usize, const HEADS: usize> StringChains<STRING, HEADS> {
    pub(super) fn new() -> Self {
        StringChains {
            heads: zeroed(),
            used_heads: HEADS,
            steps: Ring::new(),
        }
    }

    /// Starts a stream of `input_bytes`, of which a short one clears only some heads, with
    /// no position before `start`.
    pub(super) fn reset(&mut self, input_bytes: usize, start: usize) {
        self.used_heads = HEADS.min(2 * input_bytes.next_power_of_two());
        self.heads[..self.used_heads].fill(no_head(start));
    }

    /// A hash below `HEADS`.
    #[inline(always)]
    fn hash(string: &[u8]) -> usize {
        let product = if STRING == 12 {
            let (front, back) = (word64(string, 0), u64::from(word32(string, 8)));
            front.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ back.wrapping_mul(0xc2b2_ae3d_27d4_eb4f)
        } else {
            u64::from(word32(string, 0)).wrapping_mul(0x9e37_79b1_0000_0000)
        };
        (product >> (u64::BITS - HEADS.ilog2())) as usize
    }

    /// What adds positions from `start` on, a segment at most.
    fn linker(&mut self, start: usize) -> Linker<'_, STRING, HEADS> {
        let used_heads = &mut self.heads[..self.used_heads];
        if start > 0 {
            used_heads.iter_mut().for_each(|head| *head = kept_head(*head, start));
        }
        Linker {
            heads: &mut self.heads,
            mask: self.used_heads - 1,
            steps: &mut self.steps.0,
        }
    }
}

/// Chains being filled, as the references that a loop keeps in registers.
struct Linker<'a, const STRING: usize, const HEADS: usize> {
    heads: &'a mut [u16; HEADS],
    mask: usize,
    steps: &'a mut [u16; RING],
}

impl<const STRING: usize, const HEADS: usize> Linker<'_, STRING, HEADS> {
    #[inline(always)]
    fn link(&mut self, string: &[u8], at: u16) {
        let head = &mut self.heads[StringChains::<STRING, HEADS>::hash(string) & self.mask & (HEADS - 1)];
        self.steps[usize::from(at)] = at.wrapping_sub(*head);
        *head = at;
    }
}

/// Adds the positions from `start` to `end`, at most a segment, to both kinds of chains:
/// together, because the waits for one's heads overlap with the work on the other.
pub(super) fn fill_both<const SHORT: usize, const SHORT_HEADS: usize, const LONG: usize, const LONG_HEADS: usize>(
    short: &mut StringChains<SHORT, SHORT_HEADS>,
    long: &mut StringChains<LONG, LONG_HEADS>,
    input: &[u8],
    start: usize,
    end: usize,
) {
    const { assert!(SHORT == 4 && LONG == 12) };
    let (mut short, mut long) = (short.linker(start), long.linker(start));
    let long_strings = covered(input, start, end, LONG).windows(LONG);
    let long_end = start + long_strings.len();
    let mut at = start as u16;
    for string in long_strings {
        short.link(string, at);
        long.link(string, at);
        at = at.wrapping_add(1);
    }
    end_steps(long.steps, at, end);
    // The last positions of the input have a short string only.
    for string in covered(input, long_end, end, SHORT).windows(SHORT) {
        short.link(string, at);
        at = at.wrapping_add(1);
    }
    end_steps(short.steps, at, end);
}

/// zlib's own chains: of the positions whose first three bytes have the same hash.
pub(super) struct Buckets {
    /// The low bits of the last position of each bucket and, above them, the next ordinal.
    heads: Box<[u32; 1 << 16]>,
    hash_shift: u32,
    hash_mask: u32,
    pub(super) steps: Ring,
    /// Counts the positions within a bucket.
    pub(super) ordinals: Ring,
}

impl Buckets {
    pub(super) fn new(hash_bits: u32) -> Self {
        Buckets {
            heads: zeroed(),
            hash_shift: hash_bits.div_ceil(3),
            hash_mask: (1 << hash_bits) - 1,
            steps: Ring::new(),
            ordinals: Ring::new(),
        }
    }

    /// Starts a stream with no position before `start`.
    pub(super) fn reset(&mut self, start: usize) {
        self.heads[..=self.hash_mask as usize].fill(no_head(start).into());
    }

    /// Adds the positions from `start` to `end`, at most a segment.
    pub(super) fn fill(&mut self, input: &[u8], start: usize, end: usize) {
        if start > 0 {
            for head in &mut self.heads[..=self.hash_mask as usize] {
                *head = *head & !0xffff | u32::from(kept_head(*head as u16, start));
            }
        }
        let (shift, mask) = (self.hash_shift, self.hash_mask);
        let (heads, steps, ordinals) = (&mut *self.heads, &mut *self.steps.0, &mut *self.ordinals.0);
        let mut at = start as u16;
        for string in covered(input, start, end, MATCH_LEAST_BYTES).windows(MATCH_LEAST_BYTES) {
            let [first, second, third] = [string[0], string[1], string[2]].map(u32::from);
            let hash = (first << (2 * shift) ^ second << shift ^ third) & mask;
            let head = &mut heads[usize::from(hash as u16)];
            let ordinal = *head >> 16;
            steps[usize::from(at)] = at.wrapping_sub(*head as u16);
            ordinals[usize::from(at)] = ordinal as u16;
            *head = (ordinal + 1) << 16 | u32::from(at);
            at = at.wrapping_add(1);
        }
        end_steps(steps, at, end);
    }
}
