//! What is at the destination, whether it may be made the source's snapshot, and what
//! is missing for that.

use super::CopyError;
use crate::archive::lock::lock;
use crate::archive::names::{
    COMPANIONS, HEAD_NAMES, index_name, manifest_name, named_files, numbered, pack_name, read_pack_header,
    recovery_files,
};
use crate::archive::{Archive, Error, ROOT_FILE, SIGNATURE_FILE};
use crate::format::head::Head;
use crate::store::Medium;
use sha2::{Digest as _, Sha256};
use std::collections::HashSet;
use std::sync::Arc;

/// What is compared and copied at a time.
pub(super) const CHUNK_BYTES: u64 = 4 << 20;
/// Of a file that is there already, so many bytes at its beginning and at its end are
/// compared: appending other records to a pack changes its end.
const SAMPLE_BYTES: u64 = 64 << 10;
/// The destination, locked.
pub(super) struct Destination {
    pub medium: Arc<dyn Medium>,
    /// The snapshot there, if any.
    pub archive: Option<Archive>,
}

/// Bytes of one file.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub name: String,
    pub offset: u64,
    pub bytes: u64,
    pub kind: PieceKind,
}

/// What is to be done with a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PieceKind {
    /// It is not there.
    Missing,
    /// Bytes lie there that no head names, as an earlier run may have left them.
    Leftover,
    /// It should be there, and is compared; what differs is damage.
    Kept,
}

