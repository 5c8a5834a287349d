//! `sync --dry-run`: everything is planned and nothing is written.

use super::*;
use crate::git_repository::GitRepository;
use std::collections::BTreeMap;
use std::process::Command;

/// Every file below `folder`, with its bytes.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for part in ["", "packs", "index", "manifest"] {
        for entry in std::fs::read_dir(folder.join(part)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                found.insert(path.display().to_string(), std::fs::read(path).unwrap());
            }
        }
    }
    found
}

fn dry(folder: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cratehold"));
    command.arg("-a").arg(folder).args(["sync", "--dry-run"]).args(args);
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn an_archive_that_is_not_there_is_planned_for_and_not_made() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive");
    registry.publish("plan@1.0.0");
    registry.publish("plan@1.1.0");
    let index = registry.index();
    let wants = ["--index", &index, "--crate", "plan", "--bandwidth", "173kB"];
    let (code, stdout, stderr) = dry(&archive, &wants);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(
        stdout.starts_with("2 crates wanted: 0 held already, 0 failed; nothing was written"),
        "{stdout}"
    );
    assert!(
        stdout.contains("would download 2 crate files of 1 crates: about 346.0 kB"),
        "{stdout}"
    );
    assert!(stdout.contains("at 173.0 kB/s that is about 2 seconds"), "{stdout}");
    assert!(registry.requests("/dl/").is_empty());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
    let (code, ..) = dry(&archive, &["--index", &index, "--crate", "none"]);
    assert_eq!(code, Some(1), "what cannot be had is a failure of the plan as well");
    let (code, ..) = dry(&archive, &["--index", &index, "--all", "--no-download"]);
    assert_eq!(code, Some(2));
}

#[test]
fn what_is_held_says_how_much_the_rest_will_be() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let held = [
        registry.publish_sized("big@1.0.0", 9000),
        registry.publish_sized("big@1.1.0", 7000),
    ];
    registry.publish_sized("small@1.0.0", 10);
    assert!(sync(folder, &registry, &["big"]).is_complete());
    registry.publish("big@2.0.0");
    registry.publish("big@2.1.0");
    let before = files(folder);
    let mean = held.iter().map(|file| file.len() as u64).sum::<u64>() / 2;
    // Somebody else may be writing meanwhile.
    let writer = Writer::open(folder).unwrap();
    let (code, stdout, stderr) = dry(
        folder,
        &[
            "--index",
            &registry.index(),
            "--crate",
            "big",
            "--crate",
            "small",
            "--json",
        ],
    );
    drop(writer);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(!stdout.contains("committ"), "{stdout}");
    let summary: serde_json::Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&summary["wanted"], &summary["held"], &summary["snapshot"]),
        (&5.into(), &2.into(), &1.into())
    );
    let plan = &summary["plan"];
    assert_eq!(
        (&plan["crates"], &plan["releases"], &plan["seconds"]),
        (&2.into(), &3.into(), &serde_json::Value::Null)
    );
    assert_eq!(plan["download_bytes"].as_u64().unwrap(), 2 * mean + 173_000);
    let archive = Archive::open(folder).unwrap();
    let stored: u64 = archive
        .entries()
        .unwrap()
        .iter()
        .map(|entry| u64::from(entry.record_bytes))
        .sum();
    let ratio = stored as f64 / (2 * mean) as f64;
    let expected = (2 * mean + 173_000) as f64 * ratio;
    assert!(
        (plan["stored_bytes"].as_f64().unwrap() - expected).abs() < 200.0,
        "{plan} {expected}"
    );
    assert_eq!(files(folder), before);
    let report = sync(folder, &registry, &["big", "small"]);
    assert_eq!(report.downloaded, 3, "the lines that were seen are read again");
}

#[test]
fn a_whole_registry_is_planned_without_a_commit() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let mut git = GitRepository::new(&folder.path().join("index.git"), &registry);
    for name in ["one", "two", "three"] {
        registry.publish(&format!("{name}@1.0.0"));
        git.take(&registry, name);
    }
    git.commit("first");
    let archive = folder.path().join("archive");
    let index = git.folder.display().to_string();
    let (code, stdout, _) = dry(&archive, &["--all", "--index", &index, "--exclude", "tw*"]);
    assert_eq!(code, Some(0));
    assert!(stdout.contains("would download 2 crate files of 2 crates"), "{stdout}");
    assert!(!archive.exists());
    let mut options = options(&registry);
    options.index = IndexUrl::parse(&index).unwrap();
    assert!(run(&archive, &options, &Selection::everything()).unwrap().is_complete());
    registry.publish("one@1.1.0");
    git.take(&registry, "one");
    git.remove("two");
    git.commit("second");
    let before = files(&archive);
    let (_, stdout, _) = dry(&archive, &["--all", "--index", &index]);
    assert!(stdout.starts_with("3 crates wanted: 2 held already"), "{stdout}");
    assert_eq!(files(&archive), before);
    assert_eq!(run(&archive, &options, &Selection::everything()).unwrap().downloaded, 1);
}
