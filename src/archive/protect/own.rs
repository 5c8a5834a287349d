//! What a covered file says of itself. Recovery data may be damaged, old or a stranger's,
//! so it never has the last word on bytes that are right by a check of their own. [R 15.6]

use super::super::repair::scan::scan;
use super::Target;
use crate::format::index::Entry;
use crate::format::pack::PackHeader;
use crate::format::pages::right_ranges;
use crate::format::recovery::TargetKind;
use crate::ids::Digest;
use std::collections::BTreeSet;
use std::ops::Range;

/// What of a pack or segment is right by its own checks.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// Of a pack its header and whole records, of a segment its pages: in order, each
    /// right or wrong as one.
    ranges: Vec<Range<u64>>,
    /// Of a pack its whole records: what they are, and where.
    records: BTreeSet<(Digest, Place)>,
}

/// Where a record begins and ends in its pack.
type Place = (u64, u64);

impl Own {
    /// Looks at all `bytes` of the file of `target`.
    pub fn of(target: Target, bytes: &[u8]) -> Own {
        if target.kind != TargetKind::Pack {
            return Own {
                ranges: right_ranges(bytes),
                ..Own::default()
            };
        }
        let mut own = Own::default();
        if let Ok((_, end)) = PackHeader::decode(bytes) {
            own.ranges.push(0..end);
        }
        let pack = u32::try_from(target.number).unwrap_or(u32::MAX);
        for found in scan(bytes, pack).records.iter().filter(|found| found.is_whole) {
            let (from, end) = place(&found.entry);
            own.ranges.push(from..end);
            own.records.insert((found.entry.digest, (from, end)));
        }
        own
    }

    /// The ranges that have any of `wanted`, which is one sector.
    pub fn touching(&self, wanted: Range<u64>) -> impl Iterator<Item = &Range<u64>> {
        // Ranges begin one behind the other, and so they end, but for what looks like a
        // record inside another: of a damaged one only.
        let until = self.ranges.partition_point(|range| range.start < wanted.end);
        let from = self.ranges[..until].partition_point(|range| range.end <= wanted.start);
        self.ranges[from..until].iter()
    }

    /// Whether all of `wanted` is right, by whatever checks.
    pub fn has_all(&self, wanted: Range<u64>) -> bool {
        let mut at = wanted.start;
        for range in self.touching(wanted.clone()) {
            if range.start > at {
                return false;
            }
            at = at.max(range.end);
        }
        at >= wanted.end
    }

    /// Whether a range with any of `wanted` is right that was not `before`.
    pub fn gains_in(&self, before: &Own, wanted: Range<u64>) -> bool {
        self.touching(wanted)
            .any(|range| !before.touching(range.clone()).any(|held| held == range))
    }

    /// Whether the record that `entry` speaks of lies whole in this pack.
    pub fn has_record(&self, entry: &Entry) -> bool {
        self.records.contains(&(entry.digest, place(entry)))
    }
}

pub(super) fn place(entry: &Entry) -> Place {
    let from = u64::from(entry.record_offset);
    (from, from + u64::from(entry.record_bytes))
}
