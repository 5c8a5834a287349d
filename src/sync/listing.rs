//! The first half of a run: asking the registry index, noting what is new in it,
//! and finding out what is wanted and not held.

use super::absence::Askings;
use super::absorb::{etag_event, events, known_releases, removals};
use super::notice::{Notice, Phase, Progress, Watch};
use super::queue::{Held, Queue, Queued};
use super::want::{Choice, Listed, Want, choose, describe};
use super::{Committer, Error, Filter, Options, Report, Selection};
use crate::archive::{self, CrateState, Writer};
use crate::format::manifest::EventKind;
use crate::ids::{CrateName, Release};
use crate::registry::{self, CrateFile, IndexFile, RegistryIndex, RegistryLine, Stop, receive, send, workers};
use std::collections::HashMap;
use std::sync::Arc;

/// If more of the crates known here are gone at once than these, absolutely and by
/// share, that is more likely a fault of the registry index than their deletion.
const GONE_COUNT: usize = 3;
const GONE_PERCENT: usize = 20;

struct Question {
    key: String,
    /// The name as the archive or the user spells it.
    name: CrateName,
    tag: Option<String>,
}

/// Asks for all crates of `selection`; returns what is to be fetched, by crate.
#[allow(clippy::too_many_arguments, reason = "the one caller reads well with them")]
pub(super) fn list(
    writer: &Writer,
    selection: &Selection,
    index: Arc<dyn RegistryIndex>,
    options: &Options,
    stop: &Stop,
    watch: &Watch<'_>,
    committer: &mut Committer<'_>,
    report: &mut Report,
) -> Result<Queue, Error> {
    let (questions, answers) = workers(options.fetch.jobs, move |question: Question| {
        let file = index.crate_file(&question.name, question.tag.as_deref());
        (question, file)
    })
    .map_err(|error| registry::Error::Setting(format!("no thread can be started: {error}; try fewer --jobs")))?;
    let mut listing = Listing {
        writer,
        filter: &selection.filter,
        askings: writer.with_archive(|archive| options.askings(archive))?,
        report,
        queue: Queue::default(),
        gone: Vec::new(),
        known_count: 0,
    };
    listing.report.excluded = selection.excluded_count();
    let total = selection.crates().count() as u64;
    watch.tell(Notice::Phase(Phase::Reading));
    std::thread::scope(|scope| {
        // Moved in, so that the workers end when all has been asked.
        let asker = scope.spawn(move || {
            for (name, _) in selection.crates() {
                let question = question(writer, &name.key(), name)?;
                if !send(&questions, question, stop) {
                    break;
                }
            }
            Ok::<(), archive::Error>(())
        });
        let mut done = 0;
        let result = loop {
            watch.tell_failures(listing.report);
            watch.tell(Notice::Progress(Progress::new(Phase::Reading, done, total)));
            let Some((question, file)) = receive(&answers, stop) else {
                break Ok(());
            };
            let Some((_, wants)) = selection.crates.get(&question.key) else {
                continue;
            };
            let absorbed = listing.absorb(&question, wants, file);
            if let Err(error) = absorbed.and_then(|()| committer.commit_if_due(0)) {
                // The asker must not wait for room that nobody makes any more.
                stop.set();
                break Err(error);
            }
            done += 1;
        };
        drop(answers);
        if done < total && !stop.is_set() {
            let what = format!("{} crates of the registry index", total - done);
            let cause = super::LOST.to_owned();
            listing.report.fail(what, cause);
        }
        match asker.join() {
            Ok(asked) => result.and(asked.map_err(Error::from)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })?;
    listing.note_gone(selection)?;
    watch.tell_failures(listing.report);
    Ok(listing.queue)
}

fn question(writer: &Writer, key: &str, name: &CrateName) -> Result<Question, archive::Error> {
    writer.with_archive(|archive| {
        let state = archive.crate_state(name.as_str())?;
        // A crate that was gone may come back with the file it had: what the tag
        // stands for is then no longer what the archive says.
        let is_listed = |state: &&CrateState| state.current().any(archive::ReleaseState::is_listed);
        let tag = state
            .as_ref()
            .filter(is_listed)
            .map_or(Ok(None), |state| archive.etag(state))?;
        // `-` and `_` make different paths; the archive knows the right one.
        let known = state.and_then(|state| state.name.parse().ok());
        Ok(Question {
            key: key.to_owned(),
            name: known.unwrap_or_else(|| name.clone()),
            tag,
        })
    })
}

struct Listing<'a> {
    writer: &'a Writer,
    filter: &'a Filter,
    askings: Askings,
    report: &'a mut Report,
    queue: Queue,
    /// Crates known here that the registry index no longer has.
    gone: Vec<(String, CrateState)>,
    known_count: usize,
}

impl Listing<'_> {
    fn absorb(
        &mut self,
        question: &Question,
        wants: &[Want],
        file: Result<CrateFile, registry::Error>,
    ) -> Result<(), Error> {
        let name = &question.name;
        let state = self.state(name)?;
        let was_listed = state
            .as_ref()
            .is_some_and(|state| state.releases.iter().any(archive::ReleaseState::is_listed));
        self.known_count += usize::from(was_listed);
        let listed = match file {
            Err(registry::Error::Stopped) => return Ok(()),
            Err(error @ (registry::Error::Outage(_) | registry::Error::GivenUp)) => return Err(error.into()),
            Err(error) => return self.fail_all(name, wants, &error.to_string()),
            Ok(CrateFile::Absent) => match state {
                Some(state) if was_listed => {
                    self.gone.push((question.key.clone(), state));
                    return Ok(());
                }
                state => {
                    let cause = format!("no crate {name} in the registry index");
                    return self.resolve(name, wants, &[], state.as_ref(), Some(&cause));
                }
            },
            Ok(CrateFile::Unchanged) => state.iter().flat_map(Listed::known).collect(),
            Ok(CrateFile::Read { bytes, tag }) => match self.note_lines(question, state.as_ref(), &bytes, tag)? {
                Ok(listed) => listed,
                Err(cause) => return self.fail_all(name, wants, &cause),
            },
        };
        self.resolve(name, wants, &listed, state.as_ref(), None)
    }

    fn state(&self, name: &CrateName) -> Result<Option<CrateState>, archive::Error> {
        self.writer.with_archive(|archive| archive.crate_state(name.as_str()))
    }

    fn fail_all(&mut self, name: &CrateName, wants: &[Want], cause: &str) -> Result<(), Error> {
        self.report.wanted += wants.len() as u64;
        for want in wants {
            self.report.fail(describe(name, want), cause.to_owned());
        }
        Ok(())
    }

    /// Notes the events that a file read whole brings; gives the releases that it
    /// lists, or why it cannot be used.
    fn note_lines(
        &mut self,
        question: &Question,
        state: Option<&CrateState>,
        bytes: &[u8],
        tag: Option<String>,
    ) -> Result<Result<Vec<Listed>, String>, Error> {
        let file = IndexFile::parse(bytes);
        if let Some(line) = file.lines.iter().find(|line| line.name.key() != question.key) {
            let found = &line.name;
            return Ok(Err(format!(
                "the registry index gives the file of another crate, {found}"
            )));
        }
        let whole = file.bad.is_empty();
        for (number, cause) in &file.bad {
            let what = format!("{} in the registry index, line {number}", question.name);
            self.report.fail(what, cause.clone());
        }
        if file.lines.is_empty() {
            return Ok(Err("its registry index file has no line that can be read".into()));
        }
        let known = known_releases(self.writer, state)?;
        let name = state.map_or_else(|| file.lines[0].name.to_string(), |state| state.name.clone());
        for event in events(&known, &file.lines) {
            // A line that cannot be read may be of any release: then none is gone.
            if whole || event.kind != EventKind::Removed {
                self.writer.note(&name, event);
            }
        }
        // Without a tag the file is read again next time, bad lines and all.
        if let (true, Some(tag)) = (whole, tag.filter(|tag| question.tag.as_ref() != Some(tag))) {
            self.writer.note(&name, etag_event(tag));
        }
        let mut last: HashMap<_, RegistryLine> = HashMap::new();
        for line in file.lines {
            last.insert(line.version.clone(), line);
        }
        let listed = last.into_values().map(|line| Listed {
            version: line.version.clone(),
            digest: line.digest,
            yanked: line.yanked,
            line: Some(line),
        });
        Ok(Ok(listed.collect()))
    }

    /// Sorts what is wanted of one crate into held, missing and failed.
    fn resolve(
        &mut self,
        name: &CrateName,
        wants: &[Want],
        listed: &[Listed],
        state: Option<&CrateState>,
        cause: Option<&str>,
    ) -> Result<(), Error> {
        let Choice { chosen, failures } = choose(name, wants, self.filter, listed);
        for (want, failure) in failures {
            // What the registry no longer has, but the archive does, is held.
            self.report.wanted += 1;
            match self.holds(state, &want)? {
                true => self.report.held += 1,
                false => self
                    .report
                    .fail(failure.what, cause.map_or(failure.cause, str::to_owned)),
            }
        }
        if let (Some(cause), true) = (cause, wants.contains(&Want::All)) {
            self.fail_all(name, &[Want::All], cause)?;
        }
        let mut queued = Vec::new();
        for (at, named) in chosen {
            let listed = &listed[at];
            if self.writer.find(&listed.digest)?.is_some() {
                self.report.wanted += 1;
                self.report.held += 1;
                continue;
            }
            let known = known(state, listed);
            if known.is_some_and(|release| release.purged) && !named {
                self.report.purged += 1;
                continue;
            }
            let absence = known.and_then(|known| known.absence);
            match self.fetchable(known, listed)? {
                // Whoever names it wants to know.
                Ok(_) if !named && !self.askings.is_due(absence) => self.report.missing += 1,
                Ok(release) => queued.push(Queued {
                    release,
                    digest: listed.digest,
                    was_absent: absence.is_some(),
                    named,
                }),
                Err(cause) if named => self.report.fail(format!("{name}@{}", listed.version), cause),
                Err(_) => continue,
            }
            self.report.wanted += 1;
        }
        if !queued.is_empty() {
            queued.sort_by(|a, b| a.release.version.cmp(&b.release.version));
            let held = self.held(state)?;
            let name = state.map_or(name.as_str(), |state| &state.name);
            self.queue.push(name, held, &queued);
        }
        Ok(())
    }

    fn holds(&self, state: Option<&CrateState>, want: &Want) -> Result<bool, archive::Error> {
        let (Some(state), Want::Exact(version, checksum)) = (state, want) else {
            return Ok(false);
        };
        for release in state.releases.iter().filter(|release| release.version == *version) {
            if checksum.is_none_or(|checksum| checksum == release.digest)
                && self.writer.find(&release.digest)?.is_some()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The release to ask the download server for, or why not.
    fn fetchable(
        &self,
        known: Option<&archive::ReleaseState>,
        listed: &Listed,
    ) -> Result<Result<Release, String>, archive::Error> {
        if let Some(purged) = known.filter(|release| release.purged) {
            let purge = self.writer.with_archive(|archive| archive.purge_of(purged))?;
            let (snapshot, reason) = purge.unwrap_or_default();
            return Ok(Err(format!(
                "erased from this archive on purpose, in snapshot {snapshot}: {reason}; --accept-purged fetches it again"
            )));
        }
        let line = match (&listed.line, known) {
            (Some(line), _) => Ok(line.clone()),
            (None, Some(release)) => {
                let raw = self.writer.with_archive(|archive| archive.line(release))?;
                RegistryLine::parse(&raw.unwrap_or_default())
            }
            _ => Err("its registry line is not known".into()),
        };
        Ok(line.and_then(|line| {
            if !line.is_understood() {
                let (found, newest) = (line.schema, registry::MAX_SCHEMA);
                return Err(format!(
                    "its registry line has schema v {found}, this cratehold knows up to {newest}: a newer one is needed"
                ));
            }
            Ok(Release {
                name: line.name,
                version: line.version,
            })
        }))
    }

    fn held(&self, state: Option<&CrateState>) -> Result<Held, archive::Error> {
        let mut held = Held::default();
        for release in state.iter().flat_map(|state| &state.releases) {
            if let Some(entry) = self.writer.find(&release.digest)? {
                held.add(entry.crate_bytes, entry.content_bytes);
            }
        }
        Ok(held)
    }

    /// Notes that whole crates have left the registry, unless they are too many.
    fn note_gone(&mut self, selection: &Selection) -> Result<(), Error> {
        let gone = std::mem::take(&mut self.gone);
        let suspicious = gone.len() > GONE_COUNT && gone.len() * 100 > self.known_count * GONE_PERCENT;
        for (key, state) in &gone {
            let Some((name, wants)) = selection.crates.get(key) else {
                continue;
            };
            if !suspicious {
                for event in removals(&known_releases(self.writer, Some(state))?) {
                    self.writer.note(&state.name, event);
                }
            }
            let cause = if suspicious {
                let (count, of) = (gone.len(), self.known_count);
                format!(
                    "{count} of {of} crates known here are gone from the registry index at once: more likely its fault than their removal, so nothing was noted"
                )
            } else {
                format!("no crate {name} in the registry index any more; what is held stays")
            };
            self.resolve(name, wants, &[], Some(state), Some(&cause))?;
        }
        Ok(())
    }
}

/// What the archive knows of a release that the registry lists.
fn known<'a>(state: Option<&'a CrateState>, listed: &Listed) -> Option<&'a archive::ReleaseState> {
    let mut releases = state?.releases.iter();
    releases.find(|release| release.version == listed.version && release.digest == listed.digest)
}
