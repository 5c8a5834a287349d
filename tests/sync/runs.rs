//! Good days: what a run brings, and that the next one brings only what is new.

use super::*;
use crate::support::{Act, dl_path, index_path};
use cratehold::sync::{Notice, Phase};
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn the_second_run_downloads_nothing_and_the_index_is_not_sent_again() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for release in [
        "a@1.0.0",
        "ab@1.0.0",
        "abc@1.0.0",
        "Four@1.0.0",
        "Four@1.0.1+build.1",
        "Four@2.0.0-rc.1",
    ] {
        files.push(registry.publish(release));
    }
    let wants = ["a", "ab", "abc", "Four"];
    let report = sync(folder.path(), &registry, &wants);
    assert!(report.is_complete(), "{:?}", report.failures);
    assert_eq!((report.wanted, report.downloaded, report.held), (6, 6, 0));
    assert_eq!(
        report.downloaded_bytes,
        files.iter().map(|file| file.len() as u64).sum::<u64>()
    );
    assert_holds(folder.path(), &files.iter().map(Vec::as_slice).collect::<Vec<_>>());
    assert_eq!(lines(folder.path(), "four"), registry.lines("Four"));
    let head = &registry.requests("/dl/Four/1.0.1%2Bbuild.1/")[0].head.to_lowercase();
    assert!(head.contains("user-agent: cratehold/"), "{head}");
    assert!(head.contains("accept-encoding: identity"), "{head}");

    registry.forget_requests();
    let again = sync(folder.path(), &registry, &wants);
    assert_eq!((again.wanted, again.downloaded, again.held), (6, 0, 6));
    assert!(again.is_complete());
    assert_eq!(again.snapshot, report.snapshot, "nothing new, no new snapshot");
    assert!(registry.requests("/dl/").is_empty());
    let index = registry.requests("/index/");
    assert_eq!(index.iter().filter(|request| request.status == 304).count(), 4);
    assert_eq!(index.len(), 5);
}

#[test]
fn connections_are_kept() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    (0..40).for_each(|i| drop(registry.publish(&format!("many@1.0.{i}"))));
    let report = sync(folder.path(), &registry, &["many"]);
    assert_eq!(report.downloaded, 40);
    assert!(
        registry.connection_count() <= 5,
        "{} connections",
        registry.connection_count()
    );
}

#[test]
fn only_what_is_asked_for_is_fetched_but_every_line_is_noted() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    for version in ["1.0.0", "1.1.0", "2.0.0"] {
        registry.publish(&format!("pick@{version}"));
    }
    let report = sync(folder.path(), &registry, &["pick@^1"]);
    assert_eq!((report.wanted, report.downloaded), (2, 2));
    assert_eq!(lines(folder.path(), "pick"), registry.lines("pick"));
    let report = sync(folder.path(), &registry, &["pick@2.0.0"]);
    assert_eq!((report.wanted, report.downloaded), (1, 1));
    assert_eq!(registry.requests("/dl/").len(), 3);
    assert_eq!(registry.requests(&index_path("pick"))[1].status, 304);
}

#[test]
fn newer_line_schemas_are_kept_but_not_acted_on() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    registry.publish("new@1.0.0");
    registry.publish("new@2.0.0");
    let mut lines = registry.lines("new");
    lines[1] = lines[1].replacen("{", "{\"v\":3,", 1);
    registry.set_lines("new", &lines);
    let report = sync(folder.path(), &registry, &["new"]);
    assert_eq!((report.wanted, report.downloaded, report.is_complete()), (1, 1, true));
    assert_eq!(super::lines(folder.path(), "new"), lines);
    for _ in 0..2 {
        let report = sync(folder.path(), &registry, &["new@2.0.0"]);
        assert!(causes(&report)[0].contains("schema v 3"), "{:?}", causes(&report));
    }
}

#[test]
fn bodies_are_taken_as_they_come() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let files = [
        registry.publish("body@1.0.0"),
        registry.publish("body@1.0.1"),
        registry.publish("body@1.0.2"),
    ];
    registry.always(&dl_path("body@1.0.0"), Some(Act::Chunked));
    registry.always(&dl_path("body@1.0.1"), Some(Act::CalledGzip));
    registry.always(&dl_path("body@1.0.2"), Some(Act::Redirect("/elsewhere".into())));
    registry.serve("/elsewhere", &files[2]);
    let report = sync(folder.path(), &registry, &["body"]);
    assert!(report.is_complete(), "{:?}", report.failures);
    assert_holds(folder.path(), &files.each_ref().map(Vec::as_slice));
}

