//! A part of an archive as an archive of its own: for one project, on a small drive.
//!
//! It has its own id and its own chain of transactions; its first transaction says of
//! which archive and root it is. Of each crate in it, all that the manifest knows comes
//! along, in one transaction, so that cargo and a later `sync` find what they would have
//! found in the whole. [R 10.18]

use super::CopyError;
use crate::archive::purge::{Candidate, smallest};
use crate::archive::walk::Recent;
use crate::archive::{Archive, CommitInfo, DEFAULT_LEVEL, Depth, Error, Writer, chain};
use crate::format::index::Entry;
use crate::format::manifest::{EventKind, TextReader};
use crate::format::manifest_event::Event;
use crate::ids::Digest;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// One crate, and which of its objects are wanted.
#[derive(Debug, Clone)]
pub struct PartCrate {
    /// Its name.
    pub name: String,
    /// The digests of its releases.
    pub digests: Vec<Digest>,
}

/// How to copy a part.
pub struct PartOptions<'a> {
    /// Threads that compress anew what was compressed against something left out.
    pub threads: usize,
    /// Asked now and then whether to stop.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Told of each object done, with the length of its record in the whole.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

/// What was done.
#[derive(Debug, Default)]
pub struct PartReport {
    /// Objects copied.
    pub copied: u64,
    /// Of these, those that had to be compressed anew.
    pub compressed_anew: u64,
    /// Bytes of all that was copied, in packs.
    pub record_bytes: u64,
    /// Objects that were there already.
    pub kept: u64,
    /// Objects that cannot be read in the whole: of which crate, and why.
    pub failures: Vec<(String, String)>,
    /// What is wrong with what was written, as it reads back.
    pub problems: Vec<String>,
    /// The snapshot that the part is now.
    pub snapshot: u64,
    /// Whether it was stopped before its end.
    pub stopped: bool,
}

/// Copies `crates` of `from`, with what the manifest knows of them, to the archive in
/// `to`, which is made if there is none, and reads back what was written. Done again, it
/// adds what is missing there.
///
/// # Errors
/// When `to` is another archive, or cannot be written to; then what was committed there
/// before is whole.
pub fn copy_part(
    from: &Archive,
    crates: &[PartCrate],
    to: &Path,
    options: &PartOptions<'_>,
) -> Result<PartReport, CopyError> {
    let source = source(from);
    check_is_part(from, to)?;
    let mut left_bytes = 0;
    for digest in crates.iter().flat_map(|one| &one.digests) {
        left_bytes += from.find(digest)?.map_or(0, |entry| u64::from(entry.record_bytes));
    }
    let failed = |left_bytes: u64| {
        move |error: Error| match error {
            Error::Io { path, source } => CopyError::writing(path, left_bytes)(source),
            error => CopyError::Archive(error),
        }
    };
    let writer = Writer::open(to).map_err(failed(left_bytes))?;
    for one in crates {
        if let Err(cause) = bring_history(from, &writer, &one.name)? {
            return Err(CopyError::Diverged {
                path: to.display().to_string(),
                cause,
            });
        }
    }
    let part = Part {
        from,
        writer: &writer,
        options,
        report: Mutex::default(),
        record_bytes: AtomicU64::new(0),
        done_bytes: AtomicU64::new(0),
        fatal: Mutex::new(None),
    };
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..options.threads.max(1) {
            scope.spawn(|| {
                while let Some(one) = crates.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if part.is_over() {
                        break;
                    }
                    part.store_crate(one);
                }
            });
        }
    });
    if let Some(error) = lock(&part.fatal).take() {
        let done_bytes = part.done_bytes.load(Ordering::Relaxed);
        return Err(failed(left_bytes.saturating_sub(done_bytes))(error));
    }
    let mut report = std::mem::take(&mut *lock(&part.report));
    report.record_bytes = part.record_bytes.load(Ordering::Relaxed);
    let info = CommitInfo {
        registry: from.known_registry()?.unwrap_or_default(),
        cursor: String::new(),
        source,
    };
    writer.commit(&info).map_err(failed(0))?;
    drop(writer);
    report.failures.sort();
    report.stopped = (options.stop)();
    let written = Archive::open(to)?;
    report.snapshot = written.head().generation;
    if !report.stopped {
        let verified = written.verify(Depth::Tars, options.threads, &|_| {})?;
        report.problems = verified.problems.into_iter().map(|problem| problem.message).collect();
    }
    Ok(report)
}

