//! Releases of an archive as a folder that cargo, or another tool, can use without it.
//!
//! What is there already and right is kept, by its SHA-256; nothing that another export
//! put there is lost. Crate files are on the medium before the index that lists them, so
//! that a folder in use never lists what it lacks, nor one that is left after a crash.

mod files;
mod index_tree;
mod layout;
mod vendor;

use super::ChosenRelease;
use crate::archive::{self, Archive};
use crate::ids::Digest;
use crate::sync::Failure;
use files::Folder;
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

pub use layout::{FileNames, Layout, registry_base};

/// So many crate files are decoded between two looks at whether to stop. Enough that
/// chains mostly stay together, each of which is decoded from its start otherwise.
const GROUP_RELEASES: usize = 256;

/// What an export looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// A cargo local registry: crate files side by side, and `index/`.
    LocalRegistry,
    /// A directory source, as `cargo vendor` makes.
    Vendor {
        /// Whether every folder has its version in its name, not only older ones.
        versioned_dirs: bool,
    },
    /// Crate files only.
    Crates(Layout),
    /// A sparse registry that any file server can serve: `index/` with `config.json`,
    /// and `crates/`.
    Registry {
        /// The address that the folder will have.
        base_url: String,
        /// What crate files are called.
        names: FileNames,
    },
}

/// How to export.
pub struct ExportOptions<'a> {
    /// What is made.
    pub format: Format,
    /// Threads that decode and write.
    pub threads: usize,
    /// Asked now and then whether to stop.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Told of each crate file done, with its length.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

/// What an export did.
#[derive(Debug, Default)]
pub struct ExportReport {
    /// Releases written.
    pub written: u64,
    /// The length of their crate files.
    pub written_bytes: u64,
    /// Releases that were there already, and right.
    pub kept: u64,
    /// Lines of the index that were made from `Cargo.toml`, for no registry has listed
    /// those releases here.
    pub made_up: u64,
    /// What could not be exported, and why.
    pub failures: Vec<Failure>,
    /// Whether it was stopped before its end.
    pub stopped: bool,
}

/// Why an export could not be made or gone on with. What was written before is whole.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The archive cannot be read.
    #[error("{0}")]
    Archive(#[from] archive::Error),
    /// The folder has something to do with nothing that is exported.
    #[error("{path}: is neither empty nor {expected} (it has `{found}`); name a new folder")]
    Foreign {
        /// The folder.
        path: String,
        /// What it should have been.
        expected: &'static str,
        /// What lies there.
        found: String,
    },
    /// The drive is full.
    #[error("{path}: the drive is full; make room and run the same command again, which goes on from here")]
    Full {
        /// The file.
        path: String,
    },
    /// The operating system refused.
    #[error("{path}: {source}; what was written before is whole, and the same command goes on from there")]
    Io {
        /// The file or folder.
        path: String,
        /// What it said.
        source: io::Error,
    },
}

impl ExportError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> ExportError {
        let path = path.display().to_string();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ExportError::Full { path },
            _ => ExportError::Io { path, source },
        }
    }
}

/// Why one release is not written: a matter of its own, or the end of all.
enum Refusal {
    This(String),
    All(ExportError),
}

impl From<ExportError> for Refusal {
    fn from(error: ExportError) -> Refusal {
        Refusal::All(error)
    }
}

/// Writes `chosen` to the folder `to`.
///
/// # Errors
/// When the folder is of another kind, or cannot be written to. What fails for one
/// release is in the report.
pub fn export(
    archive: &Archive,
    chosen: &[ChosenRelease],
    to: &Path,
    options: &ExportOptions<'_>,
) -> Result<ExportReport, ExportError> {
    let folder = Folder::open(to, &options.format)?;
    let places = match options.format {
        Format::Vendor { versioned_dirs } => vendor::places(to, chosen, versioned_dirs),
        _ => layout::places(chosen, &options.format),
    };
    let run = Run {
        archive,
        chosen,
        places: &places,
        folder: &folder,
        options,
        done: chosen.iter().map(|_| AtomicBool::new(false)).collect(),
        report: Mutex::default(),
        written_bytes: AtomicU64::new(0),
        fatal: Mutex::new(None),
    };
    run.look_for_what_is_there();
    run.write_the_rest();
    let mut report = run.finish()?;
    if folder.has_index() {
        let exported = |at: usize| run.done[at].load(Ordering::Relaxed);
        index_tree::write(archive, chosen, &folder, options, &exported, &mut report)?;
    }
    folder.close()?;
    report.stopped |= (options.stop)();
    report.failures.sort();
    Ok(report)
}

struct Run<'a> {
    archive: &'a Archive,
    chosen: &'a [ChosenRelease],
    /// For each of them its path in the folder, or why it has none.
    places: &'a [Result<String, String>],
    folder: &'a Folder,
    options: &'a ExportOptions<'a>,
    done: Vec<AtomicBool>,
    report: Mutex<ExportReport>,
    written_bytes: AtomicU64,
    fatal: Mutex<Option<ExportError>>,
}

