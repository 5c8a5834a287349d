//! What goes into a bundle, in which order and into which volume. Nothing here depends
//! on anything but the archive, so that the same command gives the same bytes.

use super::{BundleError, Since};
use crate::archive::names::pack_name;
use crate::archive::segments::manifest_after;
use crate::archive::{Archive, Error, chain};
use crate::format::bundle::{
    BaseNote, CHUNK_BYTES, END_BYTES, Link, PART_OVERHEAD_BYTES, Part, SignatureFiles, VolumeHeader,
};
use crate::format::index::Entry;
use crate::format::pack::RecordMeta;
use crate::ids::Digest;
use std::collections::HashMap;
use std::ops::Range;

/// Of a record so many bytes are read first, which is nearly always all of its metadata.
const META_READ_BYTES: u64 = 1024;
/// A piece of directory or manifest that is shorter than this goes into the next volume.
const MIN_CHUNK_BYTES: u64 = 4096;

/// An object of the bundle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub entry: Entry,
    /// Its base, if the bundle does not have it.
    pub note: Option<BaseNote>,
}

impl Item {
    fn bytes(&self) -> u64 {
        let note = self.note.map_or(0, |note| Part::Base(note).encode().len() as u64);
        note + u64::from(self.entry.record_bytes)
    }
}

/// Bytes of the directory, the manifest or the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tail {
    Directory(Range<usize>),
    Manifest(Range<usize>),
    Signature(Range<usize>),
}

/// What one volume has.
#[derive(Debug, Default)]
pub(super) struct VolumePlan {
    pub items: Range<usize>,
    pub tail: Vec<Tail>,
}

/// A whole bundle.
#[derive(Debug)]
pub(super) struct Plan {
    /// As in every volume, but for its number.
    pub header: VolumeHeader,
    pub items: Vec<Item>,
    pub directory: Vec<u8>,
    pub manifest: Vec<u8>,
    /// Of the root that it leads to; nothing if the archive has none. [R 16.12]
    pub signature: Vec<u8>,
    pub volumes: Vec<VolumePlan>,
}

impl Plan {
    /// Bytes of all volumes, but for their headers and ends.
    pub(super) fn bytes(&self) -> u64 {
        let items: u64 = self.items.iter().map(Item::bytes).sum();
        items + (self.directory.len() + self.manifest.len() + self.signature.len()) as u64
    }
}

pub(super) fn plan(archive: &Archive, since: Since<'_>, volume_bytes: u64) -> Result<Plan, BundleError> {
    let transactions = archive.transactions()?;
    let hash_at = |generation: u64| {
        let known = transactions.iter().rev().find(|made| made.generation <= generation);
        known.map_or((0, [0; 32]), |made| (made.generation, made.hash))
    };
    let (generation, (after, hash)) = match since {
        Since::Nothing => (0, (0, [0; 32])),
        Since::Snapshot(generation) => (generation, hash_at(generation)),
        Since::Archive(there) => (there.head.generation, known_root(archive, there)?),
    };
    let mut known = HashMap::new();
    let is_new = |entry: &Entry| match since {
        Since::Nothing => Ok(true),
        Since::Snapshot(generation) => Ok(entry.held_since == 0 || entry.held_since > generation),
        Since::Archive(there) => there.find(&entry.digest).map(|held| held.is_none()),
    };
    let entries = archive.entries()?;
    let held = entries.len() as u64;
    let mut new = Vec::new();
    for entry in entries {
        if is_new(&entry)? {
            new.push(entry);
        }
    }
    let items = in_order(archive, new, &mut known)?;
    let manifest = manifest_after(archive, after)?.unwrap_or_default();
    let directory: Vec<u8> = items.iter().flat_map(|item| item.entry.digest.0).collect();
    let chain = transactions.iter().filter(|made| made.generation > after);
    let mut header = VolumeHeader {
        format_version: 1,
        bundle_id: [0; 32],
        volume: 1,
        base: Link { generation, hash },
        generation: archive.head.generation,
        first: transactions.first().map_or([0; 32], |first| first.hash),
        chain: chain
            .map(|made| Link {
                generation: made.generation,
                hash: made.hash,
            })
            .collect(),
        held,
        objects: Vec::new(),
    };
    // So that a piece of directory or manifest always fits into a volume of its own.
    let least_bytes = 2 * header.encode().len() as u64 + super::MIN_VOLUME_BYTES / 2;
    if volume_bytes < least_bytes {
        let cause = format!(
            "volumes of {volume_bytes} bytes are too small for it; give `--volume-size` at least {least_bytes}"
        );
        return Err(Error::Rejected(cause).into());
    }
    let signature = signature_of(archive, &header).map_or_else(Vec::new, |signature| signature.encode());
    let tails = [
        (directory.len(), Tail::Directory as MakeTail),
        (manifest.len(), Tail::Manifest),
        (signature.len(), Tail::Signature),
    ];
    let volumes = into_volumes(&header, &items, tails, volume_bytes)
        .map_err(|(entry, needed_bytes)| too_small(archive, &entry, needed_bytes))?;
    header.objects = volumes.iter().map(|volume| volume.items.len() as u32).collect();
    header.bundle_id = header.id(&directory);
    Ok(Plan {
        header,
        items,
        directory,
        manifest,
        signature,
        volumes,
    })
}

