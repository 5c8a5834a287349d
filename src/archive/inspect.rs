//! Looking at what is on disk, whether or not an archive opens. Never writes.

use super::chain::{self, blob_error};
use super::names::{HEAD_NAMES, pack_name};
use super::{Archive, Error};
use crate::format::head::Head;
use crate::format::index::Entry;
use crate::format::pack::{PackHeader, RecordMeta};
use crate::ids::Digest;
use crate::store::{DiskMedium, Medium};
use std::path::Path;

/// What one of the two head files holds.
#[derive(Debug, Clone)]
pub struct HeadFile {
    /// Its name.
    pub name: &'static str,
    /// The head, or why it is none.
    pub head: Result<Head, String>,
}

/// Both head files of the archive in `folder`, as they are.
pub fn head_files(folder: &Path) -> Vec<HeadFile> {
    let medium = DiskMedium::new(folder);
    HEAD_NAMES
        .into_iter()
        .map(|name| {
            let bytes = medium.read(name).map_err(|error| error.to_string());
            let head = bytes.and_then(|bytes| Head::decode(&bytes).map_err(|damage| damage.to_string()));
            HeadFile { name, head }
        })
        .collect()
}

/// A record and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPlace {
    /// Offset of its metadata frame in the pack.
    pub offset: u64,
    /// Length of both its frames.
    pub record_bytes: u64,
    /// What it says of itself.
    pub meta: RecordMeta,
}

impl Archive {
    /// The header of pack number `pack`, then `visit` with each of its records up
    /// to the committed length. Frames are neither read nor checked.
    ///
    /// # Errors
    /// When the snapshot has no such pack, and at the first record that is damaged.
    pub fn walk_pack(&self, pack: u32, mut visit: impl FnMut(RecordPlace)) -> Result<PackHeader, Error> {
        let Some(entry) = self.head.packs.iter().find(|entry| entry.pack == pack) else {
            let known: Vec<String> = self.head.packs.iter().map(|entry| entry.pack.to_string()).collect();
            let known = known.join(", ");
            return Err(Error::Rejected(format!(
                "no pack {pack} in this snapshot; it has {known}"
            )));
        };
        let name = pack_name(pack);
        let frame_at = |offset: u64| {
            // A skippable frame tells its length in bytes 4 to 8; both kinds are below 1 MiB.
            let prefix = self.medium.read_at(&name, offset, 8).map_err(Error::io(&name))?;
            let len = 8 + u64::from(crate::format::u32_at(&prefix, 4));
            let len = len.min(entry.bytes.saturating_sub(offset)).min(2 << 20);
            self.medium
                .read_at(&name, offset, len as usize)
                .map_err(Error::io(&name))
        };
        let damaged = |offset: u64| {
            let path = format!("{name} at offset {offset}");
            Error::damaged(path)
        };
        let (header, mut offset) = PackHeader::decode(&frame_at(0)?).map_err(damaged(0))?;
        while offset < entry.bytes {
            let (meta, frame_offset) = RecordMeta::decode(&frame_at(offset)?).map_err(damaged(offset))?;
            let record_bytes = frame_offset + meta.frame_bytes;
            visit(RecordPlace {
                offset,
                record_bytes,
                meta,
            });
            offset += record_bytes;
        }
        Ok(header)
    }

    /// The records needed to read `digest`, its own first, then base by base. Each
    /// frame's checksum has been checked.
    ///
    /// # Errors
    /// When one of them is not held or damaged.
    pub fn chain(&self, digest: &Digest) -> Result<Vec<(Entry, RecordMeta)>, Error> {
        let mut frames: Vec<(Entry, RecordMeta)> = Vec::new();
        let mut next = Some(*digest);
        while let Some(digest) = next {
            let entry = match (self.find(&digest)?, frames.first()) {
                (Some(entry), _) => entry,
                (None, None) => return Err(Error::NotHeld { digest }),
                (None, Some((entry, meta))) => {
                    return Err(blob_error(entry, Some(meta), format!("its base {digest} is not held")));
                }
            };
            let meta = chain::read_record(&*self.medium, &entry)?.meta;
            if frames.len() >= chain::MAX_CHAIN_FRAMES {
                return Err(blob_error(&entry, Some(&meta), "its chain has no end"));
            }
            next = meta.base.map(Digest);
            frames.push((entry, meta));
        }
        Ok(frames)
    }
}
