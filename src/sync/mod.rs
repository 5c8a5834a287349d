//! Bringing an archive up to what a registry has: the only room that knows both.
//!
//! A run asks the registry index for every crate that is wanted, notes what its
//! lines say that the archive does not know yet, and fetches what is wanted and not
//! held. Nothing remembers what failed: what is missing is computed anew each time,
//! so that every hole is tried again by the next run. Only what the registry's own
//! server did not have is remembered, so as to be asked for less and less often.

mod absence;
mod absorb;
mod download;
mod estimate;
mod filter;
mod import;
mod listing;
mod notice;
mod queue;
mod repair;
mod want;
mod whole;

pub use absence::next_asking;
pub use estimate::Plan;
pub use filter::{Filter, NameGlob};
pub use import::import_with_index;
pub use notice::{Notice, Phase, Progress, Watcher};
pub use repair::DownloadServer;
pub use want::{Choice, CrateWant, Listed, Selection, Want};

use absence::Askings;

use crate::archive::{self, Archive, CommitInfo, EncodeOptions, Writer};
use crate::ids::Release;
use crate::registry::{
    self, DownloadTemplate, FetchCounts, FetchOptions, GitIndex, Http, HttpOptions, IndexConfig, IndexUrl,
    RegistryIndex, SparseIndex, Stop, receive, send, workers,
};
use notice::Watch;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Of a file whose worker ended without a word. It must not go unsaid.
const LOST: &str = "a worker ended without giving or refusing it: a fault of cratehold, please report it";

/// So many failures are told one by one; more would be read by nobody, and take
/// memory without bound where a whole registry fails.
pub const MAX_FAILURES: usize = 10_000;

/// How to sync.
#[derive(Debug, Clone)]
pub struct Options {
    /// The registry index to ask.
    pub index: IndexUrl,
    /// Where crate files are, if not where the registry's `config.json` says.
    pub dl: Option<String>,
    /// Time limits and whom to name.
    pub http: HttpOptions,
    /// Workers, size limits, retries.
    pub fetch: FetchOptions,
    /// How to store.
    pub encode: EncodeOptions,
    /// Threads that store.
    pub threads: usize,
    /// What crate files, their tars and what they become may take in memory at
    /// once; a single larger one is let through alone.
    pub budget_bytes: u64,
    /// A commit is made at least this often.
    pub commit_interval: Duration,
    /// A commit is made at least after so many bytes of crate files.
    pub commit_bytes: u64,
    /// Where the clone of a remote git registry index is kept.
    pub index_cache: PathBuf,
    /// So many releases may leave the registry index at once without it being taken
    /// for a fault.
    pub accept_removals: u64,
    /// Whether to stop when everything listed is known, before anything is fetched.
    pub no_download: bool,
    /// Whether crate files longer than `fetch.max_crate_bytes` are simply not wanted.
    /// Otherwise each is a failure.
    pub leave_out_longer: bool,
    /// Whether to stop when it is known what would be fetched. The writer should then be
    /// one that rehearses, for what is learned on the way is committed all the same.
    pub dry_run: bool,
    /// Whether what was missing upstream is asked for again before it is time to.
    pub retry_missing: bool,
    /// The time, in seconds since 1970 UTC.
    pub clock: fn() -> u64,
}

impl Options {
    /// The usual settings for `index`.
    pub fn new(index: IndexUrl) -> Options {
        Options {
            index,
            dl: None,
            http: HttpOptions::default(),
            fetch: FetchOptions::default(),
            encode: EncodeOptions::default(),
            threads: 2,
            budget_bytes: 1536 << 20,
            commit_interval: Duration::from_secs(60),
            commit_bytes: 1 << 30,
            index_cache: PathBuf::from("cratehold.index"),
            accept_removals: 0,
            no_download: false,
            leave_out_longer: false,
            dry_run: false,
            retry_missing: false,
            clock: archive::now,
        }
    }

    fn askings(&self, archive: &Archive) -> Result<Askings, archive::Error> {
        Askings::new(archive, (self.clock)(), self.retry_missing)
    }
}

/// One thing that could not be had.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failure {
    /// `NAME@VERSION`, `NAME`, or the place of a wrong line.
    pub what: String,
    /// Why not.
    pub cause: String,
}

