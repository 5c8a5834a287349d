//! What the registry index lists and the download server does not have: when to ask
//! again, and when so much of it is something else.

use crate::archive::{self, Absence, Archive};
use std::collections::{HashMap, HashSet};

const DAY_SECONDS: u64 = 86_400;
/// No pause between two askings is longer.
const MOST_DAYS: u64 = 30;

/// When a release that was `count` times not there, the last time at `last_time`, is
/// asked for again: after 1 day, then 2, 4, 8, 16, and from then on every 30. In seconds
/// since 1970 UTC.
pub fn next_asking(count: u32, last_time: u64) -> u64 {
    let days = 1u64.checked_shl(count.max(1) - 1).unwrap_or(MOST_DAYS);
    let days = if days == 0 { MOST_DAYS } else { days.min(MOST_DAYS) };
    last_time.saturating_add(days * DAY_SECONDS)
}

/// Tells whether it is time to ask again.
#[derive(Debug)]
pub(super) struct Askings {
    always: bool,
    now: u64,
    /// When each snapshot was made.
    times: HashMap<u64, u64>,
}

impl Askings {
    /// By what `archive` knows, at `now` in seconds since 1970 UTC; or `always`.
    pub fn new(archive: &Archive, now: u64, always: bool) -> Result<Askings, archive::Error> {
        let made = archive.transactions()?.into_iter();
        Ok(Askings {
            always,
            now,
            times: made.map(|made| (made.generation, made.time)).collect(),
        })
    }

    /// Whether a release is to be asked for, of which `absence` is known. An absence that
    /// was noted by a clock ahead of this one is no reason to wait.
    pub fn is_due(&self, absence: Option<Absence>) -> bool {
        let Some(absence) = absence.filter(|_| !self.always) else {
            return true;
        };
        let Some(&last_time) = self.times.get(&absence.last) else {
            return true;
        };
        self.now < last_time || self.now >= next_asking(absence.count, last_time)
    }
}

/// So many answers tell something of the server.
const TELLING_COUNT: u64 = 100;
/// So many, if all of them are refusals.
const TELLING_ALL_COUNT: u64 = 8;
/// A crate may lack many versions; a server that refuses us refuses many crates.
const TELLING_CRATES: usize = 8;
const TELLING_ONE_CRATE: u64 = 1000;

/// Counts what came and what was not there. A server that refuses this client, or an
/// address that is wrong, looks as if everything were missing.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    came: u64,
    refused: u64,
    /// Crates with a refusal: the first few.
    crates: HashSet<String>,
    /// The first of them.
    example: Option<(String, u16)>,
}

impl Refusals {
    /// A crate file came.
    pub fn came(&mut self) {
        self.came += 1;
    }

    /// A crate file of the crate with `key` was not there, at `url`; not one of which
    /// that was known before.
    pub fn refused(&mut self, key: String, url: &str, status: u16) {
        self.refused += 1;
        self.example.get_or_insert_with(|| (url.to_owned(), status));
        if self.crates.len() < TELLING_CRATES {
            self.crates.insert(key);
        }
    }

    fn are_most(&self) -> bool {
        self.came + self.refused >= TELLING_COUNT && self.refused > self.came
    }

    /// Whether it is plain, while a run is still going on, that asking on is no use.
    pub fn are_plain(&self) -> bool {
        let many_crates = self.crates.len() >= TELLING_CRATES;
        self.are_most() && (many_crates || (self.came == 0 && self.refused >= TELLING_ONE_CRATE))
    }

    /// Why these are not taken for absences, at the end of a run, if they are not.
    pub fn verdict(&self) -> Option<String> {
        let all = self.came == 0 && self.refused >= TELLING_ALL_COUNT;
        let (url, status) = self.example.as_ref().filter(|_| all || self.are_most())?;
        let (refused, asked) = (self.refused, self.came + self.refused);
        Some(format!(
            "{refused} of {asked} crate files asked for were refused, such as {url} with status {status}: more likely this client is refused, or --dl is wrong, than that so many are gone, so none was noted as missing; check --dl, and set CRATEHOLD_CONTACT so that the server's owner knows who asks"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_thirty_days() {
        let days = |count| next_asking(count, 1000) / DAY_SECONDS;
        let expected = [1, 1, 2, 4, 8, 16, 30, 30];
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 7].map(days), expected);
        assert_eq!(days(u32::MAX), 30);
        assert_eq!(next_asking(1, u64::MAX), u64::MAX);
    }

    #[test]
    fn a_clock_that_was_ahead_keeps_nobody_waiting() {
        let absence = |count| {
            Some(Absence {
                count,
                first: 1,
                last: 2,
            })
        };
        let at = |now, always| Askings {
            always,
            now,
            times: HashMap::from([(1, 0), (2, 10 * DAY_SECONDS)]),
        };
        assert!(at(0, false).is_due(None));
        assert!(!at(10 * DAY_SECONDS, false).is_due(absence(1)));
        assert!(at(11 * DAY_SECONDS, false).is_due(absence(1)));
        assert!(!at(11 * DAY_SECONDS, false).is_due(absence(2)));
        assert!(at(11 * DAY_SECONDS, true).is_due(absence(9)));
        assert!(
            at(10 * DAY_SECONDS - 1, false).is_due(absence(9)),
            "the clock was set back"
        );
    }

    fn refusals(came: u64, refused: u64, crates: u64) -> Refusals {
        let mut refusals = Refusals::default();
        (0..came).for_each(|_| refusals.came());
        (0..refused).for_each(|i| refusals.refused((i % crates).to_string(), "u", 403));
        refusals
    }

    #[test]
    fn so_many_refusals_are_no_absence() {
        for (came, refused, crates, plain, told) in [
            (0, 0, 1, false, false),
            (0, 7, 7, false, false),
            (0, 8, 1, false, true),
            (1, 90, 20, false, false),
            (49, 51, 20, true, true),
            (50, 50, 20, false, false),
            (49, 51, 3, false, true),
            (0, 999, 1, false, true),
            (0, 1000, 1, true, true),
            (1, 5000, 7, false, true),
        ] {
            let refusals = refusals(came, refused, crates);
            let verdict = refusals.verdict();
            assert_eq!(
                (refusals.are_plain(), verdict.is_some()),
                (plain, told),
                "{came} {refused} {crates}"
            );
            assert!(verdict.is_none_or(|said| said.contains("such as u with status 403")));
        }
    }
}
