//! How rare each string has been of late: what a search goes by when it chooses a chain.
//!
//! These numbers decide how fast a search is, never what it finds: on every chain that it
//! may choose lie all the matches it looks for.

use super::ring::Ring;

/// Numbers looked at together.
const LANES: usize = 16;
/// The low bits of a rarity, which give way to the number of its lane.
const LANE_MASK: u16 = LANES as u16 - 1;

/// For each last lane, which lanes count.
const COUNTED: [[u16; LANES]; LANES] = {
    let mut counted = [[0; LANES]; LANES];
    let mut place = 0;
    while place < LANES * LANES {
        let (last_lane, lane) = (place / LANES, place % LANES);
        if lane <= last_lane {
            counted[last_lane][lane] = u16::MAX;
        }
        place += 1;
    }
    counted
};

/// The rarity of a string `step` behind its last equal, which had the rarity `before`: about
/// half of how far apart the last equal ones were, so that it is an `i16` as well.
#[inline(always)]
pub(super) fn rarity(before: u16, step: u16) -> u16 {
    before / 2 + step / 4
}

/// The rarest of the strings looked at so far.
#[derive(Default)]
pub(super) struct Rarest {
    offset: usize,
    rank: u16,
    /// The first offset not looked at.
    next_offset: usize,
}

impl Rarest {
    /// The offset of the rarest string from `at` to `at + last_offset`, which is behind the
    /// last one asked for; the first one if nothing is known.
    #[inline(always)]
    pub(super) fn up_to(&mut self, last_offset: usize, rarities: &Ring, at: usize) -> usize {
        loop {
            let last_lane = last_offset - self.next_offset;
            // At the ring's end nothing is known.
            if let Some(numbers) = rarities.ahead(at + self.next_offset) {
                let rank = highest_rank(numbers, last_lane);
                if rank > self.rank {
                    self.rank = rank;
                    self.offset = self.next_offset + usize::from(!rank & LANE_MASK);
                }
            }
            if last_lane < LANES {
                self.next_offset = last_offset + 1;
                return self.offset;
            }
            self.next_offset += LANES;
        }
    }
}

/// The largest of the numbers up to `last_lane`, with its lane in place of the low bits.
///
/// Takes no branch that depends on a number, and compiles to a few vector instructions.
#[inline(always)]
fn highest_rank(numbers: &[u16; LANES], last_lane: usize) -> u16 {
    let counted = &COUNTED[last_lane.min(LANES - 1)];
    // Signed, since that is what all processors have a maximum of.
    let ranks: [i16; LANES] =
        std::array::from_fn(|lane| (((numbers[lane] & !LANE_MASK) | (LANE_MASK - lane as u16)) & counted[lane]) as i16);
    let ranks: [i16; 8] = std::array::from_fn(|lane| ranks[lane].max(ranks[lane + 8]));
    let ranks: [i16; 4] = std::array::from_fn(|lane| ranks[lane].max(ranks[lane + 4]));
    let ranks: [i16; 2] = std::array::from_fn(|lane| ranks[lane].max(ranks[lane + 2]));
    ranks[0].max(ranks[1]) as u16
}

#[cfg(test)]
mod tests {
    use super::super::ring::RING;
    use super::*;

    #[test]
    fn the_rarest_up_to_an_offset() {
        let mut rarities = Ring::new();
        for (at, rarity) in [(100, 400), (103, 900), (104, 5000), (119, 30_000), (140, 31_000)] {
            rarities.set(at, rarity);
        }
        let mut rarest = Rarest::default();
        let offsets = [0, 3, 4, 18, 19, 39, 40, 258];
        let found = offsets.map(|last_offset| rarest.up_to(last_offset, &rarities, 100));
        assert_eq!(found, [0, 3, 4, 4, 19, 19, 40, 40]);
    }

    #[test]
    fn none_is_known_at_the_end_of_the_ring() {
        let rarities = Ring::new();
        assert_eq!(Rarest::default().up_to(LANES - 1, &rarities, RING - 4), 0);
    }
}
