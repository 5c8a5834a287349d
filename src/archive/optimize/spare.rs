//! Records that were made with the same settings before: those of earlier runs, and what
//! a run that was killed had written. A frame is a function of its content, its base's
//! and the level; so it need not be made again.

use super::source::Source;
use crate::archive::names::pack_name;
use crate::archive::neutral::{is_neutral, leftovers};
use crate::archive::{Archive, Error, Writer, chain};
use crate::format::head::PackEntry;
use crate::format::index::{Entry, EntryKind};
use crate::format::note::Note;
use crate::format::pack::{PackHeader, RecordKind, RecordMeta};
use crate::ids::Digest;
use crate::store::Medium;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Enough of a record for its metadata, nearly always.
const META_READ_BYTES: u64 = 4096;
/// Enough for any. [R 5.3]
const META_MOST_BYTES: u64 = (1 << 20) + 16;

/// The notes of an archive's packs, by pack.
pub(super) fn notes(archive: &Archive) -> Result<BTreeMap<u32, Note>, Error> {
    let mut first: BTreeMap<u32, Entry> = BTreeMap::new();
    for entry in archive
        .entries()?
        .into_iter()
        .filter(|entry| entry.kind == EntryKind::Seed)
    {
        let held = first.entry(entry.pack).or_insert(entry);
        if entry.record_offset < held.record_offset {
            *held = entry;
        }
    }
    let mut notes = BTreeMap::new();
    for (pack, entry) in first {
        if !is_neutral(&*archive.medium, &pack_name(pack)) {
            continue; // `gc` may have moved it away from what it tells of
        }
        let (_, content) = archive.decode(&entry, &|_| None)?;
        if Note::is_note(&content) {
            notes.insert(pack, Note::decode(&content).map_err(Error::damaged(pack_name(pack)))?);
        }
    }
    Ok(notes)
}

/// Where records with the wanted settings may be found.
pub(super) struct Spares<'a> {
    writer: &'a Writer,
    source: Source<'a>,
    written: BTreeSet<u32>,
    sourced: BTreeSet<u32>,
    left: HashMap<Digest, Entry>,
}

impl<'a> Spares<'a> {
    /// Looks at the packs that are there, named by a head or not.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn find(
        source: Source<'a>,
        writer: &'a Writer,
        notes: &BTreeMap<u32, Note>,
        settings: &str,
    ) -> Result<Spares<'a>, Error> {
        let same = |notes: &BTreeMap<u32, Note>| -> BTreeSet<u32> {
            let same = notes.iter().filter(|(_, note)| note.settings == settings);
            same.map(|(pack, _)| *pack).collect()
        };
        let mut left = HashMap::new();
        let newest = writer.packs().last().map_or(0, |entry: &PackEntry| entry.pack);
        for pack in leftovers(writer.medium(), newest)? {
            // Whatever cannot be read of it is made again.
            for entry in left_in(writer.medium(), pack, settings).unwrap_or_default() {
                left.entry(entry.digest).or_insert(entry);
            }
        }
        Ok(Spares {
            writer,
            source,
            written: same(notes),
            sourced: match source {
                Source::Own(_) => BTreeSet::new(),
                Source::Other(archive) => same(&super::spare::notes(archive)?),
            },
            left,
        })
    }

    /// The frame of `digest` against `base`, if there is one.
    pub fn frame(&self, digest: &Digest, base: Option<Digest>) -> Option<Vec<u8>> {
        let read = |medium: &dyn Medium, entry: &Entry| {
            let record = chain::read_record(medium, entry).ok()?;
            (record.meta.base.map(Digest) == base).then(|| record.frame().to_vec())
        };
        let written = || {
            let entry = self.writer.find(digest).ok()??;
            let is_same = self.written.contains(&entry.pack);
            is_same.then(|| read(self.writer.medium(), &entry)).flatten()
        };
        let left = || read(self.writer.medium(), self.left.get(digest)?);
        let sourced = || {
            let Source::Other(archive) = self.source else {
                return None;
            };
            let entry = archive.find(digest).ok()??;
            let is_same = self.sourced.contains(&entry.pack);
            is_same.then(|| read(&*archive.medium, &entry)).flatten()
        };
        left().or_else(written).or_else(sourced)
    }
}

/// The records of a pack that no head names, if its note has the same settings; up to
/// the first that is not whole.
fn left_in(medium: &dyn Medium, pack: u32, settings: &str) -> Result<Vec<Entry>, Error> {
    let name = pack_name(pack);
    let file_bytes = medium.len(&name).map_err(Error::io(&name))?;
    let read = |offset: u64, bytes: u64| {
        let bytes = bytes.min(file_bytes.saturating_sub(offset));
        medium.read_at(&name, offset, bytes as usize).map_err(Error::io(&name))
    };
    let (_, mut at) = PackHeader::decode(&read(0, META_READ_BYTES)?).map_err(Error::damaged(&name))?;
    let mut entries = Vec::new();
    let mut is_same = false;
    while at < file_bytes {
        let decoded = RecordMeta::decode(&read(at, META_READ_BYTES)?)
            .or_else(|_| RecordMeta::decode(&read(at, META_MOST_BYTES).unwrap_or_default()));
        let Ok((meta, frame_offset)) = decoded else { break };
        let record_bytes = frame_offset + meta.frame_bytes;
        if at + record_bytes > file_bytes || at + record_bytes > u64::from(u32::MAX) {
            break;
        }
        let entry = crate::archive::write::entry_of(&meta, pack, at, record_bytes);
        if !is_same {
            // The note comes first.
            let record = chain::read_record(medium, &entry)?;
            let content = chain::decode_frame(&record, None).unwrap_or_default();
            is_same = Note::decode(&content).is_ok_and(|note| note.settings == settings);
            if !is_same {
                break;
            }
        } else if meta.kind == RecordKind::Blob as u8 {
            entries.push(entry);
        }
        at += record_bytes;
    }
    Ok(entries)
}
