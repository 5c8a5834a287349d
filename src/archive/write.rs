//! The one writer: appends records, commits snapshots. Spec section 10.

use super::create::{create, is_empty};
use super::lock::lock;
use super::names::{HEAD_NAMES, Numbered, numbered, pack_name};
use super::segments::Told;
use super::{Archive, Error, PurgedRelease, chain};
use crate::format::head::PackEntry;
use crate::format::index::{Entry, EntryKind};
use crate::format::manifest_event::{Event, Events};
use crate::format::pack::{self, PackHeader, RecordMeta};
use crate::ids::Digest;
use crate::store::{DiskMedium, Medium, Overlay};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A pack that has reached this is sealed. FAT32 ends at 4 GiB.
const PACK_LIMIT_BYTES: u64 = 1 << 30;

/// What a commit says of itself in the chain of transactions.
#[derive(Debug, Clone, Default)]
pub struct CommitInfo {
    /// The registry index that the lines come from, if any.
    pub registry: String,
    /// What of it has been absorbed.
    pub cursor: String,
    /// The command, such as `sync`.
    pub source: String,
}

/// Makes an archive on a medium where these files lie.
pub(super) type MakeArchive<'a> = dyn Fn(&Arc<dyn Medium>, &[(String, u64)]) -> Result<Archive, Error> + 'a;

/// The one writer of an archive, holding its lock.
#[derive(Debug)]
pub struct Writer {
    medium: Arc<dyn Medium>,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) archive: Archive,
    pub(super) packs: Vec<PackEntry>,
    pub(super) entries: BTreeMap<Digest, Entry>,
    pub(super) events: Events,
    pub(super) unsynced: HashSet<u32>,
    /// Whether packs that the last head names are to be named no more.
    pub(super) drops_packs: bool,
    /// Why a write or sync failed: what is pending can no longer be relied on.
    pub(super) failed: Option<String>,
    /// What was erased on purpose, once somebody has asked.
    pub(super) purged: Option<BTreeMap<Digest, PurgedRelease>>,
}

impl Writer {
    /// Opens the archive in `folder` for writing, making an empty one if there
    /// is none.
    ///
    /// # Errors
    /// When another process writes to it, or it cannot be opened or made.
    pub fn open(folder: &Path) -> Result<Writer, Error> {
        Writer::open_on(Arc::new(DiskMedium::new(folder)))
    }

