//! The last positions of a stream, each with a number: what chains of positions are kept in.

use super::super::slices::largest;
use super::trees::MATCH_LIMIT_BYTES;

/// Positions kept: the window, a segment filled ahead and the longest match beyond it,
/// rounded up so that a `u16` is an index.
pub(in super::super) const RING: usize = 1 << 16;
/// Positions filled at a time.
pub(in super::super) const SEGMENT: usize = 28 << 10;
/// What a head out of the window is set to: so far before the next segment's first
/// position.
pub(in super::super) const OUT_OF_WINDOW: u16 = 1 << 15;

const _: () = assert!(RING > OUT_OF_WINDOW as usize + SEGMENT + MATCH_LIMIT_BYTES);

/// An array on the heap, made there.
pub(in super::super) fn zeroed<T: Copy + Default, const LEN: usize>() -> Box<[T; LEN]> {
    match vec![T::default(); LEN].try_into() {
        Ok(array) => array,
        Err(_) => unreachable!("the vector was made with this length"),
    }
}

/// The low bits of a head out of the window, when `start` is the next position.
pub(in super::super) fn no_head(start: usize) -> u16 {
    (start as u16).wrapping_sub(OUT_OF_WINDOW)
}

/// The low bits of a head, moved up if out of the window, before they look like those of
/// a near position.
#[inline(always)]
pub(in super::super) fn kept_head(head: u16, at: usize) -> u16 {
    let step = (at as u16).wrapping_sub(head).min(OUT_OF_WINDOW);
    (at as u16).wrapping_sub(step)
}

/// A number for each of the last positions, whose low 16 bits are the place.
pub(in super::super) struct Ring(pub(in super::super) Box<[u16; RING]>);

impl Ring {
    pub(in super::super) fn new() -> Self {
        Ring(zeroed())
    }

    #[inline(always)]
    pub(in super::super) fn get(&self, at: usize) -> u16 {
        self.0[usize::from(at as u16)]
    }

    /// The numbers from `at` to `at + last_offset`, in two pieces since a ring has an end.
    #[inline(always)]
    pub(in super::super) fn pieces(&self, at: usize, last_offset: usize) -> [&[u16]; 2] {
        let place = usize::from(at as u16);
        let ahead = &self.0[place..RING.min(place + last_offset + 1)];
        [ahead, &self.0[..last_offset + 1 - ahead.len()]]
    }

    /// The largest number from `at` to `at + last_offset`: its offset and the number.
    #[inline(always)]
    pub(in super::super) fn largest(&self, at: usize, last_offset: usize) -> (usize, usize) {
        let [ahead, wrapped] = self.pieces(at, last_offset);
        let (offset, number) = largest(ahead);
        if wrapped.is_empty() {
            return (offset, number.into());
        }
        let (wrapped_offset, wrapped_number) = largest(wrapped);
        if wrapped_number > number {
            (ahead.len() + wrapped_offset, wrapped_number.into())
        } else {
            (offset, number.into())
        }
    }
}
