//! Moving records from pack to pack as they are, so that a pack can be dropped.

use super::{Error, Writer, chain};
use crate::format::index::Entry;
use std::collections::BTreeSet;

impl Writer {
    /// Copies every live record of `packs` into other packs, byte for byte, and lets
    /// go of `packs` from the next commit on. `progress` hears the bytes of each.
    /// Records lie in the new packs in the order they had, so that bases stay close.
    ///
    /// # Errors
    /// When a record cannot be read or written; then no pack is let go.
    pub(super) fn move_records(&self, packs: &BTreeSet<u32>, progress: &dyn Fn(u64)) -> Result<u64, Error> {
        let mut moved: Vec<Entry> = self.entries()?;
        moved.retain(|entry| packs.contains(&entry.pack));
        moved.sort_by_key(|entry| (entry.pack, entry.record_offset));
        let newest = self.packs().last().map(|entry| entry.pack);
        if newest.is_some_and(|newest| packs.contains(&newest)) {
            self.begin_pack()?;
        }
        let mut bytes = 0;
        for entry in &moved {
            let record = chain::read_record(self.medium(), entry)?;
            self.append(&record.meta, record.frame())?;
            bytes += u64::from(entry.record_bytes);
            progress(u64::from(entry.record_bytes));
        }
        self.drop_packs(packs)?;
        Ok(bytes)
    }
}
