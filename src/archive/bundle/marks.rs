//! What is to become of a bundle's objects: what is held here, what was erased here, and
//! what the bundle tells to erase or to let in again. [R 16.11]

use super::BundleError;
use super::given::Bundle;
use super::lineage::Standing;
use crate::archive::{Archive, Error};
use crate::format::Damaged;
use crate::format::manifest::{EventKind, ManifestSegment};
use crate::ids::Digest;
use std::cell::OnceCell;
use std::collections::BTreeSet;

/// What is to become of objects, by what the bundle tells.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// To be erased here too.
    pub purged: BTreeSet<Digest>,
    /// Welcome, even if they were erased here.
    pub welcome: BTreeSet<Digest>,
}

/// How an archive stands to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holding {
    Held,
    /// Erased on purpose.
    Purged,
    Lacking,
}

/// What an archive holds and what it has erased.
pub(super) struct Holdings<'a> {
    archive: Option<&'a Archive>,
    welcome: &'a BTreeSet<Digest>,
    /// Walks the manifest, so only once somebody has asked.
    purged: OnceCell<BTreeSet<Digest>>,
}

impl<'a> Holdings<'a> {
    pub(super) fn of(archive: Option<&'a Archive>, marks: &'a Marks) -> Holdings<'a> {
        Holdings {
            archive,
            welcome: &marks.welcome,
            purged: OnceCell::new(),
        }
    }

    pub(super) fn holding(&self, digest: &Digest) -> Result<Holding, Error> {
        let Some(archive) = self.archive else {
            return Ok(Holding::Lacking);
        };
        if archive.find(digest)?.is_some() {
            return Ok(Holding::Held);
        }
        if self.welcome.contains(digest) || !archive.is_let_go(digest)? {
            return Ok(Holding::Lacking);
        }
        let purged = match self.purged.get() {
            Some(purged) => purged,
            None => {
                let purged = archive.purged_digests()?.into_keys().collect();
                self.purged.get_or_init(|| purged)
            }
        };
        Ok(match purged.contains(digest) {
            true => Holding::Purged,
            false => Holding::Lacking,
        })
    }
}

impl Marks {
    /// Whether `archive` lacks nothing of `digests` that is to be taken in.
    pub(super) fn is_in(&self, archive: &Archive, digests: &[Digest]) -> Result<bool, Error> {
        let holdings = Holdings::of(Some(archive), self);
        for digest in digests {
            if holdings.holding(digest)? == Holding::Lacking {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Bundle {
    /// What the transactions that are new here tell of objects to be erased or welcome;
    /// of those that are known, what they told to erase.
    pub(super) fn marks(&self, manifest: &[u8], standing: Standing) -> Result<Marks, BundleError> {
        let after = match standing {
            Standing::Told => 0,
            Standing::Before(after) => after,
        };
        let mut marks = Marks::default();
        let damaged = |damage: Damaged| self.bad_manifest(&damage.to_string());
        let segment = ManifestSegment::open(manifest).map_err(damaged)?;
        for record in segment.crates() {
            for event in record.map_err(damaged)?.events() {
                let event = event.map_err(damaged)?;
                let Some(digest) = event.digest.filter(|_| event.generation > after) else {
                    continue;
                };
                match event.kind {
                    EventKind::Purged => {
                        marks.welcome.remove(&digest);
                        marks.purged.insert(digest);
                    }
                    EventKind::Added if standing != Standing::Told => {
                        marks.purged.remove(&digest);
                        marks.welcome.insert(digest);
                    }
                    _ => {}
                }
            }
        }
        Ok(marks)
    }
}
