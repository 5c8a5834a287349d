//! Erasing crates' bytes for good: no pack, no recovery file and no re-based content
//! has them afterwards. The manifest keeps the fact, with its reason. [R 14.1]
//!
//! First one commit lets go of the objects and re-bases what was compressed against
//! them; then each pack with traces of them is rewritten and removed. Wherever that is
//! interrupted, the same command goes on.

mod known;
mod rebase;
mod traces;

pub use known::PurgedRelease;
pub(super) use rebase::{Candidate, smallest};

use super::gc::PackShare;
use super::names::numbered;
use super::{Archive, CommitInfo, Error, Writer};
use crate::format::index::Entry;
use crate::format::manifest::EventKind;
use crate::format::manifest_event::Event;
use crate::ids::{Digest, Release, Version};
use std::collections::{BTreeMap, BTreeSet};
use traces::Traces;

/// So many bytes of packs are rewritten before they are committed and the old ones
/// removed: what a purge needs of a drive's room, but for the largest pack.
const ROUND_BYTES: u64 = 1 << 30;
/// Reasons are read by people, in one line.
const MAX_REASON_BYTES: usize = 2000;

/// What is to be erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One version, with whatever bytes it has had.
    Release(Release),
    /// Every version known of this crate.
    Crate(String),
    /// These bytes, whatever they were published as.
    Digest(Digest),
}

/// What erasing it takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PurgePlan {
    /// The releases whose bytes go: those meant, and those with the same bytes.
    pub releases: Vec<(Release, Digest)>,
    /// Of them, those that the manifest calls erased already.
    pub erased_before: usize,
    /// Of their digests, those that are held.
    pub held: Vec<Digest>,
    /// Bytes of their crate files.
    pub crate_bytes: u64,
    /// Objects to be compressed anew, since their base goes.
    pub dependents: Vec<Digest>,
    /// Seeds that may contain some of the bytes; they go too.
    pub seeds: Vec<Digest>,
    /// Packs to be rewritten without them.
    pub packs: Vec<PackShare>,
}

impl PurgePlan {
    /// Whether there is nothing to do any more.
    pub fn is_done(&self) -> bool {
        self.erased_before == self.releases.len() && self.held.is_empty() && self.packs.is_empty()
    }

    fn digests(&self) -> BTreeSet<Digest> {
        self.releases.iter().map(|(_, digest)| *digest).collect()
    }
}

/// How to erase.
pub struct PurgeOptions<'a> {
    /// Why: one line, kept for ever.
    pub reason: &'a str,
    /// The zstd level of what is compressed anew.
    pub level: i32,
    /// Hears the bytes of each record written anew.
    pub progress: &'a dyn Fn(u64),
}

impl Archive {
    /// What erasing `targets` takes. Reads the metadata of every record.
    ///
    /// # Errors
    /// When one of them is neither known nor held, or the archive is damaged.
    pub fn plan_purge(&self, targets: &[Target]) -> Result<PurgePlan, Error> {
        let mut plan = PurgePlan::default();
        let mut digests = BTreeSet::new();
        for target in targets {
            digests.extend(self.digests_of(target)?);
        }
        let mut named = BTreeSet::new();
        self.each_crate(|state| {
            for release in state
                .releases
                .iter()
                .filter(|release| digests.contains(&release.digest))
            {
                let Ok(name) = state.name.parse() else { continue };
                let version = release.version.clone();
                named.insert(release.digest);
                plan.erased_before += usize::from(release.purged);
                plan.releases.push((Release { name, version }, release.digest));
            }
            Ok::<(), Error>(())
        })?;
        for digest in &digests {
            let Some(entry) = self.find(digest)? else { continue };
            plan.held.push(*digest);
            plan.crate_bytes += u64::from(entry.crate_bytes);
            if !named.contains(digest) {
                plan.releases.push((self.release_of_record(&entry)?, *digest));
            }
        }
        // Seeds made since all of this was erased have nothing of it.
        let is_new = plan.erased_before < plan.releases.len();
        let traces = Traces::find(self, &digests, is_new)?;
        plan.dependents = traces.dependents;
        plan.seeds = traces.seeds;
        plan.packs = traces.packs;
        Ok(plan)
    }

