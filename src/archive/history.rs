//! Folding a crate's events into its state at a snapshot. Spec section 7, R 7.13 on.

use super::{Archive, Error};
use crate::format::Damaged;
use crate::format::key_order;
use crate::format::manifest::{CrateRecord, EventKind, EventRef, NameRange, TextPlace, TextReader};
use crate::ids::{Digest, Version};
use crate::store::FileBytes;
use std::sync::Arc;

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
    /// Whether its bytes were erased here; see [`Archive::purge_of`].
    pub purged: bool,
    /// The snapshot that erased them, and where the reason is.
    purge: Option<(u64, Option<(usize, EventPlace)>)>,
    /// That the registry lists it, but its download server did not have it.
    pub absence: Option<Absence>,
    /// Where its newest line is: segment and place there.
    line: Option<(usize, EventPlace)>,
}

/// How often a release was asked for in vain since the registry lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Absence {
    /// So many times.
    pub count: u32,
    /// The snapshot that noted the first.
    pub first: u64,
    /// The snapshot that noted the last.
    pub last: u64,
}

impl Absence {
    /// With one more time, noted by snapshot `generation`.
    fn again(known: Option<Absence>, generation: u64) -> Absence {
        Absence {
            count: known.map_or(0, |known| known.count).saturating_add(1),
            first: known.map_or(generation, |known| known.first),
            last: generation,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct EventPlace {
    text: TextPlace,
    /// The name as its record spells it, which the text may refer to. [R 7.7]
    spelling: Arc<str>,
}

/// The events of generations up to `until`; damage comes through.
fn up_to<'a>(
    until: u64,
    events: impl Iterator<Item = Result<EventRef<'a>, Damaged>>,
) -> impl Iterator<Item = Result<EventRef<'a>, Damaged>> {
    events.take_while(move |event| !matches!(event, Ok(event) if event.generation > until))
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

    /// Whether the registry has it: neither removed nor replaced.
    pub fn is_current(&self) -> bool {
        self.removed.is_none() && self.replaced.is_none()
    }
}

impl CrateState {
    fn new() -> CrateState {
        CrateState {
            name: String::new(),
            releases: Vec::new(),
            etag: None,
        }
    }

    /// Applies one segment's records of this crate, one for each spelling of its
    /// name, up to generation `until`; of one version only, if one is given. Whatever the spelling, events
    /// count in the order of their generations: merging segments may bring
    /// spellings into another order, but never generations. [R 7.13]
    fn apply_records(
        &mut self,
        segment: usize,
        records: &[CrateRecord<'_>],
        until: u64,
        version: Option<&str>,
    ) -> Result<(), Damaged> {
        if let [record] = records {
            return self.apply_record(segment, record, until, version);
        }
        let mut events = Vec::new();
        for record in records {
            let spelling = record.name().clone();
            for event in up_to(until, record.events()) {
                events.push((spelling.clone(), event?));
            }
        }
        events.sort_by_key(|(_, event)| event.generation);
        if let Some((spelling, _)) = events.last() {
            self.name = spelling.to_string();
        }
        for (spelling, event) in &events {
            if version.is_none_or(|version| version == event.version) {
                self.apply(segment, spelling, event);
            }
        }
        Ok(())
    }

    /// The usual case: one spelling, whose events lie in order. [R 7.12]
    fn apply_record(
        &mut self,
        segment: usize,
        record: &CrateRecord<'_>,
        until: u64,
        version: Option<&str>,
    ) -> Result<(), Damaged> {
        let spelling = record.name().clone();
        let mut apply = |event: Result<EventRef<'_>, Damaged>| {
            let event = event?;
            if self.name != **record.name() {
                self.name = record.name().to_string();
            }
            self.apply(segment, &spelling, &event);
            Ok(())
        };
        match version {
            None => up_to(until, record.events()).try_for_each(&mut apply),
            Some(version) => up_to(until, record.events_of(version)).try_for_each(&mut apply),
        }
    }

