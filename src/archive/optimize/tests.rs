//! The same in, the same out; stopped, gone on with, refreshed.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use super::*;
use crate::archive::encode::EncodeOptions;
use crate::archive::names::pack_name;
use crate::archive::{
    ApplyOptions, Archive, BundleOptions, DEFAULT_VOLUME_BYTES, Depth, Outcome, PartCrate, PartOptions, Since, Trust,
    apply, bundle, copy_part,
};
use crate::deflate::{Engine, Recipe, redo};
use crate::ids::Release;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Source text of a small vocabulary; `seed` makes it another.
fn prose(seed: u64, lines: usize) -> Vec<String> {
    let words = [
        "fn", "let", "self", "match", "pub", "struct", "impl", "usize", "Option", "iter", "map", "vec",
    ];
    let mut random = fastrand::Rng::with_seed(seed);
    (0..lines)
        .map(|_| {
            let line: Vec<String> = (0..random.usize(3..9))
                .map(|_| format!("{}{}", random.choice(words).unwrap(), random.u8(0..40)))
                .collect();
            line.join(" ")
        })
        .collect()
}

/// A crate file whose versions differ in a few lines from one another.
fn crate_file(release: &str) -> (Release, Vec<u8>) {
    let release: Release = release.parse().unwrap();
    let seed = release.name.as_str().bytes().map(u64::from).sum();
    // What many crates have in common, but no two the same.
    let mut random = fastrand::Rng::with_seed(seed);
    let mut lines = prose(seed, 100);
    for block in random.choose_multiple(0..40u64, 12) {
        lines.extend(prose(1_000_000 + block, 20));
    }
    for step in 0..=release.version.semver().minor {
        let mut random = fastrand::Rng::with_seed(seed * 1000 + step);
        for line in prose(seed + 7 * step + 1, 10) {
            let at = random.usize(..lines.len());
            lines.insert(at, line);
        }
    }
    let mut licence = prose(4242, 60);
    licence.append(&mut lines);
    let file = packed(&release, &licence.join("\n"));
    (release, file)
}

/// The crate file of a release with `text` as its only source.
fn packed(release: &Release, text: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, text) in [("Cargo.toml", "[package]\n"), ("src/lib.rs", text)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        let path = format!("{}/{path}", release.stem());
        builder.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    let tar = builder.into_inner().unwrap();
    let mut gzip = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 2, 255];
    gzip.extend_from_slice(format!("{}.crate\0", release.stem()).as_bytes());
    let trailer = [crc32fast::hash(&tar).to_le_bytes(), (tar.len() as u32).to_le_bytes()].concat();
    let recipe = Recipe {
        engine: Engine::Zlib9Mem8,
        header: gzip,
        trailer,
    };
    redo(&tar, &recipe)
}

/// Ten crates with four versions each.
fn crate_files() -> Vec<(Release, Vec<u8>)> {
    let names = [
        "alpha", "beta", "Gamma-x", "delta", "eps", "zeta", "eta", "theta", "iota", "kappa",
    ];
    names
        .iter()
        .flat_map(|name| (0..4).map(move |minor| crate_file(&format!("{name}@1.{minor}.0"))))
        .collect()
}

fn filled(folder: &Path, files: &[(Release, Vec<u8>)], level: i32) -> Writer {
    let writer = Writer::open(folder).unwrap();
    let options = EncodeOptions {
        level,
        check_release: true,
        ..EncodeOptions::default()
    };
    for (release, file) in files {
        let outcome = writer.add(release, file.clone(), options).unwrap();
        assert!(matches!(outcome, Outcome::Stored { exact: true, .. }), "{outcome:?}");
    }
    writer.commit(&CommitInfo::default()).unwrap();
    writer
}

fn options(threads: usize) -> OptimizeOptions<'static> {
    OptimizeOptions {
        level: 12,
        chain: ChainBudget::default(),
        pack_bytes: 1 << 30,
        threads,
        memory_bytes: 64 << 20,
        stop: &|| false,
        begin: &|_| {},
        progress: &|_, _| {},
        committed: &|_| {},
    }
}

/// The bytes of all packs that the head names, but for such as only keep a number taken.
fn packs(archive: &Archive) -> Vec<Vec<u8>> {
    let named = archive.head().packs.iter().filter(|entry| entry.bytes > 100);
    let mut packs: Vec<Vec<u8>> = named
        .map(|entry| {
            let bytes = archive.medium.read(&pack_name(entry.pack)).unwrap();
            assert_eq!(bytes.len() as u64, entry.bytes);
            bytes
        })
        .collect();
    packs.sort();
    packs
}

fn check(archive: &Archive, files: &[(Release, Vec<u8>)]) {
    assert_eq!(archive.verify(Depth::Full, 2, &|_| {}).unwrap().problems, []);
    for (release, file) in files {
        assert!(archive.read_crate(&Digest::of(file)).unwrap() == *file, "{release}");
    }
}

