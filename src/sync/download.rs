//! The second half of a run: fetching what is missing and storing what arrives.
//!
//! One thread asks (in order, big crates first, versions ascending), the registry's
//! workers fetch, one thread passes on what they give, and `archive::ingest` stores
//! it. Memory is bounded by a budget in bytes that follows each crate file from
//! before it is asked for until it is stored:
//!
//! - How large a file is shows only in the answer. So a permit is taken for an
//!   estimate, *by the asking thread, in the order of asking*; once the length is
//!   known, and once more when the length of its tar is (its gzip trailer says it),
//!   the worker makes the permit fit.
//! - Growing might wait for room that only others can make, while they wait too. Two
//!   rules exclude that. Ingest stores the versions of a crate in the order in which
//!   they were asked for, so what a file waits for was always asked for earlier. And
//!   the holder of the oldest permit never waits ([`Permit::resize`]); its file waits
//!   for nobody, so it is stored and its permit goes on to the next oldest.
//! - The budget is exceeded only by that oldest one, when it alone is larger.

use super::absence::Refusals;
use super::notice::{Notice, Phase, Progress, Watch};
use super::queue::{At, Held, Queue};
use super::{Committer, Error, Failure, MAX_FAILURES, Options, Report};
use crate::archive::{self, Arrival, Budget, Outcome, Permit, Writer, ingest};
use crate::format::manifest::EventKind;
use crate::format::manifest_event::Event;
use crate::ids::Release;
use crate::registry::{self, DownloadTemplate, Fetched, Http, Job, Stop, Ticket, fetch_pool, receive, send};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// An ordinary crate file: what is assumed before anything is known.
const TYPICAL_CRATE_BYTES: u64 = 128 << 10;
/// A tar and what is made of it take about this many times the crate file.
const TAR_FACTOR: u64 = 8;
/// How often to look whether it is time to commit, and to tell of progress.
const TICK: Duration = Duration::from_millis(200);

/// A share of the budget, and which file it is for.
struct Share {
    permit: Permit,
    limit_bytes: u64,
    place: usize,
}

impl Share {
    /// What a file takes: itself, its tar, and the tar's frame or base.
    fn cost(crate_bytes: u64, tar_bytes: u64) -> u64 {
        crate_bytes.saturating_add(tar_bytes.saturating_mul(2))
    }
}

impl Ticket for Share {
    fn expect(&mut self, crate_bytes: u64) {
        self.permit.resize(crate_bytes.saturating_mul(TAR_FACTOR));
    }

    fn arrived(&mut self, crate_file: &[u8]) {
        let mut tar_bytes = [0; 4];
        if let Some(trailer) = crate_file.last_chunk() {
            tar_bytes = *trailer;
        }
        // Not every file is a gzip; whatever those bytes say, more than everything
        // is not needed.
        let bytes = Share::cost(crate_file.len() as u64, u64::from(u32::from_le_bytes(tar_bytes)));
        self.permit
            .resize(bytes.min(self.limit_bytes.max(crate_file.len() as u64)));
    }
}

/// A file that its server did not have.
struct Absent {
    place: usize,
    status: u16,
    cause: String,
}

#[derive(Default)]
struct Tally {
    downloaded: u64,
    crate_bytes: u64,
    stored_bytes: u64,
    failed: u64,
    failures: Vec<Failure>,
    absent: Vec<Absent>,
    refusals: Refusals,
    too_long: u64,
    left: u64,
    gave_up: Option<String>,
    wrong_engines: Vec<(Release, String)>,
    fatal: Option<archive::Error>,
}

struct Flow<'a> {
    writer: &'a Writer,
    template: &'a DownloadTemplate,
    options: &'a Options,
    stop: &'a Stop,
    watch: &'a Watch<'a>,
    queue: Queue,
    budget: Arc<Budget>,
    tally: Mutex<Tally>,
    done: AtomicU64,
    bytes: AtomicU64,
    /// Set when the server has stopped answering: nothing more is asked for.
    halted: AtomicBool,
}

