//! What a run tells on its way to whoever watches, people and scripts alike.

use super::{Failure, Report};
use std::sync::atomic::{AtomicU64, Ordering};

/// What a run is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Bringing the clone of a git registry index up to date.
    Index,
    /// Reading the registry index's files, and noting what is new in them.
    Reading,
    /// Finding out what is listed and not held.
    Planning,
    /// Fetching crate files and storing them.
    Downloading,
    /// Making what was read or stored part of the archive.
    Committing,
}

/// How far a phase is; told several times a second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The phase.
    pub phase: Phase,
    /// While git fetches: what it is at, in its own words.
    pub step: Option<String>,
    /// Files done, failures included; while git fetches, what it counts.
    pub done: u64,
    /// Files in all; 0 if that is not known.
    pub total: u64,
    /// Bytes of crate files that have come.
    pub bytes: u64,
    /// Bytes of the crate files that are stored.
    pub crate_bytes: u64,
    /// Bytes they take in packs.
    pub stored_bytes: u64,
    /// Failures of the run so far.
    pub failed: u64,
}

impl Progress {
    /// So many of so many files.
    pub(super) fn new(phase: Phase, done: u64, total: u64) -> Progress {
        Progress {
            phase,
            step: None,
            done,
            total,
            bytes: 0,
            crate_bytes: 0,
            stored_bytes: 0,
            failed: 0,
        }
    }
}

/// What a run tells, on any of its threads.
#[derive(Debug, Clone)]
pub enum Notice<'a> {
    /// A phase begins.
    Phase(Phase),
    /// How far it is.
    Progress(Progress),
    /// Something cannot be had.
    Failed(&'a Failure),
    /// As `Failed`: the registry index lists it, the download server does not have it.
    Missing(&'a Failure),
    /// What came so far is part of the archive now.
    Committed {
        /// The new snapshot.
        snapshot: u64,
    },
}

/// Whoever is told.
pub type Watcher<'a> = &'a (dyn Fn(Notice<'_>) + Sync);

/// Tells a watcher, each failure once.
pub(super) struct Watch<'a> {
    watcher: Watcher<'a>,
    /// Whether nothing is really committed, so that no commit is told.
    rehearses: bool,
    failed: AtomicU64,
}

impl<'a> Watch<'a> {
    pub(super) fn new(watcher: Watcher<'a>, rehearses: bool) -> Watch<'a> {
        Watch {
            watcher,
            rehearses,
            failed: AtomicU64::new(0),
        }
    }

    pub(super) fn tell(&self, notice: Notice<'_>) {
        match notice {
            Notice::Progress(progress) => {
                let failed = self.failed.load(Ordering::Relaxed);
                (self.watcher)(Notice::Progress(Progress { failed, ..progress }));
            }
            Notice::Failed(_) | Notice::Missing(_) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                (self.watcher)(notice);
            }
            Notice::Committed { .. } | Notice::Phase(Phase::Committing) if self.rehearses => {}
            other => (self.watcher)(other),
        }
    }

    /// Tells the failures in `report` that have not been told yet. What is told by
    /// other ways is only put into the report when they have ended.
    pub(super) fn tell_failures(&self, report: &Report) {
        let told = usize::try_from(self.failed.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        for failure in report.failures.iter().skip(told) {
            self.tell(Notice::Failed(failure));
        }
    }
}