#[test]
fn the_same_crate_files_become_the_same_packs() {
    let files = crate_files();
    let folder = tempfile::tempdir().unwrap();
    let mut backwards = files.clone();
    backwards.reverse();
    let mut shuffled = files.clone();
    fastrand::Rng::with_seed(5).shuffle(&mut shuffled);
    let mut all = Vec::new();
    for (name, files, level, threads) in [
        ("one", &files, 3, 1),
        ("two", &backwards, 9, 4),
        ("three", &shuffled, 1, 2),
    ] {
        let folder = folder.path().join(name);
        let writer = filled(&folder, files, level);
        let before = writer.with_archive(Archive::disk_bytes).unwrap();
        let report = writer.optimize(&options(threads)).unwrap();
        assert_eq!((report.made, report.kept, report.crates), (1, 0, 40), "{report:?}");
        assert_eq!(report.seeds, 1);
        drop(writer);
        let archive = Archive::open(&folder).unwrap();
        assert!(archive.disk_bytes().unwrap() < before / 2);
        check(&archive, files);
        all.push(packs(&archive));
    }
    assert_eq!(all[0].len(), 1);
    assert!(all[0] == all[1] && all[1] == all[2]);
}

#[test]
fn small_changes_everywhere_hide_no_base() {
    let version = |minor: usize| {
        let release: Release = format!("dense@1.{minor}.0").parse().unwrap();
        // Another end to every line: no piece is the same, and nearly all of the text is.
        let lines = prose(11, 600).into_iter().map(|line| format!("{line} // {minor}\n"));
        let file = packed(&release, &lines.collect::<String>());
        (release, file)
    };
    let files: Vec<_> = (0..3).map(version).collect();
    let folder = tempfile::tempdir().unwrap();
    let writer = filled(folder.path(), &files, 3);
    writer.optimize(&options(2)).unwrap();
    let archive = writer.with_archive(Archive::clone);
    check(&archive, &files);
    let entries = archive.entries().unwrap();
    let blobs = entries.iter().filter(|entry| entry.kind == EntryKind::Blob);
    let bases = blobs.filter(|entry| archive.record(entry).unwrap().base.is_some());
    assert_eq!(bases.count(), 2);
}

#[test]
fn what_is_done_is_not_done_again_and_what_is_new_is() {
    let mut files = crate_files();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let writer = filled(folder, &files, 3);
    writer.optimize(&options(2)).unwrap();
    let generation = writer.with_archive(Archive::generation);
    let report = writer.optimize(&options(2)).unwrap();
    assert_eq!((report.made, report.done_before), (0, 1));
    assert_eq!(writer.with_archive(Archive::generation), generation);

    let (release, file) = crate_file("beta@1.4.0");
    writer.add(&release, file.clone(), EncodeOptions::default()).unwrap();
    writer.commit(&CommitInfo::default()).unwrap();
    files.push((release, file));
    let report = writer.optimize(&options(2)).unwrap();
    assert_eq!((report.made, report.crates), (1, 41));
    // All but the new one, and those for which it is a better base.
    assert!((30..41).contains(&report.spared), "{report:?}");
    drop(writer);
    let archive = Archive::open(folder).unwrap();
    check(&archive, &files);
    assert_eq!(packs(&archive).len(), 1);

    let other = tempfile::tempdir().unwrap();
    let writer = filled(other.path(), &files, 3);
    writer.optimize(&options(1)).unwrap();
    drop(writer);
    assert!(packs(&Archive::open(other.path()).unwrap()) == packs(&archive));
}

#[test]
fn a_run_that_was_stopped_is_gone_on_with() {
    let files = crate_files();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let whole = tempfile::tempdir().unwrap();
    let writer = filled(whole.path(), &files, 3);
    writer.optimize(&options(2)).unwrap();
    let expected = writer.with_archive(packs);

    drop(filled(folder, &files, 3));
    let mut spared = 0;
    for records in [5, 10, 20, usize::MAX] {
        let writer = Writer::open(folder).unwrap();
        let written = AtomicUsize::new(0);
        let report = writer
            .optimize(&OptimizeOptions {
                stop: &|| written.load(Ordering::Relaxed) > records,
                progress: &|_, _| _ = written.fetch_add(1, Ordering::Relaxed),
                ..options(2)
            })
            .unwrap();
        assert_eq!(report.stopped, records != usize::MAX);
        assert!(report.spared >= spared, "{report:?} after {spared}");
        spared = report.crates.saturating_sub(1);
        drop(writer);
        check(&Archive::open(folder).unwrap(), &files);
    }
    assert!(spared > 20);
    let archive = Archive::open(folder).unwrap();
    assert!(packs(&archive) == expected);
    // What the stopped runs left is gone.
    let left = archive.medium.list("packs").unwrap();
    assert_eq!(left.len(), archive.head().packs.len(), "{left:?}");
}

