//! The archive that is served: always its newest snapshot, opened again when there is one.

use super::ahead::Ahead;
use super::cache::{BuildError, CrateCache, Form};
use super::index::IndexFiles;
use super::log::{Event, Tell};
use super::pages::Catalogs;
use super::{BaseUrl, Error, Options};
use crate::archive::{self, Archive, head_files};
use crate::format::index::{Entry, EntryKind};
use crate::ids::Digest;
use crate::offer::{Offer, View};
use hyper::body::Bytes;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often it is looked for a new snapshot: reading two small files, on request only.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One snapshot, and what has been made of it.
pub(super) struct Snapshot {
    pub archive: Archive,
    pub offer: Offer,
    /// Registry index files that were asked for.
    pub files: IndexFiles,
}

/// What the archive has of a digest.
pub(super) enum Place {
    Held(Entry),
    /// Held once, erased since.
    Gone,
    Absent,
}

struct Current {
    snapshot: Arc<Snapshot>,
    looked: Instant,
}

/// See the module.
pub(super) struct Site {
    folder: PathBuf,
    view: View,
    as_of: Option<u64>,
    /// The address that was given for this server.
    pub named_base: Option<BaseUrl>,
    /// The one it has by its socket.
    pub bound_base: BaseUrl,
    current: Mutex<Current>,
    pub crates: Arc<CrateCache>,
    pub ahead: Ahead,
    pub catalogs: Catalogs,
    tell: Arc<Tell>,
}

impl Site {
    pub fn open(folder: &Path, options: &Options, bound_base: BaseUrl, tell: Arc<Tell>) -> Result<Site, Error> {
        let snapshot = Snapshot::open(folder, options.view, options.as_of)?;
        Ok(Site {
            folder: folder.to_owned(),
            view: options.view,
            as_of: options.as_of,
            named_base: options.base.clone(),
            bound_base,
            current: Mutex::new(Current {
                snapshot: Arc::new(snapshot),
                looked: Instant::now(),
            }),
            crates: Arc::new(CrateCache::new(options.cache_bytes, options.threads)),
            ahead: Ahead::default(),
            catalogs: Catalogs::default(),
            tell,
        })
    }

    pub fn tell(&self, event: Event) {
        (self.tell)(event);
    }

    /// The newest snapshot, as of a second ago at most.
    pub async fn snapshot(self: &Arc<Self>) -> Arc<Snapshot> {
        {
            let mut current = self.current();
            if current.looked.elapsed() < LOOK_EVERY {
                return current.snapshot.clone();
            }
            // Others go on with what there is meanwhile.
            current.looked = Instant::now();
        }
        self.look().await;
        self.current().snapshot.clone()
    }

    /// Opens the archive again if it has a newer snapshot; whether it had.
    async fn look(self: &Arc<Self>) -> bool {
        let site = self.clone();
        let looked = tokio::task::spawn_blocking(move || site.reopen()).await;
        match looked {
            Ok(Ok(newer)) => newer,
            Ok(Err(error)) => {
                self.tell(Event::Trouble(format!("still serving the snapshot before: {error}")));
                false
            }
            Err(_) => false,
        }
    }

    fn reopen(&self) -> Result<bool, archive::Error> {
        let known = self.current().snapshot.archive.head().clone();
        let newest = head_files(&self.folder).into_iter().filter_map(|file| file.head.ok());
        let newest = newest.max_by_key(|head| head.generation);
        if newest.is_some_and(|newest| newest.generation == known.generation && newest.archive_id == known.archive_id) {
            return Ok(false);
        }
        let snapshot = Snapshot::open(&self.folder, self.view, self.as_of)?;
        let head = snapshot.archive.head();
        if (head.generation, head.archive_id) == (known.generation, known.archive_id) {
            return Ok(false);
        }
        self.current().snapshot = Arc::new(snapshot);
        Ok(true)
    }

    /// The exact crate file. Where it fails and a newer snapshot has come meanwhile, its
    /// pack may have been rewritten: that one is asked then.
    pub async fn crate_file(self: &Arc<Self>, snapshot: &Snapshot, entry: Entry) -> Result<Bytes, Arc<BuildError>> {
        self.give(snapshot, entry, Form::CrateFile).await
    }

    /// The tar in it, of a crate file that was checked against its digest: what is shown
    /// is what is built. Otherwise as [`Site::crate_file`].
    pub async fn tar(self: &Arc<Self>, snapshot: &Snapshot, entry: Entry) -> Result<Bytes, Arc<BuildError>> {
        self.give(snapshot, entry, Form::Tar).await
    }

    async fn give(self: &Arc<Self>, snapshot: &Snapshot, entry: Entry, form: Form) -> Result<Bytes, Arc<BuildError>> {
        let outcome = self.crates.get(&snapshot.archive, entry, form).await;
        let Err(error) = outcome else { return outcome };
        if !matches!(*error, BuildError::Archive(_)) || !self.look().await {
            return Err(error);
        }
        let newer = self.current().snapshot.clone();
        match newer.place(&entry.digest) {
            Ok(Place::Held(entry)) => self.crates.get(&newer.archive, entry, form).await,
            _ => Err(error),
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Snapshot {
    fn open(folder: &Path, view: View, as_of: Option<u64>) -> Result<Snapshot, archive::Error> {
        let archive = Archive::open(folder)?;
        let archive = as_of.map_or_else(|| archive.clone(), |generation| archive.at(generation));
        Ok(Snapshot {
            offer: Offer::new(archive.clone(), view),
            archive,
            files: IndexFiles::default(),
        })
    }

    /// What is held of `digest`.
    ///
    /// # Errors
    /// When an index page that the search touches is damaged.
    pub fn place(&self, digest: &Digest) -> Result<Place, archive::Error> {
        if let Some(entry) = self.archive.find(digest)? {
            return Ok(match entry.kind {
                EntryKind::Blob => Place::Held(entry),
                EntryKind::Seed | EntryKind::Purged => Place::Absent,
            });
        }
        for segment in self.archive.index_segments() {
            // `find` has just been through these pages.
            if let Ok(Some(_)) = segment.find(digest) {
                return Ok(Place::Gone);
            }
        }
        Ok(Place::Absent)
    }
}