/// How a part says what it is of; then come the snapshot and the root.
fn begins(from: &Archive) -> String {
    let id: String = from.head.archive_id.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("part of archive {id}")
}

fn source(from: &Archive) -> String {
    let root = Digest(from.head.root);
    format!("{}, snapshot {}, root {root}", begins(from), from.generation())
}

/// That nothing is at `to`, or a part of the same archive.
fn check_is_part(from: &Archive, to: &Path) -> Result<(), CopyError> {
    let there = match Archive::open(to) {
        Err(Error::NotAnArchive { .. } | Error::NoHead { .. }) => return Ok(()),
        there => there?,
    };
    let other = |cause: String| {
        Err(CopyError::OtherArchive {
            path: to.display().to_string(),
            cause,
        })
    };
    if there.head.archive_id == from.head.archive_id {
        return other("it is the whole archive, or a copy of it".into());
    }
    match there.transactions()?.first() {
        Some(first) if !first.source.starts_with(&begins(from)) => other(format!(
            "it is not a part of this one, but began with `{}`",
            first.source
        )),
        _ => Ok(()),
    }
}

/// Everything that `archive` knows of a crate, oldest first, but for vain attempts to
/// fetch it, which are the whole's own; with its newest name.
fn history(archive: &Archive, name: &str) -> Result<(String, Vec<Event>), Error> {
    let (mut newest, mut events) = (name.to_owned(), Vec::new());
    for (i, segment) in archive.manifests.iter().enumerate() {
        let damaged = |damage| archive.manifest_damage(i, damage);
        let mut texts = TextReader::new(segment);
        let mut found = Vec::new();
        for record in segment.find(name).map_err(damaged)? {
            for event in record.events() {
                let event = event.map_err(damaged)?;
                if event.generation > archive.until {
                    break;
                }
                let text = match event.text {
                    None => None,
                    Some(_) => Some(texts.text(record.name(), &event).map_err(damaged)?),
                };
                found.push((record.name().clone(), Event::of(&event, text)));
            }
        }
        // One spelling after the other, but they count by their generations. [R 7.13]
        found.sort_by_key(|(_, event)| event.generation);
        for (spelling, event) in found {
            newest = spelling.to_string();
            if event.kind != EventKind::Missing {
                events.push(Event { generation: 0, ..event });
            }
        }
    }
    Ok((newest, events))
}

/// Notes what the part does not know yet of a crate; or why its history is another.
fn bring_history(from: &Archive, writer: &Writer, name: &str) -> Result<Result<(), String>, Error> {
    let (newest, events) = history(from, name)?;
    let (_, known) = writer.with_archive(|archive| history(archive, name))?;
    let shared = known.len().min(events.len());
    if known[..shared] != events[..shared] {
        return Ok(Err(format!("it knows of {name} what this archive does not")));
    }
    for event in events.into_iter().skip(shared) {
        writer.note(&newest, event);
    }
    Ok(Ok(()))
}

struct Part<'a> {
    from: &'a Archive,
    writer: &'a Writer,
    options: &'a PartOptions<'a>,
    report: Mutex<PartReport>,
    record_bytes: AtomicU64,
    /// Of the records in the whole.
    done_bytes: AtomicU64,
    fatal: Mutex<Option<Error>>,
}

