//! Taking in crate files that lie on a disk, in any layout.
//!
//! What a file is called does not matter: name and version come from inside its
//! tar. Knows nothing of registries; whoever does says which checksums it expects.

use super::{Arrival, Budget, CommitInfo, EncodeOptions, Error, Outcome, Writer, ingest, release_of};
use crate::deflate::Engine;
use crate::ids::{Digest, Release};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// What may be in flight: a few of the largest crates and their tars.
const BUDGET_BYTES: u64 = 1 << 30;
/// Tars are about this many times larger than crate files.
const TAR_FACTOR: u64 = 8;
/// A long import commits each time it has stored this much, so that a crash
/// leaves little to adopt.
const CHECKPOINT_BYTES: u64 = 1 << 30;
/// The first entry's path is within this much of any tar, long names included.
const START_BYTES: usize = 16 << 10;

/// A file that could not be taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The file, or the release it holds.
    pub what: String,
    /// Why not.
    pub cause: String,
}

/// A crate file on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrateFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// What its tar says it is.
    pub release: Release,
}

/// Crate files found on disk, and those paths that are none.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// The files of each crate by key, in ascending version order.
    pub crates: BTreeMap<String, Vec<CrateFile>>,
    /// What could not be read or is no crate file.
    pub failures: Vec<Failure>,
}

impl Scan {
    /// Looks through `paths` on `threads` threads: files as they are, folders for
    /// every `*.crate` below. Only the start of each file is read.
    pub fn of(paths: &[PathBuf], threads: usize) -> Scan {
        let mut scan = Scan::default();
        let mut files = Vec::new();
        for path in paths {
            walk(path, true, &mut files, &mut scan.failures);
        }
        let next = AtomicUsize::new(0);
        let shared = Mutex::new(scan);
        std::thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                scope.spawn(|| {
                    while let Some((path, bytes)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let found = identify(path);
                        let mut scan = shared.lock().unwrap_or_else(PoisonError::into_inner);
                        match found {
                            Ok(release) => scan.crates.entry(release.name.key()).or_default().push(CrateFile {
                                path: path.clone(),
                                bytes: *bytes,
                                release,
                            }),
                            Err(cause) => scan.failures.push(failure(path, cause)),
                        }
                    }
                });
            }
        });
        let mut scan = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
        for files in scan.crates.values_mut() {
            files.sort_by(|a, b| (&a.release.version, &a.path).cmp(&(&b.release.version, &b.path)));
        }
        scan.failures.sort_by(|a, b| a.what.cmp(&b.what));
        scan
    }

    /// Length of all files together.
    pub fn total_bytes(&self) -> u64 {
        self.crates.values().flatten().map(|file| file.bytes).sum()
    }
}

fn failure(path: &Path, cause: impl ToString) -> Failure {
    Failure {
        what: path.display().to_string(),
        cause: cause.to_string(),
    }
}

fn walk(path: &Path, named: bool, files: &mut Vec<(PathBuf, u64)>, failures: &mut Vec<Failure>) {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return failures.push(failure(path, error)),
    };
    if metadata.is_dir() {
        match fs::read_dir(path) {
            Ok(entries) => {
                let mut below: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
                below.sort();
                // A link to a folder further up would never end.
                let linked = |path: &PathBuf| path.is_symlink() && path.is_dir();
                below
                    .iter()
                    .filter(|path| !linked(path))
                    .for_each(|path| walk(path, false, files, failures));
            }
            Err(error) => failures.push(failure(path, error)),
        }
    } else if named || path.extension().is_some_and(|extension| extension == "crate") {
        files.push((path.to_owned(), metadata.len()));
    }
}

fn identify(path: &Path) -> Result<Release, String> {
    let mut start = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(START_BYTES as u64).read_to_end(&mut start))
        .map_err(|error| error.to_string())?;
    let tar = crate::deflate::gunzip_start(&start, START_BYTES).map_err(|error| error.to_string())?;
    release_of(&tar).map_err(|error| error.to_string())
}

/// What [`import`] is to do, and whom it tells.
#[derive(Clone, Copy)]
pub struct ImportOptions<'a> {
    /// How to store.
    pub encode: EncodeOptions,
    /// Threads that store.
    pub threads: usize,
    /// The checksums that may go with a release: none known if empty; an error is
    /// the reason why this release may not be taken in.
    pub expected: &'a (dyn Fn(&Release) -> Result<Vec<Digest>, String> + Sync),
    /// Once it says so, no further file is begun.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Hears the length of each file as it is read.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

/// What [`import`] did.
#[derive(Debug, Clone, Default)]
pub struct ImportReport {
    /// Crate files stored now.
    pub stored: u64,
    /// Their length.
    pub crate_bytes: u64,
    /// What they take in the packs.
    pub record_bytes: u64,
    /// Crate files that no engine reproduces, stored as they came.
    pub as_they_came: u64,
    /// Releases on which an engine of our own disagreed with the library it stands
    /// for. They are stored whole; the engine is to be mended.
    pub wrong_engines: Vec<(Release, Engine)>,
    /// Crate files that were held already.
    pub held: u64,
    /// What could not be taken in, the scan's own failures included.
    pub failures: Vec<Failure>,
}

