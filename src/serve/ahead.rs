//! Rebuilding ahead: whoever has asked for a crate's registry index file is likely to
//! download its newest release soon, and cargo asks for all of these files before it
//! downloads, two crate files at a time. So cores that nobody waits for rebuild it already.
//!
//! This takes what is left over: one at a time, only while nothing is rebuilt for a client,
//! and only where the cache has room without forgetting anything.

use super::site::{Site, Snapshot};
use crate::archive::{Archive, Error, ReleaseState};
use crate::format::index::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// So many crates wait for their turn; others are not thought of.
const MOST_WAITING: usize = 1024;
/// How often to look whether everybody has been served.
const TICK: Duration = Duration::from_millis(5);

/// See the module.
pub(super) struct Ahead {
    turn: Semaphore,
    waiting: AtomicUsize,
}

impl Default for Ahead {
    fn default() -> Ahead {
        Ahead {
            turn: Semaphore::new(1),
            waiting: AtomicUsize::new(0),
        }
    }
}

/// Rebuilds what is likely to be wanted next of the crate `name`, when there is time.
pub(super) fn suggest(site: &Arc<Site>, snapshot: &Arc<Snapshot>, name: &str) {
    if site.ahead.waiting.fetch_add(1, Ordering::Relaxed) >= MOST_WAITING {
        site.ahead.waiting.fetch_sub(1, Ordering::Relaxed);
        return;
    }
    let (site, snapshot, name) = (site.clone(), snapshot.clone(), name.to_owned());
    tokio::spawn(async move {
        rebuild(&site, &snapshot, name).await;
        site.ahead.waiting.fetch_sub(1, Ordering::Relaxed);
    });
}

/// What goes wrong here is told to whoever asks for the crate file.
async fn rebuild(site: &Arc<Site>, snapshot: &Arc<Snapshot>, name: String) {
    let Ok(_turn) = site.ahead.turn.acquire().await else {
        return;
    };
    let looked_in = snapshot.archive.clone();
    let newest = tokio::task::spawn_blocking(move || newest(&looked_in, &name));
    let Ok(Ok(Some(entry))) = newest.await else { return };
    while site.crates.is_busy() {
        tokio::time::sleep(TICK).await;
    }
    if site.crates.has_room(u64::from(entry.crate_bytes)) {
        let _ = site.crate_file(snapshot, entry).await;
    }
}

/// The newest release of a crate that cargo would choose, if it is held.
fn newest(archive: &Archive, name: &str) -> Result<Option<Entry>, Error> {
    let Some(state) = archive.crate_state(name)? else {
        return Ok(None);
    };
    let usual = |release: &&ReleaseState| !release.yanked && release.version.semver().pre.is_empty();
    let newest = state.current().filter(usual).max_by(|a, b| a.version.cmp(&b.version));
    newest.map_or(Ok(None), |release| archive.find(&release.digest))
}

#[cfg(test)]
mod tests {
    use super::super::cache::Form;
    use super::super::{BaseUrl, Limits, Options};
    use super::*;
    use crate::archive::{CommitInfo, EncodeOptions, Writer};
    use crate::ids::Digest;
    use crate::offer::View;
    use std::time::Instant;

    fn options(cache_bytes: u64) -> Options {
        Options {
            view: View::Held,
            as_of: None,
            base: None,
            cache_bytes,
            threads: 2,
            limits: Limits::default(),
        }
    }

    /// Which of two releases is rebuilt after their crate was asked for.
    fn rebuilt(cache_bytes: u64) -> [bool; 2] {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(folder.path()).unwrap();
        let digests = ["a@1.0.9", "a@1.0.10"].map(|release| {
            let file = release.repeat(1000).into_bytes();
            let digest = Digest::of(&file);
            let options = EncodeOptions::default();
            writer.add(&release.parse().unwrap(), file, options).unwrap();
            digest
        });
        writer.commit(&CommitInfo::default()).unwrap();
        let base = BaseUrl::of_host("a.test");
        let site = Site::open(folder.path(), &options(cache_bytes), base, Arc::new(|_| {}));
        let site = Arc::new(site.unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.unwrap().block_on(async {
            suggest(&site, &site.snapshot().await, "a");
            let start = Instant::now();
            while site.ahead.waiting.load(Ordering::Relaxed) > 0 {
                assert!(start.elapsed() < Duration::from_secs(60));
                tokio::time::sleep(TICK).await;
            }
        });
        digests.map(|digest| site.crates.is_ready(&digest, Form::CrateFile))
    }

    #[test]
    fn the_newest_release_is_rebuilt_where_there_is_room() {
        assert_eq!(rebuilt(1 << 20), [false, true]);
        assert_eq!(rebuilt(100), [false, false]);
    }
}
