//! Knowing what was erased, so that nothing brings it back unasked. [R 14.4]

use super::super::{Archive, CommitInfo, Error, Writer};
use crate::format::manifest::EventKind;
use crate::format::manifest_event::Event;
use crate::ids::{Digest, Release, Version};
use std::collections::BTreeMap;

/// A release whose bytes were erased here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgedRelease {
    /// The crate, as published.
    pub name: String,
    /// The version.
    pub version: Version,
    /// The bytes' digest.
    pub digest: Digest,
    /// The snapshot that erased them.
    pub snapshot: u64,
    /// Why.
    pub reason: String,
}

impl Archive {
    /// Every release whose bytes were erased here, by name. Walks the whole manifest.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn purged(&self) -> Result<Vec<PurgedRelease>, Error> {
        let mut purged = Vec::new();
        self.each_crate(|state| {
            for release in state.releases.iter().filter(|release| release.purged) {
                let Some((snapshot, reason)) = self.purge_of(release)? else {
                    continue;
                };
                purged.push(PurgedRelease {
                    name: state.name.clone(),
                    version: release.version.clone(),
                    digest: release.digest,
                    snapshot,
                    reason,
                });
            }
            Ok::<(), Error>(())
        })?;
        Ok(purged)
    }

    /// As [`Archive::purged`], one for each digest.
    pub(in crate::archive) fn purged_digests(&self) -> Result<BTreeMap<Digest, PurgedRelease>, Error> {
        Ok(self
            .purged()?
            .into_iter()
            .map(|purged| (purged.digest, purged))
            .collect())
    }
}

impl Writer {
    /// That `digest` was not erased here on purpose.
    ///
    /// # Errors
    /// [`Error::Purged`] if it was; and when the archive is damaged.
    pub fn check_not_purged(&self, digest: &Digest) -> Result<(), Error> {
        let Some(purged) = self.purged_as(digest)? else {
            return Ok(());
        };
        Err(Error::Purged {
            release: format!("{}@{}", purged.name, purged.version),
            digest: *digest,
            snapshot: purged.snapshot,
            reason: purged.reason,
        })
    }

    /// Lets the bytes of `releases` in again, and commits that. Nothing is fetched by it;
    /// what was not erased is let in anyway.
    ///
    /// # Errors
    /// When one of them is not known, or writing fails.
    pub fn accept_purged(&self, releases: &[Release], info: &CommitInfo) -> Result<(), Error> {
        for release in releases {
            let state = self.with_archive(|archive| archive.crate_state(release.name.as_str()))?;
            let known = state.into_iter().flat_map(|state| state.releases);
            let known: Vec<_> = known.filter(|known| known.version == release.version).collect();
            if known.is_empty() {
                return Err(Error::Rejected(format!(
                    "{release} was not erased here; `cratehold list --purged` shows what was"
                )));
            }
            for known in known.iter().filter(|known| known.purged) {
                let event = Event {
                    kind: EventKind::Added,
                    yanked: known.yanked,
                    generation: 0,
                    version: known.version.to_string(),
                    digest: Some(known.digest),
                    text: None,
                };
                self.note(release.name.as_str(), event);
            }
        }
        self.commit(info).map(drop)
    }

    /// Lets go of what a rebuilt index has brought back, from the next commit on;
    /// returns what that was.
    pub(in crate::archive) fn forget_purged(&self) -> Result<Vec<PurgedRelease>, Error> {
        let mut back = Vec::new();
        for purged in self.with_archive(Archive::purged)? {
            if self.find(&purged.digest)?.is_some() {
                self.forget(purged.digest);
                back.push(purged);
            } else if !self.with_archive(|archive| archive.is_let_go(&purged.digest))? {
                // Only the index tells quickly that there is something to ask about.
                self.forget(purged.digest);
            }
        }
        Ok(back)
    }
}
