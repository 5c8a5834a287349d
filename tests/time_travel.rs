//! The past, as the commands tell it: every snapshot can be read, and nothing that
//! leaves the registry vanishes silently.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use cratehold::archive::Archive;
use cratehold::ids::Digest;
use std::process::{Command, Output};
use support::{Registry, crate_file, dl_path, index_path, line};
use tempfile::TempDir;

/// A registry, and an archive that has followed it for a while. Snapshots:
///
/// 1. `turn` 1.0.0 and 2.0.0, `gone` 1.0.0
/// 2. `turn@1.0.0` yanked
/// 3. `turn@1.0.0` removed, and all of `gone`
/// 4. `turn@1.0.0` back, not yanked; `turn@3.0.0` new
/// 5. `turn@1.0.0` replaced by other bytes
struct Past {
    folder: TempDir,
    old: Vec<u8>,
    new: Vec<u8>,
    gone: Vec<u8>,
}

impl Past {
    fn new() -> Past {
        let registry = Registry::start();
        let (old, two) = (registry.publish("turn@1.0.0"), registry.publish("turn@2.0.0"));
        let gone = registry.publish("gone@1.0.0");
        let new = crate_file("turn@1.0.0", 999);
        let past = Past {
            folder: tempfile::tempdir().unwrap(),
            old,
            new,
            gone,
        };
        let index = registry.index();
        let sync = |wants: &[&str]| {
            let mut args = vec!["sync", "--index", &index];
            wants.iter().for_each(|want| args.extend(["--crate", want]));
            past.run(&args)
        };
        assert!(sync(&["turn", "gone"]).status.success());
        let one = |yanked| line("turn@1.0.0", &past.old, yanked);
        let two = line("turn@2.0.0", &two, false);
        registry.set_lines("turn", &[one(true), two.clone()]);
        assert!(sync(&["turn"]).status.success());
        registry.set_lines("turn", std::slice::from_ref(&two));
        registry.forget(&index_path("gone"));
        // All versions of a crate that is no more cannot be had: that is said.
        assert_eq!(sync(&["turn", "gone"]).status.code(), Some(1));
        registry.set_lines("turn", &[one(false), two.clone()]);
        registry.publish("turn@3.0.0");
        assert!(sync(&["turn"]).status.success());
        let three = registry.lines("turn").pop().unwrap();
        registry.serve(&dl_path("turn@1.0.0"), &past.new);
        let replaced = line("turn@1.0.0", &past.new, false);
        registry.set_lines("turn", &[replaced, two, three]);
        assert!(sync(&["turn"]).status.success());
        past
    }

    fn archive(&self) -> Archive {
        Archive::open(&self.folder.path().join("archive")).unwrap()
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cratehold"));
        command.current_dir(self.folder.path());
        command.args(["--archive", "archive"]).args(args).output().unwrap()
    }