impl Part<'_> {
    fn is_over(&self) -> bool {
        (self.options.stop)() || lock(&self.fatal).is_some()
    }

    /// Stores what is wanted of one crate, each base before what needs it.
    fn store_crate(&self, one: &PartCrate) {
        let wanted: BTreeSet<Digest> = one.digests.iter().copied().collect();
        let mut order = Vec::new();
        for digest in &wanted {
            match self.from.find(digest) {
                Ok(Some(entry)) => order.push(entry),
                Ok(None) => self.fail(&one.name, Error::NotHeld { digest: *digest }),
                Err(error) => self.fail(&one.name, error),
            }
        }
        order.sort_by_key(|entry| (entry.pack, entry.record_offset));
        let mut state = CrateState {
            wanted: &wanted,
            recent: Recent::default(),
            siblings: BTreeMap::new(),
        };
        for entry in &order {
            if self.is_over() {
                return;
            }
            if let Err(error) = self.store(entry, &mut state) {
                self.fail(&one.name, error);
            }
            let bytes = u64::from(entry.record_bytes);
            self.done_bytes.fetch_add(bytes, Ordering::Relaxed);
            (self.options.progress)(bytes);
        }
    }

    fn fail(&self, name: &str, error: Error) {
        // A writer that has failed says so to all that comes after.
        match self.writer.check() {
            Err(_) => _ = lock(&self.fatal).get_or_insert(error),
            Ok(()) => lock(&self.report).failures.push((name.to_owned(), error.to_string())),
        }
    }

    fn store(&self, entry: &Entry, state: &mut CrateState<'_>) -> Result<(), Error> {
        if self.writer.find(&entry.digest)?.is_some() {
            lock(&self.report).kept += 1;
            return Ok(());
        }
        let mut todo = vec![*entry];
        while let Some(entry) = todo.last().copied() {
            let record = chain::read_record(&*self.from.medium, &entry)?;
            let base = record.meta.base.map(Digest);
            let at_hand = base.map_or(Ok(None), |base| self.writer.find(&base))?;
            if let (None, Some(base)) = (&at_hand, base)
                && state.wanted.contains(&base)
                && todo.len() < chain::MAX_CHAIN_FRAMES
                && let Some(base) = self.from.find(&base)?
            {
                todo.push(base);
                continue;
            }
            let is_new = match (base, at_hand) {
                (None, _) => false,
                (Some(_), Some(there)) => !keeps_chains(&there, &entry),
                (Some(_), None) => true,
            };
            let bytes = match is_new {
                true => self.store_anew(&entry, state)?,
                false => {
                    self.writer.append(&record.meta, record.frame())?;
                    u64::from(entry.record_bytes)
                }
            };
            self.record_bytes.fetch_add(bytes, Ordering::Relaxed);
            let mut report = lock(&self.report);
            report.copied += 1;
            report.compressed_anew += u64::from(is_new);
            drop(report);
            todo.pop();
        }
        Ok(())
    }

    /// Stores an object whose base is left out: against the nearest object below it that
    /// is not, or the one stored anew just before that had the same base. No chain grows
    /// by that, so that whatever builds on it stays as it is. [R 10.16]
    fn store_anew(&self, old: &Entry, state: &mut CrateState<'_>) -> Result<u64, Error> {
        let (meta, content) = self.from.decode(old, &|digest| state.recent.get(digest))?;
        state.recent.put(old.digest, content.clone());
        let base = meta.base.map(Digest);
        let mut candidates: Vec<Candidate> = Vec::new();
        candidates.extend(base.and_then(|base| state.siblings.get(&base).cloned()));
        let mut below = base;
        while let Some(digest) = below {
            if let Some(there) = self.writer.find(&digest)? {
                candidates.push((there, self.writer.read_content(&digest)?.1));
                break;
            }
            let Some(entry) = self.from.find(&digest)? else { break };
            below = self.from.record(&entry)?.base.map(Digest);
        }
        candidates.retain(|(there, _)| keeps_chains(there, old));
        let (meta, frame) = smallest(&meta, &content, &candidates, DEFAULT_LEVEL)?;
        self.writer.append(&meta, &frame)?;
        let there = self.writer.find(&old.digest)?;
        if let (Some(base), Some(there)) = (base, there) {
            state.siblings.insert(base, (there, content));
        }
        Ok(there.map_or(0, |there| u64::from(there.record_bytes)))
    }
}

/// What is remembered while one crate is stored.
struct CrateState<'a> {
    wanted: &'a BTreeSet<Digest>,
    recent: Recent,
    /// The object stored anew last that had this base.
    siblings: BTreeMap<Digest, Candidate>,
}

/// Whether a chain over `base` is no longer than that of `old` was.
fn keeps_chains(base: &Entry, old: &Entry) -> bool {
    base.chain_depth < old.chain_depth && base.chain_bytes + u64::from(old.content_bytes) <= old.chain_bytes
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
