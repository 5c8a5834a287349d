//! What git counts while it fetches, for whoever watches.

use gix::progress::{Id, MessageLevel, Step, StepShared, UNKNOWN, Unit};
use gix::{Count, NestedProgress, Progress};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// How far a fetch is, in git's own words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetchCounts {
    /// What it is at.
    pub step: String,
    /// Of what it counts: done.
    pub done: u64,
    /// Of what it counts: in all; 0 if that is not known.
    pub total: u64,
}

/// The one thing counted now, whichever of git's many counters it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown(Arc<Mutex<Option<Current>>>);

#[derive(Debug)]
struct Current {
    name: String,
    max: Step,
    step: StepShared,
}

impl Shown {
    pub(super) fn counts(&self) -> Option<FetchCounts> {
        let current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().map(|current| FetchCounts {
            step: current.name.clone(),
            done: current.step.load(Ordering::Relaxed) as u64,
            total: current.max as u64,
        })
    }

    pub(super) fn counter(&self, name: &str) -> Counter {
        Counter {
            shown: self.clone(),
            name: name.to_owned(),
            max: None,
            step: StepShared::default(),
        }
    }
}

/// One of git's counters.
#[derive(Debug)]
pub(super) struct Counter {
    shown: Shown,
    name: String,
    max: Option<Step>,
    step: StepShared,
}

impl Counter {
    /// What has an end is shown; what only counts on, such as bytes beside the objects
    /// they are of, is not.
    fn show(&self) {
        let Some(max) = self.max else { return };
        let current = Current {
            // Of the other side's words, what is no percentage.
            name: self.name.rsplit("remote: ").next().unwrap_or_default().to_owned(),
            max,
            step: self.step.clone(),
        };
        *self.shown.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(current);
    }
}

impl Count for Counter {
    fn set(&self, step: Step) {
        self.step.store(step, Ordering::Relaxed);
    }

    fn step(&self) -> Step {
        self.step.load(Ordering::Relaxed)
    }

    fn inc_by(&self, step: Step) {
        self.step.fetch_add(step, Ordering::Relaxed);
    }

    fn counter(&self) -> StepShared {
        self.step.clone()
    }
}

impl Progress for Counter {
    fn init(&mut self, max: Option<Step>, _unit: Option<Unit>) {
        self.max = max;
        self.show();
    }

    fn max(&self) -> Option<Step> {
        self.max
    }

    fn set_max(&mut self, max: Option<Step>) -> Option<Step> {
        let before = std::mem::replace(&mut self.max, max);
        self.show();
        before
    }

    fn set_name(&mut self, name: String) {
        self.name = name;
    }

    fn name(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn id(&self) -> Id {
        UNKNOWN
    }

    fn message(&self, _level: MessageLevel, _message: String) {}
}

impl NestedProgress for Counter {
    type SubProgress = Counter;

    fn add_child(&mut self, name: impl Into<String>) -> Counter {
        self.shown.counter(&name.into())
    }

    fn add_child_with_id(&mut self, name: impl Into<String>, _id: Id) -> Counter {
        self.add_child(name)
    }
}
