//! What changed between two snapshots.

use super::{Archive, CrateState, Error, ReleaseState};
use crate::ids::{Digest, Version, name_key};
use std::collections::BTreeSet;

/// What became of a release between two snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// The registry has it since.
    Added,
    /// The registry no longer has it.
    Removed,
    /// It is yanked since.
    Yanked,
    /// It is no longer yanked.
    Unyanked,
    /// Its version has this checksum since, and had another.
    Replaced,
    /// The registry has it again.
    Restored,
}

/// One release that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The crate, as published.
    pub name: String,
    /// The version.
    pub version: Version,
    /// Its checksum, the new one where it was replaced.
    pub digest: Digest,
    /// What became of it.
    pub kind: ChangeKind,
}

impl Archive {
    /// What differs between the snapshots `from` and `to`, by name and version.
    /// What came and went in between is no difference.
    ///
    /// Only crates with events in between are looked at, so that the change of a
    /// day costs little in an archive of years.
    ///
    /// # Errors
    /// When a manifest segment is damaged.
    pub fn changes(&self, from: u64, to: u64) -> Result<Vec<Change>, Error> {
        let (before, after) = (self.at(from), self.at(to));
        let mut changes = Vec::new();
        for key in self.touched(from, to)? {
            let Some(new) = after.crate_state(&key)? else { continue };
            let old = before.crate_state(&key)?;
            let old = old.as_ref().map_or(&[][..], |old| &old.releases);
            let mut found: Vec<Change> = new
                .releases
                .iter()
                .filter_map(|release| change(&new, old, release))
                .collect();
            found.sort_by(|a, b| a.version.cmp(&b.version));
            changes.extend(found);
        }
        Ok(changes)
    }

    /// Keys of the crates with events of generations after `from`, up to `to`.
    fn touched(&self, from: u64, to: u64) -> Result<BTreeSet<String>, Error> {
        let between = |generation: u64| generation > from && generation <= to;
        let mut keys = BTreeSet::new();
        for (i, segment) in self.manifests.iter().enumerate() {
            let damaged = |damage| self.manifest_damage(i, damage);
            let transactions = segment.transactions().map_err(damaged)?;
            // Each event's transaction is in its segment. [R 7.11]
            if !transactions.iter().any(|made| between(made.generation)) {
                continue;
            }
            for record in segment.crates() {
                let record = record.map_err(damaged)?;
                for event in record.events() {
                    if between(event.map_err(damaged)?.generation) {
                        keys.insert(name_key(record.name()));
                        break;
                    }
                }
            }
        }
        Ok(keys)
    }
}

fn change(krate: &CrateState, old: &[ReleaseState], new: &ReleaseState) -> Option<Change> {
    let was = old
        .iter()
        .find(|old| old.version == new.version && old.digest == new.digest);
    let had_rival = || {
        old.iter()
            .any(|old| old.version == new.version && old.digest != new.digest && old.is_current())
    };
    let kind = match (was.filter(|was| was.is_current()), new.is_current()) {
        (Some(was), true) if was.yanked == new.yanked => return None,
        (Some(_), true) if new.yanked => ChangeKind::Yanked,
        (Some(_), true) => ChangeKind::Unyanked,
        // The other checksum's change says it.
        (Some(_), false) if krate.current().any(|other| other.version == new.version) => return None,
        (Some(_), false) => ChangeKind::Removed,
        (None, false) => return None,
        (None, true) if had_rival() => ChangeKind::Replaced,
        (None, true) if was.is_some() => ChangeKind::Restored,
        (None, true) => ChangeKind::Added,
    };
    Some(Change {
        name: krate.name.clone(),
        version: new.version.clone(),
        digest: new.digest,
        kind,
    })
}
