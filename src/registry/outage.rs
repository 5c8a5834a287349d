//! What all workers of a pool know together: when a server asks to be left alone,
//! and when it does not answer anyone any more.
//!
//! A file that fails is one file's trouble. When file after file fails, and none
//! comes, the server (or the line) is the trouble: then attempts are no longer held
//! against single files, all wait together, and after some patience everything is
//! given up at once, rather than file by file for days.

use super::Stop;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many files in a row that fail, at least, make an outage.
const LEAST_FILES: u32 = 8;
/// So many files in a row that cannot be had, for reasons that waiting does not mend.
const HOPELESS_FILES: u32 = 200;
/// The first pause of an outage; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What a failure means for the file at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the file's own.
    Own,
    /// It is everyone's: all wait, and the attempt does not count.
    Everyone,
    /// Nothing has come for so long that nothing more is asked for.
    GiveUp,
}

/// Shared by all workers of a pool.
#[derive(Debug)]
pub(super) struct Outage {
    least_files: u32,
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    closed_until: Option<Instant>,
    /// Files that failed since something last came, and when the first of them did.
    files: u32,
    since: Option<Instant>,
    /// Of these, files that were given up.
    hopeless: u32,
    pause: Duration,
    given_up: bool,
}

impl Outage {
    pub(super) fn new(jobs: usize, patience: Duration) -> Outage {
        Outage {
            least_files: u32::try_from(jobs).unwrap_or(u32::MAX).max(LEAST_FILES),
            patience,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody asks again before `delay` has passed: if one is to wait, all are.
    pub(super) fn close_for(&self, delay: Duration) {
        let until = Instant::now() + delay;
        let mut state = self.state();
        state.closed_until = Some(state.closed_until.map_or(until, |already| already.max(until)));
    }

    /// Waits until asking is allowed; returns whether to stop instead.
    pub(super) fn pass(&self, stop: &Stop) -> bool {
        loop {
            let (until, given_up) = {
                let state = self.state();
                (state.closed_until, state.given_up)
            };
            if given_up {
                return true;
            }
            let left = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return stop.is_set();
            }
            if stop.wait(left) {
                return true;
            }
        }
    }

    /// Something came, be it only the word that a file is not there.
    pub(super) fn answered(&self) {
        let mut state = self.state();
        (state.files, state.hopeless, state.since) = (0, 0, None);
        state.pause = Duration::ZERO;
    }

    /// Something failed; `first` is whether it is this file's first failure, so that a
    /// few bad files that are tried again are no outage; `mends` is whether waiting may
    /// help.
    pub(super) fn failed(&self, first: bool, mends: bool, now: Instant) -> Verdict {
        let mut state = self.state();
        state.files = state.files.saturating_add(u32::from(first));
        state.hopeless += u32::from(!mends);
        let since = *state.since.get_or_insert(now);
        if state.files < self.least_files {
            return Verdict::Own;
        }
        let waited_out = now.saturating_duration_since(since) >= self.patience;
        if state.hopeless >= HOPELESS_FILES || (mends && waited_out) {
            state.given_up = true;
        }
        if state.given_up {
            return Verdict::GiveUp;
        }
        if !mends {
            return Verdict::Own;
        }
        // One pause for all who fail within it.
        if state.closed_until.is_none_or(|until| until <= now) {
            state.pause = (2 * state.pause).clamp(FIRST_PAUSE.min(self.patience), LONGEST_PAUSE);
            state.closed_until = Some(now + state.pause);
        }
        Verdict::Everyone
    }

    /// Whether everything has been given up.
    pub(super) fn is_given_up(&self) -> bool {
        self.state().given_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn failures_in_a_row_become_everyones_and_then_the_end() {
        let outage = Outage::new(4, 60 * SECOND);
        let start = Instant::now();
        assert!((1..8).all(|_| outage.failed(true, true, start) == Verdict::Own));
        assert_eq!(outage.failed(true, true, start + SECOND), Verdict::Everyone);
        assert_eq!(outage.failed(true, true, start + 59 * SECOND), Verdict::Everyone);
        assert_eq!(outage.failed(true, true, start + 60 * SECOND), Verdict::GiveUp);
        assert!(outage.is_given_up() && outage.pass(&Stop::default()));
    }

    #[test]
    fn a_few_files_that_never_come_are_no_outage() {
        let outage = Outage::new(3, 60 * SECOND);
        let start = Instant::now();
        for attempt in 0..100 {
            assert_eq!(outage.failed(attempt < 3, true, start + attempt * SECOND), Verdict::Own);
        }
    }

    #[test]
    fn anything_that_comes_ends_an_outage() {
        let outage = Outage::new(64, 60 * SECOND);
        let start = Instant::now();
        assert!((1..64).all(|_| outage.failed(true, true, start) == Verdict::Own));
        outage.answered();
        assert_eq!(outage.failed(true, true, start + 100 * SECOND), Verdict::Own);
        assert!(!outage.is_given_up());
    }

    #[test]
    fn what_waiting_does_not_mend_is_given_up_by_count() {
        let outage = Outage::new(1, 60 * SECOND);
        let start = Instant::now();
        assert!((1..200).all(|_| outage.failed(true, false, start) == Verdict::Own));
        assert_eq!(outage.failed(true, false, start), Verdict::GiveUp);
    }
}