/// Fetches and stores all of `queue`.
#[allow(clippy::too_many_arguments, reason = "the one caller reads well with them")]
pub(super) fn download(
    writer: &Writer,
    http: Http,
    template: &DownloadTemplate,
    mut queue: Queue,
    options: &Options,
    stop: &Stop,
    watch: &Watch<'_>,
    committer: &mut Committer<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    if queue.len() == 0 || stop.is_set() {
        return Ok(());
    }
    queue.costly_first(estimate);
    let flow = Flow {
        writer,
        template,
        options,
        stop,
        watch,
        queue,
        budget: Budget::new(options.budget_bytes),
        tally: Mutex::default(),
        done: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        halted: AtomicBool::new(false),
    };
    watch.tell(Notice::Phase(Phase::Downloading));
    let mut fetch = options.fetch.clone();
    fetch.jobs = fetch.jobs.min(flow.queue.len());
    let (jobs, fetched) = fetch_pool(http, fetch, stop.clone())?;
    let (arrive, arrivals) = crossbeam_channel::bounded(options.threads.max(1) * 2);
    let (alive, ended) = crossbeam_channel::bounded::<()>(0);
    let committed = std::thread::scope(|scope| {
        scope.spawn(|| flow.ask(jobs));
        scope.spawn(|| flow.pass_on(fetched, arrive));
        scope.spawn(|| {
            flow.store(&arrivals);
            drop(alive);
        });
        let mut committed = Ok(());
        while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            let bytes = flow.bytes.load(Ordering::Relaxed);
            watch.tell(Notice::Progress(flow.progress()));
            if committed.is_ok() {
                committed = committer.commit_if_due(bytes);
                if committed.is_err() {
                    stop.set();
                }
            }
        }
        committed
    });
    watch.tell(Notice::Progress(flow.progress()));
    report.downloaded_bytes = flow.bytes.load(Ordering::Relaxed);
    report.peak_bytes = flow.budget.peak_bytes();
    let mut tally = flow.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    note_absent(writer, &flow.queue, options, &mut tally, report)?;
    report.downloaded += tally.downloaded;
    report.stored_bytes += tally.stored_bytes;
    report.failed += tally.failed;
    let room = MAX_FAILURES.saturating_sub(report.failures.len());
    report.failures.extend(tally.failures.into_iter().take(room));
    report.too_long += tally.too_long;
    report.left += tally.left;
    if tally.gave_up.is_some() {
        report.gave_up = tally.gave_up;
    }
    report.wrong_engines = tally.wrong_engines;
    match tally.fatal {
        Some(error) => Err(Error::Write(error)),
        None => committed,
    }
}

/// Notes what was not there, if it is to be believed; and what of it is news.
fn note_absent(
    writer: &Writer,
    queue: &Queue,
    options: &Options,
    tally: &mut Tally,
    report: &mut Report,
) -> Result<(), archive::Error> {
    let verdict = tally.refusals.verdict();
    let askings = writer.with_archive(|archive| options.askings(archive))?;
    for absent in std::mem::take(&mut tally.absent) {
        let Some(At { crate_name, queued, .. }) = queue.at(absent.place) else {
            continue;
        };
        let (what, cause) = (queued.release.to_string(), absent.cause);
        if verdict.is_some() {
            report.fail(what, cause);
            continue;
        }
        report.missing += 1;
        let known = writer.with_archive(|archive| archive.crate_state(crate_name))?;
        let mut releases = known.iter().flat_map(|state| &state.releases);
        let known = releases.find(|known| known.version == queued.release.version && known.digest == queued.digest);
        // Asked for before its time, it counts when the time has come.
        let absence = known.and_then(|known| known.absence);
        if askings.is_due(absence) {
            let event = Event {
                kind: EventKind::Missing,
                yanked: false,
                generation: 0,
                version: queued.release.version.to_string(),
                digest: Some(queued.digest),
                text: Some(absent.status.to_string().into_bytes()),
            };
            writer.note(crate_name, event);
        }
        if absence.is_none() || queued.named {
            report.missing_new += 1;
            if report.absences.len() < MAX_FAILURES {
                report.absences.push(Failure { what, cause });
            }
        }
    }
    report.gave_up = verdict;
    Ok(())
}