/// The archive's signature, if it is of the root that the bundle leads to.
fn signature_of(archive: &Archive, header: &VolumeHeader) -> Option<SignatureFiles> {
    let signed = archive.signed_root()?;
    let is_of_it = signed.root().is_ok_and(|root| root.hash.0 == header.root());
    is_of_it.then_some(SignatureFiles {
        text: signed.text,
        signature: signed.signature,
    })
}

/// The transaction of `archive` that `there` is at.
fn known_root(archive: &Archive, there: &Archive) -> Result<(u64, [u8; 32]), BundleError> {
    let root = there.head.root;
    if root == [0; 32] {
        return Ok((0, root));
    }
    let transactions = archive.transactions()?;
    if let Some(made) = transactions.iter().find(|made| made.hash == root) {
        return Ok((made.generation, root));
    }
    let (theirs, ours) = (there.transactions()?, transactions.last().map(|made| made.hash));
    let is_ahead = ours.is_some_and(|ours| theirs.iter().any(|made| made.hash == ours));
    let same_first = theirs.first().map(|first| first.hash) == transactions.first().map(|first| first.hash);
    let cause = match (is_ahead, same_first) {
        (true, _) => "it is ahead of this archive, which has nothing new for it",
        (_, true) => "it has gone its own way, and what was added there by itself is not known here",
        (_, false) => "it is another archive, with another history",
    };
    Err(BundleError::NoBase {
        path: there.medium.describe(),
        cause: cause.to_owned(),
    })
}

/// The metadata of a record, its frame unread.
fn meta(archive: &Archive, entry: &Entry) -> Result<RecordMeta, Error> {
    let bytes = u64::from(entry.record_bytes).min(META_READ_BYTES) as usize;
    let name = pack_name(entry.pack);
    let start = archive.medium.read_at(&name, u64::from(entry.record_offset), bytes);
    match start.map(|start| RecordMeta::decode(&start)) {
        Ok(Ok((meta, _))) if meta.id() == entry.digest => Ok(meta),
        _ => Ok(chain::read_record(&*archive.medium, entry)?.meta),
    }
}

