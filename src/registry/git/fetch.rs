//! Opening a repository, and bringing a bare clone up to its origin.

use super::super::{Error, Http, Stop};
use super::cache::{claim, damaged, forget_if_worn};
use super::counts::{FetchCounts, Shown};
use super::http::GitHttp;
use super::why;
use crossbeam_channel::RecvTimeoutError;
use gix::ObjectId;
use gix::remote::{Direction, fetch::Shallow, fetch::Status, fetch::Tags};
use gix_transport::client::blocking_io::{Transport, http};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The one branch of a clone: what the origin's HEAD was at the last fetch.
pub(super) const BRANCH: &str = "refs/cratehold/head";
/// Of each thread that reads: bytes of objects that others are deltas to.
const DELTA_CACHE: &str = "core.deltaBaseCacheLimit=33554432";
/// How often to look whether everyone is to stop.
const TICK: Duration = Duration::from_millis(100);
/// How long work that is to stop may take to tidy up.
const GRACE: Duration = Duration::from_millis(400);

/// The repository in `folder`, and the commit that its HEAD means.
pub(super) fn open_local(folder: &Path, registry: &str) -> Result<(gix::Repository, ObjectId), Error> {
    let fail = |cause: String| Error::NotAnIndex {
        url: registry.to_owned(),
        cause: format!("expected a git repository: {cause}; check --index"),
    };
    let repository = open(folder).map_err(fail)?;
    let head = repository.head_id().map_err(|error| fail(why(&error)))?.detach();
    Ok((repository, head))
}

/// What settings a user has for git must not change what is read.
pub(super) fn open(folder: &Path) -> Result<gix::Repository, String> {
    let options = gix::open::Options::isolated().config_overrides([DELTA_CACHE]);
    gix::open_opts(folder, options).map_err(|error| why(&error))
}

/// Fetches the newest commit behind `url`, and no history, into the bare
/// repository `cache`, which is made if there is none. `watch` hears what git counts.
pub(super) fn fetch(
    url: &str,
    cache: &Path,
    http: &Http,
    stop: &Stop,
    watch: &dyn Fn(FetchCounts),
) -> Result<(gix::Repository, ObjectId), Error> {
    let at_cache = |cause: String| Error::File {
        path: cache.display().to_string(),
        cause,
    };
    let (repository, lock) = claim(cache).map_err(at_cache)?;
    // Somebody else's clone is theirs to tidy up.
    let worn = match lock {
        Some(_) => forget_if_worn(cache).map_err(|error| at_cache(error.to_string()))?,
        None => Vec::new(),
    };
    let fail = |cause: String| Error::Transport {
        url: url.to_owned(),
        cause: format!("cannot fetch the registry index: {cause}; check --index and the network"),
        transient: false,
    };
    let shown = Shown::default();
    let work = {
        let (repository, url, http, shown) = (repository.into_sync(), url.to_owned(), http.clone(), shown.clone());
        move |interrupted: &AtomicBool| {
            // Let go of when the work ends, even if nobody waits for that any more.
            let _lock = lock;
            let pack = receive(&repository.to_thread_local(), &url, &http, &shown, interrupted)?;
            drop(repository);
            if let Some(pack) = pack {
                // The same objects make the same pack again. What cannot be removed now is
                // removed by a later run.
                let is_other = |path: &PathBuf| path.file_stem() != pack.file_stem();
                worn.into_iter()
                    .filter(is_other)
                    .map(std::fs::remove_file)
                    .for_each(drop);
            }
            Ok(())
        }
    };
    let tick = || shown.counts().into_iter().for_each(watch);
    match interruptible(stop, work, tick)? {
        Ok(()) => {}
        Err(_) if stop.is_set() => return Err(Error::Stopped),
        Err(cause) => return Err(fail(cause)),
    }
    // Opened anew, for the new pack to be seen.
    let at_cache = |cause: String| at_cache(damaged(cache, &cause));
    let repository = open(cache).map_err(at_cache)?;
    let mut head = repository
        .find_reference(BRANCH)
        .map_err(|error| at_cache(why(&error)))?;
    let head = head.peel_to_id().map_err(|error| at_cache(why(&error)))?.detach();
    Ok((repository, head))
}

/// Returns the pack that came, if one did.
fn receive(
    repository: &gix::Repository,
    url: &str,
    http: &Http,
    shown: &Shown,
    interrupted: &AtomicBool,
) -> Result<Option<PathBuf>, String> {
    // The `+`: a history that was squashed is an update like any other.
    let spec = format!("+HEAD:{BRANCH}");
    let remote = repository
        .remote_at(url)
        .map_err(|error| why(&error))?
        .with_fetch_tags(Tags::None)
        .with_refspecs(Some(spec.as_str()), Direction::Fetch)
        .map_err(|error| why(&error))?;
    let (address, version) = remote
        .sanitized_url_and_version(Direction::Fetch)
        .map_err(|error| why(&error))?;
    match address.scheme {
        gix::url::Scheme::Https | gix::url::Scheme::Http => {
            let transport = http::Transport::new_http(GitHttp::new(http.clone()), address, version, false);
            finish(remote.to_connection_with_transport(transport), shown, interrupted)
        }
        _ => {
            let connection = remote.connect(Direction::Fetch).map_err(|error| why(&error))?;
            finish(connection, shown, interrupted)
        }
    }
}

fn finish<T: Transport>(
    connection: gix::remote::Connection<'_, '_, '_, T>,
    shown: &Shown,
    stop: &AtomicBool,
) -> Result<Option<PathBuf>, String> {
    let fetch = connection
        .prepare_fetch(gix::progress::Discard, gix::remote::ref_map::Options::default())
        .map_err(|error| why(&error))?;
    let one = Shallow::DepthAtRemote(std::num::NonZeroU32::MIN);
    let outcome = fetch.with_shallow(one).receive(shown.counter("fetch"), stop);
    match outcome.map_err(|error| why(&error))?.status {
        Status::Change { write_pack_bundle, .. } => Ok(write_pack_bundle.data_path),
        Status::NoPackReceived { .. } => Ok(None),
    }
}

/// Runs `work` on a thread of its own, with a flag that follows `stop`, and `tick` now
/// and then. Work that does not end soon after `stop`, such as a read from a server
/// that hangs, is left alone.
fn interruptible<T: Send + 'static>(
    stop: &Stop,
    work: impl FnOnce(&AtomicBool) -> T + Send + 'static,
    tick: impl Fn(),
) -> Result<T, Error> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let (give, result) = crossbeam_channel::bounded(1);
    let flag = interrupted.clone();
    let thread = std::thread::Builder::new().name("git".into()).spawn(move || {
        let _ = give.send(work(&flag));
    });
    thread.map_err(|error| Error::Setting(format!("no thread can be started: {error}")))?;
    loop {
        if stop.is_set() {
            interrupted.store(true, Ordering::Relaxed);
            return result.recv_timeout(GRACE).map_err(|_| Error::Stopped);
        }
        match result.recv_timeout(TICK) {
            Ok(done) => return Ok(done),
            Err(RecvTimeoutError::Timeout) => tick(),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::Setting(
                    "the fetch of the registry index ended without a word: a fault of cratehold, please report it"
                        .into(),
                ));
            }
        }
    }
}
