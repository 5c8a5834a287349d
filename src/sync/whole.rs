//! The first half of a run that wants everything: absorbing what changed in a git
//! registry index, and finding out what it lists that is not held.
//!
//! Two things are kept apart. *What to read* is told by comparing two trees, and is
//! only thrift. *What to fetch* is everything listed and not held, computed anew from
//! the whole manifest, so that no hole is ever passed over because a cursor moved.

use super::absence::Askings;
use super::absorb::{events, first_events, known_in, removals};
use super::notice::{Notice, Phase, Progress, Watch};
use super::queue::{Held, Queue, Queued};
use super::{Committer, Error, Failure, Filter, Options, Report};
use crate::archive::{self, Archive, CrateState, LineReader, ReleaseState, Writer};
use crate::format::manifest::{EventKind, NameRange};
use crate::format::manifest_event::Event;
use crate::ids::{CrateName, Release};
use crate::registry::{BlobReader, GitIndex, IndexBlob, IndexFile, MAX_SCHEMA, RegistryLine, Stop, TreeChanges};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;

/// A registry index that lost more releases at once than these, absolutely and by
/// share, is more likely at fault than so many releases removed.
const GONE_COUNT: u64 = 100;
const GONE_PERCENT: u64 = 1;
/// A commit is made after so many bytes of lines: they are kept in memory till then.
const COMMIT_LINE_BYTES: usize = 128 << 20;
/// Files that are parsed and wait to be noted.
const QUEUE_FILES: usize = 64;
/// The manifest is walked in so many ranges of names for each thread: ranges of as many
/// releases do not take equally long.
const RANGES_PER_THREAD: usize = 4;

/// What one file brings.
struct Parsed {
    name: String,
    events: Vec<Event>,
    failures: Vec<Failure>,
    /// Whether every line of it could be read.
    whole: bool,
}

/// A removal that waits until all are counted: the crate's name, and the event.
type Removal = (String, Event);

/// Absorbs `index`, commits, and returns what is to be fetched of what `filter` takes, by
/// crate.
#[allow(clippy::too_many_arguments, reason = "the one caller reads well with them")]
pub(super) fn list(
    writer: &Writer,
    index: &GitIndex,
    filter: &Filter,
    options: &Options,
    stop: &Stop,
    watch: &Watch<'_>,
    committer: &mut Committer<'_>,
    report: &mut Report,
) -> Result<Queue, Error> {
    let archive = writer.with_archive(Archive::clone);
    let since = archive.cursor()?;
    if since.as_ref() != Some(&index.commit()) {
        watch.tell(Notice::Phase(Phase::Reading));
        let changes = match since {
            Some(since) => index.changes_since(&since)?,
            None => None,
        };
        let (files, gone) = match changes {
            Some(TreeChanges { changed, gone }) => (changed, Some(gone)),
            None => (index.all()?, None),
        };
        let (mut removed, whole) = absorb(writer, &archive, index, &files, options, stop, watch, committer, report)?;
        if stop.is_set() {
            return Ok(Queue::default());
        }
        vanished(&archive, &files, gone, &mut removed)?;
        // A line that cannot be read may be of any release of its crate; that file's
        // removals were left out. It is read again by the next run.
        check_removals(&archive, index, removed.len() as u64, options)?;
        for (name, event) in removed {
            writer.note(&name, event);
        }
        if whole {
            committer.info.cursor = index.commit();
        }
        watch.tell(Notice::Phase(Phase::Committing));
        committer.commit()?;
    }
    watch.tell(Notice::Phase(Phase::Planning));
    let missing = missing(writer, filter, options, report)?;
    watch.tell_failures(report);
    Ok(missing)
}