impl From<(String, String)> for Failure {
    fn from((what, cause): (String, String)) -> Failure {
        Failure { what, cause }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Releases wanted, those that cannot be had included.
    pub wanted: u64,
    /// Of these, held before the run.
    pub held: u64,
    /// Of these, fetched and stored now.
    pub downloaded: u64,
    /// Bytes of crate files fetched.
    pub downloaded_bytes: u64,
    /// Bytes they take in packs.
    pub stored_bytes: u64,
    /// Of these, not fetched because that was not asked for, or not any more.
    pub left: u64,
    /// Of a dry run: what would be fetched.
    pub plan: Option<Plan>,
    /// Of these, left out because they are longer than was asked for.
    pub too_long: u64,
    /// Releases that would be wanted, but were erased here on purpose; they do not count
    /// as wanted.
    pub purged: u64,
    /// Of these, listed by the registry index and not to be had from its download
    /// server, whether that was asked now or before.
    pub missing: u64,
    /// Of these, how many are news: found for the first time, or named by version.
    pub missing_new: u64,
    /// The first [`MAX_FAILURES`] of the news, in the order of names.
    pub absences: Vec<Failure>,
    /// Everything that failed.
    pub failed: u64,
    /// The first [`MAX_FAILURES`] of them, in the order of names.
    pub failures: Vec<Failure>,
    /// Why nothing more was asked for, if the server stopped answering.
    pub gave_up: Option<String>,
    /// Lockfile packages left out: from git repositories.
    pub git_count: usize,
    /// Lockfile packages left out: from other registries.
    pub other_count: usize,
    /// What was named and left out because of its crate's name.
    pub excluded: u64,
    /// Releases on which an engine of our own disagreed with the library it stands
    /// for, and which. They are stored whole; the engine is to be mended.
    pub wrong_engines: Vec<(Release, String)>,
    /// The archive's newest snapshot.
    pub snapshot: u64,
    /// Whether it was stopped before its end.
    pub stopped: bool,
    /// The most bytes in flight at once, by the budget's count.
    pub peak_bytes: u64,
}

impl Report {
    /// Whether everything wanted is held now.
    pub fn is_complete(&self) -> bool {
        self.is_well() && self.missing == 0
    }

    /// Whether nothing is to be done or told: everything wanted is held, but for what
    /// is known to be missing upstream.
    pub fn is_well(&self) -> bool {
        !self.stopped && self.failed == 0 && self.left == 0 && self.gave_up.is_none() && self.missing_new == 0
    }

    /// Notes a failure.
    fn fail(&mut self, what: String, cause: String) {
        self.failed += 1;
        if self.failures.len() < MAX_FAILURES {
            self.failures.push(Failure { what, cause });
        }
    }
}

/// Why a run could not be made, or not be gone on with. What was committed before
/// is whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry as a whole cannot be used.
    #[error("{0}")]
    Registry(#[from] registry::Error),
    /// The archive cannot be read.
    #[error("{0}")]
    Archive(#[from] archive::Error),
    /// The archive cannot be written to, a full disk among the reasons.
    #[error("{0}; nothing committed is lost: make room or mend the drive, then run the same command again")]
    Write(archive::Error),
    /// The archive's lines come from another registry.
    #[error("this archive mirrors {expected}; --index {found} would mix two registries: use another --archive for it")]
    OtherRegistry {
        /// The registry so far.
        expected: String,
        /// The one given.
        found: String,
    },
    /// More releases are gone from the registry index than can be believed.
    #[error(
        "commit {commit} of the registry index lacks {removed} of the {known} releases known here: more likely its fault than their removal, so no removal was noted; if it is right, run this again with --accept-removals {removed}"
    )]
    ManyRemovals {
        /// How many are gone.
        removed: u64,
        /// Of how many.
        known: u64,
        /// By which commit.
        commit: String,
    },
    /// A registry index that cannot say what there is.
    #[error(
        "--all needs a git registry index, for {index} has no list of all crates: use --index {}",
        registry::CRATES_IO_GIT
    )]
    NoList {
        /// The one given.
        index: String,
    },
}

/// Commits now and then.
struct Committer<'a> {
    writer: &'a Writer,
    watch: &'a Watch<'a>,
    info: CommitInfo,
    interval: Duration,
    bytes: u64,
    last: Instant,
    last_bytes: u64,
}

impl Committer<'_> {
    /// Commits if it is time to; `bytes` is what has been fetched so far.
    fn commit_if_due(&mut self, bytes: u64) -> Result<(), Error> {
        if self.last.elapsed() < self.interval && bytes - self.last_bytes < self.bytes {
            return Ok(());
        }
        self.commit()?;
        self.last = Instant::now();
        self.last_bytes = bytes;
        Ok(())
    }

    fn commit(&self) -> Result<(), Error> {
        if let Some(snapshot) = self.writer.commit(&self.info).map_err(Error::Write)? {
            self.watch.tell(Notice::Committed { snapshot });
        }
        Ok(())
    }
}

