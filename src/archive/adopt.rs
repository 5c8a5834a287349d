//! Taking in what an earlier writer appended but did not commit. [R 10.7]

use super::names::numbered;
use super::write::{State, entry_of};
use super::{Error, chain};
use crate::format::head::PackEntry;
use crate::format::index::Entry;
use crate::format::pack::{self, PackHeader, RecordMeta};
use crate::ids::Digest;
use crate::store::Medium;
use std::collections::BTreeMap;

impl State {
    /// Takes in records that an earlier writer appended but did not commit, up
    /// to the first that is not whole. Nothing is cut off: a pack with a torn
    /// tail is sealed where its good records end. [R 10.7]
    pub(super) fn adopt(&mut self, medium: &dyn Medium) -> Result<(), Error> {
        let last = self.packs.last().map_or(0, |entry| entry.pack);
        for file in numbered(medium, "packs").map_err(Error::io("packs"))? {
            let Some(pack) = file.pack() else { continue };
            let known = self.packs.iter().position(|entry| entry.pack == pack);
            if known.is_none() && pack <= last {
                continue; // dropped by an earlier commit
            }
            let committed = known.map(|at| self.packs[at].clone());
            if committed
                .as_ref()
                .is_some_and(|entry| entry.sealed || entry.bytes >= file.bytes)
            {
                continue;
            }
            let data = medium.read(&file.name).map_err(Error::io(&file.name))?;
            let start = match committed {
                Some(entry) => entry.bytes,
                None => match PackHeader::decode(&data) {
                    Ok((header, end)) if header.pack == pack && header.archive_id == self.archive.head.archive_id => {
                        end
                    }
                    _ => continue,
                },
            };
            let mut at = start;
            while let Some((entry, end)) = adoptable(&data, pack, at) {
                // What was erased on purpose does not come back this way. [R 14.4]
                let is_let_go = self.archive.is_let_go(&entry.digest)?;
                let is_erased = is_let_go && self.purged_as(&entry.digest)?.is_some();
                if !is_erased && self.archive.find(&entry.digest)?.is_none() {
                    self.entries.insert(entry.digest, entry);
                }
                at = end;
            }
            // If a sync of these bytes has failed before, the system may hold them for
            // written although they are not; only bytes written anew are synced anew.
            let from = if known.is_some() { start } else { 0 };
            if at > from {
                medium
                    .write_at(&file.name, from, &data[from as usize..at as usize])
                    .map_err(Error::io(&file.name))?;
            }
            let adopted = PackEntry {
                pack,
                bytes: at,
                sealed: at < data.len() as u64,
            };
            match known {
                Some(i) => self.packs[i] = adopted,
                None => self.packs.push(adopted),
            }
            self.unsynced.insert(pack);
        }
        self.packs.sort_by_key(|entry| entry.pack);
        // A record whose base was lost with the torn tail of another pack is of no use,
        // nor is one whose base cannot be read just now.
        let mut adopted = std::mem::take(&mut self.entries);
        loop {
            let find = |base: &Digest| match adopted.get(base) {
                Some(entry) => Ok(Some(*entry)),
                None => self.archive.find(base),
            };
            let whole = |entry: &Entry| chain::decode(medium, entry, &find, &|_| None, &|_, _| {}).is_ok();
            let kept: BTreeMap<Digest, Entry> = adopted
                .iter()
                .filter(|(_, entry)| whole(entry))
                .map(|(digest, entry)| (*digest, *entry))
                .collect();
            let is_settled = kept.len() == adopted.len();
            adopted = kept;
            if is_settled {
                break;
            }
        }
        self.entries = adopted;
        Ok(())
    }
}

/// The whole record at `at`, if there is one.
fn adoptable(data: &[u8], pack: u32, at: u64) -> Option<(Entry, u64)> {
    let rest = data.get(at as usize..)?;
    let (meta, frame_offset) = RecordMeta::decode(rest).ok()?;
    let record_bytes = frame_offset.checked_add(meta.frame_bytes)?;
    let frame = rest.get(frame_offset as usize..record_bytes as usize)?;
    pack::check_frame(&meta, frame).ok()?;
    let end = at + record_bytes;
    (end <= pack::MAX_PACK_BYTES).then(|| (entry_of(&meta, pack, at, record_bytes), end))
}