#[test]
fn what_would_become_larger_stays() {
    let files = crate_files();
    let folder = tempfile::tempdir().unwrap();
    let writer = filled(folder.path(), &files, 3);
    writer.optimize(&options(2)).unwrap();
    let before = writer.with_archive(packs);
    let report = writer
        .optimize(&OptimizeOptions {
            level: 1,
            chain: ChainBudget {
                bytes: 1,
                factor: 1,
                depth: 1,
            },
            ..options(2)
        })
        .unwrap();
    assert_eq!((report.made, report.kept), (0, 1));
    assert!(writer.with_archive(packs) == before);
    drop(writer);
    check(&Archive::open(folder.path()).unwrap(), &files);
}

#[test]
fn the_chain_budget_and_the_length_of_packs_are_kept() {
    let files = crate_files();
    let folder = tempfile::tempdir().unwrap();
    let writer = filled(folder.path(), &files, 3);
    let chain = ChainBudget {
        bytes: 50_000,
        factor: 1,
        depth: 2,
    };
    writer
        .optimize(&OptimizeOptions {
            chain,
            pack_bytes: 20_000,
            ..options(2)
        })
        .unwrap();
    let archive = writer.with_archive(Archive::clone);
    check(&archive, &files);
    let named = packs(&archive);
    assert!(named.len() > 2 && named.iter().all(|pack| pack.len() <= 20_000));
    let entries = archive.entries().unwrap();
    for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Blob) {
        let (content_bytes, depth) = (u64::from(entry.content_bytes), u32::from(entry.chain_depth));
        assert!(chain.allows(content_bytes, entry.chain_bytes, depth), "{entry:?}");
        let meta = archive.record(entry).unwrap();
        assert_eq!(meta.chain_bytes, entry.chain_bytes);
    }
}

#[test]
fn a_note_says_where_seeds_came_from() {
    let files = crate_files();
    let folder = tempfile::tempdir().unwrap();
    let writer = filled(folder.path(), &files, 3);
    writer.optimize(&options(2)).unwrap();
    let archive = writer.with_archive(Archive::clone);
    let notes = spare::notes(&archive).unwrap();
    assert_eq!(notes.len(), 1);
    let note = notes.values().next().unwrap();
    let (seed, sources) = &note.seeds[0];
    let content_of = |digest| {
        let entry = archive.find(digest).unwrap().unwrap();
        archive.decode(&entry, &|_| None).unwrap().1
    };
    let expected: Vec<u8> = sources.iter().flat_map(|source| content_of(source).to_vec()).collect();
    assert!(*content_of(seed) == expected);
    assert!(sources.len() > 2);
    let used = archive.entries().unwrap().iter().any(|entry| {
        let meta = archive.record(entry).unwrap();
        meta.base == Some(seed.0)
    });
    assert!(used);
}

#[test]
fn a_crate_file_stored_as_it_came_is_undone_once_an_engine_gives_it() {
    let folder = tempfile::tempdir().unwrap();
    let files = crate_files();
    let writer = filled(folder.path(), &files[1..], 3);
    let (release, file) = &files[0];
    let content = encode::as_it_came(file.clone(), Digest::of(file));
    let (meta, frame) = encode::encode(release, &content, None, EncodeOptions::default()).unwrap();
    assert_eq!(meta.engine, 0);
    writer.append(&meta, &frame).unwrap();
    writer.note_held(release, content.digest).unwrap();
    writer.commit(&CommitInfo::default()).unwrap();
    let report = writer.optimize(&options(2)).unwrap();
    assert_eq!(report.undone, 1);
    let archive = writer.with_archive(Archive::clone);
    check(&archive, &files);
    assert_ne!(archive.find(&content.digest).unwrap().unwrap().engine, 0);
    // And then it is like any other.
    let other = tempfile::tempdir().unwrap();
    let writer = filled(other.path(), &files, 3);
    writer.optimize(&options(2)).unwrap();
    assert!(writer.with_archive(packs) == packs(&archive));
}