/// The objects in the order in which they lie in packs, but each behind its base.
fn in_order(
    archive: &Archive,
    mut new: Vec<Entry>,
    notes: &mut HashMap<Digest, BaseNote>,
) -> Result<Vec<Item>, BundleError> {
    new.sort_by_key(|entry| (entry.pack, entry.record_offset));
    let places: HashMap<Digest, usize> = new.iter().enumerate().map(|(i, entry)| (entry.digest, i)).collect();
    let mut is_placed = vec![false; new.len()];
    let mut items = Vec::with_capacity(new.len());
    for i in 0..new.len() {
        let mut below = Vec::new();
        let mut next = Some(i);
        while let Some(at) = next.filter(|&at| !is_placed[at]) {
            // Also what ends a loop of bases, which no sound archive has.
            is_placed[at] = true;
            let base = meta(archive, &new[at])?.base.map(Digest);
            next = base.and_then(|base| places.get(&base).copied());
            let note = match (base, next) {
                (Some(base), None) => Some(note_of(archive, &new[at], base, notes)?),
                _ => None,
            };
            below.push(Item { entry: new[at], note });
        }
        items.extend(below.into_iter().rev());
    }
    Ok(items)
}

fn note_of(
    archive: &Archive,
    entry: &Entry,
    base: Digest,
    notes: &mut HashMap<Digest, BaseNote>,
) -> Result<BaseNote, Error> {
    if let Some(note) = notes.get(&base) {
        return Ok(*note);
    }
    let lacking = || chain::blob_error(entry, None, format!("its base {base} is not held"));
    let found = archive.find(&base)?.ok_or_else(lacking)?;
    let note = BaseNote::of(&meta(archive, &found)?);
    notes.insert(base, note);
    Ok(note)
}

fn too_small(archive: &Archive, entry: &Entry, needed_bytes: u64) -> BundleError {
    let release = archive.record(entry).ok().filter(|meta| !meta.name.is_empty());
    BundleError::VolumeTooSmall {
        release: release.map_or_else(
            || entry.digest.to_string(),
            |meta| format!("{}@{}", meta.name, meta.version),
        ),
        needed_bytes,
    }
}

/// How a range of bytes becomes a piece of what stands behind the objects.
type MakeTail = fn(Range<usize>) -> Tail;

/// Objects first, then the tails by their lengths; each volume as full as it can be. What
/// fits into none is returned with the bytes that a volume with it would have.
fn into_volumes(
    header: &VolumeHeader,
    items: &[Item],
    tails: [(usize, MakeTail); 3],
    volume_bytes: u64,
) -> Result<Vec<VolumePlan>, (Entry, u64)> {
    // How long the header is depends on how many volumes there are.
    let mut count = 1;
    loop {
        let longest = VolumeHeader {
            volume: u32::MAX,
            objects: vec![u32::MAX; count],
            ..header.clone()
        };
        let fixed_bytes = longest.encode().len() as u64 + END_BYTES;
        let room_bytes = volume_bytes.saturating_sub(fixed_bytes);
        let mut volumes = vec![VolumePlan::default()];
        let mut left_bytes = room_bytes;
        for (i, item) in items.iter().enumerate() {
            if item.bytes() > room_bytes {
                return Err((item.entry, fixed_bytes + item.bytes()));
            }
            if item.bytes() > left_bytes {
                volumes.push(VolumePlan {
                    items: i..i,
                    tail: Vec::new(),
                });
                left_bytes = room_bytes;
            }
            if let Some(volume) = volumes.last_mut() {
                volume.items.end = i + 1;
            }
            left_bytes -= item.bytes();
        }
        for (all, make) in tails {
            let mut at = 0;
            while at < all {
                let wanted = CHUNK_BYTES.min(all - at) as u64;
                let fits = left_bytes.saturating_sub(PART_OVERHEAD_BYTES).min(wanted);
                if fits < wanted.min(MIN_CHUNK_BYTES) && left_bytes < room_bytes {
                    volumes.push(VolumePlan {
                        items: items.len()..items.len(),
                        tail: Vec::new(),
                    });
                    left_bytes = room_bytes;
                    continue;
                }
                let end = at + fits as usize;
                if let Some(volume) = volumes.last_mut() {
                    volume.tail.push(make(at..end));
                }
                left_bytes = left_bytes.saturating_sub(fits + PART_OVERHEAD_BYTES);
                at = end;
            }
        }
        if volumes.len() <= count {
            return Ok(volumes);
        }
        count = volumes.len();
    }
}
