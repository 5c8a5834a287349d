//! Folding a crate's events into its state at a snapshot. Spec section 7.4.

use super::{Archive, Error};
use crate::format::manifest::{EventKind, EventRef};
use crate::ids::{Digest, Version, name_key};
use std::collections::BTreeMap;

/// What the manifest says of one release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseState {
    /// The exact version.
    pub version: Version,
    /// Its checksum.
    pub digest: Digest,
    /// Whether the registry says yanked.
    pub yanked: bool,
    /// The snapshot in which the registry first had it.
    pub added: u64,
    /// The snapshot in which it left the registry.
    pub removed: Option<u64>,
    /// The snapshot in which the same version got another checksum.
    pub replaced: Option<u64>,
    /// Whether its bytes were erased here.
    pub purged: bool,
    /// Where its newest line is: segment and ordinal.
    line: Option<(usize, EventPlace)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct EventPlace {
    text: u64,
}

/// One crate at one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrateState {
    /// The name as published.
    pub name: String,
    /// Its releases, in the order they were first seen.
    pub releases: Vec<ReleaseState>,
    etag: Option<(usize, EventPlace)>,
}

impl ReleaseState {
    /// Whether the registry has listed it, so that its line is known.
    pub fn is_listed(&self) -> bool {
        self.line.is_some()
    }
}

impl CrateState {
    fn apply(&mut self, segment: usize, event: &EventRef<'_>) {
        let place = event.text.map(|text| (segment, EventPlace { text }));
        if event.kind == EventKind::Etag {
            self.etag = place;
            return;
        }
        // A version or checksum that this program cannot name is not lost: it stays
        // in the manifest, and `inspect manifest` shows it.
        let (Ok(version), Some(digest)) = (event.version.parse::<Version>(), event.digest) else {
            return;
        };
        if event.kind == EventKind::Replaced {
            for old in self
                .releases
                .iter_mut()
                .filter(|old| old.version == version && old.digest != digest)
            {
                old.replaced.get_or_insert(event.generation);
            }
        }
        let known = self
            .releases
            .iter()
            .position(|known| known.version == version && known.digest == digest);
        let at = known.unwrap_or_else(|| {
            self.releases.push(ReleaseState {
                version,
                digest,
                yanked: false,
                added: event.generation,
                removed: None,
                replaced: None,
                purged: false,
                line: None,
            });
            self.releases.len() - 1
        });
        let state = &mut self.releases[at];
        match event.kind {
            EventKind::Missing | EventKind::Etag => return,
            EventKind::Purged => {
                state.purged = true;
                return;
            }
            EventKind::Removed => state.removed = Some(event.generation),
            EventKind::Restored => state.removed = None,
            EventKind::Replaced => state.replaced = None,
            EventKind::Added | EventKind::Yanked | EventKind::Unyanked | EventKind::Amended => {}
        }
        state.yanked = event.yanked;
        if place.is_some() {
            state.line = place;
        }
    }

    /// Releases that the registry has now: neither removed nor replaced.
    pub fn current(&self) -> impl Iterator<Item = &ReleaseState> {
        self.releases
            .iter()
            .filter(|release| release.removed.is_none() && release.replaced.is_none())
    }
}

impl Archive {
    /// What the manifest knows of the crate `name`, in any spelling.
    ///
    /// # Errors
    /// When a manifest segment is damaged.
    pub fn crate_state(&self, name: &str) -> Result<Option<CrateState>, Error> {
        let mut state: Option<CrateState> = None;
        for (i, segment) in self.manifests.iter().enumerate() {
            for record in segment.find(name).map_err(Error::damaged(self.manifest_path(i)))? {
                let state = state.get_or_insert_with(|| CrateState {
                    name: record.name.to_owned(),
                    releases: Vec::new(),
                    etag: None,
                });
                for event in record.events() {
                    state.apply(i, &event.map_err(Error::damaged(self.manifest_path(i)))?);
                }
            }
        }
        Ok(state)
    }

    /// Every crate that the manifest knows, by name.
    ///
    /// # Errors
    /// When a manifest segment is damaged.
    pub fn crates(&self) -> Result<Vec<CrateState>, Error> {
        let mut crates: BTreeMap<String, CrateState> = BTreeMap::new();
        for (i, segment) in self.manifests.iter().enumerate() {
            for record in segment.crates() {
                let record = record.map_err(Error::damaged(self.manifest_path(i)))?;
                let state = crates.entry(name_key(record.name)).or_insert_with(|| CrateState {
                    name: record.name.to_owned(),
                    releases: Vec::new(),
                    etag: None,
                });
                for event in record.events() {
                    state.apply(i, &event.map_err(Error::damaged(self.manifest_path(i)))?);
                }
            }
        }
        Ok(crates.into_values().collect())
    }

    /// The address of the registry index that the lines here come from, if any do.
    ///
    /// # Errors
    /// When a manifest segment is damaged.
    pub fn known_registry(&self) -> Result<Option<String>, Error> {
        for (i, segment) in self.manifests.iter().enumerate().rev() {
            let transactions = segment.transactions().map_err(Error::damaged(self.manifest_path(i)))?;
            let mut named = transactions.into_iter().rev().map(|transaction| transaction.registry);
            if let Some(registry) = named.find(|registry| !registry.is_empty()) {
                return Ok(Some(registry));
            }
        }
        Ok(None)
    }

    /// The registry line of a release, byte for byte, if one is known.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn line(&self, name: &str, release: &ReleaseState) -> Result<Option<Vec<u8>>, Error> {
        let place = release.line.as_ref();
        self.text(name, place, release.version.as_str(), Some(release.digest))
    }

    /// The entity tag under which the crate's registry index file was last seen.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn etag(&self, state: &CrateState) -> Result<Option<String>, Error> {
        let text = self.text(&state.name, state.etag.as_ref(), "", None)?;
        Ok(text.and_then(|text| String::from_utf8(text).ok()))
    }

    fn text(
        &self,
        name: &str,
        place: Option<&(usize, EventPlace)>,
        version: &str,
        digest: Option<Digest>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let Some((segment, place)) = place else { return Ok(None) };
        let event = EventRef {
            kind: EventKind::Added,
            yanked: false,
            generation: 0,
            version,
            digest,
            text: Some(place.text),
        };
        let text = self.manifests[*segment]
            .text(name, &event)
            .map_err(Error::damaged(self.manifest_path(*segment)))?;
        Ok(Some(text))
    }
}