    /// As [`Writer::open`], for finding out what would happen: the archive is read as it
    /// is, without its lock, and what is written stays in memory.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn rehearse(folder: &Path) -> Result<Writer, Error> {
        Writer::open_on(Arc::new(Overlay::new(Arc::new(DiskMedium::new(folder)))))
    }

    /// As [`Writer::open`], on any medium.
    ///
    /// # Errors
    /// As [`Writer::open`].
    pub fn open_on(medium: Arc<dyn Medium>) -> Result<Writer, Error> {
        Writer::open_made(medium, &is_empty, &create)
    }

    /// As [`Writer::open_on`]; `make` makes the archive if there is none, or if neither
    /// head can be used and `is_new` says that none was ever committed to.
    pub(super) fn open_made(
        medium: Arc<dyn Medium>,
        is_new: &dyn Fn(&dyn Medium) -> Result<bool, Error>,
        make: &MakeArchive<'_>,
    ) -> Result<Writer, Error> {
        let path = medium.describe();
        medium.create_folder("").map_err(Error::io(&path))?;
        let files = medium.list("").map_err(Error::io(&path))?;
        lock(&*medium)?;
        Writer::open_locked_made(medium, &files, is_new, make)
    }

    /// As [`Writer::open_on`], on a medium that is locked already, in whose folder
    /// `files` lay before it was.
    pub(super) fn open_locked(medium: Arc<dyn Medium>, files: &[(String, u64)]) -> Result<Writer, Error> {
        Writer::open_locked_made(medium, files, &is_empty, &create)
    }

    fn open_locked_made(
        medium: Arc<dyn Medium>,
        files: &[(String, u64)],
        is_new: &dyn Fn(&dyn Medium) -> Result<bool, Error>,
        make: &MakeArchive<'_>,
    ) -> Result<Writer, Error> {
        let path = medium.describe();
        let archive = match Archive::open_on(medium.clone()) {
            Err(Error::NotAnArchive { .. }) => make(&medium, files)?,
            // A crash while the archive was being made: nothing was ever committed to it.
            Err(Error::NoHead { .. }) if is_new(&*medium)? => make(&medium, files)?,
            other => other?,
        };
        archive.check_newest()?;
        // A writer that was killed or failed may have left the heads in the system's memory
        // only. They must be on the medium before the next commit overwrites one of them,
        // and before it makes segments with names that a head taken back has used.
        for name in HEAD_NAMES {
            match medium.sync(name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result.map_err(Error::io(name))?,
            }
        }
        medium.sync_folder("").map_err(Error::io(&path))?;
        if archive.head.write_features != 0 {
            return Err(Error::ReadOnly {
                path,
                features: archive.head.write_features,
            });
        }
        let mut state = State {
            packs: archive.head.packs.clone(),
            archive,
            entries: BTreeMap::new(),
            events: Events::default(),
            unsynced: HashSet::new(),
            drops_packs: false,
            failed: None,
            purged: None,
        };
        state.adopt(&*medium)?;
        Ok(Writer {
            medium,
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, if this writer can still be used.
    pub(super) fn usable_state(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.state();
        state.check_usable()?;
        Ok(state)
    }

    /// The number that the next pack may have: higher than any that is or was in use.
    pub(super) fn next_pack(&self) -> Result<u32, Error> {
        self.state().next_pack(&*self.medium)
    }

    /// Runs `read` on the last committed snapshot.
    pub fn with_archive<T>(&self, read: impl FnOnce(&Archive) -> T) -> T {
        read(&self.state().archive)
    }

    /// Where `digest` lies, committed or not.
    ///
    /// # Errors
    /// When an index is damaged.
    pub fn find(&self, digest: &Digest) -> Result<Option<Entry>, Error> {
        let state = self.state();
        match state.entries.get(digest) {
            Some(entry) => Ok((entry.kind != EntryKind::Purged).then_some(*entry)),
            None => state.archive.find(digest),
        }
    }

    /// The content of an object, committed or not.
    ///
    /// # Errors
    /// When it is not held or damaged.
    pub(super) fn read_content(&self, digest: &Digest) -> Result<(RecordMeta, Arc<Vec<u8>>), Error> {
        let entry = self.find(digest)?.ok_or(Error::NotHeld { digest: *digest })?;
        chain::decode(&*self.medium, &entry, &|base| self.find(base), &|_| None, &|_, _| {})
    }

    /// The metadata of an object, committed or not.
    ///
    /// # Errors
    /// When it is not held or damaged.
    pub(super) fn read_meta(&self, digest: &Digest) -> Result<RecordMeta, Error> {
        let entry = self.find(digest)?.ok_or(Error::NotHeld { digest: *digest })?;
        Ok(chain::read_record(&*self.medium, &entry)?.meta)
    }

    /// Appends a record; it counts from the next commit on.
    ///
    /// # Errors
    /// When it cannot be written. Then nothing more can be added by this
    /// writer, and what is committed stays whole.
    pub(super) fn append(&self, meta: &RecordMeta, frame: &[u8]) -> Result<(), Error> {
        let mut state = self.state();
        state.check_usable()?;
        let result = state.append(&*self.medium, meta, frame);
        if let Err(error @ Error::Io { .. }) = &result {
            state.failed = Some(error.to_string());
        }
        result
    }

    /// Lets go of packs from the next commit on: their objects have been stored anew
    /// or are no longer held. Their files stay until neither head names them, so
    /// until the commit after the next. [R 10.6]
    ///
    /// # Errors
    /// When an object still lies in one of them; then none is let go.
    pub fn drop_packs(&self, packs: &BTreeSet<u32>) -> Result<(), Error> {
        let mut state = self.state();
        state.check_usable()?;
        let committed = state.archive.entries()?;
        let pending = state.entries.values();
        let unchanged = committed
            .iter()
            .filter(|entry| !state.entries.contains_key(&entry.digest));
        if let Some(entry) = unchanged
            .chain(pending)
            .find(|entry| entry.kind != EntryKind::Purged && packs.contains(&entry.pack))
        {
            return Err(Error::Rejected(format!(
                "{} cannot be dropped: {} lies in it",
                pack_name(entry.pack),
                entry.digest
            )));
        }
        // A head always names the highest number there has been: by that a later
        // writer tells what was dropped from what was not committed. [R 10.7]
        let last = state.packs.iter().map(|entry| entry.pack).max();
        if last.is_some_and(|last| packs.contains(&last)) {
            state.new_pack(&*self.medium)?;
        }
        state.packs.retain(|entry| !packs.contains(&entry.pack));
        state.unsynced.retain(|pack| !packs.contains(pack));
        state.drops_packs = true;
        Ok(())
    }

    /// The release as which `digest` was erased on purpose, if it was. Only what the
    /// index has let go of makes this look through the manifest.
    pub(super) fn purged_as(&self, digest: &Digest) -> Result<Option<PurgedRelease>, Error> {
        let mut state = self.state();
        match state.archive.is_let_go(digest)? {
            true => state.purged_as(digest),
            false => Ok(None),
        }
    }

    /// The archive's files.
    pub(super) fn medium(&self) -> &dyn Medium {
        &*self.medium
    }

    /// Every object held, committed or not, in no particular order.
    ///
    /// # Errors
    /// When an index is damaged.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, Error> {
        let state = self.state();
        let mut entries = state.archive.entries()?;
        entries.retain(|entry| !state.entries.contains_key(&entry.digest));
        let pending = state.entries.values();
        entries.extend(pending.filter(|entry| entry.kind != EntryKind::Purged));
        Ok(entries)
    }

    /// The packs that the next head will name, as they are now.
    pub(super) fn packs(&self) -> Vec<PackEntry> {
        self.state().packs.clone()
    }

    /// Seals the newest pack: what is appended from now on goes into a new one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn begin_pack(&self) -> Result<(), Error> {
        let mut state = self.state();
        state.check_usable()?;
        state.new_pack(&*self.medium)
    }

    /// Holds an object no longer, from the next commit on. [R 6.6]
    pub(super) fn forget(&self, digest: Digest) {
        self.state().entries.insert(digest, Entry::purged(digest));
    }

    /// Commits even if nothing is new: then both heads name the same files, and all
    /// that only the older one named is removed. [R 10.6]
    ///
    /// # Errors
    /// As [`Writer::commit`].
    pub fn settle(&self, info: &CommitInfo) -> Result<u64, Error> {
        let mut state = self.state();
        state.check_usable()?;
        let result = state.commit(&self.medium, info);
        state.failed = result.as_ref().err().map(Error::to_string);
        result
    }

    /// Whether there is anything to commit.
    pub(super) fn has_news(&self) -> bool {
        let state = self.state();
        !state.entries.is_empty() || !state.events.is_empty() || state.drops_packs
    }

    /// Commits what was appended, and with it what another archive of this lineage has
    /// told, as a snapshot of at least number `generation`.
    ///
    /// # Errors
    /// As [`Writer::commit`]; when that does not go on from here, or events were noted.
    pub(super) fn commit_told(&self, told: Option<Told>, generation: u64) -> Result<u64, Error> {
        let mut state = self.state();
        state.check_usable()?;
        let parent = told.as_ref().and_then(|told| Some(told.transactions.first()?.parent));
        if !state.events.is_empty() || parent.is_some_and(|parent| parent != state.archive.head.root) {
            return Err(Error::Rejected("what is told does not go on from this snapshot".into()));
        }
        let result = state.commit_told(&self.medium, told, generation);
        state.failed = result.as_ref().err().map(Error::to_string);
        result
    }

    /// Whether this writer can still be used.
    ///
    /// # Errors
    /// When a write or sync of it has failed.
    pub fn check(&self) -> Result<(), Error> {
        self.state().check_usable()
    }

    /// Notes an event of the crate `name`; it counts from the next commit on.
    /// Its generation is filled in at the commit.
    pub fn note(&self, name: &str, event: Event) {
        let mut state = self.state();
        let generation = state.archive.head.generation + 1;
        state.events.push(name, Event { generation, ..event });
    }

    /// As [`Writer::note`], of all that is new of one crate.
    pub fn note_all(&self, name: &str, events: Vec<Event>) {
        let mut state = self.state();
        let generation = state.archive.head.generation + 1;
        let events = events.into_iter().map(|event| Event { generation, ..event });
        state.events.extend(name, events);
    }

    /// Makes everything added since the last commit part of the archive;
    /// returns the new generation, or none if there was nothing to commit.
    ///
    /// # Errors
    /// When anything cannot be written or synced; the archive then stays at the
    /// previous commit.
    pub fn commit(&self, info: &CommitInfo) -> Result<Option<u64>, Error> {
        let mut state = self.state();
        state.check_usable()?;
        if state.entries.is_empty() && state.events.is_empty() && !state.drops_packs {
            return Ok(None);
        }
        let result = state.commit(&self.medium, info);
        state.failed = result.as_ref().err().map(Error::to_string);
        result.map(Some)
    }
}

