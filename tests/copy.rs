//! `copy`: a whole archive onto another drive, and what bad drives do to it.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use cratehold::archive::{
    Archive, CommitInfo, CopyError, CopyOptions, CopyReport, Depth, EncodeOptions, SecretKey, Writer, copy_on,
};
use cratehold::store::{DiskMedium, Medium};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use support::drive::Drive;
use support::{copy_folder, crate_file};

struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Desk {
        let desk = Desk(tempfile::tempdir().unwrap());
        desk.add("a", &["alpha@1.0.0", "alpha@1.1.0", "beta@0.1.0"]);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Adds releases to archive `name`, in one commit.
    fn add(&self, name: &str, releases: &[&str]) {
        let writer = Writer::open(&self.path(name)).unwrap();
        for release in releases {
            let file = crate_file(release, 20_000);
            let release = release.parse().unwrap();
            writer.add(&release, file, EncodeOptions::default()).unwrap();
        }
        let info = CommitInfo {
            source: "test".into(),
            ..CommitInfo::default()
        };
        writer.commit(&info).unwrap();
    }

    fn copy(&self, to: &str, check: bool) -> Result<CopyReport, CopyError> {
        self.copy_onto(Drive::new(&self.path(to)), check)
    }

    fn copy_onto(&self, drive: Drive, check: bool) -> Result<CopyReport, CopyError> {
        let options = CopyOptions {
            check,
            stop: &|| false,
            begin: &|_| {},
            progress: &|_| {},
        };
        let medium: Arc<dyn Medium> = Arc::new(drive);
        copy_on(&Archive::open(&self.path("a")).unwrap(), &medium, &options)
    }

    /// Every file of an archive but the lock and the heads, which a copy has alike.
    fn files(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for folder in ["", "packs", "index", "manifest"] {
            for (file, _) in DiskMedium::new(&self.path(name)).list(folder).unwrap() {
                let path = self.path(name).join(folder).join(&file);
                // Written anew for each copy, unless it is signed.
                let is_signed = self.path(name).join("root.txt.minisig").exists();
                if !file.starts_with("head") && (file != "root.txt" || is_signed) {
                    files.insert(format!("{folder}/{file}"), std::fs::read(path).unwrap());
                }
            }
        }
        files
    }

    /// That archive `name` opens at snapshot `generation` and all in it is whole.
    fn assert_whole(&self, name: &str, generation: u64) {
        let archive = Archive::open(&self.path(name)).unwrap();
        assert_eq!(archive.head().generation, generation);
        let report = archive.verify(Depth::Full, 1, &|_| {}).unwrap();
        assert_eq!(report.problems, []);
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cratehold"));
        command.current_dir(self.0.path()).env_remove("CRATEHOLD_ARCHIVE");
        command.args(args).output().unwrap()
    }
}

#[test]
fn a_copy_is_the_archive_and_refreshing_it_copies_what_is_new() {
    let desk = Desk::new();
    let first = desk.copy("b", false).unwrap();
    assert!(first.copied_bytes > 60_000 && first.kept_bytes == 0, "{first:?}");
    let root = Archive::open(&desk.path("a")).unwrap().root().unwrap();
    assert_eq!(std::fs::read_to_string(desk.path("b/root.txt")).unwrap(), root.text());
    assert_eq!(desk.files("a"), desk.files("b"));
    desk.assert_whole("b", 1);
    let again = desk.copy("b", true).unwrap();
    assert_eq!((again.copied_bytes, again.kept_bytes), (0, first.copied_bytes));
    // More in the same pack, and segments merged into new ones.
    desk.add("a", &["beta@0.2.0"]);
    desk.add("a", &["gamma@1.0.0"]);
    let second = desk.copy("b", false).unwrap();
    assert!(
        second.copied_bytes < first.copied_bytes && second.kept_bytes > 60_000,
        "{second:?}"
    );
    assert!(second.removed_files >= 2, "{second:?}");
    desk.assert_whole("b", 3);
    // What can be gone on with in either place, in turn.
    for generation in 4..8 {
        desk.add("b", &[&format!("delta@{generation}.0.0")]);
        desk.assert_whole("b", generation);
    }
}

