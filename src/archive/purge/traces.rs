//! Where bytes that are to be erased may still lie: in records that the index points to
//! and in those that it no longer does, and in what nobody can read.

use super::super::gc::PackShare;
use super::super::names::pack_name;
use super::super::seeds::Seeds;
use super::super::{Archive, Error};
use crate::format::head::PackEntry;
use crate::format::index::Entry;
use crate::format::pack::{PackHeader, RecordKind, RecordMeta};
use crate::ids::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// Longer than a record's metadata, as a rule.
const META_READ_BYTES: u64 = 4096;
/// The longest that metadata may be, with its frame. [R 5.3]
const MAX_META_BYTES: u64 = (1 << 20) + 64;

/// What has to be changed so that nothing is left.
#[derive(Debug, Default)]
pub(super) struct Traces {
    /// Objects held whose base goes, bases before what needs them.
    pub dependents: Vec<Digest>,
    /// Seeds held that may contain some of the bytes.
    pub seeds: Vec<Digest>,
    /// Packs to be rewritten.
    pub packs: Vec<PackShare>,
}

/// A record, as far as its metadata says.
struct Seen {
    pack: u32,
    offset: u64,
    meta: RecordMeta,
}

impl Traces {
    /// Looks for `digests`; in seeds only if `in_seeds`.
    pub(super) fn find(archive: &Archive, digests: &BTreeSet<Digest>, in_seeds: bool) -> Result<Traces, Error> {
        let live: BTreeMap<Digest, Entry> = archive
            .entries()?
            .into_iter()
            .map(|entry| (entry.digest, entry))
            .collect();
        let seeds = match in_seeds {
            true => Seeds::of(archive)?.with_bytes_of(digests),
            false => BTreeSet::new(),
        };
        let is_gone = |digest: &Digest| digests.contains(digest) || seeds.contains(digest);
        let mut dependents: Vec<(u32, u64, Digest)> = Vec::new();
        let mut dirty: BTreeSet<u32> = BTreeSet::new();
        for pack in &archive.head.packs {
            let is_readable = walk(archive, pack, &mut |seen| {
                let digest = seen.meta.id();
                let is_live = live
                    .get(&digest)
                    .is_some_and(|entry| entry.pack == seen.pack && u64::from(entry.record_offset) == seen.offset);
                // A seed that was let go may have been made from what is meant now, or is
                // of a purge that was interrupted.
                let is_old_seed = seen.meta.kind == RecordKind::Seed as u8 && !is_live;
                if is_gone(&digest) || is_old_seed {
                    dirty.insert(seen.pack);
                } else if is_live && seen.meta.base.is_some_and(|base| is_gone(&Digest(base))) {
                    dependents.push((seen.pack, seen.offset, digest));
                }
            });
            if !is_readable {
                dirty.insert(pack.pack);
            }
        }
        // One whose metadata was passed over, where a pack is damaged, is no dependent
        // that could be found here; it cannot be moved either, and is named then.
        dependents.sort();
        let mut live_bytes: BTreeMap<u32, u64> = BTreeMap::new();
        for entry in live.values().filter(|entry| !is_gone(&entry.digest)) {
            *live_bytes.entry(entry.pack).or_default() += u64::from(entry.record_bytes);
        }
        let packs = archive.head.packs.iter().filter(|pack| dirty.contains(&pack.pack));
        Ok(Traces {
            dependents: dependents.into_iter().map(|(_, _, digest)| digest).collect(),
            seeds: seeds.into_iter().collect(),
            packs: packs
                .map(|pack| PackShare {
                    pack: pack.pack,
                    bytes: pack.bytes,
                    live_bytes: live_bytes.get(&pack.pack).copied().unwrap_or(0),
                })
                .collect(),
        })
    }
}

/// Calls `visit` with each record of `pack`, one after the other. Says whether that is
/// all there is in the file: behind damage and behind the committed bytes may be anything.
fn walk(archive: &Archive, pack: &PackEntry, visit: &mut dyn FnMut(Seen)) -> bool {
    let medium = &*archive.medium;
    let name = pack_name(pack.pack);
    let read = |offset: u64, bytes: u64| {
        let bytes = bytes.min(pack.bytes.saturating_sub(offset));
        medium.read_at(&name, offset, bytes as usize).ok()
    };
    let header = read(0, META_READ_BYTES).and_then(|start| PackHeader::decode(&start).ok());
    let Some((_, mut at)) = header else { return false };
    while at < pack.bytes {
        let decode = |bytes: u64| RecordMeta::decode(&read(at, bytes)?).ok();
        let Some((meta, frame_offset)) = decode(META_READ_BYTES).or_else(|| decode(MAX_META_BYTES)) else {
            return false;
        };
        let end = at + frame_offset + meta.frame_bytes;
        visit(Seen {
            pack: pack.pack,
            offset: at,
            meta,
        });
        at = end;
    }
    at == pack.bytes && medium.len(&name).is_ok_and(|bytes| bytes == pack.bytes)
}
