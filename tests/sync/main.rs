//! `sync` against a registry on loopback: what it brings, and every bad day.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../support/mod.rs"]
mod support;

mod bad_days;
mod bad_git;
mod binary;
mod changes;
mod dry_run;
mod endings;
mod fast;
mod full_disk;
mod git;
mod git_repository;
mod inputs;
mod missing;
mod runs;
mod selection;
mod two_at_once;
mod way_there;

use cratehold::archive::{Archive, Depth, Writer};
use cratehold::ids::Digest;
use cratehold::registry::{IndexUrl, RetryPolicy, Stop};
use cratehold::sync::{self, Options, Report, Selection};
use std::path::Path;
use std::time::Duration;
use support::Registry;

/// Settings that lose no time.
fn options(registry: &Registry) -> Options {
    let mut options = Options::new(IndexUrl::parse(&registry.index()).unwrap());
    options.http.idle_timeout = Duration::from_millis(300);
    options.http.connect_timeout = Duration::from_secs(2);
    options.fetch.jobs = 4;
    options.fetch.policy = RetryPolicy {
        first_delay: Duration::from_millis(4),
        attempts: 4,
        checksum_attempts: 2,
        patience: Duration::from_millis(300),
        ..RetryPolicy::default()
    };
    options
}

fn selection(wants: &[&str]) -> Selection {
    let mut selection = Selection::default();
    for want in wants {
        selection.add_crate(want.parse().unwrap());
    }
    selection
}

fn run(folder: &Path, options: &Options, selection: &Selection) -> Result<Report, sync::Error> {
    let writer = Writer::open(folder).unwrap();
    sync::run(&writer, selection, options, &Stop::default(), &|_| {})
}

fn sync(folder: &Path, registry: &Registry, wants: &[&str]) -> Report {
    run(folder, &options(registry), &selection(wants)).unwrap()
}

/// Checks that these crate files come out again, and that the archive is whole.
fn assert_holds(folder: &Path, files: &[&[u8]]) {
    let archive = Archive::open(folder).unwrap();
    for file in files {
        assert_eq!(&archive.read_crate(&Digest::of(file)).unwrap(), file);
    }
    let verified = archive.verify(Depth::Full, 2, &|_| {}).unwrap();
    assert_eq!(verified.problems, vec![]);
}

/// The lines of the releases that the archive believes the registry has now.
fn lines(folder: &Path, name: &str) -> Vec<String> {
    let archive = Archive::open(folder).unwrap();
    let state = archive.crate_state(name).unwrap().unwrap();
    let current = state.current();
    let line = |release| archive.line(release).unwrap().unwrap();
    current
        .map(|release| String::from_utf8(line(release)).unwrap())
        .collect()
}

fn causes(report: &Report) -> Vec<String> {
    let failures = report.failures.iter().chain(&report.absences);
    failures
        .map(|failure| format!("{}: {}", failure.what, failure.cause))
        .collect()
}