    fn digests_of(&self, target: &Target) -> Result<Vec<Digest>, Error> {
        let (name, version) = match target {
            Target::Digest(digest) => return Ok(vec![*digest]),
            Target::Crate(name) => (name.clone(), None),
            Target::Release(release) => (release.name.to_string(), Some(&release.version)),
        };
        let releases = self.crate_state(&name)?.map(|state| state.releases).unwrap_or_default();
        let meant = |known: &Version| version.is_none_or(|version| version == known);
        let digests = releases.iter().filter(|release| meant(&release.version));
        let digests: Vec<Digest> = digests.map(|release| release.digest).collect();
        if digests.is_empty() {
            let what = version.map_or_else(|| name.clone(), |version| format!("{name}@{version}"));
            return Err(Error::Rejected(format!(
                "{what} is not known in this archive, so there is nothing to erase; `cratehold list {name}` shows what is"
            )));
        }
        Ok(digests)
    }

    fn release_of_record(&self, entry: &Entry) -> Result<Release, Error> {
        let meta = self.record(entry)?;
        let odd = |error: crate::ids::InvalidId| Error::Rejected(format!("{}: {error}", entry.digest));
        Ok(Release {
            name: meta.name.parse().map_err(odd)?,
            version: meta.version.parse().map_err(odd)?,
        })
    }
}

/// That a reason can be kept and shown.
///
/// # Errors
/// When it is empty, too long, or more than one line.
pub fn check_reason(reason: &str) -> Result<(), Error> {
    let refuse = |cause: &str| Err(Error::Rejected(format!("the reason {cause}")));
    match reason {
        _ if reason.trim().is_empty() => {
            refuse("is empty: say in a few words why, for whoever looks for the bytes later")
        }
        _ if reason.len() > MAX_REASON_BYTES => refuse("is longer than 2,000 bytes"),
        _ if reason.chars().any(char::is_control) => refuse("holds a line feed or another control character"),
        _ => Ok(()),
    }
}

impl Writer {
    /// Erases `targets`; returns what was done. When it returns no file of the archive
    /// has the bytes, nor will either head lead back to them.
    ///
    /// # Errors
    /// When something that must be kept cannot be read, or writing fails. Until the
    /// first commit nothing has changed; after it the same call goes on.
    pub fn purge(&self, targets: &[Target], options: &PurgeOptions<'_>) -> Result<PurgePlan, Error> {
        check_reason(options.reason)?;
        let info = CommitInfo {
            source: "purge".into(),
            ..CommitInfo::default()
        };
        // What was adopted when this writer was opened may be meant too, or be lost
        // with its pack.
        self.commit(&info)?;
        let plan = self.with_archive(|archive| archive.plan_purge(targets))?;
        // A head that a crash has torn is mended by the commits below.
        let left = self.with_archive(|archive| archive.garbage(0));
        if plan.is_done() && left.is_ok_and(|left| left.files.is_empty()) {
            return Ok(plan);
        }
        let packs: BTreeSet<u32> = plan.packs.iter().map(|pack| pack.pack).collect();
        let newest = self.packs().last().map(|entry| entry.pack);
        if newest.is_some_and(|newest| packs.contains(&newest)) {
            self.begin_pack()?;
        }
        let gone: BTreeSet<Digest> = plan
            .digests()
            .union(&plan.seeds.iter().copied().collect())
            .copied()
            .collect();
        self.rebase(&plan.dependents, &gone, options)?;
        gone.iter().for_each(|digest| self.forget(*digest));
        self.note_purged(&plan, options.reason)?;
        self.commit(&info)?;

        let mut round = BTreeSet::new();
        let mut round_bytes = 0;
        for pack in &plan.packs {
            round.insert(pack.pack);
            round_bytes += pack.live_bytes;
            if round_bytes >= ROUND_BYTES {
                self.rewrite(&std::mem::take(&mut round), options, &info)?;
                round_bytes = 0;
            }
        }
        self.rewrite(&round, options, &info)?;
        // Now the older head still names the packs; then neither does, and they go.
        self.settle(&info)?;
        self.remove_traces(&packs)?;
        Ok(plan)
    }