    fn apply(&mut self, segment: usize, spelling: &Arc<str>, event: &EventRef<'_>) {
        let place = event.text.map(|text| {
            let spelling = spelling.clone();
            (segment, EventPlace { text, spelling })
        });
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
                .filter(|old| old.digest != digest && old.version == version)
            {
                old.replaced.get_or_insert(event.generation);
                old.absence = None;
            }
        }
        let known = self
            .releases
            .iter()
            .position(|known| known.digest == digest && known.version == version);
        let at = known.unwrap_or_else(|| {
            self.releases.push(ReleaseState {
                version,
                digest,
                yanked: false,
                added: event.generation,
                removed: None,
                replaced: None,
                purged: false,
                purge: None,
                absence: None,
                line: None,
            });
            self.releases.len() - 1
        });
        let state = &mut self.releases[at];
        match event.kind {
            EventKind::Etag => return,
            EventKind::Missing => {
                state.absence = Some(Absence::again(state.absence, event.generation));
                return;
            }
            EventKind::Purged => {
                state.purged = true;
                state.purge = Some((event.generation, place));
                return;
            }
            EventKind::Removed => (state.removed, state.absence) = (Some(event.generation), None),
            EventKind::Restored => state.removed = None,
            EventKind::Replaced => state.replaced = None,
            // Of a release that is known already, it says that its bytes are welcome again.
            EventKind::Added => (state.purged, state.purge) = (false, None),
            EventKind::Yanked | EventKind::Unyanked | EventKind::Amended => {}
        }
        state.yanked = event.yanked;
        if place.is_some() {
            state.line = place;
        }
    }

    /// Whether any event has been applied; there may be only later ones.
    fn is_known(&self) -> bool {
        !self.name.is_empty()
    }