    fn good(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn bad(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
        assert!(!error.contains("panicked"), "{error}");
        error
    }

    fn bytes(&self, args: &[&str]) -> Vec<u8> {
        let output = self.run(&[&["extract", "-o", "-"], args].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {error}");
        output.stdout
    }
}

fn json_lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
}

#[test]
fn the_log_counts_what_each_snapshot_changed() {
    let past = Past::new();
    let log = json_lines(&past.good(&["log", "--json"]));
    let counts = |name: &str| -> Vec<u64> { log.iter().map(|line| line[name].as_u64().unwrap()).collect() };
    assert_eq!(counts("snapshot"), [1, 2, 3, 4, 5]);
    assert_eq!(counts("added"), [3, 0, 0, 1, 0]);
    assert_eq!(counts("yanked"), [0, 1, 0, 0, 0]);
    assert_eq!(counts("removed"), [0, 0, 2, 0, 0]);
    assert_eq!(counts("restored"), [0, 0, 0, 1, 0]);
    assert_eq!(counts("replaced"), [0, 0, 0, 0, 1]);
    let table = past.good(&["log"]);
    assert_eq!(table.lines().count(), 6);
    assert_has(&table, &["snapshot", "replaced", "UTC  sync"]);
}

#[test]
fn a_diff_says_what_became_of_each_release() {
    let past = Past::new();
    let diff = |from: &str, to: &str| {
        past.good(&["diff", from, to])
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(diff("0", "1"), ["+ gone@1.0.0", "+ turn@1.0.0", "+ turn@2.0.0"]);
    assert_eq!(diff("1", "2"), ["y turn@1.0.0"]);
    assert_eq!(diff("1", "3"), ["- gone@1.0.0", "- turn@1.0.0"]);
    assert_eq!(diff("3", "4"), ["r turn@1.0.0", "+ turn@3.0.0"]);
    // Gone and back is no difference, but for the yank that was taken back.
    assert_eq!(diff("1", "4"), ["- gone@1.0.0", "+ turn@3.0.0"]);
    assert_eq!(diff("2", "4"), ["- gone@1.0.0", "u turn@1.0.0", "+ turn@3.0.0"]);
    assert_eq!(diff("4", "5"), ["= turn@1.0.0"]);
    assert_eq!(diff("5", "5"), Vec::<String>::new());
    let all = past.good(&["diff", "0", "5"]);
    assert_eq!(past.good(&["diff", "--since", "2020-01-01"]), all);
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    assert_eq!(past.good(&["diff", "--since", &today]), all);
    assert_eq!(past.good(&["diff", "--since", "2999-01-01"]), "");
    let json = json_lines(&past.good(&["diff", "4", "5", "--json"]));
    assert_eq!(json[0]["change"], "replaced");
    assert_eq!(json[0]["sha256"], Digest::of(&past.new).to_string());
    assert_has(&past.bad(1, &["diff", "5", "1"]), &["name the older one first"]);
    assert_has(&past.bad(1, &["diff", "5", "6"]), &["no snapshot 6", "newest is 5"]);
    assert_has(&past.bad(2, &["diff", "5"]), &["required"]);
    assert_has(&past.bad(2, &["diff", "one", "two"]), &["expected the number"]);
}

#[test]
fn every_past_snapshot_is_read_as_it_was() {
    let past = Past::new();
    let list = |as_of: &str| past.good(&["list", "turn", "--as-of", as_of]);
    assert_has(&list("2"), &["1.0.0", "yanked", "2.0.0"]);
    assert!(!list("3").contains("1.0.0") && !list("2").contains("3.0.0"));
    assert_eq!(past.bytes(&["turn@1.0.0"]), past.new);
    assert_eq!(past.bytes(&["turn@1.0.0", "--as-of", "4"]), past.old);
    assert_eq!(past.bytes(&["gone", "--as-of", "2"]), past.gone);
    assert_has(&past.bad(1, &["extract", "turn", "--as-of", "0"]), &["no crate `turn`"]);
    assert_has(
        &past.good(&["info", "turn", "--as-of", "1"]),
        &["2 held of 2 known, 0 yanked"],
    );
    assert_has(
        &past.good(&["info", "turn@1.0.0", "--as-of", "2"]),
        &["since snapshot 1", "; yanked"],
    );
    assert_has(&past.good(&["stats", "--as-of", "1"]), &["3 crate files in snapshot 1"]);
    assert_has(&past.good(&["stats"]), &["5 crate files in snapshot 5"]);
    // Dates: the whole of today, and nothing before the archive.
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    assert_eq!(list(&today), past.good(&["list", "turn"]));
    assert_has(
        &past.bad(1, &["list", "--as-of", "2020-01-01"]),
        &["no snapshot of 2020-01-01", "its first is snapshot 1"],
    );
    assert_has(&past.bad(2, &["list", "--as-of", "soon"]), &["2026-11-25"]);
}

#[test]
fn what_left_the_registry_is_listed_refused_and_kept() {
    let past = Past::new();
    let (old, new) = (Digest::of(&past.old).to_string(), Digest::of(&past.new).to_string());
    let removed = past.good(&["list", "--removed"]);
    assert_eq!(removed.lines().count(), 2, "{removed}");
    assert_has(
        &removed,
        &[
            "gone@1.0.0",
            "removed in snapshot 3",
            "turn@1.0.0",
            "replaced in snapshot 5",
            &old,
        ],
    );
    assert!(!removed.contains(&new));
    let json = json_lines(&past.good(&["list", "turn", "--removed", "--json"]));
    assert_eq!(
        (&json[0]["replaced_snapshot"], &json[0]["held"]),
        (&5.into(), &true.into())
    );
    for wanted in ["gone", "gone@1.0.0", "gone@^1"] {
        assert_has(
            &past.bad(1, &["extract", wanted]),
            &[
                "no longer in the registry: removed in snapshot 3, 2",
                "extract gone@1.0.0 --removed",
            ],
        );
        assert_eq!(past.bytes(&[wanted, "--removed"]), past.gone);
    }
    assert_has(&past.good(&["info", "gone@1.0.0"]), &["removed in snapshot 3"]);
    // Of one version with two checksums, each can be had.
    assert_eq!(past.bytes(&["turn@1.0.0", "--removed", "--sha256", &old]), past.old);
    assert_eq!(past.bytes(&["turn@1.0.0", "--removed", "--sha256", &new]), past.new);
    assert_has(
        &past.bad(1, &["extract", "turn@1.0.0", "--removed"]),
        &["held with 2 checksums", &old, &new, "replaced in snapshot 5"],
    );
    assert_has(
        &past.bad(1, &["extract", "turn@1.0.0", "--sha256", &old]),
        &["replaced in snapshot 5", &format!("--removed --sha256 {old}")],
    );
    assert_has(&past.good(&["verify", "--full"]), &["5 crates verified", "all whole"]);
}

#[test]
fn snapshots_are_found_by_time() {
    let past = Past::new();
    let archive = past.archive();
    let transactions = archive.transactions().unwrap();
    assert_eq!(transactions.len(), 5);
    let (first, last) = (transactions[0].time, transactions[4].time);
    assert_eq!(archive.snapshot_at(first - 1).unwrap(), None);
    assert_eq!(archive.snapshot_at(last).unwrap(), Some(5));
    let view = archive.at(3);
    assert_eq!((view.generation(), view.transactions().unwrap().len()), (3, 3));
    assert_eq!(view.snapshot_at(last).unwrap(), Some(3));
    let counted: Vec<u64> = archive
        .snapshots()
        .unwrap()
        .iter()
        .map(|one| one.transaction.event_count)
        .collect();
    assert_eq!(
        counted,
        transactions.iter().map(|made| made.event_count).collect::<Vec<_>>()
    );
    assert!(archive.at(0).crates().unwrap().is_empty());
    assert_eq!(archive.at(u64::MAX).crates().unwrap(), archive.crates().unwrap());
}
