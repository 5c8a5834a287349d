//! Checking that everything that is held can be given back.

use super::{Archive, Error, chain, encode, read};
use crate::format::head::Head;
use crate::format::index::Entry;
use crate::format::manifest_write::{ChainHasher, each_event};
use crate::format::pack::{PackHeader, RecordMeta};
use crate::ids::Digest;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// How deep to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Heads, manifests, indexes and the checksum of every frame.
    Quick,
    /// Also every tar decoded and its checksum checked.
    Tars,
    /// Also every crate file rebuilt and its SHA-256 checked.
    Full,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The release it hurts, if it can be told.
    pub release: Option<String>,
    /// What is wrong and where.
    pub message: String,
}

/// What was checked and what is wrong.
#[derive(Debug, Clone, Default)]
pub struct VerifyReport {
    /// Objects checked.
    pub objects: u64,
    /// Content bytes decoded.
    pub content_bytes: u64,
    /// Everything found wrong.
    pub problems: Vec<Problem>,
}

impl Archive {
    /// Checks the archive on `threads` threads; `progress` hears the content
    /// bytes of each object done.
    ///
    /// # Errors
    /// Only when it cannot be gone on with; damage is in the report.
    pub fn verify(&self, depth: Depth, threads: usize, progress: &(dyn Fn(u64) + Sync)) -> Result<VerifyReport, Error> {
        let mut report = VerifyReport::default();
        self.verify_heads(&mut report);
        self.verify_segments(&mut report);
        self.verify_pack_headers(&mut report);
        let (Ok(entries), Ok(names)) = (self.entries(), self.names()) else {
            return Ok(report);
        };
        let shared = Mutex::new(report);
        let note = |entry: &Entry, result: Result<u64, Error>| {
            let mut report = shared.lock().unwrap_or_else(PoisonError::into_inner);
            report.objects += 1;
            match result {
                Ok(bytes) => report.content_bytes += bytes,
                Err(error) => report.problems.push(Problem {
                    release: names.get(&entry.digest).cloned(),
                    message: error.to_string(),
                }),
            }
            drop(report);
            progress(u64::from(entry.content_bytes));
        };
        if depth == Depth::Quick {
            in_parallel(&entries, threads, |entry| {
                note(entry, chain::read_record(&*self.medium, entry).map(|_| 0));
            });
        } else {
            self.walk_contents(entries, threads, &|entry, decoded| {
                note(
                    entry,
                    decoded.and_then(|(meta, content)| check_content(entry, &meta, &content, depth)),
                );
            });
        }
        let mut report = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
        report
            .problems
            .sort_by(|a, b| (&a.release, &a.message).cmp(&(&b.release, &b.message)));
        Ok(report)
    }

    /// A head that cannot be used hides a snapshot: the one before it is opened, and
    /// nobody would know. [R 4.7]
    fn verify_heads(&self, report: &mut VerifyReport) {
        for name in super::open::HEAD_NAMES {
            let head = match self.medium.read(name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => Err(error.to_string()),
                Ok(bytes) => Head::decode(&bytes).map_err(|damage| damage.to_string()),
            };
            let cause = match head {
                Ok(head) if head.generation <= self.head.generation => continue,
                // A writer may have committed since this snapshot was opened.
                Ok(head) => match Archive::open_on(self.medium.clone()) {
                    Ok(now) if now.head.generation >= head.generation => continue,
                    _ => format!("its snapshot {} cannot be opened", head.generation),
                },
                Err(cause) => cause,
            };
            let (folder, opened) = (self.medium.describe(), self.head.generation);
            report.problems.push(Problem {
                release: None,
                message: format!(
                    "{folder}/{name}: {cause}; snapshot {opened} was opened instead \
                     (a crash during a commit leaves this too, and the next commit mends it)"
                ),
            });
        }
    }

    /// No read needs a pack's header, but a rebuild from the packs would. [R 10.8]
    fn verify_pack_headers(&self, report: &mut VerifyReport) {
        for pack in &self.head.packs {
            let name = super::open::pack_name(pack.pack);
            let header = self
                .medium
                .read_at(&name, 0, pack.bytes.min(HEADER_READ_BYTES) as usize)
                .map_err(|error| error.to_string())
                .and_then(|bytes| PackHeader::decode(&bytes).map_err(|damage| damage.to_string()));
            if let Err(cause) = header {
                let message = format!("{}/{name}: {cause}", self.medium.describe());
                report.problems.push(Problem { release: None, message });
            }
        }
    }

