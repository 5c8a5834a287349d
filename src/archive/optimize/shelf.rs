//! Shelves: which crate files are optimized together, and lie together in packs.
//!
//! A shelf is some crates whose keys follow each other. Where one ends is for the keys to
//! say: a crate more or less moves the ends near it, and leaves all other shelves, and so
//! the bytes of their packs, as they were.

use crate::archive::{Archive, Error};
use crate::format::index::{Entry, EntryKind};
use crate::ids::{CrateName, Digest, Release, Version, name_key};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

/// A shelf holds so many bytes of crate files at least, as long as there are any.
const MIN_CRATE_BYTES: u64 = 48 << 20;
/// From so many on it ends behind the next crate.
const MAX_CRATE_BYTES: u64 = 192 << 20;
/// Between the two, one key in so many begins a shelf.
const ONE_IN: u8 = 16;

/// A crate file that is held, of whichever of its releases comes first.
#[derive(Debug, Clone)]
struct Listed {
    version: Box<str>,
    digest: Digest,
    crate_bytes: u32,
}

/// All that is held, by crate; about a hundred bytes a crate file.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Key, name, crate files by version.
    crates: Vec<(String, String, Vec<Listed>)>,
}

/// A crate file of a shelf.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub release: Release,
    pub digest: Digest,
    pub crate_bytes: u64,
}

impl Listing {
    /// What `archive` holds. Records whose name or version no registry would accept are
    /// left out: they stay where they are.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn of(archive: &Archive) -> Result<Listing, Error> {
        let mut crates: BTreeMap<String, (String, Vec<Listed>)> = BTreeMap::new();
        let mut seen = HashSet::new();
        archive.each_crate(|state| {
            let mut releases: Vec<_> = state.releases.iter().collect();
            releases.sort_by(|a, b| (&a.version, a.digest).cmp(&(&b.version, b.digest)));
            for release in releases {
                // The same bytes may be several releases: the first by key and version counts.
                if let Some(entry) = archive.find(&release.digest)?
                    && entry.kind == EntryKind::Blob
                    && state.name.parse::<CrateName>().is_ok()
                    && seen.insert(release.digest)
                {
                    let crates = crates.entry(name_key(&state.name));
                    let (_, files) = crates.or_insert_with(|| (state.name.clone(), Vec::new()));
                    files.push(Listed::new(&release.version, &entry));
                }
            }
            Ok::<(), Error>(())
        })?;
        // What no event tells of, such as records taken in after a crash.
        for (i, segment) in archive.index_segments().iter().enumerate() {
            for entry in segment.entries() {
                let entry = entry.map_err(|damage| archive.index_damage(i, damage))?;
                if entry.kind != EntryKind::Blob || seen.contains(&entry.digest) {
                    continue;
                }
                let Some(entry) = archive.find(&entry.digest)? else {
                    continue;
                };
                let meta = archive.record(&entry)?;
                seen.insert(entry.digest);
                if let (Ok(name), Ok(version)) = (meta.name.parse::<CrateName>(), meta.version.parse::<Version>()) {
                    let (_, files) = crates.entry(name.key()).or_insert_with(|| (meta.name, Vec::new()));
                    files.push(Listed::new(&version, &entry));
                }
            }
        }
        let crates = crates.into_iter().map(|(key, (name, files))| (key, name, files));
        Ok(Listing {
            crates: crates.collect(),
        })
    }

    /// The shelves, as ranges of crates.
    pub fn shelves(&self) -> Vec<Range<usize>> {
        let (mut shelves, mut start, mut crate_bytes) = (Vec::new(), 0, 0);
        for (at, (key, _, files)) in self.crates.iter().enumerate() {
            let begins = Sha256::digest(key)[0] % ONE_IN == 0;
            if crate_bytes >= MAX_CRATE_BYTES || crate_bytes >= MIN_CRATE_BYTES && begins {
                shelves.push(start..at);
                (start, crate_bytes) = (at, 0);
            }
            crate_bytes += files.iter().map(|file| u64::from(file.crate_bytes)).sum::<u64>();
        }
        if start < self.crates.len() {
            shelves.push(start..self.crates.len());
        }
        shelves
    }

    /// The crate files of some crates: by key, then by version.
    pub fn members(&self, crates: Range<usize>) -> Vec<Member> {
        let mut members = Vec::new();
        for (_, name, files) in &self.crates[crates] {
            let of_crate = files.iter().filter_map(|file| {
                let release = Release {
                    name: name.parse().ok()?,
                    version: file.version.parse().ok()?,
                };
                Some(Member {
                    release,
                    digest: file.digest,
                    crate_bytes: u64::from(file.crate_bytes),
                })
            });
            let start = members.len();
            members.extend(of_crate);
            members[start..].sort_by(|a: &Member, b| (&a.release, a.digest).cmp(&(&b.release, b.digest)));
        }
        members
    }

    /// Bytes of the crate files of some crates.
    pub fn crate_bytes(&self, crates: Range<usize>) -> u64 {
        let files = self.crates[crates].iter().flat_map(|(_, _, files)| files);
        files.map(|file| u64::from(file.crate_bytes)).sum()
    }
}

impl Listed {
    fn new(version: &Version, entry: &Entry) -> Listed {
        Listed {
            version: version.as_str().into(),
            digest: entry.digest,
            crate_bytes: entry.crate_bytes,
        }
    }
}

/// What stands for a shelf: its packs are the same if this is.
pub(super) fn shelf_id(members: &[Member], settings: &str) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update(settings);
    for member in members {
        hasher.update(format!("\n{} {}", member.release, member.digest));
    }
    Digest(hasher.finalize().into())
}
