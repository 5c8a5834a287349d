//! What the files of an archive are called, and which of them a head names.
//! Spec section 2.

use super::protect::Target;
use super::sign::{ROOT_FILE, SIGNATURE_FILE};
use crate::format::head::Head;
use crate::format::pack::PackHeader;
use crate::format::recovery::TargetKind;
use crate::store::Medium;
use std::io;

/// The two head files.
pub(super) const HEAD_NAMES: [&str; 2] = ["head0", "head1"];
/// The folders of numbered files, and how the names in each end.
const FOLDERS: [(&str, &str); 3] = [("packs", ".pak"), ("index", ".idx"), ("manifest", ".man")];
/// Files for people and the signature: they go with an archive, and no head names them.
/// Two were not deflated in archives of before.
pub const COMPANIONS: [&str; 8] = [
    "README.txt",
    "format-1.md.gz",
    "engines.md.gz",
    "format-1.md",
    "engines.md",
    "reader.py",
    ROOT_FILE,
    SIGNATURE_FILE,
];
/// So many bytes of a pack are read for its header, which is far shorter.
pub(super) const PACK_HEADER_READ_BYTES: u64 = 4096;

/// A pack's file name.
pub(super) fn pack_name(pack: u32) -> String {
    format!("packs/{pack:08}.pak")
}

/// An index segment's file name.
pub(super) fn index_name(generation: u64) -> String {
    format!("index/{generation:08}.idx")
}

/// A manifest segment's file name.
pub(super) fn manifest_name(generation: u64) -> String {
    format!("manifest/{generation:08}.man")
}

/// A file with a name of the archive's own.
#[derive(Debug)]
pub(super) struct Numbered {
    /// Its path in the archive.
    pub name: String,
    /// The number in it: a pack's, or a generation.
    pub number: u64,
    /// Its length.
    pub bytes: u64,
}

impl Numbered {
    /// The number as a pack's.
    pub fn pack(&self) -> Option<u32> {
        u32::try_from(self.number).ok()
    }
}

/// The files of one of the three folders whose names are exactly as R 2.1 has them.
/// Others, such as what an operating system left behind, are nobody's business.
pub(super) fn numbered(medium: &dyn Medium, folder: &str) -> io::Result<Vec<Numbered>> {
    let suffix = FOLDERS
        .iter()
        .find(|(known, _)| *known == folder)
        .map_or("", |(_, suffix)| suffix);
    let files = medium.list(folder)?.into_iter();
    Ok(files
        .filter_map(|(file, bytes)| {
            let number: u64 = file.strip_suffix(suffix)?.parse().ok()?;
            (file == format!("{number:08}{suffix}")).then(|| Numbered {
                name: format!("{folder}/{file}"),
                number,
                bytes,
            })
        })
        .collect())
}

/// How the name of a recovery file ends, by what it is for; then comes its slot.
const RECOVERY_LETTERS: [(TargetKind, char); 3] = [
    (TargetKind::Pack, 'p'),
    (TargetKind::Index, 'i'),
    (TargetKind::Manifest, 'm'),
];

/// A file with recovery data. [R 15.1]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RecoveryFile {
    /// Its path in the archive.
    pub name: String,
    /// What it is for.
    pub target: Target,
    /// Which of two names for that it has.
    pub slot: u8,
    /// Its length.
    pub bytes: u64,
}

/// A recovery file's name.
pub(super) fn recovery_name(target: Target, slot: u8) -> String {
    let letter = RECOVERY_LETTERS.iter().find(|(kind, _)| *kind == target.kind);
    let letter = letter.map_or('p', |(_, letter)| *letter);
    format!("recovery/{:08}.{letter}{slot}", target.number)
}

/// The recovery files, whatever they cover, by name.
pub(super) fn recovery_files(medium: &dyn Medium) -> io::Result<Vec<RecoveryFile>> {
    let files = medium.list("recovery")?.into_iter();
    let parse = |file: &str| {
        let (number, suffix) = file.split_once('.')?;
        let number: u64 = number.parse().ok()?;
        let known = |&(kind, letter): &(TargetKind, char)| {
            let slot = [0, 1].into_iter().find(|slot| suffix == format!("{letter}{slot}"))?;
            Some((Target { kind, number }, slot))
        };
        RECOVERY_LETTERS.iter().find_map(known)
    };
    Ok(files
        .filter_map(|(file, bytes)| {
            let (target, slot) = parse(&file)?;
            let name = recovery_name(target, slot);
            (name == format!("recovery/{file}")).then_some(RecoveryFile {
                name,
                target,
                slot,
                bytes,
            })
        })
        .collect())
}

/// Every file that `head` names, with its length.
pub(super) fn named_files(head: &Head) -> impl Iterator<Item = (String, u64)> + '_ {
    let packs = head.packs.iter().map(|one| (pack_name(one.pack), one.bytes));
    let indexes = head.indexes.iter().map(|one| (index_name(one.generation), one.bytes));
    let manifests = head
        .manifests
        .iter()
        .map(|one| (manifest_name(one.generation), one.bytes));
    let extras = head.extras.iter().map(|one| (one.path.clone(), one.bytes));
    packs.chain(indexes).chain(manifests).chain(extras)
}

/// The header of the pack file `name`, or why it cannot be read.
pub(super) fn read_pack_header(medium: &dyn Medium, name: &str) -> Result<PackHeader, String> {
    let read = |bytes: u64| medium.read_at(name, 0, bytes.min(PACK_HEADER_READ_BYTES) as usize);
    let start = medium.len(name).and_then(read).map_err(|error| error.to_string())?;
    let (header, _) = PackHeader::decode(&start).map_err(|damage| damage.to_string())?;
    Ok(header)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;
    use crate::store::DiskMedium;

    #[test]
    fn only_names_exactly_as_they_are_written_count() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("packs")).unwrap();
        for file in [
            "00000001.pak",
            "1.pak",
            "000000001.pak",
            "123456789.pak",
            "+0000002.pak",
            "._00000003.pak",
            "00000004.idx",
        ] {
            std::fs::write(folder.path().join("packs").join(file), file).unwrap();
        }
        let found = numbered(&DiskMedium::new(folder.path()), "packs").unwrap();
        let found: Vec<(u64, u64)> = found.iter().map(|file| (file.number, file.bytes)).collect();
        assert_eq!(found, [(1, 12), (123_456_789, 13)]);
    }
}
