//! Archives made once and kept for ever: what they hold must come out of every
//! later version of this code, and what is wrong with the bad ones must be said.
//!
//! `tests/golden/format-1/` is a whole small archive; `expected.txt` beside it says
//! what is in it. `tests/golden/bad/NAME/` holds one altered file of it, and
//! `bad/defects.txt` what must be said of it. `tests/golden/make.rs` shows how all
//! of it was made. `tests/golden/transform-1/` is another whole archive, of objects
//! stored in their normal form. To make what is not there yet, such as a new one in
//! `bad/`: `cargo test --test golden -- --ignored add`
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "golden/make.rs"]
mod make;

use cratehold::archive::{Archive, Depth};
use cratehold::ids::Digest;
use std::fs;
use std::path::{Path, PathBuf};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn write(folder: &Path, files: &make::Files) {
    for (name, bytes) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Everything the archive knows, a line each: releases with what became of them,
/// the checksums of their lines and of their tars, and entity tags.
fn describe(archive: &Archive) -> String {
    let mut out = String::new();
    for state in archive.crates().unwrap() {
        if let Some(tag) = archive.etag(&state).unwrap() {
            out += &format!("{} etag {tag}\n", state.name);
        }
        for release in &state.releases {
            out += &format!(
                "{}@{} {} added {}",
                state.name, release.version, release.digest, release.added
            );
            for (mark, at) in [("removed", release.removed), ("replaced", release.replaced)] {
                out += &at.map_or(String::new(), |at| format!(" {mark} {at}"));
            }
            for (mark, set) in [("yanked", release.yanked), ("purged", release.purged)] {
                out += &if set { format!(" {mark}") } else { String::new() };
            }
            if let Some(line) = archive.line(release).unwrap() {
                out += &format!(" line {}", &Digest::of(&line).to_string()[..16]);
            }
            out += &match archive.find(&release.digest).unwrap() {
                None => " not held\n".to_owned(),
                Some(entry) => {
                    let tar = Digest::of(&archive.read_tar(&release.digest).unwrap()).to_string();
                    format!(
                        " engine {} depth {} tar {}\n",
                        entry.engine,
                        entry.chain_depth,
                        &tar[..16]
                    )
                }
            };
        }
    }
    out
}

#[test]
fn the_golden_archive_gives_back_what_was_put_in() {
    let archive = Archive::open(&golden().join("format-1")).unwrap();
    assert_eq!(archive.head().generation, 2);
    assert_eq!(
        describe(&archive),
        fs::read_to_string(golden().join("expected.txt")).unwrap()
    );
    let mut engines = [0; 6];
    for entry in archive.entries().unwrap() {
        if entry.kind == cratehold::format::index::EntryKind::Blob {
            let bytes = archive.read_crate(&entry.digest).unwrap();
            assert_eq!(
                (Digest::of(&bytes), bytes.len() as u32),
                (entry.digest, entry.crate_bytes)
            );
            engines[usize::from(entry.engine)] += 1;
        }
    }
    assert!(
        engines.iter().all(|&count| count > 0),
        "an engine without a crate file: {engines:?}"
    );
    let report = archive.verify(Depth::Full, 2, &|_| {}).unwrap();
    assert_eq!((report.objects, report.problems), (46, vec![]));
}

/// The state after the first commit is still there, behind the older head.
#[test]
fn the_golden_archive_opens_at_its_older_head_too() {
    let folder = tempfile::tempdir().unwrap();
    copy(&golden().join("format-1"), folder.path());
    fs::remove_file(folder.path().join("head0")).unwrap();
    let archive = Archive::open(folder.path()).unwrap();
    assert_eq!(archive.head().generation, 1);
    let state = archive.crate_state("odd_name").unwrap().unwrap();
    assert_eq!((&state.name[..], state.releases.len()), ("Odd-Name", 1));
    let purged = archive.crate_state("purged").unwrap().unwrap().releases[0].digest;
    assert!(archive.read_crate(&purged).is_ok(), "purged only by the second commit");
    assert_eq!(archive.verify(Depth::Full, 2, &|_| {}).unwrap().problems, vec![]);
}

/// Opens the archive and reads all of it; returns what was said to be wrong.
fn complaints(folder: &Path, good: &Archive) -> String {
    let archive = match Archive::open(folder) {
        Ok(archive) => archive,
        Err(error) => return error.to_string(),
    };
    let mut said = Vec::new();
    match archive.verify(Depth::Full, 1, &|_| {}) {
        Ok(report) => said.extend(report.problems.into_iter().map(|problem| problem.message)),
        Err(error) => said.push(error.to_string()),
    }
    said.extend(archive.crates().err().map(|error| error.to_string()));
    for entry in good.entries().unwrap() {
        match archive.read_crate(&entry.digest) {
            Ok(bytes) => assert_eq!(Digest::of(&bytes), entry.digest, "a wrong byte came out"),
            Err(error) => said.push(error.to_string()),
        }
    }
    said.join("\n")
}

#[test]
fn every_defect_is_named_and_no_wrong_byte_comes_out() {
    let bad = golden().join("bad");
    let good = Archive::open(&golden().join("format-1")).unwrap();
    let mut names = Vec::new();
    for line in fs::read_to_string(bad.join("defects.txt")).unwrap().lines() {
        let [name, file, says] = line.splitn(3, " | ").collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let folder = tempfile::tempdir().unwrap();
        copy(&golden().join("format-1"), folder.path());
        copy(&bad.join(name), folder.path());
        // With the older head there, whatever can be read must be right.
        complaints(folder.path(), &good);
        fs::remove_file(folder.path().join("head1")).unwrap();
        let said = complaints(folder.path(), &good);
        assert!(said.contains(says), "{name}: {file}: expected `{says}` in:\n{said}");
        assert!(
            said.lines().all(|line| line.len() < 600),
            "{name}: a message that is no line:\n{said}"
        );
        names.push(name.to_owned());
    }
    let mut folders: Vec<String> = fs::read_dir(&bad)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    folders.sort();
    names.sort();
    assert_eq!(names, folders, "defects.txt and the folders beside it");
}

/// What was stored in its normal form comes out to the last byte, and so does what has
/// it as base.
#[test]
fn the_golden_archive_with_normal_forms_gives_back_what_was_put_in() {
    let archive = Archive::open(&golden().join("transform-1")).unwrap();
    let (files, tars) = make::normal_archive();
    assert_eq!(archive.entries().unwrap().len(), tars.len());
    let mut transforms = [0; 2];
    for (digest, tar) in &tars {
        let entry = archive.find(digest).unwrap().unwrap();
        let meta = archive.record(&entry).unwrap();
        transforms[usize::from(meta.transform)] += 1;
        assert!(**archive.read_tar(digest).unwrap() == *tar, "{}", meta.version);
        assert_eq!(
            Digest::of(&archive.read_crate(digest).unwrap()),
            *digest,
            "{}",
            meta.version
        );
    }
    assert_eq!(transforms, [2, 6]);
    assert_eq!(archive.verify(Depth::Full, 2, &|_| {}).unwrap().problems, vec![]);
    // Its contents are what today's code makes; zstd may come to make other frames.
    let again = tempfile::tempdir().unwrap();
    write(again.path(), &files);
    let again = Archive::open(again.path()).unwrap();
    for (digest, _) in &tars {
        let record = |archive: &Archive| archive.record(&archive.find(digest).unwrap().unwrap()).unwrap();
        let (kept, made) = (record(&archive), record(&again));
        assert_eq!(
            (kept.content_bytes, kept.content_crc32),
            (made.content_bytes, made.content_crc32)
        );
    }
}

#[test]
fn making_it_twice_gives_the_same_bytes() {
    let (one, two) = (make::archive(), make::archive());
    assert!(one == two);
    assert_eq!(make::defects(&one).len(), make::defects(&two).len());
}

#[test]
#[ignore = "writes into tests/golden; see the top of this file"]
fn add() {
    let files = make::archive();
    let mut table = String::new();
    for defect in make::defects(&files) {
        let folder = golden().join("bad").join(defect.name);
        if !folder.exists() {
            write(&folder, &[(defect.file.to_owned(), defect.bytes)].into());
        }
        table += &format!("{} | {} | {}\n", defect.name, defect.file, defect.says);
    }
    fs::write(golden().join("bad/defects.txt"), table).unwrap();
    if !golden().join("transform-1").exists() {
        write(&golden().join("transform-1"), &make::normal_archive().0);
    }
}
