//! The string from which zlib-rs goes on: the one whose chain leads farthest back.

use super::super::chains::ring::Ring;

/// The first offset, up to `last_offset`, at which the number less the offset is largest.
#[inline(always)]
pub(super) fn farthest_step(steps: &Ring, at: usize, last_offset: usize) -> usize {
    let [ahead, wrapped] = steps.pieces(at, last_offset);
    let (offset, difference) = farthest_in(ahead, 0);
    let (wrapped_offset, wrapped_difference) = farthest_in(wrapped, ahead.len());
    if wrapped_difference > difference {
        wrapped_offset
    } else {
        offset
    }
}

/// The first offset at which the number less the offset is largest, and the difference.
/// Offsets count from `start`.
#[inline(always)]
fn farthest_in(numbers: &[u16], start: usize) -> (usize, u16) {
    let less = |number: u16, offset: usize| number.saturating_sub(offset as u16);
    let (groups, rest) = numbers.as_chunks::<8>();
    let mut farthest = (start, 0);
    let mut in_group = None;
    for (index, group) in groups.iter().enumerate() {
        let base = start + index * 8;
        let mut differences = [0; 8];
        for (lane, (difference, &number)) in differences.iter_mut().zip(group).enumerate() {
            *difference = less(number, base + lane);
        }
        let difference = differences
            .iter()
            .fold(0, |most: u16, &difference| most.max(difference));
        if difference > farthest.1 {
            farthest = (base, difference);
            in_group = Some(group);
        }
    }
    if let Some(group) = in_group {
        let (base, most) = farthest;
        let mut lanes = group.iter().zip(base..);
        farthest.0 += lanes
            .position(|(&number, offset)| less(number, offset) == most)
            .unwrap_or(0);
    }
    for (&number, offset) in rest.iter().zip(start + groups.len() * 8..) {
        let difference = less(number, offset);
        if difference > farthest.1 {
            farthest = (offset, difference);
        }
    }
    farthest
}
