//! Taking crate files in on all cores: undoing in parallel by file, compressing
//! in order by crate, so that each version finds its base.

use super::encode::{self, Base, Content, EncodeOptions};
use super::{Error, Permit, Writer};
use crate::deflate::Engine;
use crate::format::manifest::EventKind;
use crate::format::manifest_event::Event;
use crate::ids::{Digest, Release, Version};
use crossbeam_channel::Receiver;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A crate file on its way in. Arrivals of one crate are numbered from 0 without
/// gaps, in ascending version order where the order is known.
#[derive(Debug)]
pub struct Arrival {
    /// The release.
    pub release: Release,
    /// Its place among the arrivals of this crate.
    pub order: usize,
    /// How many arrivals of this crate there are in all.
    pub of: usize,
    /// Its digest, verified, and its bytes; none if it could not be had.
    pub file: Option<(Digest, Vec<u8>)>,
    /// Held until the file is stored.
    pub permit: Permit,
}

/// How one arrival ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Stored now.
    Stored {
        /// The crate file's digest.
        digest: Digest,
        /// The crate file's length.
        crate_bytes: u64,
        /// Bytes in the pack, its metadata included.
        record_bytes: u64,
        /// Whether an engine reproduces it.
        exact: bool,
        /// See [`crate::deflate::Undone::wrong_engine`].
        wrong_engine: Option<Engine>,
    },
    /// Held already.
    Held {
        /// The crate file's digest.
        digest: Digest,
    },
    /// There was no file.
    Skipped,
}

impl Writer {
    /// Stores one crate file, and notes its release if the manifest does not know
    /// it; both count from the next commit on. For many, [`ingest`] is faster.
    ///
    /// # Errors
    /// When it is refused, or cannot be written.
    pub fn add(&self, release: &Release, crate_file: Vec<u8>, options: EncodeOptions) -> Result<Outcome, Error> {
        let digest = Digest::of(&crate_file);
        let outcome = match self.find(&digest)? {
            Some(_) => Outcome::Held { digest },
            None => {
                self.check_not_purged(&digest)?;
                let content = encode::undo(crate_file, digest, None, options.check_release.then_some(release))?;
                store(self, release, &content, &[], None, options)?
            }
        };
        self.note_held(release, digest)?;
        Ok(outcome)
    }

    /// Notes that `release` has `digest`, if the manifest does not know it yet.
    pub(super) fn note_held(&self, release: &Release, digest: Digest) -> Result<(), Error> {
        if !self.known_digests(release)?.contains(&digest) {
            let event = Event {
                kind: EventKind::Added,
                yanked: false,
                generation: 0,
                version: release.version.to_string(),
                digest: Some(digest),
                text: None,
            };
            self.note(release.name.as_str(), event);
        }
        Ok(())
    }
}

#[derive(Default)]
struct Lane {
    next: usize,
    busy: bool,
    waiting: BTreeMap<usize, (Release, Option<Content>, Permit)>,
    /// Versions of this crate stored by this run, and the newest one's content.
    stored: Vec<(Version, Digest)>,
    last: Option<(Digest, Arc<Vec<u8>>)>,
    engine: Option<Engine>,
}

/// Of the contents stored last, so many bytes are kept, each as the likely base of
/// its crate's next version. What is let go is read back if it is a base after all.
const KEPT_BYTES: usize = 64 << 20;

struct Kept {
    lane: Arc<Mutex<Lane>>,
    digest: Digest,
    bytes: usize,
}

#[derive(Default)]
struct Lanes {
    by_key: Mutex<HashMap<String, Arc<Mutex<Lane>>>>,
    /// Which lanes keep which content; oldest first.
    kept: Mutex<VecDeque<Kept>>,
}

impl Lanes {
    fn of(&self, release: &Release) -> Arc<Mutex<Lane>> {
        lock(&self.by_key).entry(release.name.key()).or_default().clone()
    }

    /// Forgets a crate of which all has arrived: what its lane knows of every version is
    /// not kept to the end of a run that may take in all there are.
    fn end(&self, key: &str) {
        let Some(lane) = lock(&self.by_key).remove(key) else {
            return;
        };
        lock(&self.kept).retain(|kept| !Arc::ptr_eq(&kept.lane, &lane));
    }

    /// Remembers that `lane` keeps a content, and lets the oldest go.
    fn note(&self, lane: &Arc<Mutex<Lane>>, digest: Digest, bytes: usize) {
        let mut let_go = Vec::new();
        let mut kept = lock(&self.kept);
        kept.push_back(Kept {
            lane: lane.clone(),
            digest,
            bytes,
        });
        let mut total: usize = kept.iter().map(|kept| kept.bytes).sum();
        while total > KEPT_BYTES
            && let Some(oldest) = kept.pop_front()
        {
            total -= oldest.bytes;
            let_go.push(oldest);
        }
        drop(kept);
        for Kept { lane, digest, .. } in let_go {
            let mut lane = lock(&lane);
            if lane.last.as_ref().is_some_and(|(last, _)| *last == digest) {
                lane.last = None;
            }
        }
    }
}

/// Stores everything that arrives, on `threads` threads, until the channel
/// closes; `done` hears of each. Nothing is committed.
pub fn ingest(
    writer: &Writer,
    arrivals: &Receiver<Arrival>,
    threads: usize,
    options: EncodeOptions,
    done: &(dyn Fn(&Release, Result<Outcome, Error>) + Sync),
) {
    let lanes = Lanes::default();
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                for arrival in arrivals {
                    take_in(writer, &lanes, arrival, options, done);
                }
            });
        }
    });
}