#[test]
fn another_folder_gets_the_same_and_this_one_stays_as_it_is() {
    let mut files = crate_files();
    let folders = tempfile::tempdir().unwrap();
    let (from, to) = (folders.path().join("from"), folders.path().join("to"));
    let writer = filled(&from, &files, 3);
    let archive = writer.with_archive(Archive::clone);
    let (root, before) = (archive.root().unwrap().hash, packs(&archive));
    // Stopped at first, so that there is something to go on from.
    let written = AtomicUsize::new(0);
    let stopped = OptimizeOptions {
        stop: &|| written.load(Ordering::Relaxed) > 10,
        progress: &|_, _| _ = written.fetch_add(1, Ordering::Relaxed),
        ..options(2)
    };
    assert!(optimize_to(&archive, &to, &stopped).unwrap().stopped);
    let report = optimize_to(&archive, &to, &options(2)).unwrap();
    assert!(report.spared > 5 && !report.stopped);
    assert!(packs(&archive) == before);
    let there = Archive::open(&to).unwrap();
    check(&there, &files);
    assert_eq!(there.root().unwrap().hash, root);
    assert_eq!(there.crates().unwrap().len(), 10);
    assert_ne!(there.head().archive_id, archive.head().archive_id);

    let (release, file) = crate_file("kappa@1.5.0");
    writer.add(&release, file.clone(), EncodeOptions::default()).unwrap();
    writer.commit(&CommitInfo::default()).unwrap();
    files.push((release, file));
    let archive = writer.with_archive(Archive::clone);
    let report = optimize_to(&archive, &to, &options(2)).unwrap();
    assert!(report.spared > 20, "{report:?}");
    let there = Archive::open(&to).unwrap();
    check(&there, &files);
    assert_eq!(there.root().unwrap().hash, archive.root().unwrap().hash);

    writer.optimize(&options(1)).unwrap();
    assert!(writer.with_archive(packs) == packs(&there));

    let stranger = folders.path().join("stranger");
    drop(filled(&stranger, &files[..3], 3));
    let error = optimize_to(&archive, &stranger, &options(1)).unwrap_err().to_string();
    assert!(error.contains("no earlier state"), "{error}");
}

#[test]
fn each_commit_is_told_and_tells_of_all_that_is_held() {
    let files = crate_files();
    let folder = tempfile::tempdir().unwrap();
    let writer = filled(folder.path(), &files, 3);
    let told = AtomicUsize::new(0);
    let committed = |archive: &Archive| {
        told.fetch_add(1, Ordering::Relaxed);
        check(archive, &files);
    };
    writer
        .optimize(&OptimizeOptions {
            committed: &committed,
            ..options(2)
        })
        .unwrap();
    assert_eq!(told.into_inner(), 2);
}

/// A part has no seeds: what was told against one is told against its crate's other
/// versions, or alone. A bundle has them.
#[test]
fn what_needs_seeds_is_given_on_without_or_with_them() {
    let files = crate_files();
    let folders = tempfile::tempdir().unwrap();
    let [whole, part, drive, other] = ["whole", "part", "drive", "other"].map(|name| folders.path().join(name));
    let writer = filled(&whole, &files, 3);
    assert_eq!(writer.optimize(&options(2)).unwrap().seeds, 1);
    let archive = writer.with_archive(Archive::clone);
    let seeds = |archive: &Archive| {
        let entries = archive.entries().unwrap().into_iter();
        entries.filter(|entry| entry.kind == EntryKind::Seed).count()
    };
    let some: Vec<_> = files
        .iter()
        .filter(|(release, _)| release.name.as_str() <= "eps")
        .cloned()
        .collect();
    let mut crates: BTreeMap<&str, Vec<Digest>> = BTreeMap::new();
    for (release, file) in &some {
        crates.entry(release.name.as_str()).or_default().push(Digest::of(file));
    }
    let crates: Vec<PartCrate> = crates
        .into_iter()
        .map(|(name, digests)| PartCrate {
            name: name.to_owned(),
            digests,
        })
        .collect();
    let part_options = PartOptions {
        threads: 2,
        stop: &|| false,
        progress: &|_| {},
    };
    let report = copy_part(&archive, &crates, &part, &part_options).unwrap();
    assert_eq!(
        (report.copied, report.problems.len()),
        (some.len() as u64, 0),
        "{report:?}"
    );
    assert!(report.compressed_anew > 0, "{report:?}");
    let copied = Archive::open(&part).unwrap();
    check(&copied, &some);
    assert!(seeds(&archive) > 0 && seeds(&copied) == 0);
    let deltas = copied
        .entries()
        .unwrap()
        .iter()
        .filter(|entry| entry.chain_depth > 0)
        .count();
    assert!(deltas > some.len() / 2, "{deltas}");

    let bundle_options = BundleOptions {
        volume_bytes: DEFAULT_VOLUME_BYTES,
        stem: None,
        stop: &|| false,
        begin: &|_| {},
        progress: &|_| {},
    };
    bundle(&archive, Since::Nothing, &drive, &bundle_options).unwrap();
    let apply_options = ApplyOptions {
        dry_run: false,
        trust: Trust::default(),
        threads: 2,
        stop: &|| false,
        begin: &|_| {},
        progress: &|_| {},
    };
    apply(&other, &[drive], &apply_options).unwrap();
    let applied = Archive::open(&other).unwrap();
    check(&applied, &files);
    assert_eq!(seeds(&applied), seeds(&archive));
}
