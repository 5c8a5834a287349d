//! From a match to the next longer one, along the chain with the fewest candidates.

use super::super::slices::{common_length, word32, word64};
use super::STRING_BYTES;
use super::links::StringChains;
use super::rarity::Rarest;

/// A match found, or the length to beat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Match {
    pub(in super::super) length_bytes: usize,
    pub(in super::super) distance_bytes: usize,
}

/// Where to look: the input at `at`, as far as a match may reach, is `scan`.
#[derive(Clone, Copy)]
pub(in super::super) struct Place<'a> {
    pub(in super::super) input: &'a [u8],
    pub(in super::super) at: usize,
    pub(in super::super) scan: &'a [u8],
    /// The farthest that a match may begin.
    pub(in super::super) limit_bytes: usize,
}

/// The longest match that has at least [`STRING_BYTES`] and more than `to_beat_bytes`, the
/// nearest of equal ones, on chains of equal strings of that length.
///
/// Each match longer than all nearer ones is shown to `accepts`; the first that is not
/// accepted ends the search, and counts no more.
#[inline(always)]
pub(in super::super) fn climb(
    strings: &StringChains,
    place: Place<'_>,
    to_beat_bytes: usize,
    mut accepts: impl FnMut(Match) -> bool,
) -> Option<Match> {
    let Place {
        input,
        at,
        scan,
        limit_bytes,
    } = place;
    let steps = &strings.steps;
    let mut found = None;
    let mut best_bytes = to_beat_bytes.max(STRING_BYTES - 1);
    // All candidates lie on the chain of every string within the next longer match.
    let mut rarest = Rarest::default();
    let last_offset = best_bytes + 1 - STRING_BYTES;
    let (mut offset, mut distance) = (0, usize::from(steps.get(at + last_offset)));
    if last_offset > 0 {
        // What the match to beat does not hold is the least likely to come again.
        if distance > limit_bytes {
            return None;
        }
        offset = rarest.up_to(last_offset, &strings.rarities, at);
        distance = usize::from(steps.get(at + offset));
    }
    while distance <= limit_bytes {
        let candidate = at - distance;
        if frames_match(input, candidate, scan, best_bytes + 1) {
            let length = common_length(&input[candidate..candidate + scan.len()], scan);
            if length > best_bytes {
                let better = Match {
                    length_bytes: length,
                    distance_bytes: distance,
                };
                if !accepts(better) {
                    return found;
                }
                found = Some(better);
                if length == scan.len() {
                    return found;
                }
                best_bytes = length;
                // The strings within the match are the same at both places; the one
                // that ends just behind it is known only here.
                let behind = length + 1 - STRING_BYTES;
                let first = usize::from(steps.get(at + behind));
                if first > limit_bytes {
                    return found;
                }
                offset = rarest.up_to(behind, &strings.rarities, at);
                distance = if offset == behind {
                    first
                } else {
                    distance + usize::from(steps.get(candidate + offset))
                };
                continue;
            }
        }
        distance += usize::from(steps.get(candidate + offset));
    }
    found
}

/// Whether the first and the last bytes of the first `length_bytes` at `candidate` are
/// those of `scan`: rarely so without the rest.
#[inline(always)]
fn frames_match(input: &[u8], candidate: usize, scan: &[u8], length_bytes: usize) -> bool {
    let difference = if length_bytes >= 8 {
        let last = length_bytes - 8;
        word64(input, candidate) ^ word64(scan, 0) | word64(input, candidate + last) ^ word64(scan, last)
    } else {
        let last = length_bytes - 4;
        (word32(input, candidate) ^ word32(scan, 0) | word32(input, candidate + last) ^ word32(scan, last)).into()
    };
    difference == 0
}
