//! From what is pending to the next snapshot: the files of a commit, each on the medium
//! before the head that names it. Spec section 10.

use super::gc::sweep;
use super::names::{HEAD_NAMES, pack_name};
use super::segments::{News, Told};
use super::write::State;
use super::{Archive, CommitInfo, Error, segments};
use crate::format::head::{Head, SegmentEntry};
use crate::format::index::EntryKind;
use crate::format::manifest::Transaction;
use crate::store::Medium;
use sha2::{Digest as _, Sha256};
use std::io;
use std::sync::Arc;

impl State {
    /// Says of each new entry since when its object is held: what was held before
    /// keeps what is known of that, however its bytes were moved. [R 6.11]
    fn date_entries(&mut self, generation: u64) {
        for entry in self.entries.values_mut() {
            // Where the index is damaged, later is safe: it is then taken for new.
            let before = self.archive.find(&entry.digest).ok().flatten();
            entry.held_since = match entry.kind {
                EntryKind::Purged => 0,
                _ => before.map_or(generation, |before| before.held_since),
            };
        }
    }

    pub(super) fn commit(&mut self, medium: &Arc<dyn Medium>, info: &CommitInfo) -> Result<u64, Error> {
        let generation = self.archive.head.generation + 1;
        let mut news = None;
        if !self.events.is_empty() {
            let events = std::mem::take(&mut self.events);
            let mut transaction = Transaction {
                generation,
                parent: self.archive.head.root,
                time: now(),
                registry: info.registry.clone(),
                cursor: info.cursor.clone(),
                source: info.source.clone(),
                event_count: 0,
                hash: [0; 32],
            };
            events.seal(&mut transaction);
            news = Some(News::Own(transaction, events));
        }
        self.commit_as(medium, generation, news)
    }

    pub(super) fn commit_told(
        &mut self,
        medium: &Arc<dyn Medium>,
        told: Option<Told>,
        generation: u64,
    ) -> Result<u64, Error> {
        let newest = self.archive.head.generation;
        let generation = generation.max(newest + 1);
        // The newest head must not be the one that is written over: a commit between
        // brings the other one's turn. [R 10.17]
        if head_name(generation) == head_name(newest) {
            self.commit_as(medium, newest + 1, None)?;
        }
        self.commit_as(medium, generation, told.map(News::Told))
    }

    fn commit_as(&mut self, medium: &Arc<dyn Medium>, generation: u64, news: Option<News>) -> Result<u64, Error> {
        self.date_entries(generation);
        let old = &self.archive.head;
        for pack in self.unsynced.drain() {
            let name = pack_name(pack);
            medium.sync(&name).map_err(Error::io(&name))?;
        }
        medium.sync_folder("packs").map_err(Error::io("packs"))?;

        let (mut indexes, mut manifests, mut root) = (old.indexes.clone(), old.manifests.clone(), old.root);
        if !self.entries.is_empty() {
            indexes = segments::write_index(&self.archive, generation, &self.entries)?;
            medium.sync_folder("index").map_err(Error::io("index"))?;
        }
        if let Some(news) = news {
            root = news.root();
            manifests = segments::write_manifest(&self.archive, generation, news)?;
            medium.sync_folder("manifest").map_err(Error::io("manifest"))?;
        }

        let head = Head {
            generation,
            time: now(),
            previous_head: old.hash(),
            root,
            packs: self.packs.clone(),
            indexes,
            manifests,
            ..old.clone()
        };
        write_head(&**medium, &head)?;
        // This very head: an error in reading must not lead back to the one before.
        let archive = Archive::with_head(medium.clone(), head)?;
        let previous = std::mem::replace(&mut self.archive, archive);
        self.entries.clear();
        self.drops_packs = false;
        self.purged = None;
        sweep(&**medium, &self.archive.head, &previous.head);
        Ok(generation)
    }
}

/// Writes a file that no head names yet, in place of what a crash may have left.
pub(super) fn replace(medium: &dyn Medium, name: &str, bytes: &[u8]) -> Result<(), Error> {
    segments::remove_leftover(medium, name)?;
    medium.create(name).map_err(Error::io(name))?;
    medium.write_at(name, 0, bytes).map_err(Error::io(name))?;
    medium.sync(name).map_err(Error::io(name))
}

/// The file of a generation's head. [R 4.1]
fn head_name(generation: u64) -> &'static str {
    HEAD_NAMES[(generation % 2) as usize]
}

/// The only commit point. [R 10.5]
pub(super) fn write_head(medium: &dyn Medium, head: &Head) -> Result<(), Error> {
    let name = head_name(head.generation);
    let before = match medium.read(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        other => Some(other.map_err(Error::io(name))?),
    };
    if before.is_none() {
        medium.create(name).map_err(Error::io(name))?;
    }
    let written = medium
        .write_at(name, 0, &head.encode())
        .and_then(|()| medium.sync(name));
    if let Err(error) = written {
        // The system may show the new head though the medium has it not, nor ever will;
        // whoever opens the archive next must not build on it.
        let _ = match &before {
            Some(before) => medium.write_at(name, 0, before),
            None => medium.remove(name),
        };
        return Err(Error::io(name)(error));
    }
    // The second head appears with the first commit; its name must outlive a crash too.
    // That of the first is synced by every writer when it opens the archive.
    if before.is_none() && head.generation > 0 {
        medium.sync_folder("").map_err(Error::io(medium.describe()))?;
    }
    Ok(())
}

/// Seconds since 1970 UTC, by this machine's clock.
pub fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

pub(super) fn publish(medium: &dyn Medium, name: String, generation: u64, bytes: &[u8]) -> Result<SegmentEntry, Error> {
    replace(medium, &name, bytes)?;
    Ok(SegmentEntry {
        generation,
        bytes: bytes.len() as u64,
        sha256: Sha256::digest(bytes).into(),
    })
}
