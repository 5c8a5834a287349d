//! Recovery data: files beside packs and segments that damaged sectors of these can be
//! computed from, without any other copy. Spec section 15.
//!
//! No head names them, so they are of use when the heads are lost, and what they cover
//! is told by their own blocks.

mod codec;
mod cover;
mod load;
mod own;
mod restore;

pub(super) use restore::restore_all;

use super::names::{RecoveryFile, index_name, manifest_name, pack_name, recovery_files};
use super::{Archive, Error, Writer};
use crate::format::head::Head;
use crate::format::recovery::{Shape, TargetKind};
use load::Loaded;
use std::collections::HashSet;

/// A file that recovery data is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Target {
    pub kind: TargetKind,
    pub number: u64,
}

impl Target {
    /// Its path in the archive.
    pub fn name(&self) -> String {
        match self.kind {
            TargetKind::Pack => pack_name(u32::try_from(self.number).unwrap_or(u32::MAX)),
            TargetKind::Index => index_name(self.number),
            TargetKind::Manifest => manifest_name(self.number),
        }
    }
}

/// The packs and segments that `head` names, with their committed lengths.
pub(super) fn targets(head: &Head) -> Vec<(Target, u64)> {
    let target = |kind, number| Target { kind, number };
    let packs = head.packs.iter();
    let packs = packs.map(|one| (target(TargetKind::Pack, u64::from(one.pack)), one.bytes));
    let indexes = head.indexes.iter();
    let indexes = indexes.map(|one| (target(TargetKind::Index, one.generation), one.bytes));
    let manifests = head.manifests.iter();
    let manifests = manifests.map(|one| (target(TargetKind::Manifest, one.generation), one.bytes));
    packs.chain(indexes).chain(manifests).collect()
}

/// How far one file of the snapshot is covered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileCoverage {
    /// Its path in the archive.
    pub name: String,
    /// Its committed length.
    pub bytes: u64,
    /// So many of these, from its beginning on, are covered; a pack may have grown since.
    pub covered_bytes: u64,
    /// Of each hundred sectors, so many may be lost; 0 where nothing is covered.
    pub percent: u64,
    /// Length of its recovery file.
    pub recovery_bytes: u64,
}

impl FileCoverage {
    /// Whether all of it is covered.
    pub fn is_whole(&self) -> bool {
        self.covered_bytes == self.bytes
    }
}

/// What recovery data there is for each file of a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Packs, index and manifest segments, in this order.
    pub files: Vec<FileCoverage>,
}

impl Coverage {
    /// Whether all of every file is covered.
    pub fn is_whole(&self) -> bool {
        self.files.iter().all(FileCoverage::is_whole)
    }

    /// Whether there is no recovery data at all.
    pub fn is_none(&self) -> bool {
        self.files.iter().all(|file| file.covered_bytes == 0)
    }

    /// Bytes of the files, and of them those covered, and the recovery files' own.
    pub fn totals(&self) -> (u64, u64, u64) {
        let sum = |of: &dyn Fn(&FileCoverage) -> u64| self.files.iter().map(of).sum();
        (
            sum(&|file| file.bytes),
            sum(&|file| file.covered_bytes),
            sum(&|file| file.recovery_bytes),
        )
    }
}

/// How to protect, and whom to tell.
pub struct ProtectOptions<'a> {
    /// Of each hundred sectors, so many may be lost.
    pub percent: u8,
    /// Threads that compute.
    pub threads: usize,
    /// Once it says so, no further file is begun.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Hears the bytes of each file when it is covered.
    pub progress: &'a dyn Fn(u64),
}

/// What [`Writer::protect`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProtectReport {
    /// Files covered now.
    pub covered: u64,
    /// Their bytes.
    pub covered_bytes: u64,
    /// Bytes of recovery data written for them.
    pub recovery_bytes: u64,
    /// Files that were covered already.
    pub kept: u64,
    /// Files that were not covered, since they are damaged themselves, and how.
    pub damaged: Vec<(String, String)>,
    /// Whether it was stopped before its end.
    pub stopped: bool,
}

/// What is wrong with a recovery file whose blocks are whole.
type Look<'a> = dyn Fn(&RecoveryFile, &Loaded) -> Result<Option<String>, Error> + 'a;

