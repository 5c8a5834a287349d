//! What the registry changes its mind about: yanks, removals, other bytes.

use super::*;
use crate::support::{crate_file, dl_path, index_path, line};
use cratehold::format::manifest::EventKind::{self, *};

/// All events of a crate but tags, oldest first: the kind and the version.
pub fn history(folder: &Path, name: &str) -> Vec<(EventKind, String)> {
    let archive = Archive::open(folder).unwrap();
    let mut events = Vec::new();
    for segment in archive.manifest_segments() {
        for record in segment.find(name).unwrap() {
            events.extend(
                record
                    .events()
                    .map(|event| event.map(|event| (event.kind, event.version.to_owned())).unwrap()),
            );
        }
    }
    events.retain(|(kind, _)| *kind != Etag);
    events
}

fn newest(folder: &Path, name: &str, count: usize) -> Vec<EventKind> {
    let events = history(folder, name);
    events[events.len() - count..].iter().map(|(kind, _)| *kind).collect()
}

#[test]
fn yanked_unyanked_amended_replaced_removed_restored() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let first = registry.publish("turn@1.0.0");
    let second = registry.publish("turn@2.0.0");
    let (one, two) = (line("turn@1.0.0", &first, false), line("turn@2.0.0", &second, false));
    let step = |lines: &[&String], downloaded: u64| {
        registry.set_lines("turn", &lines.iter().map(|line| (*line).clone()).collect::<Vec<_>>());
        let before = history(path, "turn").len();
        let report = sync(path, &registry, &["turn"]);
        assert!(report.is_complete(), "{:?}", report.failures);
        assert_eq!(report.downloaded, downloaded);
        let again = sync(path, &registry, &["turn"]);
        assert_eq!(again.snapshot, report.snapshot);
        let count = history(path, "turn").len() - before;
        newest(path, "turn", count)
    };
    sync(path, &registry, &["turn"]);
    assert_eq!(newest(path, "turn", 2), [Added, Added]);
    let yanked = line("turn@1.0.0", &first, true);
    assert_eq!(step(&[&yanked, &two], 0), [Yanked]);
    assert_eq!(lines(path, "turn"), [yanked.clone(), two.clone()]);
    assert_eq!(step(&[&one, &two], 0), [Unyanked]);
    let amended = one.replace("\"deps\":[]", "\"deps\": []");
    assert_eq!(step(&[&amended, &two], 0), [Amended]);
    assert_eq!(lines(path, "turn"), [amended.clone(), two.clone()]);
    assert_eq!(step(&[&two], 0), [Removed]);
    assert_eq!(lines(path, "turn"), std::slice::from_ref(&two));
    assert_eq!(step(&[&amended, &two], 0), [Restored]);
    let other = crate_file("turn@1.0.0", 999);
    registry.serve(&dl_path("turn@1.0.0"), &other);
    let replaced = line("turn@1.0.0", &other, false);
    assert_eq!(step(&[&replaced, &two], 1), [Replaced]);
    assert_eq!(lines(path, "turn").len(), 2);
    assert!(lines(path, "turn").contains(&replaced));
    assert_holds(path, &[&first, &second, &other]);
}

#[test]
fn a_deleted_crate_is_noted_and_kept() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let files = [
        registry.publish("gone-crate@1.0.0"),
        registry.publish("gone-crate@1.0.1"),
    ];
    registry.publish("stays@1.0.0");
    assert!(sync(folder.path(), &registry, &["gone-crate", "stays"]).is_complete());
    let lines = registry.lines("gone-crate");
    registry.forget(&index_path("gone-crate"));
    // Whoever spells it otherwise means the same crate, and gets what is held.
    let report = sync(folder.path(), &registry, &["Gone_Crate@1.0.0", "stays"]);
    assert!(report.is_complete(), "{:?}", report.failures);
    assert_eq!((report.wanted, report.held), (2, 2));
    assert_eq!(newest(folder.path(), "gone-crate", 2), [Removed, Removed]);
    let report = sync(folder.path(), &registry, &["gone-crate"]);
    assert!(
        causes(&report)[0].contains("what is held stays"),
        "{:?}",
        causes(&report)
    );
    assert_eq!(history(folder.path(), "gone-crate").len(), 4, "noted once");
    assert_holds(folder.path(), &files.each_ref().map(Vec::as_slice));
    registry.set_lines("gone-crate", &lines);
    assert!(sync(folder.path(), &registry, &["gone-crate"]).is_complete());
    assert_eq!(newest(folder.path(), "gone-crate", 2), [Restored, Restored]);
}

#[test]
fn a_registry_index_that_has_lost_much_is_not_believed() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..10).map(|i| format!("lose{i}")).collect();
    let wants: Vec<&str> = names.iter().map(String::as_str).collect();
    names
        .iter()
        .for_each(|name| drop(registry.publish(&format!("{name}@1.0.0"))));
    let before = sync(folder.path(), &registry, &wants);
    assert!(before.is_complete());
    names[..5].iter().for_each(|name| registry.forget(&index_path(name)));
    let report = sync(folder.path(), &registry, &wants);
    assert_eq!(report.failures.len(), 5);
    assert!(
        causes(&report)[0].contains("5 of 10 crates known here are gone"),
        "{:?}",
        causes(&report)
    );
    assert_eq!(report.snapshot, before.snapshot, "nothing was noted");
}

#[test]
fn an_archive_mirrors_one_registry() {
    let registry = Registry::start();
    let other = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    registry.publish("mine@1.0.0");
    other.publish("mine@1.0.0");
    assert!(sync(folder.path(), &registry, &["mine"]).is_complete());
    let error = run(folder.path(), &options(&other), &selection(&["mine"]))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&registry.index()) && error.contains(&other.index()),
        "{error}"
    );
    assert!(error.contains("use another --archive"), "{error}");
}

/// What `import --index` has learned is not what the registry said under its tag.
#[test]
fn an_older_index_that_was_imported_is_checked_against_the_registry() {
    let (registry, folder) = (Registry::start(), tempfile::tempdir().unwrap());
    let archive = folder.path().join("archive");
    let file = registry.publish("tag@1.0.0");
    assert!(sync(&archive, &registry, &["tag"]).is_complete());
    let gone = support::line("tag@0.9.0", b"gone", false);
    let index = folder.path().join("index/3/t");
    std::fs::create_dir_all(&index).unwrap();
    std::fs::write(index.join("tag"), format!("{gone}\n{}\n", registry.lines("tag")[0])).unwrap();
    std::fs::write(folder.path().join("tag-1.0.0.crate"), &file).unwrap();
    let mut import = std::process::Command::new(env!("CARGO_BIN_EXE_cratehold"));
    import.current_dir(folder.path());
    let import = import.args(["-a", "archive", "import", "tag-1.0.0.crate", "--index", "index"]);
    let (code, stdout, stderr) = crate::binary::output(import);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert_eq!(lines(&archive, "tag").len(), 2);
    registry.forget_requests();
    assert!(sync(&archive, &registry, &["tag"]).is_complete());
    assert_eq!(
        registry.requests(&index_path("tag"))[0].status,
        200,
        "not asked by its tag"
    );
    assert_eq!(lines(&archive, "tag"), registry.lines("tag"));
    registry.forget_requests();
    assert!(sync(&archive, &registry, &["tag"]).is_complete());
    assert_eq!(registry.requests(&index_path("tag"))[0].status, 304);
}