    fn verify_segments(&self, report: &mut VerifyReport) {
        let mut problem = |message: String| report.problems.push(Problem { release: None, message });
        let segments = (0..self.indexes.len())
            .map(|i| {
                (
                    self.index_path(i),
                    super::open::index_name(self.head.indexes[i].generation),
                    self.head.indexes[i].sha256,
                )
            })
            .chain((0..self.manifests.len()).map(|i| {
                let entry = &self.head.manifests[i];
                (
                    self.manifest_path(i),
                    super::open::manifest_name(entry.generation),
                    entry.sha256,
                )
            }));
        for (path, name, sha256) in segments {
            match self.medium.open_sealed(&name) {
                Ok(bytes) if Sha256::digest(bytes.as_ref())[..] == sha256[..] => {}
                Ok(_) => problem(format!("{path}: its SHA-256 is not the one in the head")),
                Err(error) => problem(format!("{path}: {error}")),
            }
        }
        for (i, segment) in self.indexes.iter().enumerate() {
            if let Err(damage) = segment.verify() {
                problem(format!("{}: {damage}", self.index_path(i)));
            }
        }
        if let Err(message) = self.verify_chain() {
            problem(message);
        }
    }

    /// Recomputes the hash of every transaction up to the root. [R 7.4]
    pub(super) fn verify_chain(&self) -> Result<(), String> {
        let mut parent = [0; 32];
        for (i, segment) in self.manifests.iter().enumerate() {
            let path = self.manifest_path(i);
            let fail = |what: String| format!("{path}: {what}");
            segment.verify_pages().map_err(|damage| fail(damage.to_string()))?;
            let transactions = segment.transactions().map_err(|damage| fail(damage.to_string()))?;
            let mut hashers: BTreeMap<u64, ChainHasher> = transactions
                .iter()
                .map(|transaction| (transaction.generation, ChainHasher::new(transaction)))
                .collect();
            let mut strays = 0u64;
            each_event(segment, |name, event, text| match hashers.get_mut(&event.generation) {
                Some(hasher) => {
                    hasher.event(
                        name,
                        event.kind,
                        event.yanked,
                        event.version,
                        event.digest,
                        text.as_deref(),
                    );
                }
                None => strays += 1,
            })
            .map_err(|damage| fail(damage.to_string()))?;
            if strays > 0 {
                return Err(fail(format!("{strays} events belong to no transaction")));
            }
            for transaction in transactions {
                let hash = hashers.remove(&transaction.generation).map(ChainHasher::finish);
                if transaction.parent != parent || hash != Some(transaction.hash) {
                    let generation = transaction.generation;
                    return Err(fail(format!("the hash chain breaks at snapshot {generation}")));
                }
                parent = transaction.hash;
            }
        }
        if parent == self.head.root {
            return Ok(());
        }
        Err("the head's root hash is not that of the newest transaction".into())
    }

    fn names(&self) -> Result<HashMap<Digest, String>, Error> {
        let mut names = HashMap::new();
        for state in self.crates()? {
            for release in &state.releases {
                names.insert(release.digest, format!("{}@{}", state.name, release.version));
            }
        }
        Ok(names)
    }
}

/// More than any pack header takes.
const HEADER_READ_BYTES: u64 = 4096;

/// Checks what decoding has not: that an engine gives the crate file again.
fn check_content(entry: &Entry, meta: &RecordMeta, content: &[u8], depth: Depth) -> Result<u64, Error> {
    if depth == Depth::Full || meta.engine == 0 {
        read::rebuild(entry, meta, content)?;
    } else {
        encode::recipe(meta).map_err(|cause| chain::blob_error(entry, Some(meta), cause))?;
    }
    Ok(content.len() as u64)
}

fn in_parallel<T: Sync>(items: &[T], threads: usize, work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item);
                }
            });
        }
    });
}
