//! Crate files and tars rebuilt for clients: each once for all who ask at the same time, kept for
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

/// What is kept of a crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Form {
    CrateFile,
    /// What is in it.
    Tar,
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

impl Share {
    /// What it is for turned out to be of another size.
    fn become_bytes(&mut self, bytes: u64) {
        let mut used_bytes = lock(&self.memory.used_bytes);
        *used_bytes = *used_bytes - self.bytes + bytes;
        self.bytes = bytes;
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
    ready: Lru<(Digest, Form), Bytes>,
    building: HashMap<(Digest, Form), watch::Receiver<Option<Outcome>>>,
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

    /// The exact crate file that `entry` of `archive` stands for, or its tar.
    pub async fn get(self: &Arc<Self>, archive: &Archive, entry: Entry, form: Form) -> Outcome {
        let key = (entry.digest, form);
        let mut outcome = {
            let mut files = lock(&self.files);
            if let Some(bytes) = files.ready.get(&key) {
                return Ok(bytes);
            }
            match files.building.get(&key) {
                Some(outcome) => outcome.clone(),
                None => {
                    let (sender, receiver) = watch::channel(None);
                    files.building.insert(key, receiver.clone());
                    // On its own: that the first client leaves is nothing to the others.
                    tokio::spawn(self.clone().build(archive.clone(), entry, form, sender));
                    receiver
                }
            }
        };
        let told = outcome.wait_for(Option::is_some).await;
        let told = told.ok().and_then(|outcome| outcome.clone());
        told.unwrap_or_else(|| Err(Arc::new(BuildError::Defect)))
    }

    /// Whether something is being rebuilt.
    pub fn is_busy(&self) -> bool {
        !lock(&self.files).building.is_empty()
    }

    /// Whether `bytes` more would have room without anything being forgotten.
    pub fn has_room(&self, bytes: u64) -> bool {
        *lock(&self.memory.used_bytes) + bytes <= self.memory.limit_bytes
    }

    #[cfg(test)]
    pub fn is_ready(&self, digest: &Digest, form: Form) -> bool {
        lock(&self.files).ready.get(&(*digest, form)).is_some()
    }

    async fn build(
        self: Arc<Self>,
        archive: Archive,
        entry: Entry,
        form: Form,
        sender: watch::Sender<Option<Outcome>>,
    ) {
        let rebuilt = self.rebuild(archive, entry, form).await;
        let outcome = rebuilt.map_err(Arc::new);
        let mut files = lock(&self.files);
        files.building.remove(&(entry.digest, form));
        if let Ok(bytes) = &outcome {
            files.ready.keep((entry.digest, form), bytes.clone());
        }
        drop(files);
        sender.send_replace(Some(outcome));
        // Those who wait for memory may forget it now.
        self.memory.freed.notify_waiters();
    }

    async fn rebuild(&self, archive: Archive, entry: Entry, form: Form) -> Result<Bytes, BuildError> {
        let bytes = u64::from(match form {
            Form::CrateFile => entry.crate_bytes,
            Form::Tar => entry.content_bytes,
        });
        let share = tokio::time::timeout(PATIENCE, self.room(bytes)).await;
        let mut share = share.map_err(|_| BuildError::Busy)?;
        match form {
            Form::CrateFile => {
                let bytes = self.decode(&entry, move || archive.read_crate(&entry.digest)).await?;
                Ok(Bytes::from_owner(Rebuilt { bytes, _share: share }))
            }
            Form::Tar => {
                let tar = self
                    .decode(&entry, move || archive.read_checked_tar(&entry.digest))
                    .await?;
                let tar = Arc::unwrap_or_clone(tar);
                // That of a crate file which is stored as it came is longer than its content.
                share.become_bytes(tar.len() as u64);
                Ok(Bytes::from_owner(Rebuilt {
                    bytes: tar,
                    _share: share,
                }))
            }
        }
    }

    /// `bytes`, in memory that is counted like that of crate files until they are sent.
    ///
    /// # Errors
    /// When others need the memory for too long.
    pub async fn hold(&self, bytes: Vec<u8>) -> Result<Bytes, BuildError> {
        let share = tokio::time::timeout(PATIENCE, self.room(bytes.len() as u64)).await;
        let share = share.map_err(|_| BuildError::Busy)?;
        Ok(Bytes::from_owner(Rebuilt { bytes, _share: share }))
    }

    /// Runs `decode`, which decodes the content of `entry`, on a thread where it may take
    /// its time, when one is free and there is memory for it.
    ///
    /// # Errors
    /// As `decode` says, or when others need the memory for too long.
    async fn decode<T: Send + 'static>(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{CommitInfo, EncodeOptions, Writer};
    use flate2::{Compression, write::GzEncoder};

    const FILE_BYTES: usize = 50_000;

    /// An archive of crate files of some 50 kB, and what is held of them.
    fn stocked(releases: &[&str]) -> (tempfile::TempDir, Archive, Vec<Entry>) {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(folder.path()).unwrap();
        let mut digests = Vec::new();
        for (i, release) in releases.iter().enumerate() {
            let mut random = fastrand::Rng::with_seed(i as u64);
            let noise: Vec<u8> = (0..FILE_BYTES).map(|_| random.u8(..)).collect();
            let mut header = tar::Header::new_gnu();
            header.set_size(noise.len() as u64);
            let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::new(9)));
            let path = format!("{}/Cargo.toml", release.replace('@', "-"));
            builder.append_data(&mut header, path, &noise[..]).unwrap();
            let file = builder.into_inner().unwrap().finish().unwrap();
            digests.push(Digest::of(&file));
            writer
                .add(&release.parse().unwrap(), file, EncodeOptions::default())
                .unwrap();
        }
        writer.commit(&CommitInfo::default()).unwrap();
        let archive = Archive::open(folder.path()).unwrap();
        let entries = digests.iter().map(|digest| archive.find(digest).unwrap().unwrap());
        let entries = entries.collect();
        (folder, archive, entries)
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
    }

    #[test]
    fn who_asks_at_the_same_time_gets_the_same_bytes_and_so_does_who_asks_later() {
        let (_folder, archive, entries) = stocked(&["a@1.0.0"]);
        let cache = Arc::new(CrateCache::new(1 << 20, 2));
        runtime().block_on(async {
            let mut asked = tokio::task::JoinSet::new();
            for _ in 0..20 {
                let (cache, archive, entry) = (cache.clone(), archive.clone(), entries[0]);
                asked.spawn(async move { cache.get(&archive, entry, Form::CrateFile).await.unwrap() });
            }
            let all = asked.join_all().await;
            assert_eq!(Digest::of(&all[0]), entries[0].digest);
            let later = cache.get(&archive, entries[0], Form::CrateFile).await.unwrap();
            // One place in memory: it was made once.
            assert!(all.iter().all(|bytes| bytes.as_ptr() == later.as_ptr()));
            let tar = cache.get(&archive, entries[0], Form::Tar).await.unwrap();
            assert_eq!(*tar, **archive.read_tar(&entries[0].digest).unwrap());
        });
    }

    #[test]
    fn memory_that_a_client_still_reads_is_not_given_to_another() {
        let (_folder, archive, entries) = stocked(&["a@1.0.0", "b@1.0.0"]);
        let cache = Arc::new(CrateCache::new(FILE_BYTES as u64 * 3 / 2, 2));
        runtime().block_on(async {
            let first = cache.get(&archive, entries[0], Form::CrateFile).await.unwrap();
            let second = {
                let (cache, archive, entry) = (cache.clone(), archive.clone(), entries[1]);
                tokio::spawn(async move { cache.get(&archive, entry, Form::CrateFile).await })
            };
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert!(!second.is_finished());
            assert_eq!(*lock(&cache.memory.used_bytes), first.len() as u64);
            drop(first);
            let second = second.await.unwrap().unwrap();
            assert_eq!(Digest::of(&second), entries[1].digest);
            assert_eq!(*lock(&cache.memory.used_bytes), second.len() as u64);
        });
    }

    #[test]
    fn one_that_is_larger_than_all_memory_is_given_all_the_same() {
        let (_folder, archive, entries) = stocked(&["a@1.0.0"]);
        let cache = Arc::new(CrateCache::new(1, 1));
        let bytes = runtime().block_on(cache.get(&archive, entries[0], Form::CrateFile));
        assert_eq!(Digest::of(&bytes.unwrap()), entries[0].digest);
    }
}
