//! How much of one content is in another, without compressing either.
//!
//! A content is cut into pieces where its own bytes say so, so that an insertion moves
//! no cut but its neighbours; what counts is which pieces two contents share. Pure.

/// Pieces have about so many bytes.
const PIECE_BYTES: u64 = 256;
/// Shorter ones tell too little, longer ones are cut.
const MIN_PIECE_BYTES: usize = 32;
const MAX_PIECE_BYTES: usize = 4096;
/// Of all pieces of contents sketched together at most about so many are kept, each
/// 16 bytes in memory.
const MAX_PIECES: u64 = 8 << 20;

/// For each byte a random number, by splitmix64.
const GEAR: [u64; 256] = gear();

const fn gear() -> [u64; 256] {
    let mut table = [0; 256];
    let mut state = 0u64;
    let mut i = 0;
    while i < 256 {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        table[i] = z ^ (z >> 31);
        i += 1;
    }
    table
}

/// Of which pieces sketches are made: all, or of very much content only a part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sampling {
    shift: u32,
}

impl Sampling {
    /// For contents of so many bytes together.
    pub fn of(content_bytes: u64) -> Sampling {
        let pieces = content_bytes / PIECE_BYTES;
        let shift = (0..32).find(|shift| pieces >> shift <= MAX_PIECES).unwrap_or(32);
        Sampling { shift }
    }
}

/// The pieces of one content, each once.
#[derive(Debug, Clone, Default)]
pub(super) struct Sketch {
    /// Hash and length, by hash.
    pieces: Vec<(u64, u32)>,
    shift: u32,
}

impl Sketch {
    /// The sketch of `content`; only those of one sampling can be compared.
    pub fn of(content: &[u8], sampling: Sampling) -> Sketch {
        let mut pieces = Vec::new();
        let mut start = 0;
        let mut state = 0u64;
        for (at, &byte) in content.iter().enumerate() {
            state = (state << 1).wrapping_add(GEAR[usize::from(byte)]);
            let bytes = at + 1 - start;
            let is_cut = state >> (64 - PIECE_BYTES.ilog2()) == 0 && bytes >= MIN_PIECE_BYTES;
            if is_cut || bytes == MAX_PIECE_BYTES || at + 1 == content.len() {
                let hash = hash(&content[start..=at]);
                if hash.trailing_zeros() >= sampling.shift {
                    pieces.push((hash, bytes as u32));
                }
                start = at + 1;
            }
        }
        pieces.sort_unstable();
        pieces.dedup();
        let shift = sampling.shift;
        Sketch { pieces, shift }
    }

    /// Bytes of different pieces.
    pub fn bytes(&self) -> u64 {
        self.scaled(self.pieces.iter().map(|(_, bytes)| u64::from(*bytes)).sum())
    }

    /// Bytes of the pieces that `base` has not.
    pub fn bytes_beside(&self, base: &Sketch) -> u64 {
        let mut theirs = base.pieces.iter().peekable();
        let mut bytes = 0;
        for piece in &self.pieces {
            while theirs.next_if(|their| *their < piece).is_some() {}
            if theirs.peek() != Some(&piece) {
                bytes += u64::from(piece.1);
            }
        }
        self.scaled(bytes)
    }

    /// Bytes of the pieces whose hash is `wanted`.
    pub fn bytes_of(&self, wanted: impl Fn(u64) -> bool) -> u64 {
        let pieces = self.pieces.iter().filter(|(hash, _)| wanted(*hash));
        self.scaled(pieces.map(|(_, bytes)| u64::from(*bytes)).sum())
    }

    /// The hashes of all pieces, ascending.
    pub fn hashes(&self) -> impl Iterator<Item = u64> + '_ {
        self.pieces.iter().map(|(hash, _)| *hash)
    }

    /// The smallest `count` hashes, which contents that share much share too.
    pub fn smallest(&self, count: usize) -> impl Iterator<Item = u64> + '_ {
        self.hashes().take(count)
    }

    fn scaled(&self, bytes: u64) -> u64 {
        bytes << self.shift
    }
}

/// A hash that is the same on all machines, over eight bytes at a time.
fn hash(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = (bytes.len() as u64).wrapping_mul(FACTOR);
    for word in bytes.chunks(8) {
        let mut padded = [0; 8];
        padded[..word.len()].copy_from_slice(word);
        hash = (hash ^ u64::from_le_bytes(padded)).wrapping_mul(FACTOR);
        hash ^= hash >> 29;
    }
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u64, bytes: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(seed);
        (0..bytes).map(|_| random.u8(..)).collect()
    }

    #[test]
    fn an_insertion_costs_about_itself() {
        let sampling = Sampling::of(1 << 20);
        let old = noise(1, 200_000);
        let mut new = old.clone();
        new.splice(70_001..70_001, noise(2, 5_000));
        let (old, new) = (Sketch::of(&old, sampling), Sketch::of(&new, sampling));
        assert_eq!(old.bytes(), 200_000);
        assert_eq!(new.bytes_beside(&new), 0);
        assert!(
            (5_000..7_500).contains(&new.bytes_beside(&old)),
            "{}",
            new.bytes_beside(&old)
        );
        assert!(old.bytes_beside(&new) < 2_000);
    }

    #[test]
    fn a_sample_tells_about_the_same() {
        let sampling = Sampling { shift: 3 };
        let (old, new) = (noise(1, 1 << 20), [noise(1, 1 << 19), noise(2, 1 << 19)].concat());
        let (old, new) = (Sketch::of(&old, sampling), Sketch::of(&new, sampling));
        for (bytes, about) in [(old.bytes(), 1 << 20), (new.bytes_beside(&old), 1 << 19)] {
            assert!(bytes.abs_diff(about) < about / 6, "{bytes}");
        }
    }

    #[test]
    fn repeats_count_once() {
        let sampling = Sampling::of(0);
        let once = noise(3, 50_000);
        let twice = [&once[..], &once[..]].concat();
        assert!(Sketch::of(&twice, sampling).bytes() < 56_000);
    }
}
