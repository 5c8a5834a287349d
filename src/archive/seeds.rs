//! What the seeds held were made from, as far as the notes held tell. [R 5.15]

use super::{Archive, Error};
use crate::format::index::EntryKind;
use crate::format::note::Note;
use crate::ids::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// The seeds of an archive, notes apart.
#[derive(Debug, Default)]
pub(super) struct Seeds {
    /// Notes of nothing but the lines that this version knows.
    notes: BTreeMap<Digest, Note>,
    /// All others that are held: seeds, and what may be anything.
    others: BTreeSet<Digest>,
}

impl Seeds {
    /// Reads every seed that `archive` holds. One that is damaged may be anything.
    ///
    /// # Errors
    /// When the index is damaged.
    pub fn of(archive: &Archive) -> Result<Seeds, Error> {
        let mut seeds = Seeds::default();
        let held = archive.entries()?;
        for entry in held.iter().filter(|entry| entry.kind == EntryKind::Seed) {
            let content = archive.decode(entry, &|_| None).map(|(_, content)| content);
            let note = content.ok().and_then(|content| {
                let note = Note::decode(&content).ok()?;
                // Lines of other programs may say anything.
                (note.encode() == *content).then_some(note)
            });
            match note {
                Some(note) => drop(seeds.notes.insert(entry.digest, note)),
                None => drop(seeds.others.insert(entry.digest)),
            }
        }
        Ok(seeds)
    }

    /// Those that may have bytes of `crate_files`: that a note tells to have, or that no
    /// note tells of.
    pub fn with_bytes_of(&self, crate_files: &BTreeSet<Digest>) -> BTreeSet<Digest> {
        let mut free: BTreeSet<Digest> = BTreeSet::new();
        let mut having: BTreeSet<Digest> = BTreeSet::new();
        for (seed, sources) in self.notes.values().flat_map(|note| &note.seeds) {
            let has = sources.is_empty() || sources.iter().any(|source| crate_files.contains(source));
            if has { &mut having } else { &mut free }.insert(*seed);
        }
        let may_have = |seed: &&Digest| having.contains(seed) || !free.contains(seed);
        self.others.iter().filter(may_have).copied().collect()
    }

    /// The notes that tell of any of `seeds`.
    pub fn notes_of(&self, seeds: &impl Fn(&Digest) -> bool) -> Vec<Digest> {
        let tells = |note: &Note| note.seeds.iter().any(|(seed, _)| seeds(seed));
        let telling = self.notes.iter().filter(|(_, note)| tells(note));
        telling.map(|(digest, _)| *digest).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;
    use crate::archive::{CommitInfo, Writer, encode};

    fn hold(writer: &Writer, content: &[u8]) -> Digest {
        let (meta, frame) = encode::encode_seed(content, 3).unwrap();
        writer.append(&meta, &frame).unwrap();
        meta.id()
    }

    fn note(seeds: Vec<(Digest, Vec<Digest>)>) -> Vec<u8> {
        let note = Note {
            seeds,
            ..Note::default()
        };
        note.encode()
    }

    #[test]
    fn only_what_is_told_to_be_free_of_it_stays() {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(folder.path()).unwrap();
        let [a, b, c] = [&b"a"[..], b"b", b"c"].map(Digest::of);
        let of_a = hold(&writer, b"made from a and b");
        let of_b = hold(&writer, b"made from b");
        let told_twice = hold(&writer, b"made from c, as one note has it");
        let of_nothing = hold(&writer, b"made from nothing, it says");
        let unknown = hold(&writer, b"told of nowhere");
        let first = hold(
            &writer,
            &note(vec![(of_a, vec![a, b]), (of_b, vec![b]), (told_twice, vec![c])]),
        );
        let second = hold(&writer, &note(vec![(told_twice, vec![a]), (of_nothing, vec![])]));
        let odd = hold(
            &writer,
            &[&note(vec![])[..], b"later words, or bytes of anything\n"].concat(),
        );
        writer.commit(&CommitInfo::default()).unwrap();
        let seeds = writer.with_archive(Seeds::of).unwrap();
        let having = |crate_files: &[Digest]| seeds.with_bytes_of(&crate_files.iter().copied().collect());
        let set = |digests: &[Digest]| digests.iter().copied().collect::<BTreeSet<_>>();
        let always = [of_nothing, unknown, odd];
        assert_eq!(having(&[]), set(&always));
        assert_eq!(having(&[a]), set(&[&always[..], &[of_a, told_twice]].concat()));
        assert_eq!(having(&[b]), set(&[&always[..], &[of_a, of_b]].concat()));
        assert_eq!(having(&[c]), set(&[&always[..], &[told_twice]].concat()));

        let telling = seeds.notes_of(&|seed| *seed == told_twice);
        assert_eq!(telling.into_iter().collect::<BTreeSet<_>>(), set(&[first, second]));
        assert_eq!(seeds.notes_of(&|seed| *seed == of_b), [first]);
    }
}