fn take_in(
    writer: &Writer,
    lanes: &Lanes,
    arrival: Arrival,
    options: EncodeOptions,
    done: &(dyn Fn(&Release, Result<Outcome, Error>) + Sync),
) {
    let Arrival {
        release,
        order,
        of,
        file,
        permit,
    } = arrival;
    let lane = lanes.of(&release);
    let guess = lock(&lane).engine;
    let mut content = None;
    match file {
        None => done(&release, Ok(Outcome::Skipped)),
        Some((digest, bytes)) => match writer.find(&digest) {
            Ok(Some(_)) => done(&release, Ok(Outcome::Held { digest })),
            Ok(None) => match writer.check_not_purged(&digest).and_then(|()| {
                match options.as_they_came && !options.check_release {
                    true => Ok(encode::as_it_came(bytes, digest)),
                    false => encode::undo(bytes, digest, guess, options.check_release.then_some(&release)),
                }
            }) {
                Ok(undone) => content = Some(undone),
                Err(error) => done(&release, Err(error)),
            },
            Err(error) => done(&release, Err(error)),
        },
    }
    let mut notes = Vec::new();
    let key = release.name.key();
    let mut state = lock(&lane);
    if let Some(recipe) = content.as_ref().and_then(|content| content.recipe.as_ref()) {
        state.engine = Some(recipe.engine);
    }
    state.waiting.insert(order, (release, content, permit));
    // Whoever finds the next in line ready stores it, and all that follow it.
    while !state.busy {
        let next = state.next;
        let Some((release, content, permit)) = state.waiting.remove(&next) else {
            break;
        };
        state.busy = true;
        let (stored, last) = (state.stored.clone(), state.last.take());
        drop(state);
        let kept = content.and_then(|content| {
            let result = store(writer, &release, &content, &stored, last.as_ref(), options);
            let ok = result.is_ok();
            done(&release, result);
            ok.then(|| (content.digest, Arc::new(content.bytes)))
        });
        drop(permit);
        state = lock(&lane);
        if let Some((digest, _)) = kept.as_ref().filter(|_| !options.as_they_came) {
            state.stored.push((release.version.clone(), *digest));
        }
        state.last = kept.or(last);
        notes.extend(state.last.as_ref().map(|(digest, bytes)| (*digest, bytes.len())));
        state.next += 1;
        state.busy = false;
    }
    let is_done = state.next >= of;
    drop(state);
    if is_done {
        lanes.end(&key);
        return;
    }
    for (digest, bytes) in notes {
        lanes.note(&lane, digest, bytes);
    }
}

/// Stores one crate file, against a held version of its crate if there is one.
pub(super) fn store(
    writer: &Writer,
    release: &Release,
    content: &Content,
    stored: &[(Version, Digest)],
    last: Option<&(Digest, Arc<Vec<u8>>)>,
    options: EncodeOptions,
) -> Result<Outcome, Error> {
    // Two arrivals may hold the same bytes under two versions.
    if writer.find(&content.digest)?.is_some() {
        return Ok(Outcome::Held { digest: content.digest });
    }
    let base = match &content.recipe {
        Some(_) => choose_base(writer, release, content.bytes.len() as u64, stored)?,
        None => None,
    };
    let (meta, frame) = match base {
        None => encode::encode(release, content, None, options)?,
        Some((digest, chain_depth, chain_bytes)) => {
            let held = match last {
                Some((last, bytes)) if *last == digest => bytes.clone(),
                _ => writer.read_content(&digest)?.1,
            };
            let base = Base {
                digest,
                content: &held,
                chain_depth,
                chain_bytes,
            };
            encode::encode(release, content, Some(base), options)?
        }
    };
    writer.append(&meta, &frame)?;
    let record_bytes = meta.encode().len() as u64 + meta.frame_bytes;
    Ok(Outcome::Stored {
        digest: content.digest,
        crate_bytes: content.crate_bytes,
        record_bytes,
        exact: meta.engine != 0,
        wrong_engine: content.wrong_engine,
    })
}

/// The held version nearest below this one (else nearest above), or the nearest
/// on its chain that the chain budget allows. Where the chain is too deep that is
/// one half way up, so that the versions to come can build on this one again
/// rather than each reach back to the same ever older base.
fn choose_base(
    writer: &Writer,
    release: &Release,
    content_bytes: u64,
    stored: &[(Version, Digest)],
) -> Result<Option<(Digest, u32, u64)>, Error> {
    let mut candidates: BTreeMap<Version, Digest> = stored.iter().cloned().collect();
    if let Some(state) = writer.with_archive(|archive| archive.crate_state(release.name.as_str()))? {
        for known in state.releases {
            // One that lies as it came is no base for a tar.
            if writer.find(&known.digest)?.is_some_and(|entry| entry.engine != 0) {
                candidates.entry(known.version).or_insert(known.digest);
            }
        }
    }
    let below = candidates.range(..&release.version).next_back();
    let nearest = below.or_else(|| candidates.range(&release.version..).next());
    let mut base = nearest.map(|(_, digest)| *digest);
    let mut depth = encode::CHAIN_DEPTH;
    while let Some(digest) = base {
        let Some(entry) = writer.find(&digest)? else { break };
        if entry.engine != 0 && encode::within_budget(content_bytes, &entry, depth) {
            return Ok(Some((digest, u32::from(entry.chain_depth), entry.chain_bytes)));
        }
        if entry.chain_depth >= encode::CHAIN_DEPTH {
            depth = encode::CHAIN_DEPTH / 2;
        }
        base = writer.read_meta(&digest)?.base.map(Digest);
    }
    Ok(None)
}