impl State {
    fn check_usable(&self) -> Result<(), Error> {
        match &self.failed {
            None => Ok(()),
            Some(cause) => Err(Error::WriterFailed { cause: cause.clone() }),
        }
    }

    pub(super) fn purged_as(&mut self, digest: &Digest) -> Result<Option<PurgedRelease>, Error> {
        if self.purged.is_none() {
            self.purged = Some(self.archive.purged_digests()?);
        }
        Ok(self.purged.as_ref().and_then(|purged| purged.get(digest).cloned()))
    }

    fn append(&mut self, medium: &dyn Medium, meta: &RecordMeta, frame: &[u8]) -> Result<(), Error> {
        let head = meta.encode();
        let record_bytes = head.len() as u64 + frame.len() as u64;
        let room = |entry: &PackEntry| !entry.sealed && entry.bytes + record_bytes <= PACK_LIMIT_BYTES;
        if !self.packs.last().is_some_and(room) {
            self.new_pack(medium)?;
        }
        let Some(current) = self.packs.last_mut() else {
            return Err(Error::Rejected("no pack to append to".into()));
        };
        if current.bytes + record_bytes > pack::MAX_PACK_BYTES {
            return Err(Error::Rejected(format!(
                "{}@{}: too large for a pack",
                meta.name, meta.version
            )));
        }
        let name = pack_name(current.pack);
        medium
            .write_at(&name, current.bytes, &[&head, frame].concat())
            .map_err(Error::io(&name))?;
        let entry = entry_of(meta, current.pack, current.bytes, record_bytes);
        self.unsynced.insert(current.pack);
        current.bytes += record_bytes;
        self.entries.insert(entry.digest, entry);
        Ok(())
    }

