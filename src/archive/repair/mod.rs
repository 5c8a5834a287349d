//! Putting an archive right again: what to open it by, then what it holds.
//!
//! Nothing here trusts a source: bytes count once their SHA-256 is the digest asked
//! for. What was damaged stays where it is until something whole stands for it.

mod chains;
mod mend;
mod rescue;
pub(super) mod robust;
pub(super) mod scan;
mod sources;
mod survey;

pub use sources::{Give, LooseFiles, Source};
pub use survey::Wanted;

use super::lock::lock;
use super::protect::restore_all;
use super::{Archive, CommitInfo, Error, Writer};
use crate::ids::Digest;
use crate::store::{DiskMedium, Medium};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use survey::Survey;

/// Since the last commit so much may be stored.
const COMMIT_BYTES: u64 = 1 << 30;

/// How to repair, and whom to tell.
pub struct RepairOptions<'a> {
    /// Only say what is wrong, and what the sources have.
    pub dry_run: bool,
    /// Rebuild every crate file to check it, not only its tar.
    pub full: bool,
    /// Let go of what cannot be mended, so that `sync` fetches it anew.
    pub forget: bool,
    /// Threads that decode.
    pub threads: usize,
    /// The zstd level.
    pub level: i32,
    /// Hears the content bytes of each object looked at.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

impl Default for RepairOptions<'_> {
    /// Mends what can be mended, on one thread, and tells nobody.
    fn default() -> Self {
        RepairOptions {
            dry_run: false,
            full: false,
            forget: false,
            threads: 1,
            level: super::DEFAULT_LEVEL,
            progress: &|_| {},
        }
    }
}

/// What was found and done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// What was wrong with heads, index, manifest and packs; put right, unless this
    /// was a dry run.
    pub structure: Vec<String>,
    /// Objects looked at.
    pub objects: u64,
    /// Objects that could not be given back.
    pub damaged: u64,
    /// What has been mended (or could be, in a dry run), and from where.
    pub mended: Vec<(String, String)>,
    /// What could not, and why.
    pub unmended: Vec<(String, String)>,
    /// Whether the archive has to be opened anew to go on: a dry run looks no further.
    pub is_blind: bool,
}

impl RepairReport {
    /// Whether everything that is held can be given back now.
    pub fn is_whole(&self) -> bool {
        self.unmended.is_empty() && !self.is_blind
    }
}

