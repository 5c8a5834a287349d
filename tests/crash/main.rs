//! Crashes: whatever a medium may hold after one, some committed snapshot is found, all
//! of it whole. `tests/README.md` says how this works and which mistakes it would catch.
//!
//! `CRATEHOLD_CRASH_DEPTH=N` looks at up to N times as many images (1 by default).
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::print_stdout, reason = "figures and the table of mistakes, with --nocapture")]

#[path = "../support/mod.rs"]
mod support;

mod faults;
mod images;
mod medium;
mod mutants;
mod oracle;
mod repairs;
mod workloads;

use images::Tracker;
use medium::{Image, Op, Recorder};
use oracle::{History, acknowledged};
use std::panic::{AssertUnwindSafe, catch_unwind};
use workloads::{ALL, Recording};

/// Images looked at for one moment of a crash.
const IMAGES_CAP: usize = 4000;
/// Of how many images one is also recovered with crashes during that.
const RECOVERY_STRIDE: usize = 23;
const RECOVERY_CAP: usize = 40;

fn depth() -> usize {
    std::env::var("CRATEHOLD_CRASH_DEPTH")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1)
}

#[derive(Debug, Default)]
struct Tally {
    moments: usize,
    images: usize,
    recoveries: usize,
    sampled_moments: usize,
}

/// What is asked of an image, given the last snapshot acknowledged.
type Check<'a> = dyn FnMut(&Image, Option<u64>) -> Result<(), String> + 'a;

/// Crashes at every moment of `ops` from step `from` on: before each step that makes something durable, for
/// the steps between only add to what may be on the medium, and at the end.
fn crash_everywhere(
    start: &Image,
    ops: &[Op],
    from: usize,
    cap: usize,
    check: &mut Check<'_>,
    tally: &mut Tally,
) -> Result<(), String> {
    let mut tracker = Tracker::new(start);
    for at in 0..=ops.len() {
        let settles = matches!(
            ops.get(at),
            None | Some(Op::Sync(_) | Op::SyncFolder(_) | Op::Acknowledged(_))
        );
        if settles && at >= from {
            let told = acknowledged(&ops[..at]);
            let mut failure = Ok(());
            tally.moments += 1;
            let all = tracker.images(cap, at as u64, &mut |image| {
                tally.images += 1;
                failure = catch_unwind(AssertUnwindSafe(|| check(&image, told)))
                    .unwrap_or_else(|_| Err("a panic".into()))
                    .map_err(|error| {
                        format!(
                            "crash before step {at} of {} ({:?}): {error}",
                            ops.len(),
                            kind(ops.get(at))
                        )
                    });
                failure.is_ok()
            });
            tally.sampled_moments += usize::from(!all);
            failure?;
        }
        if let Some(op) = ops.get(at) {
            tracker.apply(op);
        }
    }
    Ok(())
}

fn kind(op: Option<&Op>) -> String {
    match op {
        None => "the end".into(),
        Some(Op::Write { name, offset, .. }) => format!("write {name} at {offset}"),
        Some(op) => format!("{op:?}"),
    }
}

/// The whole oracle on every image, and on some of them crashes during the recovery.
fn survives(recording: &Recording, tally: &mut Tally) -> Result<(), String> {
    let history = &recording.history;
    let (mut nth, mut recoveries) = (0, 0);
    let mut check = |image: &Image, told: Option<u64>| {
        nth += 1;
        recording.check(image, told, nth % 4 == 0)?;
        if nth % (RECOVERY_STRIDE / depth()).max(1) == 0 {
            recoveries += 1;
            recovery_survives(history, image, told).map_err(|error| format!("and in the recovery, {error}"))?;
        }
        Ok(())
    };
    let result = crash_everywhere(
        &recording.start,
        &recording.ops,
        0,
        IMAGES_CAP * depth(),
        &mut check,
        tally,
    );
    tally.recoveries += recoveries;
    result
}

/// Crashes everywhere while `image` is recovered and the next run goes on.
fn recovery_survives(history: &History, image: &Image, told: Option<u64>) -> Result<(), String> {
    let medium = Recorder::new(image.clone());
    let mut history = history.clone();
    oracle::recover_on(&medium)?;
    let mut note = || {
        let archive = cratehold::archive::Archive::open_on(Recorder::new(medium.image()));
        history
            .note(&archive.map_err(|error| error.to_string())?)
            .map_err(|error| error.to_string())
    };
    note()?;
    medium.unlock();
    oracle::go_on(&medium).map_err(|error| error.to_string())?;
    note()?;
    let mut check = |image: &Image, now: Option<u64>| history.check(image, now.max(told), false);
    crash_everywhere(
        image,
        &medium.ops(),
        0,
        RECOVERY_CAP * depth(),
        &mut check,
        &mut Tally::default(),
    )
}

fn run(name: &str) {
    let workload = ALL.iter().find(|workload| workload.name == name).unwrap();
    let mut tally = Tally::default();
    let result = survives(&workload.record(), &mut tally);
    println!("{name}: {tally:?}");
    if let Err(error) = result {
        panic!("{name}: {error}");
    }
}

macro_rules! workload_tests {
    ($($test:ident: $name:literal,)*) => {
        $(#[test] fn $test() { run($name); })*

        #[test]
        fn every_workload_is_tested() {
            assert_eq!([$($name),*].to_vec(), ALL.iter().map(|workload| workload.name).collect::<Vec<_>>());
        }
    };
}

workload_tests! {
    a_crash_in_the_first_commit: "first commit",
    a_crash_in_the_second_commit: "second commit",
    a_crash_in_an_index_merge: "index merge",
    a_crash_in_a_new_pack: "new pack",
    a_crash_in_a_removal: "removal",
    a_crash_in_an_adoption: "adoption",
    a_crash_while_packs_are_rewritten: "rewriting packs",
    a_crash_in_a_purge: "purge",
    a_crash_in_a_protection: "protection",
    a_crash_while_a_bundle_of_everything_is_taken_in: "a bundle of everything",
    a_crash_while_a_bundle_of_two_snapshots_is_taken_in: "a bundle of two snapshots",
    a_crash_while_optimizing: "optimize",
    a_crash_while_going_on_optimizing: "optimize once more",
}
