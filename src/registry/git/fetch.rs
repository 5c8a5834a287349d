//! Opening a repository, and bringing a bare clone up to its origin.

use super::super::{Error, Http, Stop};
use super::http::GitHttp;
use super::why;
use gix::ObjectId;
use gix::remote::{Direction, fetch::Shallow, fetch::Tags};
use gix_transport::client::blocking_io::{Transport, http};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The one branch of a clone: what the origin's HEAD was at the last fetch.
const BRANCH: &str = "refs/cratehold/head";
/// Of each thread that reads: bytes of objects that others are deltas to.
const DELTA_CACHE: &str = "core.deltaBaseCacheLimit=33554432";
/// How often to look whether everyone is to stop.
const TICK: Duration = Duration::from_millis(100);

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
fn open(folder: &Path) -> Result<gix::Repository, String> {
    let options = gix::open::Options::isolated().config_overrides([DELTA_CACHE]);
    gix::open_opts(folder, options).map_err(|error| why(&error))
}

/// Fetches the newest commit behind `url`, and no history, into the bare
/// repository `cache`, which is made if there is none.
pub(super) fn fetch(url: &str, cache: &Path, http: &Http, stop: &Stop) -> Result<(gix::Repository, ObjectId), Error> {
    let at_cache = |cause: String| Error::File {
        path: cache.display().to_string(),
        cause: format!("{cause}; if this clone of the registry index is damaged, remove it and run this again"),
    };
    if !cache.join("HEAD").exists() {
        std::fs::create_dir_all(cache).map_err(|error| at_cache(error.to_string()))?;
        gix::init_bare(cache).map_err(|error| at_cache(why(&error)))?;
    }
    let repository = open(cache).map_err(at_cache)?;
    let fail = |cause: String| Error::Transport {
        url: url.to_owned(),
        cause: format!("cannot fetch the registry index: {cause}; check --index and the network"),
        transient: false,
    };
    interruptible(stop, |interrupted| receive(&repository, url, http, interrupted))
        .map_err(|cause| if stop.is_set() { Error::Stopped } else { fail(cause) })?;
    // Opened anew, for the new pack to be seen.
    let repository = open(cache).map_err(at_cache)?;
    let mut head = repository
        .find_reference(BRANCH)
        .map_err(|error| at_cache(why(&error)))?;
    let head = head.peel_to_id().map_err(|error| at_cache(why(&error)))?.detach();
    Ok((repository, head))
}

fn receive(repository: &gix::Repository, url: &str, http: &Http, interrupted: &AtomicBool) -> Result<(), String> {
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
            finish(remote.to_connection_with_transport(transport), interrupted)
        }
        _ => {
            let connection = remote.connect(Direction::Fetch).map_err(|error| why(&error))?;
            finish(connection, interrupted)
        }
    }
}

fn finish<T: Transport>(connection: gix::remote::Connection<'_, '_, '_, T>, stop: &AtomicBool) -> Result<(), String> {
    let fetch = connection
        .prepare_fetch(gix::progress::Discard, gix::remote::ref_map::Options::default())
        .map_err(|error| why(&error))?;
    let one = Shallow::DepthAtRemote(std::num::NonZeroU32::MIN);
    let outcome = fetch.with_shallow(one).receive(gix::progress::Discard, stop);
    outcome.map(drop).map_err(|error| why(&error))
}

/// Runs `work` with a flag that follows `stop`.
fn interruptible<T>(stop: &Stop, work: impl FnOnce(&AtomicBool) -> T) -> T {
    let (interrupted, done) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if stop.wait(TICK) {
                    interrupted.store(true, Ordering::Relaxed);
                    return;
                }
            }
        });
        let result = work(&interrupted);
        done.store(true, Ordering::Relaxed);
        result
    })
}
