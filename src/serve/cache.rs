//! Crate files rebuilt for clients: each once for all who ask at the same time, kept for
//! those who ask later, and never more bytes at once than were allowed.

use super::lru::Lru;
use crate::archive::{self, Archive};
use crate::format::index::Entry;
use crate::ids::Digest;
use hyper::body::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};

/// Decoding needs room for a content and its base's. What one crate needs beyond this it
/// gets alone.
const WORK_BYTES: u64 = 512 << 20;
/// How long a client waits for memory that others use before it is sent away.
const PATIENCE: Duration = Duration::from_secs(30);
/// Working memory is counted in units of this, for a semaphore counts no further than 2^29.
const UNIT_BYTES: u64 = 1 << 10;

/// Why a crate file was not given.
#[derive(Debug, thiserror::Error)]
pub(super) enum BuildError {
    #[error(transparent)]
    Archive(#[from] archive::Error),
    #[error("no memory for it within {} s: others read slowly, or --cache is too small", PATIENCE.as_secs())]
    Busy,
    #[error("rebuilding it ended in a defect of this program")]
    Defect,
}

/// What asking for a crate file comes to.
pub(super) type Outcome = Result<Bytes, Arc<BuildError>>;

/// The memory of all crate files, kept and on their way.
struct Memory {
    limit_bytes: u64,
    used_bytes: Mutex<u64>,
    /// Told when there may be more of it.
    freed: Notify,
}

/// A part of it, given back when dropped.
struct Share {
    memory: Arc<Memory>,
    bytes: u64,
}

impl Memory {
    /// One that is larger than all there is gets it alone.
    fn take(self: &Arc<Self>, bytes: u64) -> Option<Share> {
        let mut used_bytes = lock(&self.used_bytes);
        if *used_bytes > 0 && *used_bytes + bytes > self.limit_bytes {
            return None;
        }
        *used_bytes += bytes;
        Some(Share {
            memory: self.clone(),
            bytes,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        *lock(&self.memory.used_bytes) -= self.bytes;
        self.memory.freed.notify_waiters();
    }
}

/// A crate file and the memory it stands for, as long as anybody reads it.
struct Rebuilt {
    bytes: Vec<u8>,
    _share: Share,
}

impl AsRef<[u8]> for Rebuilt {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[derive(Default)]
struct Files {
    ready: Lru<Digest, Bytes>,
    building: HashMap<Digest, watch::Receiver<Option<Outcome>>>,
}

/// See the module.
pub(super) struct CrateCache {
    files: Mutex<Files>,
    memory: Arc<Memory>,
    work: Arc<Semaphore>,
    work_units: u32,
    /// One permit a thread that may decode.
    decoders: Arc<Semaphore>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CrateCache {
    /// With at most `limit_bytes` of crate files, or one that is larger; `threads` at a
    /// time are rebuilt.
    pub fn new(limit_bytes: u64, threads: usize) -> CrateCache {
        let work_units = (WORK_BYTES / UNIT_BYTES) as u32;
        CrateCache {
            files: Mutex::default(),
            memory: Arc::new(Memory {
                limit_bytes,
                used_bytes: Mutex::new(0),
                freed: Notify::new(),
            }),
            work: Arc::new(Semaphore::new(work_units as usize)),
            work_units,
            decoders: Arc::new(Semaphore::new(threads)),
        }
    }

    /// The exact crate file that `entry` of `archive` stands for.
    pub async fn get(self: &Arc<Self>, archive: &Archive, entry: Entry) -> Outcome {
        let mut outcome = {
            let mut files = lock(&self.files);
            if let Some(bytes) = files.ready.get(&entry.digest) {
                return Ok(bytes);
            }
            match files.building.get(&entry.digest) {
                Some(outcome) => outcome.clone(),
                None => {
                    let (sender, receiver) = watch::channel(None);
                    files.building.insert(entry.digest, receiver.clone());
                    // On its own: that the first client leaves is nothing to the others.
                    tokio::spawn(self.clone().build(archive.clone(), entry, sender));
                    receiver
                }
            }
        };
        let told = outcome.wait_for(Option::is_some).await;
        let told = told.ok().and_then(|outcome| outcome.clone());
        told.unwrap_or_else(|| Err(Arc::new(BuildError::Defect)))
    }

    async fn build(self: Arc<Self>, archive: Archive, entry: Entry, sender: watch::Sender<Option<Outcome>>) {
        let rebuilt = self.rebuild(archive, entry).await;
        let outcome = rebuilt.map_err(Arc::new);
        let mut files = lock(&self.files);
        files.building.remove(&entry.digest);
        if let Ok(bytes) = &outcome {
            files.ready.keep(entry.digest, bytes.clone());
        }
        drop(files);
        sender.send_replace(Some(outcome));
        // Those who wait for memory may forget it now.
        self.memory.freed.notify_waiters();
    }

    async fn rebuild(&self, archive: Archive, entry: Entry) -> Result<Bytes, BuildError> {
        let share = tokio::time::timeout(PATIENCE, self.room(u64::from(entry.crate_bytes))).await;
        let share = share.map_err(|_| BuildError::Busy)?;
        let bytes = self.decode(&entry, move || archive.read_crate(&entry.digest)).await?;
        Ok(Bytes::from_owner(Rebuilt { bytes, _share: share }))
    }

    /// Runs `decode`, which decodes the content of `entry`, on a thread where it may take
    /// its time, when one is free and there is memory for it.
    ///
    /// # Errors
    /// As `decode` says, or when others need the memory for too long.
    pub async fn decode<T: Send + 'static>(
        &self,
        entry: &Entry,
        decode: impl FnOnce() -> Result<T, archive::Error> + Send + 'static,
    ) -> Result<T, BuildError> {
        let units = 2 * u64::from(entry.content_bytes) / UNIT_BYTES;
        let work_units = u32::try_from(units).unwrap_or(u32::MAX).clamp(1, self.work_units);
        let permits = async {
            let work = self.work.clone().acquire_many_owned(work_units).await;
            let decoder = self.decoders.clone().acquire_owned().await;
            work.and_then(|work| Ok((work, decoder?)))
        };
        let permits = tokio::time::timeout(PATIENCE, permits).await;
        let permits = permits.map_err(|_| BuildError::Busy)?.map_err(|_| BuildError::Defect)?;
        let decoded = tokio::task::spawn_blocking(move || {
            let decoded = decode();
            drop(permits);
            decoded
        });
        Ok(decoded.await.map_err(|_| BuildError::Defect)??)
    }

    /// Memory for `bytes`, for which files that were not asked for lately are forgotten.
    async fn room(&self, bytes: u64) -> Share {
        loop {
            let freed = self.memory.freed.notified();
            tokio::pin!(freed);
            // From here on nothing is missed.
            freed.as_mut().enable();
            loop {
                if let Some(share) = self.memory.take(bytes) {
                    return share;
                }
                // One that is still on its way to somebody keeps its memory.
                if lock(&self.files).ready.forget_oldest().is_none() {
                    break;
                }
            }
            freed.await;
        }
    }
}
