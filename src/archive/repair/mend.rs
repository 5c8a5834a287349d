//! Storing an object once more, and leaving packs that are no longer good.

use super::super::encode::{self, Base, EncodeOptions};
use super::super::names::{pack_name, read_pack_header};
use super::super::{Error, Writer, chain};
use super::RepairReport;
use super::survey::{Damage, Wanted};
use crate::format::index::EntryKind;
use crate::format::pack::RecordMeta;
use crate::ids::{Digest, Release};
use std::collections::{BTreeMap, BTreeSet};

/// More than a record's metadata takes, as a rule.
const META_READ_BYTES: u64 = 4096;

impl Writer {
    /// Stores `crate_file` as `wanted` once more, if it is it. None of `bad` is taken
    /// for a base.
    ///
    /// The base is the one it had, or there is none: what is compressed against this
    /// object counts on its chain not to have grown, and a new base might itself
    /// depend on it.
    pub(super) fn mend(
        &self,
        wanted: &Wanted,
        crate_file: Vec<u8>,
        bad: &BTreeSet<Digest>,
        level: i32,
    ) -> Result<(), Error> {
        let found = Digest::of(&crate_file);
        if found != wanted.digest {
            return Err(Error::Rejected(format!(
                "expected SHA-256 {}, found {found}",
                wanted.digest
            )));
        }
        let old = self.old_meta(&wanted.digest);
        let release = wanted.release.clone().or_else(|| {
            let old = old.as_ref()?;
            let (name, version) = (old.name.parse().ok()?, old.version.parse().ok()?);
            Some(Release { name, version })
        });
        let release = release.ok_or_else(|| Error::Rejected("no release of it is known".into()))?;
        let content = encode::undo(crate_file, wanted.digest, None, None)?;
        let base = old.and_then(|old| old.base).map(Digest);
        let base = base.filter(|base| content.recipe.is_some() && !bad.contains(base));
        let held = base.and_then(|base| {
            let entry = self.find(&base).ok()??;
            let content = self.read_content(&base).ok()?.1;
            Some((entry, content))
        });
        let base = held.as_ref().map(|(entry, content)| Base {
            digest: entry.digest,
            content,
            chain_depth: u32::from(entry.chain_depth),
            chain_bytes: entry.chain_bytes,
        });
        let options = EncodeOptions {
            level,
            ..EncodeOptions::default()
        };
        let (meta, frame) = encode::encode(&release, &content, base, options)?;
        self.append(&meta, &frame)
    }

    /// What the record of an object says of itself, even if its frame is damaged.
    fn old_meta(&self, digest: &Digest) -> Option<RecordMeta> {
        let entry = self.find(digest).ok()??;
        let bytes = u64::from(entry.record_bytes).min(META_READ_BYTES) as usize;
        let start = self
            .medium()
            .read_at(&pack_name(entry.pack), u64::from(entry.record_offset), bytes)
            .ok()?;
        let (meta, _) = RecordMeta::decode(&start).ok()?;
        (meta.id() == *digest).then_some(meta)
    }

    /// Takes out of `left` what can be decoded by now, since its base can.
    pub(super) fn retain_damaged(&self, left: &mut BTreeMap<Digest, &Damage>, report: &mut RepairReport) {
        left.retain(|digest, damage| {
            let is_mended = !damage.is_own && self.read_content(digest).is_ok();
            if is_mended {
                report.mended.push((damage.wanted.label(), "its base".into()));
            }
            !is_mended
        });
    }

    /// Whether any object is compressed against `digest`.
    pub(super) fn is_needed(&self, digest: &Digest) -> Result<bool, Error> {
        let entries = self.entries()?;
        Ok(entries.iter().filter(|entry| entry.chain_depth > 0).any(|entry| {
            self.old_meta(&entry.digest)
                .is_some_and(|meta| meta.base == Some(digest.0))
        }))
    }

    /// Notes the release of each crate file held that the manifest does not know.
    pub(super) fn note_unknown(&self) -> Result<(), Error> {
        let mut known = BTreeSet::new();
        self.with_archive(|archive| {
            archive.each_crate(|state| {
                known.extend(state.releases.iter().map(|release| release.digest));
                Ok::<(), Error>(())
            })
        })?;
        for entry in self.entries()? {
            if entry.kind != EntryKind::Blob || known.contains(&entry.digest) {
                continue;
            }
            let Ok(record) = chain::read_record(self.medium(), &entry) else {
                continue;
            };
            if let (Ok(name), Ok(version)) = (record.meta.name.parse(), record.meta.version.parse()) {
                self.note_held(&Release { name, version }, entry.digest)?;
            }
        }
        Ok(())
    }

    /// Moves what is whole out of packs whose header cannot be read, and lets go of
    /// these and of packs in which nothing is needed any more.
    pub(super) fn leave_bad_packs(&self, notes: &mut Vec<String>) -> Result<(), Error> {
        let mut live: BTreeSet<u32> = BTreeSet::new();
        live.extend(self.entries()?.iter().map(|entry| entry.pack));
        let packs = self.packs();
        let newest = packs.last().map(|entry| entry.pack);
        for entry in &packs {
            let name = pack_name(entry.pack);
            if !live.contains(&entry.pack) {
                // The newest may be empty, to keep its number taken.
                if Some(entry.pack) != newest {
                    self.drop_packs(&BTreeSet::from([entry.pack]))?;
                    notes.push(format!("{name}: nothing in it is needed any more; let go"));
                }
                continue;
            }
            if read_pack_header(self.medium(), &name).is_ok() {
                continue;
            }
            match self.move_records(&BTreeSet::from([entry.pack]), &|_| {}) {
                Ok(_) => notes.push(format!("{name}: its records were moved to another pack; let go")),
                Err(error @ (Error::Io { .. } | Error::WriterFailed { .. })) => return Err(error),
                // A record that could not be mended keeps its place.
                Err(error) => notes.push(format!("{name}: cannot be let go of: {error}")),
            }
        }
        Ok(())
    }
}
