//! Packs that any archive may hold: written whole, before any head names them. [R 5.10]
//!
//! Their bytes depend on nothing but what is put into them. They have the next free
//! number, so that no sweep takes them for old ones; what a run that was killed left of
//! one is never taken in as it is [R 10.7], but its records can be read and used again.

use super::names::{numbered, pack_name, read_pack_header};
use super::write::entry_of;
use super::{Error, Writer};
use crate::format::head::PackEntry;
use crate::format::index::Entry;
use crate::format::pack::{PackHeader, RecordMeta};
use crate::store::Medium;

/// A pack as it is being written.
#[derive(Debug)]
pub(super) struct NeutralPack {
    pack: u32,
    bytes: u64,
    entries: Vec<Entry>,
}

impl NeutralPack {
    /// Makes the file of pack `pack`.
    pub fn create(medium: &dyn Medium, pack: u32) -> Result<NeutralPack, Error> {
        let name = pack_name(pack);
        let header = neutral_header().encode();
        medium.create(&name).map_err(Error::io(&name))?;
        medium.write_at(&name, 0, &header).map_err(Error::io(&name))?;
        Ok(NeutralPack {
            pack,
            bytes: header.len() as u64,
            entries: Vec::new(),
        })
    }

    /// Appends a record.
    pub fn append(&mut self, medium: &dyn Medium, meta: &RecordMeta, frame: &[u8]) -> Result<(), Error> {
        let name = pack_name(self.pack);
        let record = [&meta.encode()[..], frame].concat();
        medium.write_at(&name, self.bytes, &record).map_err(Error::io(&name))?;
        self.entries
            .push(entry_of(meta, self.pack, self.bytes, record.len() as u64));
        self.bytes += record.len() as u64;
        Ok(())
    }

    /// Its number.
    pub fn pack(&self) -> u32 {
        self.pack
    }

    /// Its length so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Whether the pack file `name` is one that any archive may hold.
pub(super) fn is_neutral(medium: &dyn Medium, name: &str) -> bool {
    read_pack_header(medium, name).is_ok_and(|header| header == neutral_header())
}

fn neutral_header() -> PackHeader {
    PackHeader {
        format_version: 1,
        archive_id: [0; 16],
        pack: 0,
    }
}

/// The packs that no head names and that are newer than all that one does: what runs
/// that were killed have left, newest first.
pub(super) fn leftovers(medium: &dyn Medium, newest_named: u32) -> Result<Vec<u32>, Error> {
    let files = numbered(medium, "packs").map_err(Error::io("packs"))?;
    let left = files.iter().filter(|file| is_neutral(medium, &file.name));
    let mut packs: Vec<u32> = left
        .filter_map(|file| file.pack())
        .filter(|pack| *pack > newest_named)
        .collect();
    packs.sort_unstable_by(|a, b| b.cmp(a));
    Ok(packs)
}

impl Writer {
    /// Makes whole packs part of the next commit: their objects are found in them from
    /// then on, wherever they lay before.
    ///
    /// # Errors
    /// When this writer can no longer be used.
    pub(super) fn install(&self, packs: Vec<NeutralPack>) -> Result<(), Error> {
        let mut state = self.usable_state()?;
        for pack in packs {
            if let Some(last) = state.packs.last_mut() {
                last.sealed = true;
            }
            state.packs.push(PackEntry {
                pack: pack.pack,
                bytes: pack.bytes,
                sealed: true,
            });
            state.unsynced.insert(pack.pack);
            state
                .entries
                .extend(pack.entries.into_iter().map(|entry| (entry.digest, entry)));
        }
        state.packs.sort_by_key(|entry| entry.pack);
        Ok(())
    }
}
