//! Making an archive open again: heads, index and manifest from whatever is left of
//! them and from the packs. [R 10.8]

use super::super::commit::{now, publish, replace, write_head};
use super::super::names::{HEAD_NAMES, index_name, manifest_name, numbered, pack_name};
use super::super::{Archive, Error};
use super::chains::{self, Manifests};
use super::robust;
use super::scan::{Found, scan};
use crate::format::head::{Head, PackEntry};
use crate::format::index::{self, Entry, EntryKind, IndexSegment};
use crate::format::manifest_write;
use crate::format::pack::PackHeader;
use crate::ids::Digest;
use crate::store::Medium;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

/// What was done, or would be, so that the archive opens whole.
#[derive(Debug, Default)]
pub(super) struct Rescue {
    /// For people, in the order in which it was found.
    pub notes: Vec<String>,
    /// Whether anything has to be written.
    pub is_needed: bool,
}

/// Looks at heads, index and manifest, and unless `dry_run` writes a new head that
/// names what is whole and what could be rebuilt. Whoever calls holds the lock.
pub(super) fn rescue(medium: &Arc<dyn Medium>, dry_run: bool) -> Result<Rescue, Error> {
    let mut rescue = Rescue::default();
    let heads = read_heads(&**medium, &mut rescue.notes)?;
    let a_head_is_lost = !rescue.notes.is_empty();
    let head = heads.iter().max_by_key(|head| head.generation).cloned();
    if let Some(head) = &head
        && !a_head_is_lost
        && let Ok(archive) = Archive::open_on(medium.clone())
        && archive.head.generation == head.generation
        && structure_is_whole(&archive)
    {
        return Ok(rescue);
    }
    rescue.is_needed = true;

    let manifests = chains::gather(&**medium, head.as_ref(), a_head_is_lost, &mut rescue.notes)?;
    let packs = read_packs(&**medium, head.as_ref(), &mut rescue.notes)?;
    let Some(archive_id) = packs.archive_id.or(head.as_ref().map(|head| head.archive_id)) else {
        return Err(Error::NotAnArchive {
            path: medium.describe(),
        });
    };
    let entries = merge_entries(&**medium, head.as_ref(), &packs, &mut rescue.notes)?;
    let generation = 1 + newest_generation(&**medium, &heads)?;
    let rebuilt = match manifests {
        Manifests::Whole { entries, root } => (entries, root, None),
        Manifests::Salvaged(salvaged) => {
            let (transactions, events, root) = salvaged.chain(now());
            (Vec::new(), root, Some((transactions, events)))
        }
    };
    if dry_run {
        return Ok(rescue);
    }
    for folder in ["packs", "index", "manifest"] {
        medium.create_folder(folder).map_err(Error::io(folder))?;
    }
    let (mut manifests, root, salvaged) = rebuilt;
    if let Some((transactions, events)) = salvaged {
        let name = manifest_name(generation);
        let bytes = manifest_write::encode(generation, &transactions, &events).map_err(Error::io(&name))?;
        manifests.push(publish(&**medium, name, generation, &bytes)?);
        medium.sync_folder("manifest").map_err(Error::io("manifest"))?;
    }
    let bytes = index::encode(generation, &entries.into_values().collect::<Vec<_>>());
    let indexes = vec![publish(&**medium, index_name(generation), generation, &bytes)?];
    medium.sync_folder("index").map_err(Error::io("index"))?;

    let mut named = packs.entries;
    // A head names the highest number there has been. [R 10.10]
    if named.last().is_none_or(|last| last.pack < packs.highest) {
        named.push(new_pack(&**medium, packs.highest + 1, archive_id)?);
    }
    for pack in &named {
        let name = pack_name(pack.pack);
        medium.sync(&name).map_err(Error::io(&name))?;
    }
    medium.sync_folder("packs").map_err(Error::io("packs"))?;
    let new = Head {
        archive_id,
        incompatible_features: 0,
        write_features: head.as_ref().map_or(0, |head| head.write_features),
        generation,
        time: now(),
        previous_head: head.as_ref().map_or([0; 32], Head::hash),
        root,
        packs: named,
        indexes,
        manifests,
        extras: head.map_or_else(Vec::new, |head| head.extras),
    };
    write_head(&**medium, &new)?;
    Ok(rescue)
}