impl Destination {
    pub(super) fn open(medium: &Arc<dyn Medium>) -> Result<Destination, CopyError> {
        let path = medium.describe();
        let fail = |name: &str| CopyError::writing(format!("{path}/{name}"), 0);
        medium.create_folder("").map_err(fail(""))?;
        lock(&**medium).map_err(|error| match error {
            Error::Io { source, .. } => fail("lock")(source),
            locked => CopyError::Archive(locked),
        })?;
        for folder in ["packs", "index", "manifest"] {
            medium.create_folder(folder).map_err(fail(folder))?;
        }
        let archive = match Archive::open_on(medium.clone()) {
            Ok(archive) => Some(archive),
            // A first copy that was stopped while it wrote its heads leaves this too;
            // whose packs they are is seen below.
            Err(Error::NotAnArchive { .. } | Error::NoHead { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Destination {
            medium: medium.clone(),
            archive,
        })
    }

    /// Whether what is there is an earlier state of `from`, or nothing.
    ///
    /// # Errors
    /// When it is another archive, or has what `from` lacks.
    pub(super) fn check_lineage(&self, from: &Archive) -> Result<(), CopyError> {
        let path = self.medium.describe();
        let Some(there) = &self.archive else {
            return self.check_headers(from);
        };
        let (theirs, ours) = (&there.head, &from.head);
        if theirs.archive_id != ours.archive_id {
            let cause = format!("its id is {}, not {}", hex(&theirs.archive_id), hex(&ours.archive_id));
            return Err(CopyError::OtherArchive { path, cause });
        }
        let diverged = |cause: String| {
            let path = path.clone();
            Err(CopyError::Diverged { path, cause })
        };
        if theirs.generation > ours.generation {
            return diverged(format!(
                "it is at snapshot {}, the source at {}",
                theirs.generation, ours.generation
            ));
        }
        let known = theirs.root == [0; 32] || from.transactions()?.iter().any(|made| made.hash == theirs.root);
        if !known {
            return diverged(format!("the source does not know its snapshot {}", theirs.generation));
        }
        for pack in &theirs.packs {
            let same = ours.packs.iter().find(|ours| ours.pack == pack.pack);
            if same.is_some_and(|same| same.bytes < pack.bytes) {
                return diverged(format!("its {} is longer", pack_name(pack.pack)));
            }
        }
        let named = |head: &Head| -> Vec<(String, [u8; 32])> {
            let indexes = head.indexes.iter().map(|one| (index_name(one.generation), one.sha256));
            let manifests = head.manifests.iter();
            indexes
                .chain(manifests.map(|one| (manifest_name(one.generation), one.sha256)))
                .collect()
        };
        let ours = named(ours);
        for (name, sha256) in named(theirs) {
            if ours.iter().any(|(same, other)| *same == name && *other != sha256) {
                return diverged(format!("its {name} is another"));
            }
        }
        // An index that is damaged there tells nothing of what it held; comparing mends it.
        for entry in there.entries().unwrap_or_default() {
            let Some(same) = from.find(&entry.digest)? else {
                if self.was_purged(from, &entry.digest) {
                    continue;
                }
                let release = there.record(&entry);
                let release =
                    release.map_or_else(|_| "a crate".into(), |meta| format!("{}@{}", meta.name, meta.version));
                return diverged(format!("it holds {release}, {}", entry.digest));
            };
            let place = (entry.record_offset, entry.record_bytes);
            if same.pack == entry.pack && place != (same.record_offset, same.record_bytes) {
                return diverged(format!("its {} has other records", pack_name(entry.pack)));
            }
        }
        Ok(())
    }

    /// Whether the source let go of `digest` on purpose.
    fn was_purged(&self, from: &Archive, digest: &crate::ids::Digest) -> bool {
        let mut newest_first = from.indexes.iter().rev();
        newest_first.any(|segment| matches!(segment.find(digest), Ok(Some(_))))
    }

    /// Without a head, packs tell by their headers whose they are.
    fn check_headers(&self, from: &Archive) -> Result<(), CopyError> {
        let path = self.medium.describe();
        let files = numbered(&*self.medium, "packs").map_err(CopyError::writing(format!("{path}/packs"), 0))?;
        for name in files.into_iter().map(|file| file.name) {
            let Ok(theirs) = read_pack_header(&*self.medium, &name) else {
                continue;
            };
            let ours = read_pack_header(&*from.medium, &name).ok();
            if theirs.archive_id != from.head.archive_id && ours != Some(theirs) {
                let cause = format!("without a usable head; {name} says so");
                return Err(CopyError::OtherArchive { path, cause });
            }
        }
        Ok(())
    }

    /// The committed length of `name` by the head there.
    fn named_bytes(&self, name: &str) -> Option<u64> {
        let head = &self.archive.as_ref()?.head;
        named_files(head)
            .find(|(named, _)| named == name)
            .map(|(_, bytes)| bytes)
    }
}

/// What is to be done so that `there` has all that `from` names.
pub(super) fn plan(from: &Archive, there: &Destination, check: bool) -> Result<Vec<Piece>, CopyError> {
    let mut pieces = Vec::new();
    if let Some(extra) = from.head.extras.iter().find(|extra| !is_plain(&extra.path)) {
        let path = extra.path.escape_default();
        let cause = format!(
            "{}: its head names a file `{path}`, which is no path of an archive",
            from.medium.describe()
        );
        return Err(Error::Rejected(cause).into());
    }
    let named: HashSet<String> = named_files(&from.head).map(|(name, _)| name).collect();
    let recovery = recovery_files(&*from.medium).map_err(CopyError::reading(from.medium.describe()))?;
    let recovery = recovery.into_iter().filter(|file| named.contains(&file.target.name()));
    for (name, bytes) in named_files(&from.head).chain(recovery.map(|file| (file.name, file.bytes))) {
        let present = there.medium.len(&name).unwrap_or(0);
        let kept = there.named_bytes(&name).unwrap_or(0).min(present).min(bytes);
        let leftover = present.min(bytes).saturating_sub(kept);
        let mut add = |offset: u64, bytes: u64, kind: PieceKind| {
            let name = name.clone();
            if bytes > 0 {
                pieces.push(Piece {
                    name,
                    offset,
                    bytes,
                    kind,
                });
            }
        };
        if check || !sample_agrees(from, there, &name, kept)? {
            add(0, kept, PieceKind::Kept);
        }
        add(kept, leftover, PieceKind::Leftover);
        add(kept + leftover, bytes - kept - leftover, PieceKind::Missing);
    }
    Ok(pieces)
}

/// Whether an extra's path stays within the archive and out of the way of its other
/// files, on any system.
fn is_plain(path: &str) -> bool {
    let plain = |part: &str| {
        let good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
        !part.is_empty() && !part.starts_with('.') && !part.ends_with('.') && part.bytes().all(good)
    };
    let top = path.split('/').next().unwrap_or_default();
    path.split('/').all(plain) && !HEAD_NAMES.contains(&path) && !matches!(top, "lock" | "packs" | "index" | "manifest")
}

/// Whether the first and last of `kept` bytes are those of the source.
fn sample_agrees(from: &Archive, there: &Destination, name: &str, kept: u64) -> Result<bool, CopyError> {
    let first = kept.min(SAMPLE_BYTES);
    let last = (kept - first).min(SAMPLE_BYTES);
    for (offset, bytes) in [(0, first), (kept - last, last)] {
        let path = |medium: &dyn Medium| format!("{}/{name}", medium.describe());
        let ours = from.medium.read_at(name, offset, bytes as usize);
        let ours = ours.map_err(CopyError::reading(path(&*from.medium)))?;
        // What cannot be read there is compared, and found out, in full.
        if there.medium.read_at(name, offset, bytes as usize).ok().as_ref() != Some(&ours) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The companions that are absent at the destination or not alike, with their bytes.
pub(super) fn companions(from: &Archive, there: &Destination) -> Vec<(&'static str, Vec<u8>)> {
    COMPANIONS
        .into_iter()
        .filter_map(|name| {
            // Unless it is signed, whoever finds the copy finds the root of just this state.
            let is_own = name == ROOT_FILE && from.medium.len(SIGNATURE_FILE).is_err();
            let ours = match is_own {
                true => from.root().ok()?.text().into_bytes(),
                false => from.medium.read(name).ok()?,
            };
            let same = there.medium.read(name).is_ok_and(|theirs| theirs == ours);
            (!same).then_some((name, ours))
        })
        .collect()
}

/// The two head slots in the order in which they may be overwritten: the one that does
/// not hold the newest head there first.
pub(super) fn head_order(there: &Destination) -> [&'static str; 2] {
    let generation = |name: &str| {
        let bytes = there.medium.read(name).ok()?;
        let head = Head::decode(&bytes).ok()?;
        // A head that cannot be opened is no state to keep.
        let opened = there.archive.as_ref().map(|archive| archive.head.generation);
        opened
            .filter(|opened| head.generation <= *opened)
            .map(|_| head.generation)
    };
    let [zero, one] = HEAD_NAMES;
    if generation(zero) > generation(one) {
        [one, zero]
    } else {
        [zero, one]
    }
}

/// SHA-256 of both heads, so that a copy of a copy changes nothing.
pub(super) fn has_head(there: &Destination, name: &str, head: &Head) -> bool {
    let read = there.medium.read(name).ok();
    let theirs = read.and_then(|bytes| Head::decode(&bytes).ok());
    theirs.is_some_and(|theirs| theirs.hash() == head.hash())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 that the head states for `name`, if it states one.
pub(super) fn named_sha256(head: &Head, name: &str) -> Option<[u8; 32]> {
    let indexes = head.indexes.iter().map(|one| (index_name(one.generation), one.sha256));
    let manifests = head
        .manifests
        .iter()
        .map(|one| (manifest_name(one.generation), one.sha256));
    let extras = head.extras.iter().map(|one| (one.path.clone(), one.sha256));
    let mut all = indexes.chain(manifests).chain(extras);
    all.find(|(named, _)| named == name).map(|(_, sha256)| sha256)
}

/// Whether bytes `offset..offset + bytes` of the source's file are whole, by the
/// checksums that cover them.
pub(super) fn source_is_whole(from: &Archive, name: &str, offset: u64, bytes: u64) -> bool {
    if let Some(expected) = named_sha256(&from.head, name) {
        let read = from.medium.read(name);
        return read.is_ok_and(|bytes| Sha256::digest(bytes)[..] == expected[..]);
    }
    let Ok(entries) = from.entries() else { return false };
    entries
        .iter()
        .filter(|entry| pack_name(entry.pack) == name)
        .filter(|entry| {
            let start = u64::from(entry.record_offset);
            start < offset + bytes && offset < start + u64::from(entry.record_bytes)
        })
        .all(|entry| from.record(entry).is_ok())
}
