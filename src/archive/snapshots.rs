//! The snapshots of an archive: which there are, of when, and how each is read.
//!
//! The manifest is the only witness of the past. Whether bytes are held is for
//! the index to say, and it speaks of now: nothing held is ever let go.

use super::{Archive, Error};
use crate::format::manifest::{EventKind, Transaction};
use std::collections::BTreeMap;

/// The last of `transactions`, oldest first, that says it is of `time` or before. Each
/// builds on those before it, whatever their clocks said: so what a snapshot brought is
/// there from it on, and none is passed over for one whose clock was ahead.
fn last_at(transactions: &[Transaction], time: u64) -> Option<u64> {
    let found = transactions.iter().rev().find(|made| made.time <= time);
    found.map(|made| made.generation)
}

/// One transaction, and what its events did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What it says of itself.
    pub transaction: Transaction,
    counts: [u64; COUNTED],
}

/// Event kinds are numbered from 1 to 10. [R 7.5]
const COUNTED: usize = 11;

impl Snapshot {
    /// How many of its events are of this kind.
    pub fn count(&self, kind: EventKind) -> u64 {
        self.counts[kind as usize]
    }
}

impl Archive {
    /// The cursor of a snapshot behind which no commit of the registry index stands, as
    /// when an older index was imported. No commit has this name, so that the index is
    /// read whole again, as where a commit is not there any more. [R 7.3]
    pub const STALE_CURSOR: &str = "-";

    /// This archive as its manifest was after snapshot `generation`: later events
    /// are passed over by all that asks for crates and releases. What is held, and
    /// what is read, verified or measured by checksum, is as now. [R 7.19]
    pub fn at(&self, generation: u64) -> Archive {
        Archive {
            until: generation,
            ..self.clone()
        }
    }

    /// The number of this snapshot.
    pub fn generation(&self) -> u64 {
        self.head.generation.min(self.until)
    }

    /// Every transaction, oldest first. A snapshot that only brought bytes, of
    /// releases that were known before, has none.
    ///
    /// # Errors
    /// When a manifest segment is damaged.
    pub fn transactions(&self) -> Result<Vec<Transaction>, Error> {
        let mut all = Vec::new();
        for (i, segment) in self.manifests.iter().enumerate() {
            let transactions = segment.transactions();
            all.extend(transactions.map_err(|damage| self.manifest_damage(i, damage))?);
        }
        all.retain(|transaction| transaction.generation <= self.until);
        Ok(all)
    }

    /// Every transaction with the count of its events by kind, oldest first.
    ///
    /// # Errors
    /// When a manifest segment is damaged.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>, Error> {
        let new = |transaction: Transaction| {
            let counts = [0; COUNTED];
            (transaction.generation, Snapshot { transaction, counts })
        };
        let mut snapshots: BTreeMap<u64, Snapshot> = self.transactions()?.into_iter().map(new).collect();
        for (i, segment) in self.manifests.iter().enumerate() {
            let damaged = |damage| self.manifest_damage(i, damage);
            for record in segment.crates() {
                for event in record.map_err(damaged)?.events() {
                    let event = event.map_err(damaged)?;
                    if let Some(snapshot) = snapshots.get_mut(&event.generation) {
                        snapshot.counts[event.kind as usize] += 1;
                    }
                }
            }
        }
        Ok(snapshots.into_values().collect())
    }

    /// When snapshot `generation` was committed, in seconds since 1970 UTC; none
    /// if the manifest has no events of it.
    ///
    /// # Errors
    /// When a manifest segment is damaged.
    pub fn snapshot_time(&self, generation: u64) -> Result<Option<u64>, Error> {
        let transactions = self.transactions()?;
        let found = transactions.iter().find(|made| made.generation == generation);
        Ok(found.map(|made| made.time))
    }

    /// The last snapshot committed at `time` or before, in seconds since 1970 UTC;
    /// none if the archive is younger. Where a clock was set back, the last one by
    /// number counts.
    ///
    /// # Errors
    /// When a manifest segment is damaged.
    pub fn snapshot_at(&self, time: u64) -> Result<Option<u64>, Error> {
        Ok(last_at(&self.transactions()?, time))
    }

    /// What of the registry index had been absorbed when it was last read whole, such
    /// as a git commit; none if it never was. [`Archive::STALE_CURSOR`] if what is known
    /// may differ from all that the registry ever said.
    ///
    /// # Errors
    /// When a manifest segment is damaged.
    pub fn cursor(&self) -> Result<Option<String>, Error> {
        let transactions = self.transactions()?.into_iter().rev();
        let mut cursors = transactions.map(|made| made.cursor);
        Ok(cursors.find(|cursor| !cursor.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_hides_nothing() {
        let of = |(generation, time)| Transaction {
            generation,
            parent: [0; 32],
            time,
            registry: String::new(),
            cursor: String::new(),
            source: String::new(),
            event_count: 0,
            hash: [0; 32],
        };
        // Far ahead in the third, set right in the fourth, back a little in the fifth.
        let made = [(1, 100), (2, 200), (3, 9000), (4, 300), (6, 250)].map(of);
        let at = |time| last_at(&made, time);
        assert_eq!(at(99), None);
        assert_eq!(
            [at(100), at(199), at(200), at(249)],
            [Some(1), Some(1), Some(2), Some(2)]
        );
        assert_eq!([at(250), at(300), at(9000)], [Some(6); 3]);
    }
}
