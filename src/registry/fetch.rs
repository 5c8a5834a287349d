//! Fetching crate files: a pool of workers that gives verified bytes or says why not.

use super::error::looks_like_html;
use super::outage::{Outage, Verdict};
use super::{Error, Http, Next, RetryPolicy, Stop, workers};
use crate::ids::{Digest, Release};
use crossbeam_channel::{Receiver, Sender};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::Instant;

/// How to fetch.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// Workers, and so the most requests at once: in all, and to any one host.
    pub jobs: usize,
    /// The longest crate file that is taken.
    pub max_crate_bytes: u64,
    /// When to try again.
    pub policy: RetryPolicy,
}

impl Default for FetchOptions {
    /// crates.io takes 10 MiB, and more by exception; nothing near 512 MiB is known.
    fn default() -> FetchOptions {
        FetchOptions {
            jobs: 64,
            max_crate_bytes: 512 << 20,
            policy: RetryPolicy::default(),
        }
    }
}

/// What travels with a job from asking to storing, such as a share of a memory budget.
pub trait Ticket: Send + 'static {
    /// The crate file is now known to have at least so many bytes; they are read
    /// once this returns. May wait.
    fn expect(&mut self, crate_bytes: u64);

    /// These are the bytes, and they are right. May wait.
    fn arrived(&mut self, crate_file: &[u8]);
}

/// One crate file to fetch.
#[derive(Debug)]
pub struct Job<T> {
    /// Which release it is of.
    pub release: Release,
    /// Where it is.
    pub url: String,
    /// What its SHA-256 must be.
    pub digest: Digest,
    /// What travels along.
    pub ticket: T,
}

/// A job done: its verified bytes, or why there are none.
#[derive(Debug)]
pub struct Fetched<T> {
    /// The job.
    pub job: Job<T>,
    /// What came of it.
    pub result: Result<Vec<u8>, Error>,
}

/// Where jobs go in, and where they come out.
pub type Pool<T> = (Sender<Job<T>>, Receiver<Fetched<T>>);

/// Starts a pool: jobs go in, and come out in the order in which they are done.
/// After `stop` is set, what is under way comes out as [`Error::Stopped`].
///
/// # Errors
/// When no thread can be started.
pub fn fetch_pool<T: Ticket>(http: Http, options: FetchOptions, stop: Stop) -> Result<Pool<T>, Error> {
    let outage = Arc::new(Outage::new(options.jobs, options.policy.patience));
    workers(options.jobs.max(1), move |mut job: Job<T>| {
        let result = fetch(&http, &options, &stop, &outage, &mut job);
        Fetched { job, result }
    })
    .map_err(|error| Error::Setting(format!("no thread can be started: {error}; try fewer --jobs")))
}

fn fetch<T: Ticket>(
    http: &Http,
    options: &FetchOptions,
    stop: &Stop,
    outage: &Outage,
    job: &mut Job<T>,
) -> Result<Vec<u8>, Error> {
    let mut failed = 0;
    while !outage.pass(stop) {
        let error = match fetch_once(http, options, stop, job) {
            Ok(bytes) => {
                outage.answered();
                return Ok(bytes);
            }
            Err(Error::Stopped) => return Err(Error::Stopped),
            // The server is well, whatever it says of this file.
            Err(error @ (Error::Missing { .. } | Error::TooLong { .. })) => {
                outage.answered();
                return Err(error);
            }
            Err(error) => error,
        };
        failed += 1;
        let next = options.policy.next(failed, &error, fastrand::f64());
        match outage.failed(
            failed == 1,
            next != Next::GiveUp || error.is_transient(),
            Instant::now(),
        ) {
            Verdict::GiveUp => return Err(Error::Outage(Box::new(error))),
            Verdict::Everyone => {
                failed -= 1;
                continue;
            }
            Verdict::Own => {}
        }
        let Next::Wait(delay) = next else { return Err(error) };
        if matches!(
            error,
            Error::Status {
                status: 429 | 503,
                retry_after: Some(_),
                ..
            }
        ) {
            outage.close_for(delay);
        }
        if stop.wait(delay) {
            break;
        }
    }
    Err(match outage.is_given_up() && !stop.is_set() {
        true => Error::GivenUp,
        false => Error::Stopped,
    })
}

fn fetch_once<T: Ticket>(http: &Http, options: &FetchOptions, stop: &Stop, job: &mut Job<T>) -> Result<Vec<u8>, Error> {
    let answer = http.get(&job.url, None)?;
    match answer.status {
        200 => {}
        status @ (403 | 404 | 410 | 451) => {
            let _ = answer.into_status_error();
            let url = job.url.clone();
            return Err(Error::Missing { url, status });
        }
        _ => return Err(answer.into_status_error()),
    }
    let mut hasher = Sha256::new();
    let mut expected = 0;
    let ticket = &mut job.ticket;
    let bytes = answer.read(options.max_crate_bytes, stop, |piece, known_bytes| {
        if known_bytes > expected {
            // Without a length announced, what is expected doubles with what comes.
            expected = if expected == 0 {
                known_bytes
            } else {
                known_bytes.max(2 * expected)
            };
            ticket.expect(expected);
        }
        hasher.update(piece);
    })?;
    let found = Digest(hasher.finalize().into());
    if found != job.digest {
        return Err(Error::Checksum {
            url: job.url.clone(),
            expected: job.digest,
            found,
            bytes: bytes.len() as u64,
            html: looks_like_html(&bytes),
        });
    }
    ticket.arrived(&bytes);
    Ok(bytes)
}
