//! Opening and creating archives, and finding objects in them.

use super::Error;
use super::names::{HEAD_NAMES, index_name, manifest_name, pack_name};
use super::seed_cache::SeedCache;
use crate::format::Damaged;
use crate::format::head::{Head, SegmentEntry};
use crate::format::index::{self, Entry, EntryKind, IndexSegment};
use crate::format::manifest::ManifestSegment;
use crate::ids::Digest;
use crate::store::{DiskMedium, FileBytes, Medium};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Whether an intact segment is the one that the head names. [R 6.3]
fn check_segment(entry: &SegmentEntry, generation: u64, file_bytes: u64) -> Result<(), Damaged> {
    if generation != entry.generation {
        return Err(Damaged::new("segment generation", 16, entry.generation, generation));
    }
    if file_bytes != entry.bytes {
        return Err(Damaged::new("segment length by the head", 0, entry.bytes, file_bytes));
    }
    Ok(())
}

/// One committed state of an archive, open for reading.
///
/// Any number of threads and processes may read while one writes; a snapshot
/// does not change under its reader.
#[derive(Debug, Clone)]
pub struct Archive {
    pub(super) medium: Arc<dyn Medium>,
    pub(super) head: Head,
    /// Oldest first, as in the head.
    pub(super) indexes: Vec<Arc<IndexSegment<FileBytes>>>,
    /// Oldest first, as in the head.
    pub(super) manifests: Vec<Arc<ManifestSegment<FileBytes>>>,
    /// Events of later generations than this are passed over; see `snapshots`.
    pub(super) until: u64,
    pub(super) seed_cache: SeedCache,
}

impl Archive {
    /// Opens the archive in `folder`.
    ///
    /// # Errors
    /// When there is none, or no head of it can be used.
    pub fn open(folder: &Path) -> Result<Archive, Error> {
        Archive::open_on(Arc::new(DiskMedium::new(folder)))
    }

    /// Opens the archive on `medium`: the newest head whose files check out. [R 4.7]
    ///
    /// # Errors
    /// As [`Archive::open`].
    pub fn open_on(medium: Arc<dyn Medium>) -> Result<Archive, Error> {
        let mut heads = Vec::new();
        let mut reasons = Vec::new();
        for name in HEAD_NAMES {
            match medium.read(name) {
                Ok(bytes) => match Head::decode(&bytes) {
                    Ok(head) => heads.push((name, head)),
                    Err(damage) => reasons.push((name, damage.to_string())),
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => reasons.push((name, "absent".into())),
                Err(error) => return Err(Error::io(format!("{}/{name}", medium.describe()))(error)),
            }
        }
        if heads.is_empty() && reasons.iter().all(|(_, reason)| reason == "absent") {
            return Err(Error::NotAnArchive {
                path: medium.describe(),
            });
        }
        heads.sort_by_key(|(_, head)| std::cmp::Reverse(head.generation));
        for (name, head) in heads {
            match Archive::with_head(medium.clone(), head) {
                Ok(archive) => return Ok(archive),
                Err(error) => reasons.push((name, error.to_string())),
            }
        }
        let reason = |name: &str| {
            reasons
                .iter()
                .find(|(at, _)| *at == name)
                .map_or_else(String::new, |(_, reason)| reason.clone())
        };
        Err(Error::NoHead {
            path: medium.describe(),
            head0: reason("head0"),
            head1: reason("head1"),
        })
    }

    /// That no newer head than this snapshot's could be read: its files were on the
    /// medium before it was, so that they cannot be used now is no crash but damage.
    pub(super) fn check_newest(&self) -> Result<(), Error> {
        for name in HEAD_NAMES {
            let head = match self.medium.read(name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => Head::decode(&other.map_err(Error::io(name))?),
            };
            if let Ok(head) = head
                && head.generation > self.head.generation
            {
                let generation = head.generation;
                let cause = Archive::with_head(self.medium.clone(), head).err();
                return Err(Error::Hidden {
                    path: self.medium.describe(),
                    generation,
                    opened: self.head.generation,
                    cause: cause.map_or_else(|| "it could not be read a moment ago".into(), |error| error.to_string()),
                });
            }
        }
        Ok(())
    }

    pub(super) fn with_head(medium: Arc<dyn Medium>, head: Head) -> Result<Archive, Error> {
        for pack in &head.packs {
            let name = pack_name(pack.pack);
            let bytes = medium.len(&name).map_err(Error::io(&name))?;
            if bytes < pack.bytes {
                let cause = format!("expected at least {} bytes, found {bytes}", pack.bytes);
                return Err(Error::Io {
                    path: name,
                    source: io::Error::new(io::ErrorKind::UnexpectedEof, cause),
                });
            }
        }
        let mut indexes = Vec::new();
        for segment in &head.indexes {
            let name = index_name(segment.generation);
            let bytes = medium.open_sealed(&name).map_err(Error::io(&name))?;
            let file_bytes = bytes.as_ref().len() as u64;
            let open = IndexSegment::open(bytes).map_err(Error::damaged(&name))?;
            check_segment(segment, open.generation(), file_bytes).map_err(Error::damaged(&name))?;
            indexes.push(Arc::new(open));
        }
        let mut manifests = Vec::new();
        for segment in &head.manifests {
            let name = manifest_name(segment.generation);
            let bytes = medium.open_sealed(&name).map_err(Error::io(&name))?;
            let file_bytes = bytes.as_ref().len() as u64;
            let open = ManifestSegment::open(bytes).map_err(Error::damaged(&name))?;
            check_segment(segment, open.generation(), file_bytes).map_err(Error::damaged(&name))?;
            manifests.push(Arc::new(open));
        }
        Ok(Archive {
            medium,
            head,
            indexes,
            manifests,
            until: u64::MAX,
            seed_cache: SeedCache::default(),
        })
    }

    /// The head this snapshot was opened from.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Where `digest` lies, if it is held; the newest segment decides. [R 6.8]
    ///
    /// # Errors
    /// When an index page that the search touches is damaged.
    pub fn find(&self, digest: &Digest) -> Result<Option<Entry>, Error> {
        for (i, segment) in self.indexes.iter().enumerate().rev() {
            if let Some(entry) = segment.find(digest).map_err(|damage| self.index_damage(i, damage))? {
                return Ok((entry.kind != EntryKind::Purged).then_some(entry));
            }
        }
        Ok(None)
    }

    /// Whether the index says of `digest` that it was held once, or shall not be.
    pub(super) fn is_let_go(&self, digest: &Digest) -> Result<bool, Error> {
        for (i, segment) in self.indexes.iter().enumerate().rev() {
            if let Some(entry) = segment.find(digest).map_err(|damage| self.index_damage(i, damage))? {
                return Ok(entry.kind == EntryKind::Purged);
            }
        }
        Ok(false)
    }

    /// Every object held, by digest.
    ///
    /// # Errors
    /// When an index is damaged.
    pub fn entries(&self) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        self.each_entry(|entry| entries.push(entry))?;
        Ok(entries)
    }