fn new_pack(medium: &dyn Medium, pack: u32, archive_id: [u8; 16]) -> Result<PackEntry, Error> {
    let name = pack_name(pack);
    let header = PackHeader {
        format_version: 1,
        archive_id,
        pack,
    }
    .encode();
    replace(medium, &name, &header)?;
    Ok(PackEntry {
        pack,
        bytes: header.len() as u64,
        sealed: false,
    })
}

/// The heads that can be read; of the others, why not.
fn read_heads(medium: &dyn Medium, notes: &mut Vec<String>) -> Result<Vec<Head>, Error> {
    let (mut heads, mut absent) = (Vec::new(), Vec::new());
    for name in HEAD_NAMES {
        match medium.read(name) {
            Ok(bytes) => match Head::decode(&bytes) {
                Ok(head) => heads.push(head),
                // Not for this program to touch.
                Err(damage) if damage.what == "incompatible features" || damage.what == "format version" => {
                    return Err(Error::damaged(name)(damage));
                }
                Err(damage) => notes.push(format!("{name}: {damage}")),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => absent.push(name),
            Err(error) => notes.push(format!("{name}: {error}")),
        }
    }
    // An archive that was never committed to has one head only.
    let is_new = heads.iter().all(|head| head.generation == 0) && !heads.is_empty();
    if !is_new {
        notes.extend(absent.iter().map(|name| format!("{name}: not there")));
    }
    Ok(heads)
}

fn structure_is_whole(archive: &Archive) -> bool {
    archive.indexes.iter().all(|segment| segment.verify().is_ok())
        && archive.manifests.iter().all(|segment| segment.verify_pages().is_ok())
        && archive.verify_chain().is_ok()
}

struct Packs {
    /// What the new head names.
    entries: Vec<PackEntry>,
    /// The record to use for each digest.
    records: BTreeMap<Digest, Entry>,
    archive_id: Option<[u8; 16]>,
    /// The highest number there has been.
    highest: u32,
}

/// Walks all packs that are this archive's.
fn read_packs(medium: &dyn Medium, head: Option<&Head>, notes: &mut Vec<String>) -> Result<Packs, Error> {
    let mut files: BTreeSet<u32> = BTreeSet::new();
    for file in numbered(medium, "packs").map_err(Error::io("packs"))? {
        files.extend(file.pack());
    }
    let named: BTreeMap<u32, u64> = head
        .iter()
        .flat_map(|head| head.packs.iter().map(|entry| (entry.pack, entry.bytes)))
        .collect();
    for pack in named.keys().filter(|pack| !files.contains(pack)) {
        notes.push(format!("{}: not there", pack_name(*pack)));
    }
    // Below the highest number that a head names, others have been dropped. [R 10.10]
    let last_named = named.keys().next_back().copied().unwrap_or(0);
    let archive_id = match head {
        Some(head) => Some(head.archive_id),
        None => most_common_id(medium, &files),
    };
    let mut packs = Packs {
        entries: Vec::new(),
        records: BTreeMap::new(),
        archive_id,
        highest: last_named.max(files.last().copied().unwrap_or(0)),
    };
    let mut best: HashMap<Digest, (bool, bool)> = HashMap::new();
    for pack in files {
        let name = pack_name(pack);
        if head.is_some() && pack <= last_named && !named.contains_key(&pack) {
            continue;
        }
        let bytes = robust::read(medium, &name, 0, u64::MAX)?;
        let scanned = scan(&bytes, pack);
        let is_own = match (&scanned.header, archive_id) {
            (Some(header), Some(id)) => header.archive_id == id || header.archive_id == [0; 16],
            (Some(_), None) => true,
            // Its header is lost; what it holds may not be.
            (None, _) => !scanned.records.is_empty(),
        };
        if !is_own && !named.contains_key(&pack) {
            continue;
        }
        if scanned.header.is_none() {
            notes.push(format!("{name}: its header cannot be read"));
        }
        let committed = named.get(&pack).copied().unwrap_or(0);
        if committed > bytes.len() as u64 {
            notes.push(format!("{name}: expected {committed} bytes, found {}", bytes.len()));
        }
        for found in scanned.records {
            let Found {
                entry,
                is_whole,
                is_in_line,
            } = found;
            let rank = (is_whole, is_in_line);
            if best.get(&entry.digest).is_none_or(|held| *held <= rank) {
                best.insert(entry.digest, rank);
                packs.records.insert(entry.digest, entry);
            }
        }
        packs.entries.push(PackEntry {
            pack,
            bytes: scanned.end.max(committed).min(bytes.len() as u64),
            sealed: true,
        });
    }
    Ok(packs)
}

fn most_common_id(medium: &dyn Medium, files: &BTreeSet<u32>) -> Option<[u8; 16]> {
    let mut counts: BTreeMap<[u8; 16], usize> = BTreeMap::new();
    for pack in files {
        let name = pack_name(*pack);
        let start = robust::read(medium, &name, 0, 4096).unwrap_or_default();
        if let Ok((header, _)) = PackHeader::decode(&start)
            && header.archive_id != [0; 16]
        {
            *counts.entry(header.archive_id).or_default() += 1;
        }
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(id, _)| id)
}

/// The index as it can be told: what the packs hold, and of what the old index knew
/// and they no longer hold, the old place, so that it is known to be lost.
fn merge_entries(
    medium: &dyn Medium,
    head: Option<&Head>,
    packs: &Packs,
    notes: &mut Vec<String>,
) -> Result<BTreeMap<Digest, Entry>, Error> {
    let mut old: BTreeMap<Digest, Entry> = BTreeMap::new();
    for segment in head.iter().flat_map(|head| &head.indexes) {
        let name = index_name(segment.generation);
        let bytes = robust::read(medium, &name, 0, segment.bytes)?;
        match IndexSegment::open(bytes) {
            Err(damage) => notes.push(format!("{name}: {damage}")),
            Ok(open) => {
                let mut bad = 0u64;
                for entry in open.entries() {
                    match entry {
                        Ok(entry) => drop(old.insert(entry.digest, entry)),
                        Err(_) => bad += 1,
                    }
                }
                if bad > 0 || open.verify().is_err() {
                    notes.push(format!(
                        "{name}: {bad} of its {} entries cannot be read",
                        open.entry_count()
                    ));
                }
            }
        }
    }
    let scanned: HashMap<u32, u64> = packs.entries.iter().map(|entry| (entry.pack, entry.bytes)).collect();
    let mut entries = packs.records.clone();
    for (digest, entry) in old {
        match (entry.kind, entries.get(&digest)) {
            // What was let go stays so, unless a newer record of it is there: packs
            // that held it are gone.
            (EntryKind::Purged, None) => drop(entries.insert(digest, entry)),
            (EntryKind::Purged, Some(_)) => {}
            // The index may have preferred an earlier record; either is right. [R 5.13]
            (_, Some(_)) => {}
            (_, None) => {
                if !scanned.contains_key(&entry.pack) {
                    notes.push(format!("{digest}: lost with {}", pack_name(entry.pack)));
                }
                entries.insert(digest, entry);
            }
        }
    }
    notes.push(format!("index: rebuilt from the packs, {} entries", entries.len()));
    Ok(entries)
}

/// The highest generation that anything on the medium has.
fn newest_generation(medium: &dyn Medium, heads: &[Head]) -> Result<u64, Error> {
    let mut newest = heads.iter().map(|head| head.generation).max().unwrap_or(0);
    for folder in ["index", "manifest"] {
        let files = numbered(medium, folder).map_err(Error::io(folder))?;
        newest = files.iter().map(|file| file.number).fold(newest, u64::max);
    }
    Ok(newest)
}