    /// Lets go of `targets`, and re-bases what needs them, from the next commit on, which is
    /// to bring the events that say so. [`Writer::purge`] then does the rest.
    ///
    /// # Errors
    /// As [`Writer::purge`].
    pub(super) fn let_go_as_told(&self, targets: &[Target], options: &PurgeOptions<'_>) -> Result<(), Error> {
        let plan = self.with_archive(|archive| archive.plan_purge(targets))?;
        let mut gone = plan.digests();
        gone.extend(plan.seeds.iter().copied());
        self.rebase(&plan.dependents, &gone, options)?;
        gone.iter().for_each(|digest| self.forget(*digest));
        Ok(())
    }

    /// Takes what is to stay out of `packs`, and lets go of these.
    fn rewrite(&self, packs: &BTreeSet<u32>, options: &PurgeOptions<'_>, info: &CommitInfo) -> Result<(), Error> {
        if packs.is_empty() {
            return Ok(());
        }
        self.move_records(packs, options.progress).map_err(|error| match error {
            Error::Blob { .. } => Error::Rejected(format!(
                "{error}; it lies in a pack that has to be rewritten: run `cratehold repair`, or `repair --forget` to let \
                 go of it, then this again"
            )),
            other => other,
        })?;
        self.commit(info).map(drop)
    }

    /// The fact, for each release that the manifest does not call erased yet.
    fn note_purged(&self, plan: &PurgePlan, reason: &str) -> Result<(), Error> {
        let mut by_crate: BTreeMap<&str, Vec<(&Version, Digest)>> = BTreeMap::new();
        for (release, digest) in &plan.releases {
            by_crate
                .entry(release.name.as_str())
                .or_default()
                .push((&release.version, *digest));
        }
        for (name, releases) in by_crate {
            let state = self.with_archive(|archive| archive.crate_state(name))?;
            let known = state.map(|state| state.releases).unwrap_or_default();
            for (version, digest) in releases {
                let same = known
                    .iter()
                    .find(|known| known.digest == digest && known.version == *version);
                if same.is_some_and(|known| known.purged) {
                    continue;
                }
                let event = Event {
                    kind: EventKind::Purged,
                    yanked: same.is_some_and(|known| known.yanked),
                    generation: 0,
                    version: version.to_string(),
                    digest: Some(digest),
                    text: Some(reason.as_bytes().to_vec()),
                };
                self.note(name, event);
            }
        }
        Ok(())
    }

    /// Removes what the sweep may have left, and makes sure that it is gone for good.
    fn remove_traces(&self, packs: &BTreeSet<u32>) -> Result<(), Error> {
        let medium = self.medium();
        for file in self.with_archive(|archive| archive.garbage(0))?.files {
            match medium.remove(&file.name) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Error::io(&file.name)(error)),
                _ => {}
            }
        }
        let left = numbered(medium, "packs").map_err(Error::io("packs"))?;
        if let Some(left) = left
            .iter()
            .find(|file| file.pack().is_some_and(|pack| packs.contains(&pack)))
        {
            return Err(Error::Rejected(format!(
                "{}: could not be removed, so the erased bytes are still in it: close what holds it open and run this again",
                left.name
            )));
        }
        let mut folders = vec!["packs", "index", "manifest"];
        if medium.list("recovery").is_ok_and(|files| !files.is_empty()) {
            folders.push("recovery");
        }
        for folder in folders {
            medium.sync_folder(folder).map_err(Error::io(folder))?;
        }
        Ok(())
    }
}
