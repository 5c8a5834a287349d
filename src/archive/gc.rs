//! What lies in an archive that its newest snapshot does not need, and removing it.
//!
//! Files with names that are not the archive's own are nobody's business here.

use super::names::{
    HEAD_NAMES, Numbered, PACK_HEADER_READ_BYTES, named_files, numbered, read_pack_header, recovery_files,
};
use super::{Archive, CommitInfo, Error, Writer};
use crate::format::head::Head;
use crate::store::Medium;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Why a file is not needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Only the snapshot before names it.
    Older,
    /// No snapshot names it.
    Unnamed,
}

/// A file that is not needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Its path in the archive.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Why it is not needed.
    pub why: Why,
}

/// How much of a pack is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackShare {
    /// Its number.
    pub pack: u32,
    /// Its committed length.
    pub bytes: u64,
    /// Bytes of the records that the index points to.
    pub live_bytes: u64,
}

impl PackShare {
    /// Whether less than `percent` of it is needed.
    pub fn is_below(&self, percent: u8) -> bool {
        self.live_bytes.saturating_mul(100) < self.bytes.saturating_mul(u64::from(percent))
    }
}

/// What an archive could do without.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Garbage {
    /// Files to remove.
    pub files: Vec<Leftover>,
    /// Packs to rewrite: so little of them is needed.
    pub packs: Vec<PackShare>,
}

impl Garbage {
    /// Bytes that will be free again.
    pub fn free_bytes(&self) -> u64 {
        let files: u64 = self.files.iter().map(|file| file.bytes).sum();
        let packs = self.packs.iter().map(|pack| pack.bytes.saturating_sub(pack.live_bytes));
        files + packs.sum::<u64>()
    }
}

impl Archive {
    /// What this snapshot does not need: files that it does not name, and packs of
    /// which less than `min_live` percent is still pointed to.
    ///
    /// Whole records of packs that were never committed are not listed: the next
    /// writer takes them in. [R 10.7]
    ///
    /// # Errors
    /// When an index is damaged, a folder cannot be read, or a head cannot be used:
    /// its snapshot may be the newest, and need what looks unneeded.
    pub fn garbage(&self, min_live: u8) -> Result<Garbage, Error> {
        let named = names_of(&self.head);
        let mut older: HashSet<String> = HashSet::new();
        for name in HEAD_NAMES {
            let head = match self.medium.read(name) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::io(name)(error)),
                Ok(bytes) => Head::decode(&bytes).map_err(Error::damaged(name))?,
            };
            if head.generation > self.head.generation {
                return Err(Error::Rejected(format!(
                    "{name} tells of snapshot {}, but {} was opened: nothing is removed until `cratehold repair` has looked",
                    head.generation, self.head.generation
                )));
            }
            older.extend(names_of(&head));
        }
        let last = self.head.packs.last().map_or(0, |entry| entry.pack);
        let mut files = Vec::new();
        for folder in ["packs", "index", "manifest"] {
            for file in numbered(&*self.medium, folder).map_err(Error::io(folder))? {
                let is_new_pack = folder == "packs" && file.number > u64::from(last);
                if named.contains(&file.name) || is_new_pack && self.may_be_adopted(&file.name) {
                    continue;
                }
                let why = match older.contains(&file.name) {
                    true => Why::Older,
                    false => Why::Unnamed,
                };
                let Numbered { name, bytes, .. } = file;
                files.push(Leftover { name, bytes, why });
            }
        }
        for file in recovery_files(&*self.medium).map_err(Error::io("recovery"))? {
            let target = file.target.name();
            if named.contains(&target) {
                continue;
            }
            let why = match older.contains(&target) {
                true => Why::Older,
                false => Why::Unnamed,
            };
            let (name, bytes) = (file.name, file.bytes);
            files.push(Leftover { name, bytes, why });
        }
        let mut live: BTreeMap<u32, u64> = BTreeMap::new();
        for entry in self.entries()? {
            *live.entry(entry.pack).or_default() += u64::from(entry.record_bytes);
        }
        let shares = self.head.packs.iter().map(|entry| PackShare {
            pack: entry.pack,
            bytes: entry.bytes,
            live_bytes: live.get(&entry.pack).copied().unwrap_or(0),
        });
        // The newest pack may be an empty one that only keeps its number taken.
        let packs = shares
            .filter(|share| share.is_below(min_live) && (share.pack != last || share.bytes > PACK_HEADER_READ_BYTES))
            .collect();
        Ok(Garbage { files, packs })
    }

    fn may_be_adopted(&self, name: &str) -> bool {
        read_pack_header(&*self.medium, name).is_ok_and(|header| header.archive_id == self.head.archive_id)
    }
}

fn names_of(head: &Head) -> HashSet<String> {
    named_files(head).map(|(name, _)| name).collect()
}