/// Repairs the archive in `folder` from `sources`, asked one after the other.
///
/// # Errors
/// When there is no archive, another process writes to it, or it cannot be written
/// to. What cannot be mended is in the report.
pub fn repair(
    folder: &Path,
    sources: &mut [Box<dyn Source + '_>],
    options: &RepairOptions<'_>,
) -> Result<RepairReport, Error> {
    repair_on(
        &(Arc::new(DiskMedium::new(folder)) as Arc<dyn Medium>),
        sources,
        options,
    )
}

/// As [`repair`], on any medium.
///
/// # Errors
/// As [`repair`].
pub fn repair_on(
    medium: &Arc<dyn Medium>,
    sources: &mut [Box<dyn Source + '_>],
    options: &RepairOptions<'_>,
) -> Result<RepairReport, Error> {
    let mut report = RepairReport::default();
    if medium.len("head0").is_err() && medium.len("head1").is_err() && medium.list("packs").is_ok_and(|p| p.is_empty())
    {
        return Err(Error::NotAnArchive {
            path: medium.describe(),
        });
    }
    lock(&**medium)?;
    // What can be had without asking anybody comes first.
    report.structure = restore_all(medium, options.dry_run)?;
    let rescue = rescue::rescue(medium, options.dry_run)?;
    report.structure.extend(rescue.notes);
    if options.dry_run {
        let Ok(archive) = Archive::open_on(medium.clone()) else {
            report.is_blind = true;
            return Ok(report);
        };
        let survey = archive.survey(options)?;
        report.objects = survey.objects;
        report.damaged = survey.damages.len() as u64;
        return Ok(look_only(&survey, sources, report));
    }
    let writer = Writer::open_locked(medium.clone(), &[])?;
    let info = info();
    if rescue.is_needed {
        writer.note_unknown()?;
    }
    writer.commit(&info)?;
    for purged in writer.forget_purged()? {
        let (name, version) = (&purged.name, &purged.version);
        report.structure.push(format!(
            "{name}@{version}: erased on purpose, but a pack still had it; let go of, and \
             `cratehold purge {name}@{version} --reason …` erases the bytes"
        ));
    }
    writer.commit(&info)?;
    mend_all(&writer, sources, options, &mut report)?;
    writer.leave_bad_packs(&mut report.structure)?;
    if writer.commit(&info)?.is_some() || rescue.is_needed || !report.mended.is_empty() {
        writer.settle(&info)?;
    }
    Ok(report)
}

fn info() -> CommitInfo {
    CommitInfo {
        source: "repair".into(),
        ..CommitInfo::default()
    }
}

/// What a dry run can tell: which sources have what is wanted.
fn look_only(survey: &Survey, sources: &mut [Box<dyn Source + '_>], mut report: RepairReport) -> RepairReport {
    let mut left: BTreeMap<Digest, &Wanted> = survey.wanted().map(|wanted| (wanted.digest, wanted)).collect();
    for source in sources.iter_mut() {
        let asked: Vec<Wanted> = left.values().map(|wanted| (*wanted).clone()).collect();
        let name = source.name();
        source.look(&asked, &mut |wanted| {
            if left.remove(&wanted.digest).is_some() {
                report.mended.push((wanted.label(), name.clone()));
            }
        });
    }
    let unmended = survey
        .damages
        .iter()
        .filter(|damage| left.contains_key(&damage.wanted.digest));
    report.unmended = unmended
        .map(|damage| (damage.wanted.label(), damage.cause.clone()))
        .collect();
    report
}

/// First what is damaged itself, then what still cannot be decoded: what was only
/// missing its base needs nothing else.
fn mend_all(
    writer: &Writer,
    sources: &mut [Box<dyn Source + '_>],
    options: &RepairOptions<'_>,
    report: &mut RepairReport,
) -> Result<(), Error> {
    let survey = writer.with_archive(|archive| archive.survey(options))?;
    report.objects = survey.objects;
    report.damaged = survey.damages.len() as u64;
    let bad: BTreeSet<Digest> = survey.damages.iter().map(|damage| damage.wanted.digest).collect();
    let mut left: BTreeMap<Digest, &survey::Damage> = survey
        .damages
        .iter()
        .map(|damage| (damage.wanted.digest, damage))
        .collect();
    let mut refusals: BTreeMap<Digest, BTreeSet<String>> = BTreeMap::new();
    for only_own in [true, false] {
        writer.retain_damaged(&mut left, report);
        for source in sources.iter_mut() {
            let asked: Vec<Wanted> = left
                .values()
                .filter(|damage| damage.is_own || !only_own)
                .map(|damage| damage.wanted.clone())
                .filter(|wanted| !wanted.is_seed)
                .collect();
            if asked.is_empty() {
                continue;
            }
            let name = source.name();
            let mut stored_bytes = 0;
            let mut failed = None;
            source.obtain(&asked, &mut |wanted, bytes| {
                let result = bytes.and_then(|bytes| {
                    stored_bytes += bytes.len() as u64;
                    writer
                        .mend(wanted, bytes, &bad, options.level)
                        .map_err(|error| error.to_string())
                });
                match result {
                    Ok(()) => {
                        left.remove(&wanted.digest);
                        report.mended.push((wanted.label(), name.clone()));
                    }
                    // Asked twice, it may say the same twice.
                    Err(cause) => drop(
                        refusals
                            .entry(wanted.digest)
                            .or_default()
                            .insert(format!("{name}: {cause}")),
                    ),
                }
                if stored_bytes >= COMMIT_BYTES {
                    stored_bytes = 0;
                    failed = failed.take().or(writer.commit(&info()).err());
                }
                failed.is_none() && writer.check().is_ok()
            });
            failed.map_or(Ok(()), Err)?;
            writer.check()?;
            writer.retain_damaged(&mut left, report);
        }
    }
    for (digest, damage) in left {
        // A seed that nothing needs any more is no loss.
        if damage.wanted.is_seed && !writer.is_needed(&digest)? {
            writer.forget(digest);
            continue;
        }
        let mut cause = damage.cause.clone();
        for refusal in refusals.remove(&digest).unwrap_or_default() {
            cause += &format!("; {refusal}");
        }
        report.unmended.push((damage.wanted.label(), cause));
        if options.forget {
            writer.forget(digest);
        }
    }
    Ok(())
}