/// Stores all files of `scan` and commits them, once a gibibyte and at the end.
///
/// A file that fails stops none of the others.
///
/// # Errors
/// When the archive cannot be written to or committed.
pub fn import(writer: &Writer, scan: Scan, options: &ImportOptions<'_>) -> Result<ImportReport, Error> {
    let report = Mutex::new(ImportReport {
        failures: scan.failures,
        ..ImportReport::default()
    });
    let arrived: Mutex<Arrived> = Mutex::default();
    let lock = || report.lock().unwrap_or_else(PoisonError::into_inner);
    // Large crates first, so that no core is left with one at the end.
    let mut crates: Vec<Vec<CrateFile>> = scan.crates.into_values().collect();
    crates.sort_by_key(|files| std::cmp::Reverse(files.iter().map(|file| file.bytes).sum::<u64>()));
    let budget = Budget::new(BUDGET_BYTES);
    let (sender, receiver) = crossbeam_channel::bounded::<Arrival>(options.threads * 2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Moved in, so that the channel closes when this thread ends.
            let sender = sender;
            for files in crates {
                let of = files.len();
                for (order, file) in files.into_iter().enumerate() {
                    // Once the drive is full or gone, nothing more can be stored.
                    if (options.stop)() || writer.check().is_err() {
                        return;
                    }
                    let permit = budget.take(file.bytes * TAR_FACTOR);
                    let read = read_checked(&file, options.expected);
                    (options.progress)(file.bytes);
                    let content = match read {
                        Ok(content) => Some(content),
                        Err(cause) => {
                            lock().failures.push(failure(&file.path, cause));
                            None
                        }
                    };
                    let arrival = Arrival {
                        release: file.release,
                        order,
                        of,
                        file: content,
                        permit,
                    };
                    if sender.send(arrival).is_err() {
                        return;
                    }
                }
            }
        });
        ingest(
            writer,
            &receiver,
            options.threads,
            options.encode,
            &|release, result| {
                let mut report = lock();
                let (digest, bytes) = match result {
                    Ok(Outcome::Stored {
                        digest,
                        crate_bytes,
                        record_bytes,
                        exact,
                        wrong_engine,
                    }) => {
                        report.stored += 1;
                        report.crate_bytes += crate_bytes;
                        report.record_bytes += record_bytes;
                        report.as_they_came += u64::from(!exact);
                        report
                            .wrong_engines
                            .extend(wrong_engine.map(|engine| (release.clone(), engine)));
                        (digest, record_bytes)
                    }
                    Ok(Outcome::Held { digest }) => {
                        report.held += 1;
                        (digest, 0)
                    }
                    Ok(Outcome::Skipped) => return,
                    Err(error) => {
                        return report.failures.push(Failure {
                            what: release.to_string(),
                            cause: error.to_string(),
                        });
                    }
                };
                drop(report);
                let mut arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner);
                let first = *arrived.releases.entry(release.clone()).or_insert(digest);
                if first != digest {
                    let cause = format!("two files of it differ: kept the one with SHA-256 {first}, not {digest}");
                    let what = release.to_string();
                    return lock().failures.push(Failure { what, cause });
                }
                arrived.record_bytes += bytes;
                if arrived.record_bytes >= CHECKPOINT_BYTES {
                    // A failure here comes back at the last commit, which is refused too.
                    let _ = arrived.commit(writer);
                }
            },
        );
    });
    arrived
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .commit(writer)?;
    Ok(report.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// What has been stored since the last commit.
#[derive(Default)]
struct Arrived {
    releases: BTreeMap<Release, Digest>,
    record_bytes: u64,
}

impl Arrived {
    /// Notes the releases that the manifest does not know yet, and commits.
    fn commit(&mut self, writer: &Writer) -> Result<(), Error> {
        self.record_bytes = 0;
        for (release, digest) in std::mem::take(&mut self.releases) {
            writer.note_held(&release, digest)?;
        }
        let info = CommitInfo {
            source: "import".into(),
            ..CommitInfo::default()
        };
        writer.commit(&info).map(drop)
    }
}

/// The file's digest and bytes, if they may be stored as its release.
fn read_checked(
    file: &CrateFile,
    expected: &(dyn Fn(&Release) -> Result<Vec<Digest>, String> + Sync),
) -> Result<(Digest, Vec<u8>), String> {
    let bytes = fs::read(&file.path).map_err(|error| error.to_string())?;
    let digest = Digest::of(&bytes);
    let allowed = expected(&file.release)?;
    if !allowed.is_empty() && !allowed.contains(&digest) {
        let allowed: Vec<String> = allowed.iter().map(Digest::to_string).collect();
        let allowed = allowed.join(" or ");
        let release = &file.release;
        return Err(format!(
            "wrong bytes for {release}: expected SHA-256 {allowed}, found {digest}"
        ));
    }
    Ok((digest, bytes))
}

impl Writer {
    /// The checksums under which the archive's manifest knows `release`.
    ///
    /// # Errors
    /// When the manifest is damaged.
    pub fn known_digests(&self, release: &Release) -> Result<Vec<Digest>, Error> {
        let state = self.with_archive(|archive| archive.crate_state(release.name.as_str()))?;
        let releases = state.into_iter().flat_map(|state| state.releases);
        Ok(releases
            .filter(|known| known.version == release.version)
            .map(|known| known.digest)
            .collect())
    }
}
