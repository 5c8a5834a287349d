//! One kind of chains each: of a library's buckets, and of equal strings.

use super::super::alphabet::MATCH_LEAST_BYTES;
use super::super::slices::word32;
use super::STRING_BYTES;
use super::rarity::rarity;
use super::ring::{Ring, kept_head, no_head, zeroed};
use std::ops::Range;

/// Heads of our own chains. Every string with the hash of another costs a false candidate,
/// every further head some of the nearest cache.
const HEADS: usize = 1 << 16;

/// All strings of `string_bytes` that begin at `positions`.
#[inline(always)]
fn strings(input: &[u8], positions: Range<usize>, string_bytes: usize) -> std::slice::Windows<'_, u8> {
    let end = match positions.is_empty() {
        true => positions.start,
        false => positions.end + string_bytes - 1,
    };
    input[positions.start..end].windows(string_bytes)
}

/// Moves the heads that are out of the window when `start` is the next position.
fn sweep(heads: &mut [u16], start: usize) {
    heads.iter_mut().for_each(|head| *head = kept_head(*head, start));
}

/// The chains of equal strings of [`STRING_BYTES`], sometimes with others that share a hash.
pub(in super::super) struct StringChains {
    /// The low bits of the last position of each hash.
    heads: Box<[u16; HEADS]>,
    used_heads: usize,
    pub(in super::super) steps: Ring,
    pub(super) rarities: Ring,
}

impl StringChains {
    pub(super) fn new() -> Self {
        StringChains {
            heads: zeroed(),
            used_heads: HEADS,
            steps: Ring::new(),
            rarities: Ring::new(),
        }
    }

    /// Starts a stream of `input_bytes`, of which a short one clears only some heads, with
    /// no position before `start`.
    pub(super) fn reset(&mut self, input_bytes: usize, start: usize) {
        self.used_heads = HEADS.min(2 * input_bytes.next_power_of_two());
        self.heads[..self.used_heads].fill(no_head(start));
    }

    /// Writes to all memory.
    pub(super) fn touch(&mut self) {
        self.heads.fill(0);
        self.steps.all_mut().fill(0);
        self.rarities.all_mut().fill(0);
    }

    pub(super) fn sweep(&mut self, start: usize) {
        sweep(&mut self.heads[..self.used_heads], start);
    }

    /// A hash below `HEADS`.
    #[inline(always)]
    fn hash(string: &[u8]) -> usize {
        (word32(string, 0).wrapping_mul(0x9e37_79b1) >> (u32::BITS - HEADS.ilog2())) as usize
    }

    /// Adds `positions`, at each of which a whole string begins.
    #[inline(always)]
    pub(super) fn link(&mut self, input: &[u8], positions: Range<usize>) {
        let mask = self.used_heads - 1;
        let (heads, steps, rarities) = (&mut *self.heads, self.steps.all_mut(), self.rarities.all_mut());
        let mut at = positions.start as u16;
        for string in strings(input, positions, STRING_BYTES) {
            let last = std::mem::replace(&mut heads[Self::hash(string) & mask & (HEADS - 1)], at);
            let step = at.wrapping_sub(last);
            steps[usize::from(at)] = step;
            rarities[usize::from(at)] = rarity(rarities[usize::from(last)], step);
            at = at.wrapping_add(1);
        }
    }

    /// Adds `positions`, which repeat those of one period before.
    pub(super) fn repeat(&mut self, positions: Range<usize>, period: usize) {
        self.steps.repeat(positions.clone(), period);
        self.rarities.repeat(positions, period);
    }

    /// Makes `positions` heads, whose steps are known.
    pub(super) fn set_heads(&mut self, input: &[u8], positions: Range<usize>) {
        let mut at = positions.start as u16;
        for string in strings(input, positions, STRING_BYTES) {
            self.heads[Self::hash(string) & (self.used_heads - 1)] = at;
            at = at.wrapping_add(1);
        }
    }
}

/// How many bits a library's hash of three bytes has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum HashBits {
    /// For memLevel 8, and for miniz.
    Fifteen,
    /// For memLevel 9.
    Sixteen,
}

/// The hash of the last three bytes taken in, as the libraries have it.
#[derive(Clone, Copy, Default)]
struct RollingHash(u32);