#[test]
fn other_archives_and_other_files_are_left_alone() {
    let desk = Desk::new();
    desk.copy("b", false).unwrap();
    desk.add("other", &["alpha@1.0.0"]);
    let before = desk.files("other");
    let error = desk.copy("other", false).unwrap_err();
    assert!(matches!(error, CopyError::OtherArchive { .. }), "{error}");
    // Without its heads it is still another's.
    std::fs::remove_file(desk.path("other/head0")).unwrap();
    std::fs::remove_file(desk.path("other/head1")).unwrap();
    let error = desk.copy("other", false).unwrap_err();
    assert!(matches!(error, CopyError::OtherArchive { .. }), "{error}");
    assert_eq!(desk.files("other"), before);
    // Both went on: what either has would be lost in the other.
    desk.add("b", &["mine@1.0.0"]);
    let error = desk.copy("b", false).unwrap_err();
    assert!(matches!(error, CopyError::Diverged { .. }), "{error}");
    desk.add("a", &["yours@1.0.0", "yours@1.1.0"]);
    let error = desk.copy("b", false).unwrap_err();
    assert!(matches!(error, CopyError::Diverged { .. }), "{error}");
    desk.assert_whole("b", 2);

    std::fs::create_dir(desk.path("home")).unwrap();
    std::fs::write(desk.path("home/letter.txt"), "dear").unwrap();
    for (args, code, says) in [
        (
            &["copy", "a", "home"][..],
            1,
            "neither an archive nor empty (it has `letter.txt`)",
        ),
        (&["copy", "a", "a"], 1, "the same folder"),
        (&["copy", "none", "c"], 1, "not a cratehold archive"),
        (&["copy", "c"], 2, "expected `copy SRC DEST`"),
    ] {
        let output = desk.run(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(says), "{error}");
    }
    assert!(!desk.path("home/packs").exists() && !desk.path("c").exists());
    let output = desk.run(&["--archive", "a", "copy", "c"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("copied and read back") && said.contains("c is now snapshot 2"),
        "{said}"
    );
}

#[test]
fn wherever_the_drive_is_pulled_out_the_old_or_the_new_state_is_there_and_the_next_run_ends_it() {
    let desk = Desk::new();
    desk.copy("b", false).unwrap();
    let size = |name: &str| desk.files(name).len();
    desk.add("a", &["beta@0.2.0", "gamma@1.0.0"]);
    desk.add("a", &["gamma@1.1.0"]);
    let mut calls = 0;
    loop {
        let name = format!("b{calls}");
        copy_folder(&desk.path("b"), &desk.path(&name));
        let mut drive = Drive::new(&desk.path(&name));
        drive.calls_left = AtomicU64::new(calls);
        let result = desk.copy_onto(drive, false);
        let archive = Archive::open(&desk.path(&name)).unwrap();
        let generation = archive.head().generation;
        assert!([1, 3].contains(&generation));
        desk.assert_whole(&name, generation);
        let done = result.is_ok();
        if let Err(error) = result {
            assert!(matches!(error, CopyError::Gone { .. }), "{error}");
            desk.copy(&name, false).unwrap();
        }
        desk.assert_whole(&name, 3);
        if done && size(&name) == size("a") {
            break;
        }
        calls += 1;
    }
    assert!(calls > 15, "{calls}");
}

#[test]
fn a_full_drive_is_said_and_gone_on_from() {
    let desk = Desk::new();
    let whole: u64 = desk.files("a").values().map(|bytes| bytes.len() as u64).sum();
    for room in (0..whole).step_by(7001) {
        let mut drive = Drive::new(&desk.path("full"));
        drive.room_bytes = AtomicU64::new(room);
        // What fitted before is kept, so that it ends at last.
        let Err(error) = desk.copy_onto(drive, false) else {
            assert!(room > 0);
            break;
        };
        let said = error.to_string();
        assert!(matches!(error, CopyError::Full { .. }), "{said}");
        assert!(said.contains("the drive is full"), "{said}");
    }
    let report = desk.copy("full", false).unwrap();
    assert!(report.kept_bytes > 0, "{report:?}");
    desk.assert_whole("full", 1);
    assert_eq!(desk.files("a"), desk.files("full"));
}

#[test]
fn a_drive_that_does_not_keep_what_it_is_given_is_found_out() {
    let desk = Desk::new();
    let mut drive = Drive::new(&desk.path("fake"));
    drive.forgets_from = 1;
    desk.add("a", &["x@1.0.0"]);
    drive.forgets_from = 0;
    let error = desk.copy_onto(drive, false).unwrap_err();
    assert!(matches!(error, CopyError::Unfaithful { .. }), "{error}");
    assert!(!desk.path("fake/head0").exists());
}

#[test]
fn checking_mends_what_is_damaged_there_but_not_from_a_damaged_source() {
    let desk = Desk::new();
    desk.copy("b", false).unwrap();
    let flip = |name: &str, file: &str, at: usize| {
        let path = desk.path(name).join(file);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    flip("b", "packs/00000001.pak", 10_000);
    flip("b", "index/00000001.idx", 5_000);
    let report = desk.copy("b", true).unwrap();
    assert!(report.mended_bytes > 0);
    desk.assert_whole("b", 1);
    assert_eq!(desk.files("a"), desk.files("b"));
    flip("a", "packs/00000001.pak", 10_000);
    let error = desk.copy("b", true).unwrap_err();
    assert!(matches!(error, CopyError::DamagedSource { .. }), "{error}");
    desk.assert_whole("b", 1);
}

#[test]
fn a_signature_goes_with_what_it_signs() {
    let desk = Desk::new();
    let key = desk.path("key");
    let public = SecretKey::create(&key, None).unwrap();
    let source = Archive::open(&desk.path("a")).unwrap();
    let root = source.sign(&SecretKey::read(&key, None).unwrap()).unwrap();
    desk.copy("b", false).unwrap();
    let there = Archive::open(&desk.path("b")).unwrap();
    assert_eq!(there.check_signature(&public).unwrap(), root);
    // A first copy that was stopped before its heads goes on from what it left.
    std::fs::remove_file(desk.path("b/head0")).unwrap();
    std::fs::remove_file(desk.path("b/head1")).unwrap();
    let output = desk.run(&["copy", "a", "b"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}
