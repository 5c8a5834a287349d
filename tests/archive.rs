//! The archive from outside: crates in, exact bytes out, damage noticed.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use cratehold::archive::{Archive, Arrival, Budget, CommitInfo, Depth, EncodeOptions, Outcome, Writer, ingest};
use cratehold::ids::{Digest, Release};
use flate2::{Compression, write::GzEncoder};
use std::path::Path;
use std::sync::Mutex;

/// A crate file as some cargo would have made it; level 9 has a recipe, 1 has none.
fn crate_file(release: &Release, level: u32) -> Vec<u8> {
    let top = format!("{}-{}", release.name, release.version);
    let manifest = format!(
        "[package]\nname = \"{}\"\nversion = \"{}\"\n",
        release.name, release.version
    );
    let source: String = (0..2000)
        .map(|i| format!("pub fn f{}() -> u32 {{ {} }}\n", i, i * 7919 % 1009))
        .collect();
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::new(level)));
    for (path, text) in [("Cargo.toml", &manifest), ("src/lib.rs", &source)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, format!("{top}/{path}"), text.as_bytes())
            .unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn store(folder: &Path, files: &[(Release, Vec<u8>)]) -> Vec<Outcome> {
    let writer = Writer::open(folder).unwrap();
    let (sender, receiver) = crossbeam_channel::unbounded();
    let budget = Budget::new(1 << 20);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (order, (release, bytes)) in files.iter().enumerate() {
                let file = Some((Digest::of(bytes), bytes.clone()));
                let permit = budget.take(bytes.len() as u64);
                sender
                    .send(Arrival {
                        release: release.clone(),
                        order,
                        of: files.len(),
                        file,
                        permit,
                    })
                    .unwrap();
            }
            drop(sender);
        });
        ingest(&writer, &receiver, 2, EncodeOptions::default(), &|_, outcome| {
            outcomes.lock().unwrap().push(outcome.unwrap());
        });
    });
    writer.commit(&CommitInfo::default()).unwrap();
    outcomes.into_inner().unwrap()
}

fn versions(level: u32) -> Vec<(Release, Vec<u8>)> {
    (0..6)
        .map(|i| {
            let release: Release = format!("demo@1.0.{i}").parse().unwrap();
            let file = crate_file(&release, level);
            (release, file)
        })
        .collect()
}

#[test]
fn exact_bytes_come_out_and_nothing_is_stored_twice() {
    for level in [1, 9] {
        let folder = tempfile::tempdir().unwrap();
        let files = versions(level);
        let stored = store(folder.path(), &files);
        assert!(
            stored
                .iter()
                .all(|outcome| matches!(outcome, Outcome::Stored { exact, .. } if *exact == (level == 9)))
        );
        assert!(
            store(folder.path(), &files)
                .iter()
                .all(|outcome| matches!(outcome, Outcome::Held { .. }))
        );
        let archive = Archive::open(folder.path()).unwrap();
        for (release, bytes) in &files {
            assert_eq!(&archive.read_crate(&Digest::of(bytes)).unwrap(), bytes, "{release}");
        }
        let report = archive.verify(Depth::Full, 2, &|_| {}).unwrap();
        assert_eq!((report.objects, report.problems), (6, vec![]));
    }
}

#[test]
fn later_versions_are_small_and_chains_cross_commits() {
    let folder = tempfile::tempdir().unwrap();
    let files = versions(9);
    for file in &files {
        store(folder.path(), std::slice::from_ref(file));
    }
    let archive = Archive::open(folder.path()).unwrap();
    assert_eq!(archive.head().generation, 6);
    for (release, bytes) in &files {
        assert_eq!(&archive.read_crate(&Digest::of(bytes)).unwrap(), bytes, "{release}");
    }
}

#[test]
fn every_flip_in_a_pack_is_named_or_harmless_and_no_wrong_byte_comes_out() {
    let folder = tempfile::tempdir().unwrap();
    let files = versions(9);
    store(folder.path(), &files[..3]);
    let pack = folder.path().join("packs/00000001.pak");
    let good = std::fs::read(&pack).unwrap();
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 0x20;
        std::fs::write(&pack, &bad).unwrap();
        let archive = Archive::open(folder.path()).unwrap();
        for (release, bytes) in &files[..3] {
            if let Ok(read) = archive.read_crate(&Digest::of(bytes)) {
                assert_eq!(&read, bytes, "{release}, flip at {at}");
            }
        }
    }
    std::fs::write(&pack, &good[..good.len() - 1]).unwrap();
    // The newest head no longer fits; the one before it is the empty archive.
    assert_eq!(Archive::open(folder.path()).unwrap().head().generation, 0);
}

#[test]
fn what_was_appended_but_not_committed_is_adopted() {
    let folder = tempfile::tempdir().unwrap();
    let files = versions(9);
    store(folder.path(), &files[..2]);
    // As a crash between the last append and the head would leave it.
    std::fs::remove_file(folder.path().join("head1")).unwrap();
    let writer = Writer::open(folder.path()).unwrap();
    assert!(writer.find(&Digest::of(&files[1].1)).unwrap().is_some());
    writer.commit(&CommitInfo::default()).unwrap();
    drop(writer);
    let archive = Archive::open(folder.path()).unwrap();
    assert_eq!(archive.read_crate(&Digest::of(&files[1].1)).unwrap(), files[1].1);
}

#[test]
fn a_second_writer_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _first = Writer::open(folder.path()).unwrap();
    let error = Writer::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("another cratehold"), "{error}");
}

/// A lock that is let go of is free at once, whatever children are just being started.
#[cfg(unix)]
#[test]
fn a_lock_does_not_outlive_its_writer_in_children() {
    let folder = tempfile::tempdir().unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                std::process::Command::new("true").status().unwrap();
            }
        });
        let all_opened = (0..300).all(|_| Writer::open(folder.path()).is_ok());
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(all_opened);
    });
}

#[test]
fn no_archive_is_said_plainly() {
    let folder = tempfile::tempdir().unwrap();
    let error = Archive::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("not a cratehold archive"), "{error}");
}

/// A copying program may leave a file whose name is nearly a pack's. What is in it must
/// not be taken for what the pack of that number has.
#[test]
fn a_file_with_nearly_a_packs_name_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, other) = (folder.path().join("ours"), folder.path().join("other"));
    let files = versions(9);
    store(&ours, &files[..1]);
    for name in ["packs", "index", "manifest"] {
        std::fs::create_dir_all(other.join(name)).unwrap();
    }
    for name in ["head0", "head1", "packs/00000001.pak", "index/00000001.idx"] {
        std::fs::copy(ours.join(name), other.join(name)).unwrap();
    }
    store(&other, &files[1..2]);
    let longer = std::fs::read(other.join("packs/00000001.pak")).unwrap();
    std::fs::write(ours.join("packs/1.pak"), &longer).unwrap();

    Writer::open(&ours).unwrap().settle(&CommitInfo::default()).unwrap();
    store(&ours, &files[2..3]);
    let archive = Archive::open(&ours).unwrap();
    assert_eq!(archive.find(&Digest::of(&files[1].1)).unwrap(), None);
    for (release, bytes) in [&files[0], &files[2]] {
        assert_eq!(&archive.read_crate(&Digest::of(bytes)).unwrap(), bytes, "{release}");
    }
    assert_eq!(archive.verify(Depth::Full, 1, &|_| {}).unwrap().problems, []);
    assert_eq!(std::fs::read(ours.join("packs/1.pak")).unwrap(), longer);
}