    fn next_pack(&self, medium: &dyn Medium) -> Result<u32, Error> {
        let files = numbered(medium, "packs").map_err(Error::io("packs"))?;
        let on_disk = files.iter().filter_map(Numbered::pack).max();
        let last = self
            .packs
            .last()
            .map_or(0, |entry| entry.pack)
            .max(on_disk.unwrap_or(0));
        Ok(last + 1)
    }

    fn new_pack(&mut self, medium: &dyn Medium) -> Result<(), Error> {
        if let Some(last) = self.packs.last_mut() {
            last.sealed = true;
        }
        let pack = self.next_pack(medium)?;
        let name = pack_name(pack);
        let header = PackHeader {
            format_version: 1,
            archive_id: self.archive.head.archive_id,
            pack,
        }
        .encode();
        medium.create(&name).map_err(Error::io(&name))?;
        medium.write_at(&name, 0, &header).map_err(Error::io(&name))?;
        self.packs.push(PackEntry {
            pack,
            bytes: header.len() as u64,
            sealed: false,
        });
        self.unsynced.insert(pack);
        Ok(())
    }
}

pub(super) fn entry_of(meta: &RecordMeta, pack: u32, offset: u64, record_bytes: u64) -> Entry {
    // All lengths were checked to be below 4 GiB when the record was made or decoded.
    Entry {
        digest: meta.id(),
        pack,
        record_offset: offset as u32,
        record_bytes: record_bytes as u32,
        crate_bytes: meta.crate_bytes as u32,
        content_bytes: meta.content_bytes as u32,
        chain_bytes: meta.chain_bytes,
        held_since: 0,
        kind: if meta.kind == 2 {
            EntryKind::Seed
        } else {
            EntryKind::Blob
        },
        engine: meta.engine,
        chain_depth: meta.chain_depth.min(255) as u8,
    }
}

#[cfg(test)]
mod tests;
