//! Taking only some crates and versions: what is fetched, and that the manifest knows
//! everything all the same.

use super::*;
use crate::changes::history;
use crate::git_repository::GitRepository;
use cratehold::format::manifest::EventKind::*;
use cratehold::sync::Filter;

fn filter(only: &[&str], exclude: &[&str], latest: usize) -> Filter {
    let globs = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Filter {
        only: globs(only),
        exclude: globs(exclude),
        latest: std::num::NonZeroUsize::new(latest),
    }
}

/// What was downloaded since requests were last forgotten, sorted.
fn downloads(registry: &Registry) -> Vec<String> {
    let requests = registry.requests("/dl/");
    let named = |path: &str| path.trim_start_matches("/dl/").trim_end_matches("/download").to_owned();
    let mut names: Vec<String> = requests.iter().map(|request| named(&request.path)).collect();
    names.sort();
    names
}

#[test]
fn the_newest_are_fetched_and_every_line_is_noted() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let versions = ["1.0.0", "1.1.0", "1.2.0", "2.0.0-rc.1"];
    for version in versions {
        registry.publish(&format!("new@{version}"));
    }
    registry.publish("old@0.1.0");
    let mut lines = registry.lines("new");
    lines[2] = lines[2].replace("\"yanked\":false", "\"yanked\":true");
    registry.set_lines("new", &lines);
    let mut wanted = selection(&["new", "old", "new@1.0.0"]);
    wanted.filter = filter(&[], &["o*"], 1);
    let report = run(folder.path(), &options(&registry), &wanted).unwrap();
    assert!(report.is_complete(), "{:?}", report.failures);
    assert_eq!((report.wanted, report.downloaded, report.excluded), (2, 2, 1));
    assert_eq!(
        downloads(&registry),
        ["new/1.0.0", "new/1.1.0"],
        "the newest that is not yanked, and the one named"
    );
    assert_eq!(super::lines(folder.path(), "new"), registry.lines("new"));
    assert!(registry.requests(&crate::support::index_path("old")).is_empty());
    // What leaves the registry is noted, whether it was ever fetched or not.
    registry.set_lines("new", &lines[1..3]);
    wanted.filter.latest = std::num::NonZeroUsize::new(5);
    let report = run(folder.path(), &options(&registry), &wanted).unwrap();
    assert_eq!((report.wanted, report.held), (2, 2), "{:?}", report.failures);
    let removed = history(folder.path(), "new")
        .into_iter()
        .filter(|(kind, _)| *kind == Removed);
    assert_eq!(removed.count(), 2);
}

#[test]
fn a_whole_registry_is_known_though_little_of_it_is_fetched() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let mut git = GitRepository::new(&folder.path().join("index.git"), &registry);
    for release in [
        "serde@1.0.0",
        "serde@1.1.0",
        "serde-json@1.0.0",
        "Serde_sys@1.0.0",
        "tokio@1.0.0",
    ] {
        registry.publish(release);
    }
    for name in ["serde", "serde-json", "Serde_sys", "tokio"] {
        git.take(&registry, name);
    }
    git.commit("first");
    let archive = folder.path().join("archive");
    let mut options = options(&registry);
    options.index = IndexUrl::parse(&git.folder.display().to_string()).unwrap();
    let mut wanted = Selection::everything();
    wanted.filter = filter(&["SERDE*"], &["*-sys"], 1);
    let report = run(&archive, &options, &wanted).unwrap();
    assert!(report.is_complete(), "{:?}", report.failures);
    assert_eq!((report.wanted, report.downloaded), (2, 2));
    assert_eq!(downloads(&registry), ["serde-json/1.0.0", "serde/1.1.0"]);
    for name in ["serde", "serde-json", "Serde_sys", "tokio"] {
        assert_eq!(super::lines(&archive, name), registry.lines(name));
    }
    // A crate that is left out is removed when the registry removes it, not before.
    git.remove("tokio");
    git.commit("second");
    let report = run(&archive, &options, &wanted).unwrap();
    assert_eq!((report.wanted, report.held), (2, 2));
    let kinds: Vec<_> = history(&archive, "tokio").into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [Added, Removed]);
    assert_eq!(history(&archive, "Serde_sys").len(), 1);
    // Without the filter the rest is fetched, though the index is the same.
    registry.forget_requests();
    let report = run(&archive, &options, &Selection::everything()).unwrap();
    assert_eq!((report.wanted, report.held, report.downloaded), (4, 2, 2));
    assert_eq!(downloads(&registry), ["Serde_sys/1.0.0", "serde/1.0.0"]);
}