impl Run<'_> {
    fn is_over(&self) -> bool {
        (self.options.stop)() || lock(&self.fatal).is_some()
    }

    fn note(&self, at: usize, result: Result<bool, Refusal>) {
        let release = &self.chosen[at];
        match result {
            Ok(is_new) => {
                self.done[at].store(true, Ordering::Relaxed);
                let mut report = lock(&self.report);
                match is_new {
                    true => {
                        report.written += 1;
                        self.written_bytes.fetch_add(release.crate_bytes, Ordering::Relaxed);
                    }
                    false => report.kept += 1,
                }
                drop(report);
                (self.options.progress)(release.crate_bytes);
            }
            Err(Refusal::This(cause)) => {
                let what = release.release.to_string();
                lock(&self.report).failures.push(Failure { what, cause });
                (self.options.progress)(release.crate_bytes);
            }
            Err(Refusal::All(error)) => {
                lock(&self.fatal).get_or_insert(error);
            }
        }
    }

    /// Notes which releases need not be written, and which must not be.
    fn look_for_what_is_there(&self) {
        each(self.options.threads, self.chosen.len(), &|at| {
            if self.is_over() {
                return;
            }
            let digest = &self.chosen[at].digest;
            let found = match (&self.places[at], &self.options.format) {
                (Err(cause), _) => Err(Refusal::This(cause.clone())),
                (Ok(place), Format::Vendor { .. }) => vendor::is_there(&self.folder.at(place), digest),
                (Ok(place), _) => self.is_file_there(place, at),
            };
            match found {
                Ok(false) => {}
                Ok(true) => self.note(at, Ok(false)),
                Err(refusal) => self.note(at, Err(refusal)),
            }
        });
    }

    fn is_file_there(&self, place: &str, at: usize) -> Result<bool, Refusal> {
        let path = self.folder.at(place);
        let Some(found) = files::digest_of(&path)? else {
            return Ok(false);
        };
        let ChosenRelease { release, digest, .. } = &self.chosen[at];
        if found == *digest {
            return Ok(true);
        }
        // Damaged bytes may be put right; other bytes that were published may not.
        let state = self.archive.crate_state(release.name.as_str());
        let state = state.map_err(|error| Refusal::All(error.into()))?;
        match state.is_some_and(|state| state.releases.iter().any(|known| known.digest == found)) {
            false => Ok(false),
            true => Err(Refusal::This(format!(
                "{} is there with another checksum, {found}: name another folder for {digest}",
                path.display()
            ))),
        }
    }

    fn write_the_rest(&self) {
        let settled: std::collections::HashSet<String> = lock(&self.report)
            .failures
            .iter()
            .map(|failure| failure.what.clone())
            .collect();
        let mut wanted: HashMap<Digest, Vec<usize>> = HashMap::new();
        let mut order = Vec::new();
        for (at, chosen) in self.chosen.iter().enumerate() {
            if self.done[at].load(Ordering::Relaxed) || settled.contains(&chosen.release.to_string()) {
                continue;
            }
            match self.archive.find(&chosen.digest) {
                Ok(Some(entry)) => order.push((entry.pack, entry.record_offset, chosen.digest)),
                Ok(None) => self.note(at, Err(Refusal::This("not held any more".into()))),
                Err(error) => self.note(at, Err(Refusal::All(error.into()))),
            }
            wanted.entry(chosen.digest).or_default().push(at);
        }
        order.sort_unstable();
        order.dedup();
        let digests: Vec<Digest> = order.into_iter().map(|(_, _, digest)| digest).collect();
        for group in digests.chunks(GROUP_RELEASES) {
            if self.is_over() {
                return;
            }
            self.write_group(group, &wanted);
            if let Err(error) = self.folder.publish() {
                lock(&self.fatal).get_or_insert(error);
            }
        }
    }

    fn write_group(&self, digests: &[Digest], wanted: &HashMap<Digest, Vec<usize>>) {
        let each_of = |digest: &Digest, write: &dyn Fn(usize, &str) -> Result<(), Refusal>| {
            for &at in wanted.get(digest).into_iter().flatten() {
                if self.is_over() {
                    return;
                }
                let written = match &self.places[at] {
                    Ok(place) => write(at, place),
                    Err(cause) => Err(Refusal::This(cause.clone())),
                };
                self.note(at, written.map(|()| true));
            }
        };
        let threads = self.options.threads;
        match self.options.format {
            Format::Vendor { .. } => self.archive.read_checked_tars(digests, threads, &|digest, tar| {
                each_of(digest, &|at, place| match &tar {
                    Ok(tar) => vendor::write(self.folder, place, &self.chosen[at], tar),
                    Err(error) => Err(Refusal::This(error.to_string())),
                });
            }),
            _ => self.archive.read_crates(digests, threads, &|digest, bytes| {
                each_of(digest, &|_, place| match &bytes {
                    Ok(bytes) => Ok(self.folder.put(place, bytes)?),
                    Err(error) => Err(Refusal::This(error.to_string())),
                });
            }),
        }
    }

    /// What was done; the error that ended it, if one did.
    fn finish(&self) -> Result<ExportReport, ExportError> {
        if let Some(error) = lock(&self.fatal).take() {
            return Err(error);
        }
        let mut report = std::mem::take(&mut *lock(&self.report));
        report.written_bytes = self.written_bytes.load(Ordering::Relaxed);
        report.stopped = (self.options.stop)();
        Ok(report)
    }
}

/// Calls `work` with each number below `count`, on so many threads.
fn each(threads: usize, count: usize, work: &(dyn Fn(usize) + Sync)) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, count.max(1)) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count {
                        break;
                    }
                    work(at);
                }
            });
        }
    });
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