impl RollingHash {
    /// Takes in a byte. What was taken in three bytes before is shifted beyond the bits that
    /// count.
    #[inline(always)]
    fn roll(self, byte: u8, bits: HashBits) -> Self {
        let shift = match bits {
            HashBits::Fifteen => 5,
            HashBits::Sixteen => 6,
        };
        RollingHash(self.0 << shift ^ u32::from(byte))
    }

    #[inline(always)]
    fn bucket(self, bits: HashBits) -> u16 {
        match bits {
            HashBits::Fifteen => self.0 as u16 & 0x7fff,
            HashBits::Sixteen => self.0 as u16,
        }
    }
}

/// The library's own chains: of the positions whose first three bytes have the same hash.
pub(in super::super) struct Buckets {
    /// The low bits of the last position of each bucket.
    heads: Box<[u16; 1 << 16]>,
    bits: HashBits,
    pub(in super::super) steps: Ring,
    /// Counts the positions within a bucket.
    pub(in super::super) ordinals: Ring,
}

impl Buckets {
    pub(super) fn new(bits: HashBits) -> Self {
        Buckets {
            heads: zeroed(),
            bits,
            steps: Ring::new(),
            ordinals: Ring::new(),
        }
    }

    fn used_heads(&mut self) -> &mut [u16] {
        match self.bits {
            HashBits::Fifteen => &mut self.heads[..1 << 15],
            HashBits::Sixteen => &mut *self.heads,
        }
    }

    /// Starts a stream with no position before `start`.
    pub(super) fn reset(&mut self, start: usize) {
        self.used_heads().fill(no_head(start));
    }

    /// Writes to all memory.
    pub(super) fn touch(&mut self) {
        self.used_heads().fill(0);
        self.steps.all_mut().fill(0);
        self.ordinals.all_mut().fill(0);
    }

    pub(super) fn sweep(&mut self, start: usize) {
        sweep(self.used_heads(), start);
    }

    /// The bucket of a string's first three bytes.
    #[inline(always)]
    pub(in super::super) fn bucket(&self, string: &[u8]) -> u16 {
        let whole = string[..MATCH_LEAST_BYTES].iter();
        whole
            .fold(RollingHash::default(), |hash, &byte| hash.roll(byte, self.bits))
            .bucket(self.bits)
    }

    /// Adds `positions`, at each of which three bytes are left.
    #[inline(always)]
    pub(super) fn link(&mut self, input: &[u8], positions: Range<usize>) {
        // Once for each, so that shifts and masks are constants.
        match self.bits {
            HashBits::Fifteen => self.link_hashed(input, positions, HashBits::Fifteen),
            HashBits::Sixteen => self.link_hashed(input, positions, HashBits::Sixteen),
        }
    }

    #[inline(always)]
    fn link_hashed(&mut self, input: &[u8], positions: Range<usize>, bits: HashBits) {
        let (heads, steps, ordinals) = (&mut *self.heads, self.steps.all_mut(), self.ordinals.all_mut());
        let mut at = positions.start as u16;
        let Some(&[first, second]) = input[positions.start..].first_chunk() else {
            return;
        };
        let mut hash = RollingHash::default().roll(first, bits).roll(second, bits);
        for &third in &input[positions.start + 2..positions.end + 2] {
            hash = hash.roll(third, bits);
            let last = std::mem::replace(&mut heads[usize::from(hash.bucket(bits))], at);
            steps[usize::from(at)] = at.wrapping_sub(last);
            ordinals[usize::from(at)] = ordinals[usize::from(last)].wrapping_add(1);
            at = at.wrapping_add(1);
        }
    }

    /// Adds `positions`, which repeat those of one and of two periods before.
    pub(super) fn repeat(&mut self, positions: Range<usize>, period: usize) {
        self.steps.repeat(positions.clone(), period);
        self.ordinals.grow(positions, period);
    }

    /// Makes `positions` heads, whose steps are known.
    pub(super) fn set_heads(&mut self, input: &[u8], positions: Range<usize>) {
        let mut at = positions.start as u16;
        for string in strings(input, positions, MATCH_LEAST_BYTES) {
            self.heads[usize::from(self.bucket(string))] = at;
            at = at.wrapping_add(1);
        }
    }
}