/// Parses `files` on all cores and notes what is new in them, but removals: these are
/// returned, and whether every file could be read.
#[allow(clippy::too_many_arguments, reason = "the one caller reads well with them")]
fn absorb(
    writer: &Writer,
    archive: &Archive,
    index: &GitIndex,
    files: &[IndexBlob],
    options: &Options,
    stop: &Stop,
    watch: &Watch<'_>,
    committer: &mut Committer<'_>,
    report: &mut Report,
) -> Result<(Vec<Removal>, bool), Error> {
    let (mut removed, mut all_whole, mut line_bytes) = (Vec::new(), true, 0);
    let (results, parsed) = crossbeam_channel::bounded::<Parsed>(QUEUE_FILES);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let work = || {
            let (results, reader) = (results.clone(), index.reader());
            let next = &next;
            scope.spawn(move || {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let parsed = parse(archive, &reader, file)?;
                    if stop.is_set() || results.send(parsed).is_err() {
                        break;
                    }
                }
                Ok::<(), Error>(())
            })
        };
        let workers: Vec<ScopedJoinHandle<'_, Result<(), Error>>> =
            (0..options.threads.max(1)).map(|_| work()).collect();
        drop(results);
        let mut result = Ok(());
        for (done, file) in (1..).zip(&parsed) {
            all_whole &= file.whole;
            for Failure { what, cause } in file.failures {
                report.fail(what, cause);
            }
            let is_gone = |event: &Event| event.kind == EventKind::Removed;
            let (gone, news): (Vec<Event>, Vec<Event>) = file.events.into_iter().partition(is_gone);
            removed.extend(gone.into_iter().map(|event| (file.name.clone(), event)));
            line_bytes += news
                .iter()
                .filter_map(|event| event.text.as_ref())
                .map(Vec::len)
                .sum::<usize>();
            writer.note_all(&file.name, news);
            if line_bytes >= COMMIT_LINE_BYTES {
                line_bytes = 0;
                result = committer.commit();
            } else {
                result = committer.commit_if_due(0);
            }
            if result.is_err() {
                break;
            }
            watch.tell_failures(report);
            watch.tell(Notice::Progress(Progress::new(
                Phase::Reading,
                done,
                files.len() as u64,
            )));
        }
        // Whoever still has something to give must not wait for a taker.
        drop(parsed);
        for worker in workers {
            match worker.join() {
                Ok(ended) => result = result.and(ended),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        result
    })?;
    Ok((removed, all_whole))
}

fn parse(archive: &Archive, reader: &BlobReader, blob: &IndexBlob) -> Result<Parsed, Error> {
    let file = IndexFile::parse(&reader.read(blob)?);
    let state = archive.crate_state(blob.name.as_str())?;
    let mut parsed = Parsed {
        name: blob.name.to_string(),
        events: Vec::new(),
        failures: Vec::new(),
        whole: file.bad.is_empty() && !file.lines.is_empty(),
    };
    let fail = |what: String, cause: String| Failure { what, cause };
    let key = blob.name.key();
    let mut lines = file.lines.iter();
    // Nearly always all are spelled alike, or even as the file is.
    if let Some(other) = lines.find(|line| line.name != blob.name && line.name.key() != key) {
        let cause = format!("the registry index gives the file of another crate, {}", other.name);
        parsed.failures.push(fail(blob.name.to_string(), cause));
        parsed.whole = false;
        return Ok(parsed);
    }
    for (number, cause) in file.bad {
        let what = format!("{} in the registry index, line {number}", blob.name);
        parsed.failures.push(fail(what, cause));
    }
    let Some(first) = file.lines.first() else {
        let cause = "its registry index file has no line that can be read".to_owned();
        parsed.failures.push(fail(blob.name.to_string(), cause));
        return Ok(parsed);
    };
    parsed.name = state
        .as_ref()
        .map_or_else(|| first.name.to_string(), |state| state.name.clone());
    parsed.events = match known_in(archive, state.as_ref())? {
        known if known.is_empty() => first_events(file.lines),
        known => events(&known, &file.lines),
    };
    if !parsed.whole {
        parsed.events.retain(|event| event.kind != EventKind::Removed);
    }
    Ok(parsed)
}

/// Adds the removals of crates that have no file any more. Which these are is in
/// `gone`, or else `files` are all there are.
fn vanished(
    archive: &Archive,
    files: &[IndexBlob],
    gone: Option<Vec<CrateName>>,
    removed: &mut Vec<Removal>,
) -> Result<(), archive::Error> {
    let present: HashSet<String> = files.iter().map(|file| file.name.key()).collect();
    let mut add = |state: &CrateState| {
        let known = known_in(archive, Some(state))?;
        removed.extend(removals(&known).into_iter().map(|event| (state.name.clone(), event)));
        Ok::<(), archive::Error>(())
    };
    match gone {
        // One that only changed between `-` and `_` is still there.
        Some(gone) => gone
            .iter()
            .filter(|name| !present.contains(&name.key()))
            .try_for_each(|name| archive.crate_state(name.as_str())?.iter().try_for_each(&mut add)),
        None => archive.each_crate(|state| {
            let is_present = state
                .name
                .parse()
                .is_ok_and(|name: CrateName| present.contains(&name.key()));
            if is_present || !state.current().any(ReleaseState::is_listed) {
                return Ok(());
            }
            add(&state)
        }),
    }
}