impl Archive {
    /// What recovery data there is for this snapshot, as far as its headers say.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn coverage(&self) -> Result<Coverage, Error> {
        let found = self.recovery_shapes()?;
        let files = targets(&self.head).into_iter().map(|(target, bytes)| {
            let best = best(&found, target);
            FileCoverage {
                name: target.name(),
                bytes,
                covered_bytes: best.map_or(0, |(_, shape)| shape.covered_bytes.min(bytes)),
                percent: best.map_or(0, |(_, shape)| {
                    u64::from(shape.recovery_shards) * 100 / shape.group_shards(0).max(1)
                }),
                recovery_bytes: best.map_or(0, |(file, _)| file.bytes),
            }
        });
        Ok(Coverage { files: files.collect() })
    }

    /// The recovery files of this archive whose shape can be read.
    fn recovery_shapes(&self) -> Result<Vec<(RecoveryFile, Shape)>, Error> {
        let mut found = Vec::new();
        for file in recovery_files(&*self.medium).map_err(Error::io("recovery"))? {
            let shape = load::shape_of(&*self.medium, &file)?;
            if let Some(shape) = shape.filter(|shape| shape.archive_id == self.head.archive_id) {
                found.push((file, shape));
            }
        }
        Ok(found)
    }

    /// Recovery files that are of less use than they should be, each with the reason: some
    /// of its blocks are damaged, or it was made for other bytes than those it is beside.
    /// Reads them and all that they cover.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn check_recovery(&self) -> Result<Vec<(String, String)>, Error> {
        self.flawed_recovery(&|file, loaded| {
            let is_foreign = restore::is_foreign(&*self.medium, file.target, loaded)?;
            Ok(is_foreign.then(|| format!("made for other bytes than those of {}", file.target.name())))
        })
    }

    /// Recovery files with damaged blocks, and of the others those that `look` has something
    /// to say of.
    fn flawed_recovery(&self, look: &Look<'_>) -> Result<Vec<(String, String)>, Error> {
        let mut flawed = Vec::new();
        for file in self.named_recovery_files()? {
            let cause = match Loaded::open(&*self.medium, &file)? {
                None => Some("not one block of its table can be read".to_owned()),
                Some(loaded) => match loaded.count_bad_blocks(&*self.medium)? {
                    0 => look(&file, &loaded)?,
                    bad => Some(format!("{bad} of its {} blocks are damaged", loaded.blocks())),
                },
            };
            flawed.extend(cause.map(|cause| (file.name, cause)));
        }
        Ok(flawed)
    }

    /// Those beside files that the snapshot has.
    fn named_recovery_files(&self) -> Result<Vec<RecoveryFile>, Error> {
        let named: HashSet<Target> = targets(&self.head).into_iter().map(|(target, _)| target).collect();
        let mut files = recovery_files(&*self.medium).map_err(Error::io("recovery"))?;
        files.retain(|file| named.contains(&file.target));
        Ok(files)
    }
}

/// The recovery file that covers most of `target`.
fn best(found: &[(RecoveryFile, Shape)], target: Target) -> Option<&(RecoveryFile, Shape)> {
    let of_target = found.iter().filter(|(file, _)| file.target == target);
    of_target.max_by_key(|(_, shape)| (shape.covered_bytes, shape.recovery_shards))
}

impl Writer {
    /// Makes recovery data for what has none, or less than `options` ask for, or such as
    /// was made of other bytes: so everything that is protected is read. Of the newest pack what is committed is covered; what comes later the next call covers.
    /// Files that are damaged are left out: what is made of them would be of no use.
    ///
    /// # Errors
    /// When it cannot be written. What was there before is still there then.
    pub fn protect(&self, options: &ProtectOptions<'_>) -> Result<ProtectReport, Error> {
        let archive = self.with_archive(Archive::clone);
        let found = archive.recovery_shapes()?;
        let damaged = archive.flawed_recovery(&|_, _| Ok(None))?;
        let mut report = ProtectReport::default();
        for (target, bytes) in targets(&archive.head) {
            if (options.stop)() {
                report.stopped = true;
                break;
            }
            let planned = Shape::plan(
                archive.head.archive_id,
                target.kind,
                target.number,
                bytes,
                options.percent,
            );
            let is_enough = |(file, shape): &(RecoveryFile, Shape)| {
                shape.covered_bytes >= bytes
                    && shape.recovery_shards >= planned.recovery_shards
                    && damaged.iter().all(|(bad, _)| *bad != file.name)
            };
            let best = best(&found, target).filter(|best| is_enough(best));
            if let Some((file, _)) = best
                && let Some(loaded) = Loaded::open(&*archive.medium, file)?
                && loaded.fits(&*archive.medium, &target.name())?
            {
                report.kept += 1;
                (options.progress)(bytes);
                continue;
            }
            match cover::cover(&archive, target, planned, options)? {
                Ok(recovery_bytes) => {
                    report.covered += 1;
                    report.covered_bytes += bytes;
                    report.recovery_bytes += recovery_bytes;
                }
                Err(cause) => report.damaged.push((target.name(), cause)),
            }
            (options.progress)(bytes);
        }
        Ok(report)
    }

    /// Removes all recovery data; returns how many bytes that were.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn unprotect(&self) -> Result<u64, Error> {
        let medium = self.medium();
        let mut bytes = 0;
        for file in recovery_files(medium).map_err(Error::io("recovery"))? {
            medium.remove(&file.name).map_err(Error::io(&file.name))?;
            bytes += file.bytes;
        }
        Ok(bytes)
    }
}
