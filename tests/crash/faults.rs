//! Errors of the operating system: at the nth call, for every n, once and for ever; and
//! processes that are killed, so that the next finds what the medium may not have yet.

use super::images::Tracker;
use super::medium::{Fault, FaultKind, Op, Recorder, Rules};
use super::oracle::{History, acknowledged, describe, go_on, is_of_a_crash, recover_on};
use super::workloads::{ALL, Recording, Stage, Workload};
use super::{Tally, crash_everywhere, depth};
use cratehold::archive::{Archive, Depth};

/// How what was asked for is changed; see `mutants`.
pub type Change<'a> = &'a dyn Fn(&[Op]) -> Vec<Op>;

/// What one workload does under one fault, and what the next run finds.
fn faulted(
    workload: &Workload,
    start: &super::medium::Image,
    whole: &History,
    fault: Fault,
    changes: [Change<'_>; 2],
) -> Result<bool, String> {
    let stage = Stage::on(Recorder::with(start.clone(), Rules::Posix, Some(fault)));
    *stage.history.lock().unwrap() = whole.clone();
    let result = workload.run(&stage);
    let reached = stage.medium.calls() > fault.at;
    let mut history = stage.history.into_inner().unwrap();
    if let Err(error) = &result {
        let message = error.to_string();
        if message.contains('\n') || message.len() > 600 || !message.contains(": ") {
            return Err(format!("not a clear line: {message}"));
        }
    } else if !reached {
        return Ok(false);
    }
    let ops = changes[0](&stage.medium.ops());
    let told = acknowledged(&ops).or_else(|| {
        let opened = Archive::open_on(Recorder::new(start.clone())).ok()?;
        Some(opened.head().generation)
    });

    // The error is gone, the machine went on: the next run finds all that was
    // acknowledged and goes on; then the machine crashes, and so on.
    let mut tracker = Tracker::new(start);
    ops.iter().for_each(|op| tracker.apply(op));
    let next = Recorder::new(tracker.seen());
    match (Archive::open_on(next.clone()), told) {
        (Ok(archive), _) => {
            let generation = archive.head().generation;
            if Some(generation) < told {
                return Err(format!("snapshot {generation} opened, {told:?} was acknowledged"));
            }
            let now = describe(&archive).map_err(|error| error.to_string())?;
            let known = history.states.entry(generation).or_default();
            if !known.is_empty() && !known.contains(&now) {
                return Err(format!("snapshot {generation} is not what was committed"));
            }
            // Committed, although the process could not be told so.
            known.push(now);
        }
        (Err(error), Some(_)) => return Err(format!("opening: {error}")),
        (Err(_), None) => {}
    }
    recover_on(&next).map_err(|error| format!("the next run: {error}"))?;
    let note = |history: &mut History| {
        let archive = Archive::open_on(Recorder::new(next.image())).map_err(|error| error.to_string())?;
        history.note(&archive).map_err(|error| error.to_string())
    };
    note(&mut history)?;
    next.unlock();
    go_on(&next).map_err(|error| format!("the next run: {error}"))?;
    note(&mut history)?;
    let archive = Archive::open_on(next.clone()).map_err(|error| error.to_string())?;
    let report = archive
        .verify(Depth::Full, 1, &|_| {})
        .map_err(|error| error.to_string())?;
    if let Some(problem) = report.problems.iter().find(|problem| !is_of_a_crash(&problem.message)) {
        return Err(format!("verifying the next run: {}", problem.message));
    }
    let is_head = |op: &Op| matches!(op, Op::FailedSync(name) if name.starts_with("head"));
    if fault.for_ever && ops.iter().any(is_head) {
        // A head whose sync failed, and then could not be taken back either: the next
        // run has no way to tell that it is not on the medium.
        return Ok(true);
    }
    crash_after(start, &ops, &changes[1](&next.ops()), &history, told)?;
    Ok(true)
}

/// Crashes everywhere in what `next` did, which began on what `ops` had left in the
/// system's memory rather than on the medium.
fn crash_after(
    start: &super::medium::Image,
    ops: &[Op],
    next: &[Op],
    history: &History,
    told: Option<u64>,
) -> Result<(), String> {
    let all: Vec<Op> = ops.iter().cloned().chain(next.iter().cloned()).collect();
    let mut check = |image: &super::medium::Image, now: Option<u64>| history.check(image, now.max(told), false);
    crash_everywhere(start, &all, ops.len(), 6 * depth(), &mut check, &mut Tally::default())
}

/// Each call of each workload fails, one at a time.
pub fn every_call(fault_of: &dyn Fn(usize) -> Fault, changes: [Change<'_>; 2]) -> Result<(), String> {
    for workload in ALL {
        let (start, _) = workload.start();
        // What the whole workload would have committed may be found too: a head that was
        // written and then taken back.
        let whole = workload.record().history;
        let mut at = 0;
        while faulted(workload, &start, &whole, fault_of(at), changes)
            .map_err(|error| format!("{}: {:?}: {error}", workload.name, fault_of(at)))?
        {
            at += 1;
        }
        println!("{}: {at} calls failed, one at a time", workload.name);
        assert!(at > 10, "{}", workload.name);
    }
    Ok(())
}

macro_rules! fault_tests {
    ($($test:ident: $kind:ident, $for_ever:literal;)*) => {
        $(#[test] fn $test() {
            let fault_of = |at| Fault { at, kind: FaultKind::$kind, for_ever: $for_ever };
            every_call(&fault_of, [&<[Op]>::to_vec, &<[Op]>::to_vec]).unwrap();
        })*
    };
}

fault_tests! {
    an_input_output_error_once: Io, false;
    input_output_errors_for_ever: Io, true;
    a_full_disk_once: Full, false;
    a_full_disk_for_ever: Full, true;
    a_short_write_once: Short, false;
    short_writes_for_ever: Short, true;
}

/// SIGKILL after any step, then another run, then a crash in that: what the first run
/// wrote and did not sync the second has seen, but the medium may not have.
pub fn every_kill(change: Change<'_>) -> Result<(), String> {
    for workload in ALL {
        let recording = workload.record();
        for at in 0..=recording.ops.len() {
            killed(&recording, at, change)
                .map_err(|error| format!("{}: killed before step {at}: {error}", workload.name))?;
        }
    }
    Ok(())
}

fn killed(recording: &Recording, at: usize, change: Change<'_>) -> Result<(), String> {
    let ops = &recording.ops[..at];
    let mut tracker = Tracker::new(&recording.start);
    ops.iter().for_each(|op| tracker.apply(op));
    let next = Recorder::new(tracker.seen());
    let mut history = recording.history.clone();
    let told = acknowledged(ops).or_else(|| {
        let opened = Archive::open_on(Recorder::new(recording.start.clone())).ok()?;
        Some(opened.head().generation)
    });
    recover_on(&next)?;
    let note = |history: &mut History| {
        let archive = Archive::open_on(Recorder::new(next.image())).map_err(|error| error.to_string())?;
        history.note(&archive).map_err(|error| error.to_string())
    };
    note(&mut history)?;
    next.unlock();
    go_on(&next).map_err(|error| error.to_string())?;
    note(&mut history)?;
    crash_after(&recording.start, ops, &change(&next.ops()), &history, told)
}

#[test]
fn a_kill_then_a_crash() {
    every_kill(&<[Op]>::to_vec).unwrap();
}

/// The store's rules on a FAT32 drive: every workload, name for name.
#[test]
fn every_workload_on_a_simulated_fat32() {
    for workload in ALL {
        let (start, before) = workload.start();
        let stage = Stage::on(Recorder::with(start, Rules::Fat32, None));
        *stage.history.lock().unwrap() = before;
        workload.run(&stage).unwrap();
        let archive = Archive::open_on(stage.medium.clone()).unwrap();
        assert_eq!(
            archive.verify(Depth::Full, 1, &|_| {}).unwrap().problems,
            vec![],
            "{}",
            workload.name
        );
        let image = stage.medium.image();
        let mut names: Vec<String> = image.files.keys().map(|name| name.to_ascii_lowercase()).collect();
        names.dedup();
        assert_eq!(names.len(), image.files.len());
        for name in image.files.keys() {
            let odd = |byte: u8| !byte.is_ascii_alphanumeric() && !b"/.-".contains(&byte);
            assert!(!name.bytes().any(odd), "{name}");
        }
    }
}