fn check_removals(archive: &Archive, index: &GitIndex, removed: u64, options: &Options) -> Result<(), Error> {
    if removed <= GONE_COUNT.max(options.accept_removals) {
        return Ok(());
    }
    let mut known = 0;
    archive.each_crate(|state| {
        known += state.current().filter(|release| release.is_listed()).count() as u64;
        Ok::<(), archive::Error>(())
    })?;
    if removed * 100 <= known * GONE_PERCENT {
        return Ok(());
    }
    Err(Error::ManyRemovals {
        removed,
        known,
        commit: index.commit(),
    })
}

/// What is to be fetched of the crates with names in one range.
#[derive(Default)]
struct Part {
    wanted: u64,
    held: u64,
    missing: u64,
    left: u64,
    purged: u64,
    failures: Vec<(String, String)>,
    queue: Queue,
}

/// Everything that the archive knows the registry to list, that `filter` takes and that
/// is not held, found on all cores.
fn missing(writer: &Writer, filter: &Filter, options: &Options, report: &mut Report) -> Result<Queue, Error> {
    let archive = writer.with_archive(Archive::clone);
    let askings = options.askings(&archive)?;
    let threads = options.threads.max(1);
    let ranges = archive.name_ranges(threads * RANGES_PER_THREAD)?;
    let next = AtomicUsize::new(0);
    let work = || {
        let mut parts = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(range) = ranges.get(i) else {
                return Ok::<_, Error>(parts);
            };
            parts.push((i, missing_in(&archive, *range, filter, &askings, options)?));
        }
    };
    let mut parts = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut parts = Vec::new();
        for worker in workers {
            match worker.join() {
                Ok(found) => parts.extend(found?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok::<_, Error>(parts)
    })?;
    parts.sort_by_key(|(i, _)| *i);
    let mut queue = Queue::default();
    for (_, part) in parts {
        report.wanted += part.wanted;
        report.held += part.held;
        report.missing += part.missing;
        report.left += part.left;
        report.purged += part.purged;
        for (what, cause) in part.failures {
            report.fail(what, cause);
        }
        queue.append(part.queue);
    }
    Ok(queue)
}

fn missing_in(
    archive: &Archive,
    range: NameRange,
    filter: &Filter,
    askings: &Askings,
    options: &Options,
) -> Result<Part, Error> {
    let mut part = Part::default();
    let mut lines = LineReader::new(archive);
    archive.each_crate_in(range, |state| {
        if !state.name.parse().is_ok_and(|name| filter.takes(&name)) {
            return Ok(());
        }
        let mut of_crate = Vec::new();
        let mut of_crate_held = Held::default();
        let mut listed = Vec::new();
        for release in &state.releases {
            let held = archive.find(&release.digest)?;
            if let Some(entry) = held {
                of_crate_held.add(entry.crate_bytes, entry.content_bytes);
            }
            if !release.is_current() || !release.is_listed() {
                continue;
            }
            match release.purged {
                true => part.purged += 1,
                false => listed.push((release, held.is_some())),
            }
        }
        let versions = listed.iter().map(|(release, _)| (&release.version, release.yanked));
        for place in filter.newest(&versions.collect::<Vec<_>>()) {
            let (release, is_held) = listed[place];
            part.wanted += 1;
            if is_held {
                part.held += 1;
            } else if askings.is_due(release.absence) {
                of_crate.push(release);
            } else {
                part.missing += 1;
            }
        }
        if options.no_download {
            part.left += of_crate.len() as u64;
            return Ok(());
        }
        let mut found = Vec::new();
        for release in of_crate {
            match fetchable(&mut lines, release)? {
                Ok(named) => found.push(Queued {
                    release: named,
                    digest: release.digest,
                    was_absent: release.absence.is_some(),
                    named: false,
                }),
                Err(cause) => part
                    .failures
                    .push((format!("{}@{}", state.name, release.version), cause)),
            }
        }
        found.sort_by(|a, b| a.release.version.cmp(&b.release.version));
        part.queue.push(&state.name, of_crate_held, &found);
        Ok::<(), Error>(())
    })?;
    Ok(part)
}

/// The release as its own line spells it, or why it must not be fetched.
fn fetchable(lines: &mut LineReader<'_>, release: &ReleaseState) -> Result<Result<Release, String>, archive::Error> {
    let line = lines.line(release)?.unwrap_or_default();
    Ok(RegistryLine::parse(&line).and_then(|line| match line.is_understood() {
        true => Ok(Release {
            name: line.name,
            version: line.version,
        }),
        false => Err(format!(
            "its registry line has schema v {}, this cratehold knows up to {MAX_SCHEMA}: a newer one is needed",
            line.schema
        )),
    }))
}