    /// Calls `visit` with every object held, by digest, one at a time: an archive of
    /// everything need not fit into memory.
    ///
    /// # Errors
    /// When an index is damaged.
    pub fn each_entry(&self, mut visit: impl FnMut(Entry)) -> Result<(), Error> {
        let segments: Vec<&IndexSegment<FileBytes>> = self.indexes.iter().map(|segment| &**segment).collect();
        for entry in index::merge(&segments, &BTreeMap::new()) {
            let entry = entry.map_err(|(i, damage)| self.index_damage(i, damage))?;
            if entry.kind != EntryKind::Purged {
                visit(entry);
            }
        }
        Ok(())
    }

    /// Bytes of the whole archive: heads, packs, segments and what goes with them.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn disk_bytes(&self) -> Result<u64, Error> {
        let mut bytes = 0;
        for folder in ["", "packs", "index", "manifest", "recovery"] {
            let files = self.medium.list(folder).map_err(Error::io(folder))?;
            bytes += files.iter().map(|(_, bytes)| bytes).sum::<u64>();
        }
        Ok(bytes)
    }

    /// The index segments.
    pub fn index_segments(&self) -> &[Arc<IndexSegment<FileBytes>>] {
        &self.indexes
    }

    /// The manifest segments.
    pub fn manifest_segments(&self) -> &[Arc<ManifestSegment<FileBytes>>] {
        &self.manifests
    }

    /// A mismatch in index segment `i`. Made only when there is one: paths are
    /// not put together on the way of a lookup.
    pub(super) fn index_damage(&self, i: usize, damage: Damaged) -> Error {
        Error::damaged(self.index_path(i))(damage)
    }

    /// A mismatch in manifest segment `i`.
    pub(super) fn manifest_damage(&self, i: usize, damage: Damaged) -> Error {
        Error::damaged(self.manifest_path(i))(damage)
    }

    pub(super) fn index_path(&self, i: usize) -> String {
        format!(
            "{}/{}",
            self.medium.describe(),
            index_name(self.head.indexes[i].generation)
        )
    }

    pub(super) fn manifest_path(&self, i: usize) -> String {
        format!(
            "{}/{}",
            self.medium.describe(),
            manifest_name(self.head.manifests[i].generation)
        )
    }
}
