//! The last positions of a stream, each with a number: what chains of positions are kept in.

use std::ops::Range;

/// Positions kept: the window, a segment filled ahead and the longest match beyond it,
/// rounded up so that a `u16` is an index.
pub(super) const RING: usize = 1 << 16;
/// Positions filled at a time.
pub(super) const SEGMENT: usize = 28 << 10;
/// What a head out of the window is set to: so far before the next segment's first
/// position.
pub(super) const OUT_OF_WINDOW: u16 = 1 << 15;

/// An array on the heap, made there.
pub(super) fn zeroed<T: Copy + Default, const LEN: usize>() -> Box<[T; LEN]> {
    match vec![T::default(); LEN].try_into() {
        Ok(array) => array,
        Err(_) => unreachable!("the vector was made with this length"),
    }
}

/// The low bits of a head out of the window, when `start` is the next position.
pub(super) fn no_head(start: usize) -> u16 {
    (start as u16).wrapping_sub(OUT_OF_WINDOW)
}

/// The low bits of a head, moved up if out of the window, before they look like those of
/// a near position.
#[inline(always)]
pub(super) fn kept_head(head: u16, at: usize) -> u16 {
    let step = (at as u16).wrapping_sub(head).min(OUT_OF_WINDOW);
    (at as u16).wrapping_sub(step)
}

/// The places of `positions`, of those one period before and of those two periods before, in
/// runs that neither overlap these nor reach round the ring's end.
fn runs(positions: Range<usize>, period: usize) -> impl Iterator<Item = [Range<usize>; 3]> {
    let mut at = positions.start;
    std::iter::from_fn(move || {
        let places = [at, at.wrapping_sub(period), at.wrapping_sub(2 * period)].map(|at| usize::from(at as u16));
        let room = places.map(|place| RING - place).into_iter().fold(period, usize::min);
        let length = room.min(positions.end - at);
        at += length;
        (length > 0).then(|| places.map(|place| place..place + length))
    })
}

/// A number for each of the last positions, whose low 16 bits are the place.
pub(in super::super) struct Ring(Box<[u16; RING]>);

impl Ring {
    pub(super) fn new() -> Self {
        Ring(zeroed())
    }

    /// All numbers by place.
    #[inline(always)]
    pub(super) fn all_mut(&mut self) -> &mut [u16; RING] {
        &mut self.0
    }

    #[inline(always)]
    pub(super) fn set(&mut self, at: usize, number: u16) {
        self.0[usize::from(at as u16)] = number;
    }

    /// Gives all `positions` this number.
    pub(super) fn fill(&mut self, positions: Range<usize>, number: u16) {
        positions.for_each(|at| self.set(at, number));
    }

    /// Gives `positions` the numbers of one period before.
    pub(super) fn repeat(&mut self, positions: Range<usize>, period: usize) {
        for [to, from, _] in runs(positions, period) {
            self.0.copy_within(from, to.start);
        }
    }

    /// Gives `positions` numbers as much larger than those of one period before as these are
    /// than those of one more before.
    pub(super) fn grow(&mut self, positions: Range<usize>, period: usize) {
        for places in runs(positions, period) {
            let Ok([to, before, twice_before]) = self.0.get_disjoint_mut(places) else {
                unreachable!("three periods do not fill the ring");
            };
            for ((to, before), twice_before) in to.iter_mut().zip(before).zip(twice_before) {
                *to = before.wrapping_add(before.wrapping_sub(*twice_before));
            }
        }
    }

    /// The numbers of so many positions from `at` on, unless the ring ends among them.
    #[inline(always)]
    pub(super) fn ahead<const COUNT: usize>(&self, at: usize) -> Option<&[u16; COUNT]> {
        self.0[usize::from(at as u16)..].first_chunk()
    }

    #[inline(always)]
    pub(in super::super) fn get(&self, at: usize) -> u16 {
        self.0[usize::from(at as u16)]
    }

    /// The first offset, up to `last_offset`, at which the number less the offset is largest;
    /// if that is negative it counts as 0.
    ///
    /// Takes no branch that depends on a number: where the largest is cannot be foreseen.
    #[inline(always)]
    pub(in super::super) fn farthest(&self, at: usize, last_offset: usize) -> usize {
        // One number for value and offset. Offsets count down, so that of equal values the
        // first is the largest.
        let largest = |numbers: &[u16], start: usize| {
            let ranks = numbers.iter().enumerate().map(|(index, &number)| {
                let offset = (start + index) as u32;
                u32::from(number.saturating_sub(offset as u16)) << 16 | !offset & 0xffff
            });
            ranks.fold(0, u32::max)
        };
        // In two pieces, since a ring has an end.
        let place = usize::from(at as u16);
        let ahead = &self.0[place..RING.min(place + last_offset + 1)];
        let mut most = largest(ahead, 0);
        if ahead.len() <= last_offset {
            most = most.max(largest(&self.0[..last_offset + 1 - ahead.len()], ahead.len()));
        }
        usize::from(!(most as u16))
    }
}