    /// Releases that the registry has now: neither removed nor replaced.
    pub fn current(&self) -> impl DoubleEndedIterator<Item = &ReleaseState> {
        self.releases.iter().filter(|release| release.is_current())
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
            let damaged = |damage| self.manifest_damage(i, damage);
            let records = segment.find(name).map_err(damaged)?;
            if !records.is_empty() {
                let state = state.get_or_insert_with(CrateState::new);
                state.apply_records(i, &records, self.until, None).map_err(damaged)?;
            }
        }
        Ok(state.filter(CrateState::is_known))
    }

    /// What the manifest knows of one exact version of the crate `name`: the
    /// release that the registry has now if there is one, else the last it had.
    /// Much faster than [`Archive::crate_state`] for crates with many versions.
    ///
    /// # Errors
    /// When a manifest segment is damaged.
    pub fn release_state(&self, name: &str, version: &str) -> Result<Option<ReleaseState>, Error> {
        let mut state = CrateState::new();
        for (i, segment) in self.manifests.iter().enumerate() {
            let damaged = |damage| self.manifest_damage(i, damage);
            let records = segment.find(name).map_err(damaged)?;
            state
                .apply_records(i, &records, self.until, Some(version))
                .map_err(damaged)?;
        }
        let current = state.current().next_back().cloned();
        Ok(current.or_else(|| state.releases.pop()))
    }

    /// Every crate that the manifest knows, by name.
    ///
    /// # Errors
    /// When a manifest segment is damaged.
    pub fn crates(&self) -> Result<Vec<CrateState>, Error> {
        let mut crates = Vec::new();
        self.each_crate(|state| {
            crates.push(state);
            Ok::<(), Error>(())
        })?;
        Ok(crates)
    }

    /// Calls `visit` with every crate that the manifest knows, by name, one at a
    /// time: an archive of everything need not fit into memory.
    ///
    /// # Errors
    /// When a manifest segment is damaged, or as `visit` says.
    pub fn each_crate<E: From<Error>>(&self, visit: impl FnMut(CrateState) -> Result<(), E>) -> Result<(), E> {
        self.each_crate_in(NameRange::default(), visit)
    }

    /// At most `parts` ranges of names with about as many releases each, for as many
    /// threads to visit at once by [`Archive::each_crate_in`].
    ///
    /// # Errors
    /// When a manifest segment is damaged.
    pub fn name_ranges(&self, parts: usize) -> Result<Vec<NameRange>, Error> {
        let largest = (0..self.manifests.len()).max_by_key(|&i| self.manifests[i].event_count());
        let Some(i) = largest else { return Ok(Vec::new()) };
        self.manifests[i]
            .ranges(parts)
            .map_err(|damage| self.manifest_damage(i, damage))
    }

    /// As [`Archive::each_crate`], of the crates with names in `range`.
    ///
    /// # Errors
    /// As [`Archive::each_crate`].
    pub fn each_crate_in<E: From<Error>>(
        &self,
        range: NameRange,
        mut visit: impl FnMut(CrateState) -> Result<(), E>,
    ) -> Result<(), E> {
        // Records are sorted by key in each segment, so that those of one crate are
        // at the front of all segments together.
        let mut segments = Vec::new();
        for (i, segment) in self.manifests.iter().enumerate() {
            let mut records = segment.crates_in(range);
            let damaged = |damage| self.manifest_damage(i, damage);
            let first = records.next().transpose().map_err(damaged)?;
            segments.push((records, first));
        }
        loop {
            let heads = segments.iter().filter_map(|(_, first)| Some(first.as_ref()?.name()));
            let Some(name) = heads.min_by(|a, b| key_order(a, b)).cloned() else {
                return Ok(());
            };
            let mut state = CrateState::new();
            for (i, (records, first)) in segments.iter_mut().enumerate() {
                let damaged = |damage| self.manifest_damage(i, damage);
                let mut spellings = Vec::new();
                while let Some(record) = first.take_if(|first| key_order(first.name(), &name).is_eq()) {
                    spellings.push(record);
                    *first = records.next().transpose().map_err(damaged)?;
                }
                if !spellings.is_empty() {
                    state.apply_records(i, &spellings, self.until, None).map_err(damaged)?;
                }
            }
            if state.is_known() {
                visit(state)?;
            }
        }
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

    /// The registry line of a release, byte for byte, if one is known. For many, a
    /// [`LineReader`] is faster.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn line(&self, release: &ReleaseState) -> Result<Option<Vec<u8>>, Error> {
        LineReader::new(self).line(release)
    }

    /// The snapshot in which a release's bytes were erased here, and why; none if they
    /// were not, or have been taken in again.
    ///
    /// # Errors
    /// When the reason is damaged.
    pub fn purge_of(&self, release: &ReleaseState) -> Result<Option<(u64, String)>, Error> {
        let Some((snapshot, place)) = &release.purge else {
            return Ok(None);
        };
        let text = LineReader::new(self).text(place.as_ref(), release.version.as_str(), Some(release.digest))?;
        let reason = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
        Ok(Some((*snapshot, reason)))
    }

    /// The entity tag under which the crate's registry index file was last seen; none if
    /// it has been let go of since. [R 7.14]
    ///
    /// # Errors
    /// When it is damaged.
    pub fn etag(&self, state: &CrateState) -> Result<Option<String>, Error> {
        let text = LineReader::new(self).text(state.etag.as_ref(), "", None)?;
        let text = text.and_then(|text| String::from_utf8(text).ok());
        Ok(text.filter(|text| !text.is_empty()))
    }
}

/// Reads registry lines of one archive; those of one crate after the other, each in
/// the order of its releases, cost little each.
#[derive(Debug)]
pub struct LineReader<'a> {
    archive: &'a Archive,
    segments: Vec<TextReader<'a, FileBytes>>,
}

impl<'a> LineReader<'a> {
    /// A reader with nothing decoded yet.
    pub fn new(archive: &'a Archive) -> LineReader<'a> {
        let segments = archive.manifests.iter().map(|segment| TextReader::new(segment));
        LineReader {
            archive,
            segments: segments.collect(),
        }
    }

    /// The registry line of a release, byte for byte, if one is known.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn line(&mut self, release: &ReleaseState) -> Result<Option<Vec<u8>>, Error> {
        let place = release.line.as_ref();
        self.text(place, release.version.as_str(), Some(release.digest))
    }

    fn text(
        &mut self,
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
        let text = self.segments[*segment]
            .text(&place.spelling, &event)
            .map_err(|damage| self.archive.manifest_damage(*segment, damage))?;
        Ok(Some(text))
    }
}