impl Writer {
    /// Rewrites the packs and removes the files of `garbage`; returns the bytes that
    /// the archive's files are now less. `progress` hears the bytes of each record
    /// moved. Safe at any moment: what is not done yet is done by the next run.
    ///
    /// # Errors
    /// When a record of a pack to rewrite is damaged, or writing fails.
    pub fn collect(&self, garbage: &Garbage, progress: &dyn Fn(u64)) -> Result<u64, Error> {
        let info = CommitInfo {
            source: "gc".into(),
            ..CommitInfo::default()
        };
        let before = self.with_archive(Archive::disk_bytes)?;
        // What was adopted when this writer was opened is not lost with its pack.
        self.commit(&info)?;
        for share in &garbage.packs {
            self.move_records(&BTreeSet::from([share.pack]), progress)?;
            self.commit(&info)?;
        }
        self.settle(&info)?;
        let named = self.with_archive(|archive| names_of(archive.head()));
        for file in &garbage.files {
            if named.contains(&file.name) {
                continue;
            }
            match self.medium().remove(&file.name) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Error::io(&file.name)(error)),
                _ => {}
            }
        }
        let after = self.with_archive(Archive::disk_bytes)?;
        Ok(before.saturating_sub(after))
    }
}

/// After a commit: removes segments and packs that neither of the two heads names.
/// [R 10.6] What cannot be removed now is removed by a later commit.
pub(super) fn sweep(medium: &dyn Medium, head: &Head, previous: &Head) {
    let named: HashSet<String> = names_of(head).union(&names_of(previous)).cloned().collect();
    let last = head.packs.last().map_or(0, |entry| entry.pack);
    // Recovery data goes before what it is for: from it that could be had again. [R 15.5]
    for file in recovery_files(medium).unwrap_or_default() {
        if !named.contains(&file.target.name()) {
            let _ = medium.remove(&file.name);
        }
    }
    for folder in ["index", "manifest", "packs"] {
        for file in numbered(medium, folder).unwrap_or_default() {
            // Packs with higher numbers are for the next writer to take in.
            let is_settled = folder != "packs" || file.number < u64::from(last);
            if is_settled && !named.contains(&file.name) {
                let _ = medium.remove(&file.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;
    use crate::archive::{Depth, EncodeOptions, encode};
    use crate::ids::Digest;
    use std::path::Path;

    fn store(writer: &Writer, name: &str) -> Digest {
        let noise: Vec<u8> = (0..200u32)
            .flat_map(|i| Digest::of(format!("{name}{i}").as_bytes()).0)
            .collect();
        let digest = Digest::of(&noise);
        let content = encode::undo(noise, digest, None, None).unwrap();
        let release = format!("{name}@1.0.0").parse().unwrap();
        let (meta, frame) = encode::encode(&release, &content, None, EncodeOptions::default()).unwrap();
        writer.append(&meta, &frame).unwrap();
        digest
    }

    fn files(folder: &Path) -> Vec<String> {
        let mut names = Vec::new();
        for folder in ["packs", "index", "manifest"].map(|name| folder.join(name)) {
            for file in std::fs::read_dir(folder).unwrap() {
                names.push(file.unwrap().file_name().into_string().unwrap());
            }
        }
        names.sort();
        names
    }

    #[test]
    fn only_what_no_snapshot_needs_goes() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let info = CommitInfo::default();
        let writer = Writer::open(folder).unwrap();
        let digests: Vec<Digest> = ["a", "b", "c"].map(|name| store(&writer, name)).to_vec();
        writer.commit(&info).unwrap();
        writer.begin_pack().unwrap();
        // Stored anew: of the first pack a third is needed.
        store(&writer, "a");
        store(&writer, "b");
        writer.commit(&info).unwrap();
        drop(writer);
        std::fs::write(folder.join("index/00000077.idx"), b"left over").unwrap();
        std::fs::write(folder.join("packs/00000009.pak"), b"of no archive").unwrap();
        std::fs::write(folder.join("packs/._00000001.pak"), b"the system's own").unwrap();

        let archive = Archive::open(folder).unwrap();
        let garbage = archive.garbage(50).unwrap();
        let found: Vec<(&str, Why)> = garbage.files.iter().map(|file| (&*file.name, file.why)).collect();
        assert_eq!(
            found,
            [
                ("packs/00000009.pak", Why::Unnamed),
                ("index/00000001.idx", Why::Older),
                ("index/00000077.idx", Why::Unnamed),
            ]
        );
        assert_eq!(garbage.packs.iter().map(|pack| pack.pack).collect::<Vec<_>>(), [1]);
        assert!(archive.garbage(20).unwrap().packs.is_empty());

        let writer = Writer::open(folder).unwrap();
        let freed = writer.collect(&garbage, &|_| {}).unwrap();
        drop(writer);
        assert!(freed > 12_000, "{freed}");
        assert_eq!(
            files(folder),
            ["._00000001.pak", "00000002.idx", "00000002.pak", "00000003.idx"]
        );
        let archive = Archive::open(folder).unwrap();
        assert_eq!(archive.verify(Depth::Full, 1, &|_| {}).unwrap().problems, []);
        for digest in &digests {
            archive.read_crate(digest).unwrap();
        }
        let again = archive.garbage(75).unwrap();
        assert_eq!((again.files, again.packs), (vec![], vec![]));
    }

    #[test]
    fn nothing_goes_while_a_head_cannot_be_used() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let writer = Writer::open(folder).unwrap();
        store(&writer, "a");
        writer.commit(&CommitInfo::default()).unwrap();
        drop(writer);
        let mut head = std::fs::read(folder.join("head1")).unwrap();
        head[60] ^= 1;
        std::fs::write(folder.join("head1"), head).unwrap();
        let archive = Archive::open(folder).unwrap();
        assert!(archive.garbage(50).unwrap_err().to_string().contains("head1"));
    }
}