/// Brings the archive up to `selection`. When `stop` is set, what has arrived is
/// committed and the report says that the run was stopped.
///
/// # Errors
/// When nothing can be done at all, or the archive cannot be written to. What
/// fails for one crate is in the report.
pub fn run(
    writer: &Writer,
    selection: &Selection,
    options: &Options,
    stop: &Stop,
    watcher: Watcher<'_>,
) -> Result<Report, Error> {
    let watch = &Watch::new(watcher, options.dry_run);
    let registry = options.index.registry();
    if let Some(known) = writer.with_archive(Archive::known_registry)?
        && !options.index.is(&known)
    {
        return Err(Error::OtherRegistry {
            expected: known,
            found: registry,
        });
    }
    let before = writer.with_archive(|archive| archive.head().generation);
    let mut committer = Committer {
        writer,
        watch,
        info: CommitInfo {
            registry,
            cursor: String::new(),
            source: "sync".into(),
        },
        interval: options.commit_interval,
        bytes: options.commit_bytes,
        last: Instant::now(),
        last_bytes: 0,
    };
    let mut report = Report {
        git_count: selection.git_count,
        other_count: selection.other_count,
        failures: selection.failures.clone(),
        failed: selection.failures.len() as u64,
        wanted: selection.failures.len() as u64,
        ..Report::default()
    };
    watch.tell_failures(&report);
    match steps(writer, selection, options, stop, watch, &mut committer, &mut report) {
        Err(Error::Registry(registry::Error::Stopped)) => {}
        // What has been learned before is kept.
        Err(error @ Error::Registry(_)) => {
            committer.commit()?;
            return Err(error);
        }
        other => other?,
    }
    watch.tell_failures(&report);
    watch.tell(Notice::Phase(Phase::Committing));
    committer.commit()?;
    report.stopped = stop.is_set();
    report.snapshot = match options.dry_run {
        true => before,
        false => writer.with_archive(|archive| archive.head().generation),
    };
    report.failures.sort();
    report.absences.sort();
    Ok(report)
}

fn steps(
    writer: &Writer,
    selection: &Selection,
    options: &Options,
    stop: &Stop,
    watch: &Watch<'_>,
    committer: &mut Committer<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    let http = Http::new(HttpOptions {
        connections: options.fetch.jobs,
        ..options.http.clone()
    })?;
    let git = match &options.index {
        IndexUrl::Sparse(_) => None,
        IndexUrl::Git(place) => {
            let (registry, cache) = (options.index.registry(), &options.index_cache);
            watch.tell(Notice::Phase(Phase::Index));
            let counted = |counts: FetchCounts| {
                let mut progress = Progress::new(Phase::Index, counts.done, counts.total);
                progress.step = Some(counts.step);
                watch.tell(Notice::Progress(progress));
            };
            Some(Arc::new(GitIndex::open(
                place, &registry, cache, &http, stop, &counted,
            )?))
        }
    };
    let index: Arc<dyn RegistryIndex> = match (&options.index, &git) {
        (IndexUrl::Sparse(url), _) => {
            let policy = options.fetch.policy.clone();
            Arc::new(SparseIndex::new(http.clone(), url, policy, stop.clone()))
        }
        (IndexUrl::Git(_), Some(git)) => git.clone(),
        (IndexUrl::Git(_), None) => return Ok(()),
    };
    let config = config_of(index.clone(), stop)?;
    let template = DownloadTemplate::parse(options.dl.as_deref().unwrap_or(&config.dl))?;
    let queue = match (selection.all, git) {
        (true, Some(git)) => whole::list(writer, &git, &selection.filter, options, stop, watch, committer, report)?,
        (true, None) => {
            return Err(Error::NoList {
                index: options.index.registry(),
            });
        }
        (false, _) => listing::list(writer, selection, index, options, stop, watch, committer, report)?,
    };
    if options.dry_run {
        report.plan = Some(writer.with_archive(|archive| estimate::estimate(archive, &queue, options))?);
        return Ok(());
    }
    download::download(writer, http, &template, queue, options, stop, watch, committer, report)
}

/// Asks for `config.json` on a thread of its own, so that whoever stops the run does
/// not wait for a server that hangs.
fn config_of(index: Arc<dyn RegistryIndex>, stop: &Stop) -> Result<IndexConfig, Error> {
    let (ask, answers) = workers(1, move |()| index.config())
        .map_err(|error| registry::Error::Setting(format!("no thread can be started: {error}")))?;
    if send(&ask, (), stop)
        && let Some(config) = receive(&answers, stop)
    {
        return Ok(config?);
    }
    Err(registry::Error::Stopped.into())
}
