//! Seeds: one that has bytes of what is erased goes, one that has none stays. [R 14.3]

use super::*;
use cratehold::archive::{ChainBudget, OptimizeOptions};
use cratehold::format::index::EntryKind;

/// Too much to be part of a seed.
const LARGE: &str = "large@1.0.0";
/// Part of it.
const SMALL: &str = "k07@1.0.0";

/// Small crates of much the same text and one that is larger, optimized: the small ones
/// lie in a seed, and are compressed against it.
fn optimized(folder: &Path, marked: &str) -> Files {
    let licence: String = (0..60).map(|i| format!("licence {}\n", Digest::of(&[i]))).collect();
    let small = (0..12).map(|i| format!("k{i:02}@1.0.0"));
    let writer = Writer::open(folder).unwrap();
    let mut files = Files::new();
    for release in small.chain([LARGE.to_owned()]) {
        let lines = if release == LARGE { 6000 } else { 40 };
        let mut text = licence.clone();
        for i in 0..lines {
            text += &format!("{}\n", Digest::of(format!("{release}{i}").as_bytes()));
            if release == marked {
                text += &format!("// {MARKER}{i}\n");
            }
        }
        let parsed: Release = release.parse().unwrap();
        let file = pack(&parsed, &text);
        writer.add(&parsed, file.clone(), EncodeOptions::default()).unwrap();
        files.insert(release, file);
    }
    writer.commit(&CommitInfo::default()).unwrap();
    assert_eq!(optimize(&writer), (1, 1));
    files
}

/// Shelves and seeds made.
fn optimize(writer: &Writer) -> (u64, u64) {
    let report = writer.optimize(&OptimizeOptions {
        level: 9,
        chain: ChainBudget::default(),
        pack_bytes: 1 << 30,
        threads: 2,
        memory_bytes: 64 << 20,
        stop: &|| false,
        begin: &|_| {},
        progress: &|_, _| {},
        committed: &|_| {},
    });
    let report = report.unwrap();
    (report.made, report.seeds)
}

/// The seeds held, and the notes.
fn seeds(folder: &Path) -> (Vec<Digest>, Vec<Digest>) {
    let archive = Archive::open(folder).unwrap();
    let entries = archive.entries().unwrap().into_iter();
    let held = entries.filter(|entry| entry.kind == EntryKind::Seed);
    let is_note = |digest: &Digest| content_of(&archive, digest).unwrap().starts_with(b"cratehold note 1\n");
    let (notes, seeds) = held.map(|entry| entry.digest).partition(is_note);
    (seeds, notes)
}

fn compressed_against(folder: &Path, base: Digest) -> Vec<Digest> {
    let of = |record: &[u8]| RecordMeta::decode(record).unwrap().0.base.map(Digest);
    let records = records(folder).into_iter();
    let against = records.filter(|(_, record)| of(record) == Some(base));
    against.map(|(digest, _)| digest).collect()
}

#[test]
fn a_seed_without_it_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let files = optimized(folder, LARGE);
    let before = records(folder);
    let (seeds_before, notes) = seeds(folder);
    assert_eq!((seeds_before.len(), notes.len()), (1, 1));

    let plan = purge(folder, &[target(LARGE)]).unwrap();
    assert_eq!((plan.seeds.len(), plan.dependents.len(), plan.held.len()), (0, 0, 1));
    assert_no_traces(folder, &[LARGE]);
    assert_kept(folder, &files, &[LARGE]);
    assert_eq!(seeds(folder), (seeds_before, notes));
    for (digest, record) in records(folder) {
        assert!(record == before[&digest], "{digest}");
    }
}

#[test]
fn a_seed_with_it_goes_and_what_was_compressed_against_it_stays() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let files = optimized(folder, SMALL);
    let before = records(folder);
    let (seeds_before, notes) = seeds(folder);
    let seed = seeds_before[0];
    let content = content_of(&Archive::open(folder).unwrap(), &seed).unwrap();
    assert!(contains(&content, MARKER.as_bytes()), "the seed has it");
    let mut against = compressed_against(folder, seed);
    against.retain(|digest| *digest != Digest::of(&files[SMALL]));
    assert!(against.len() > 5, "{against:?}");

    let plan = purge(folder, &[target(SMALL)]).unwrap();
    assert_eq!(plan.seeds, [seed]);
    let mut dependents = plan.dependents.clone();
    dependents.sort();
    assert_eq!(dependents, against);
    assert_no_traces(folder, &[SMALL]);
    assert_kept(folder, &files, &[SMALL]);
    assert_eq!(seeds(folder), (vec![], notes), "what a note tells are only digests");
    for (digest, record) in records(folder) {
        assert_eq!(record == before[&digest], !against.contains(&digest), "{digest}");
    }

    // Optimized once more: a seed of what is left.
    assert_eq!(optimize(&Writer::open(folder).unwrap()), (1, 1));
    assert_no_traces(folder, &[SMALL]);
    assert_kept(folder, &files, &[SMALL]);
    let (again, notes_again) = seeds(folder);
    assert_eq!((again.len(), notes_again.len()), (1, 1));
    assert!(again[0] != seed);
}