#[test]
fn surplus_bytes_behind_an_answer_do_not_reach_the_next() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<_> = (0..10).map(|i| registry.publish(&format!("plus@1.0.{i}"))).collect();
    (0..10).for_each(|i| registry.once(&dl_path(&format!("plus@1.0.{i}")), Act::Surplus));
    let report = sync(folder.path(), &registry, &["plus"]);
    assert!(report.is_complete(), "{:?}", report.failures);
    assert_holds(folder.path(), &files.iter().map(Vec::as_slice).collect::<Vec<_>>());
}

#[test]
fn a_template_may_say_where_crate_files_are() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let file = registry.publish("Tmpl@1.0.0");
    registry.forget(&dl_path("Tmpl@1.0.0"));
    registry.serve("/else/Tm/pl/tm/pl/Tmpl-1.0.0.crate", &file);
    let mut options = options(&registry);
    let base = format!("http://127.0.0.1:{}", registry.port);
    options.dl = Some(format!(
        "{base}/else/{{prefix}}/{{lowerprefix}}/{{crate}}-{{version}}.crate"
    ));
    let report = run(folder.path(), &options, &selection(&["tmpl"])).unwrap();
    assert!(report.is_complete(), "{:?}", report.failures);
}

#[test]
fn memory_stays_within_its_budget() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    for i in 0..12 {
        registry.publish_sized(&format!("big@1.0.{i}"), 20_000);
        registry.publish_sized(&format!("wide{i}@1.0.0"), 20_000);
        // Compresses well: its tar is far larger than eight times the crate file.
        registry.publish_sized(&format!("flat{i}@1.0.0"), 0);
    }
    let mut options = options(&registry);
    options.fetch.jobs = 8;
    options.budget_bytes = 400_000;
    let names: Vec<String> = (0..12).flat_map(|i| [format!("wide{i}"), format!("flat{i}")]).collect();
    let wants: Vec<&str> = names.iter().map(String::as_str).chain(["big"]).collect();
    let report = run(folder.path(), &options, &selection(&wants)).unwrap();
    assert!(report.is_complete(), "{:?}", report.failures);
    assert_eq!(report.downloaded, 36);
    assert!(report.peak_bytes <= 400_000, "{} bytes", report.peak_bytes);
    assert!(registry.most_busy() <= 8);
}

#[test]
fn a_crate_larger_than_the_budget_passes_alone() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    for i in 0..4 {
        registry.publish_sized(&format!("huge@1.0.{i}"), 100_000);
        registry.publish_sized(&format!("tiny{i}@1.0.0"), 10);
    }
    let mut options = options(&registry);
    options.budget_bytes = 50_000;
    let report = run(
        folder.path(),
        &options,
        &selection(&["huge", "tiny0", "tiny1", "tiny2", "tiny3"]),
    );
    assert_eq!(report.unwrap().downloaded, 8);
}

#[test]
fn a_long_run_commits_on_the_way_and_tells_how_far_it_is() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    for i in 0..6 {
        let release = format!("long@1.0.{i}");
        registry.publish(&release);
        registry.always(&dl_path(&release), Some(Act::Slow(400)));
    }
    let mut options = options(&registry);
    // Slow, but not to be given up on.
    options.http.idle_timeout = Duration::from_secs(20);
    options.fetch.jobs = 1;
    options.commit_bytes = 1;
    let writer = Writer::open(folder.path()).unwrap();
    let most = AtomicU64::new(0);
    let report = sync::run(&writer, &selection(&["long"]), &options, &Stop::default(), &|notice| {
        if let Notice::Progress(progress) = notice
            && progress.phase == Phase::Downloading
        {
            assert_eq!(progress.total, 6);
            most.fetch_max(progress.done, Ordering::Relaxed);
        }
    });
    assert!(report.unwrap().snapshot >= 3);
    assert_eq!(most.into_inner(), 6);
}