fn estimate(held: Held) -> u64 {
    let known = held
        .last
        .map(|(crate_bytes, tar_bytes)| Share::cost(u64::from(crate_bytes), u64::from(tar_bytes)));
    known.unwrap_or(TYPICAL_CRATE_BYTES * TAR_FACTOR)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flow<'_> {
    fn ask(&self, jobs: Sender<Job<Share>>) {
        let limit_bytes = self.options.budget_bytes;
        for (place, At { queued, held, .. }) in self.places() {
            let job = Job {
                url: self.template.url(&queued.release, &queued.digest),
                release: queued.release,
                digest: queued.digest,
                ticket: Share {
                    permit: self.budget.take(estimate(held).min(limit_bytes)),
                    limit_bytes,
                    place,
                },
            };
            if self.halted.load(Ordering::Relaxed) || !send(&jobs, job, self.stop) {
                break;
            }
        }
    }

    fn places(&self) -> impl Iterator<Item = (usize, At<'_>)> {
        (0..self.queue.len()).filter_map(|place| Some((place, self.queue.at(place)?)))
    }

    fn pass_on(&self, fetched: Receiver<Fetched<Share>>, arrive: Sender<Arrival>) {
        let mut passed = vec![false; self.queue.len()];
        let mut pass = |fetched: Fetched<Share>| {
            let Fetched { job, result } = fetched;
            let Share { permit, place, .. } = job.ticket;
            let file = match result {
                Ok(bytes) => {
                    self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    lock(&self.tally).refusals.came();
                    Some((job.digest, bytes))
                }
                // Its place is filled like all that are still to come.
                Err(registry::Error::Stopped | registry::Error::GivenUp) => return,
                Err(registry::Error::TooLong { .. }) if self.options.leave_out_longer => {
                    lock(&self.tally).too_long += 1;
                    None
                }
                Err(error @ registry::Error::Missing { .. }) => {
                    self.note_refusal(place, &job.release, &error);
                    None
                }
                Err(error) => {
                    if let registry::Error::Outage(_) = error {
                        self.halted.store(true, Ordering::Relaxed);
                        lock(&self.tally).gave_up.get_or_insert_with(|| error.to_string());
                        return;
                    }
                    self.fail(&job.release, error.to_string());
                    None
                }
            };
            passed[place] = true;
            let Some(At { order, of, .. }) = self.queue.at(place) else {
                return;
            };
            // Whoever stores is there until this end is dropped.
            let _ = arrive.send(Arrival {
                release: job.release,
                order,
                of,
                file,
                permit,
            });
        };
        while let Some(fetched) = receive(&fetched, self.stop) {
            pass(fetched);
        }
        let halted = self.halted.load(Ordering::Relaxed);
        let stopped = self.stop.is_set();
        if stopped {
            // Nobody is to wait for room now, nor for workers that hang in a read.
            self.budget.lift();
            fetched.try_iter().for_each(&mut pass);
            drop(fetched);
        }
        // What has arrived may wait for an earlier version that will not come.
        let last = passed.iter().rposition(|&passed| passed).unwrap_or(0);
        for (place, At { order, of, queued, .. }) in self.places().filter(|(place, _)| !passed[*place]) {
            if halted {
                lock(&self.tally).left += 1;
            } else if !stopped {
                self.fail(&queued.release, super::LOST.to_owned());
            }
            if place < last {
                let _ = arrive.send(Arrival {
                    release: queued.release,
                    order,
                    of,
                    file: None,
                    permit: self.budget.take(0),
                });
            }
        }
    }

    fn note_refusal(&self, place: usize, release: &Release, error: &registry::Error) {
        let registry::Error::Missing { url, status } = error else {
            return;
        };
        let was_absent = self.queue.at(place).is_some_and(|at| at.queued.was_absent);
        let (what, cause) = (release.to_string(), error.to_string());
        self.watch.tell(Notice::Missing(&Failure {
            what,
            cause: cause.clone(),
        }));
        let mut tally = lock(&self.tally);
        tally.absent.push(Absent {
            place,
            status: *status,
            cause,
        });
        // One that is known to be missing tells nothing of the server.
        if !was_absent {
            tally.refusals.refused(release.name.key(), url, *status);
        }
        if tally.refusals.are_plain() {
            self.halted.store(true, Ordering::Relaxed);
        }
    }

    fn store(&self, arrivals: &Receiver<Arrival>) {
        let done = |release: &Release, result: Result<Outcome, archive::Error>| {
            self.done.fetch_add(1, Ordering::Relaxed);
            match result {
                Ok(Outcome::Stored {
                    crate_bytes,
                    record_bytes,
                    wrong_engine,
                    ..
                }) => {
                    let mut tally = lock(&self.tally);
                    tally.downloaded += 1;
                    tally.crate_bytes += crate_bytes;
                    tally.stored_bytes += record_bytes;
                    let wrong = wrong_engine.map(|engine| (release.clone(), engine.name().to_string()));
                    tally.wrong_engines.extend(wrong);
                }
                Ok(Outcome::Held { .. }) => lock(&self.tally).downloaded += 1,
                Ok(Outcome::Skipped) => {}
                // The drive is full, or gone: nothing more can be stored.
                Err(error @ archive::Error::Io { .. }) => {
                    lock(&self.tally).fatal.get_or_insert(error);
                    self.stop.set();
                }
                Err(error) => self.fail(release, error.to_string()),
            }
        };
        ingest(self.writer, arrivals, self.options.threads, self.options.encode, &done);
    }

    fn fail(&self, release: &Release, cause: String) {
        let what = release.to_string();
        let failure = Failure { what, cause };
        self.watch.tell(Notice::Failed(&failure));
        let mut tally = lock(&self.tally);
        tally.failed += 1;
        if tally.failures.len() < MAX_FAILURES {
            tally.failures.push(failure);
        }
    }

    fn progress(&self) -> Progress {
        let (done, total) = (self.done.load(Ordering::Relaxed), self.queue.len() as u64);
        let tally = lock(&self.tally);
        Progress {
            bytes: self.bytes.load(Ordering::Relaxed),
            crate_bytes: tally.crate_bytes,
            stored_bytes: tally.stored_bytes,
            ..Progress::new(Phase::Downloading, done, total)
        }
    }
}
