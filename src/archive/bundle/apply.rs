//! Taking bundles in: everything that can be known beforehand is looked at first; then
//! objects, a commit for each volume, and at last, in one commit, what the registry said:
//! an archive that has the root of a bundle has all of it. [R 16.9] [R 16.10]

use super::BundleError;
use super::given::{Bundle, gather};
use super::lineage::{Here, Standing};
use super::marks::{Holding, Holdings, Marks};
use super::trust::Trust;
use super::volume::Frame;
use crate::archive::sign::{Root, SignedRoot};
use crate::archive::{Archive, Error, Writer};
use crate::ids::Digest;
use crate::store::{DiskMedium, Medium};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a run needs besides archive and bundles.
pub struct ApplyOptions<'a> {
    /// Look at everything, write nothing.
    pub dry_run: bool,
    /// What the bundles must lead to.
    pub trust: Trust<'a>,
    /// Threads that rebuild crate files.
    pub threads: usize,
    /// Asked between records; what was taken in stays.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Told once how many bytes of volumes there are.
    pub begin: &'a dyn Fn(u64),
    /// Told of bytes that have been read or need not be.
    pub progress: &'a dyn Fn(u64),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyReport {
    /// Bundles looked at.
    pub bundles: u64,
    /// Their volumes.
    pub volumes: u64,
    /// Objects that are new here (or would be, in a dry run).
    pub new_objects: u64,
    /// Bytes of their frames; 0 in a dry run.
    pub new_bytes: u64,
    /// Objects that were held already.
    pub held_objects: u64,
    /// Objects that were erased here on purpose, and so were not taken in.
    pub purged_objects: u64,
    /// Objects that are erased here too, since the bundle tells so.
    pub erased_objects: u64,
    /// Transactions that are new here.
    pub transactions: u64,
    /// Volumes that are still to come, before what the registry said can be taken in:
    /// numbers, how many there are, and a volume of the bundle that is here.
    pub waiting: Option<(Vec<u32>, u32, String)>,
    /// Objects that the archive a bundle came from had and this one has not, at least.
    pub lacking: u64,
    /// The snapshot that the archive is at.
    pub snapshot: u64,
    /// Its root.
    pub root: Digest,
}

/// Takes the bundles in `paths`, volumes or folders of them, into the archive in
/// `folder`, which is made if it is not there and a bundle has everything.
///
/// # Errors
/// When a bundle does not go on from where the archive is, is not all there, or is
/// damaged; when the archive cannot be written to. It is whole then, and what was taken
/// in before stays.
pub fn apply(folder: &Path, paths: &[PathBuf], options: &ApplyOptions<'_>) -> Result<ApplyReport, BundleError> {
    apply_on(&(Arc::new(DiskMedium::new(folder)) as Arc<dyn Medium>), paths, options)
}

/// As [`apply`], on any medium.
///
/// # Errors
/// As [`apply`].
pub fn apply_on(
    medium: &Arc<dyn Medium>,
    paths: &[PathBuf],
    options: &ApplyOptions<'_>,
) -> Result<ApplyReport, BundleError> {
    let bundles = gather(paths)?;
    let archive = match Archive::open_on(medium.clone()) {
        Ok(archive) => Some(archive),
        Err(Error::NotAnArchive { .. }) => None,
        // One that a crash left half made; whoever opens it for writing sees that.
        Err(Error::NoHead { .. }) if !options.dry_run => None,
        Err(error) => return Err(error.into()),
    };
    let volumes = || bundles.iter().flat_map(|bundle| bundle.volumes.values());
    (options.begin)(volumes().map(|volume| volume.bytes).sum());
    let mut report = ApplyReport {
        bundles: bundles.len() as u64,
        volumes: volumes().count() as u64,
        new_objects: 0,
        new_bytes: 0,
        held_objects: 0,
        purged_objects: 0,
        erased_objects: 0,
        transactions: 0,
        waiting: None,
        lacking: 0,
        snapshot: 0,
        root: Digest([0; 32]),
    };
    // Nothing is written while it can be known that something does not fit.
    let mut here = archive.as_ref().map_or_else(|| Ok(Here::default()), Here::of)?;
    let mut signatures = Vec::new();
    for bundle in &bundles {
        let standing = bundle.standing(&here)?;
        let tail = bundle.tail(archive.as_ref(), standing)?;
        if let (Some(tail), Standing::Before(after)) = (&tail, standing) {
            // What a header says of the root is only believed once it is recomputed.
            bundle.told(&tail.manifest, after, &here)?;
        }
        if options.dry_run {
            let no_marks = Marks::default();
            let marks = tail.as_ref().map_or(&no_marks, |tail| &tail.marks);
            bundle.look(archive.as_ref(), marks, options, &mut report)?;
        }
        match tail {
            Some(tail) => {
                report.transactions += here.advance(bundle.header(), standing);
                signatures.extend(tail.signature);
            }
            None if options.trust.is_asked_for() => {
                return Err(Trust::unknown(bundle.path(), bundle.header().volumes()));
            }
            None => break,
        }
    }
    let last_path = bundles.last().map_or("", |bundle| bundle.path());
    options
        .trust
        .check(&here, report.transactions == 0, &signatures, last_path)?;
    if options.dry_run {
        (report.snapshot, report.root) = (here.generation, Digest(here.root()));
        if let Some(bundle) = bundles.last() {
            report.waiting = bundle.waiting();
        }
        return Ok(report);
    }
    let mut is_in = true;
    for bundle in &bundles {
        is_in &= archive.as_ref().is_some_and(|archive| bundle.is_in(archive));
    }
    if let Some(archive) = archive.as_ref().filter(|_| is_in) {
        report.held_objects = bundles.iter().map(|bundle| bundle.header().all_objects() as u64).sum();
        (report.snapshot, report.root) = (archive.head.generation, Digest(archive.head.root));
        return Ok(report);
    }
    drop(archive);
    report.transactions = 0;
    let writer = Writer::open_on(medium.clone())?;
    for bundle in &bundles {
        bundle.take_in(&writer, options, &mut report)?;
        if report.waiting.is_some() {
            break;
        }
    }
    writer.with_archive(|archive| leave_root(archive, &signatures))?;
    let root = writer.with_archive(|archive| (archive.head.generation, Digest(archive.head.root)));
    (report.snapshot, report.root) = root;
    if let Some(bundle) = bundles.last().filter(|_| report.waiting.is_none()) {
        report.lacking = writer.with_archive(|archive| bundle.lacking(archive));
    }
    Ok(report)
}

/// Whether `archive` is at the root that is signed, and has no signature of it.
fn is_wanted(archive: &Archive, signed: &SignedRoot) -> bool {
    let root = archive.root();
    let is_here = |root: &Root| signed.root().is_ok_and(|signed| signed == *root);
    root.is_ok_and(|root| is_here(&root) && !archive.has_signature_of(&root))
}

/// Leaves beside the archive what it is, for whoever finds it: signed, if a bundle brought
/// the signature. [R 16.12]
fn leave_root(archive: &Archive, signatures: &[SignedRoot]) -> Result<(), BundleError> {
    match signatures.iter().find(|signed| is_wanted(archive, signed)) {
        Some(signed) => archive
            .keep_signature(signed)
            .map_err(BundleError::applying(&archive.medium.describe())),
        // Without it, or signed, or on a drive that has just become full, the archive is
        // as good.
        None => {
            let _ = archive.write_root();
            Ok(())
        }
    }
}

impl Bundle {
    /// Reads everything, and counts what would be new.
    fn look(
        &self,
        archive: Option<&Archive>,
        marks: &Marks,
        options: &ApplyOptions<'_>,
        report: &mut ApplyReport,
    ) -> Result<(), BundleError> {
        let holdings = Holdings::of(archive, marks);
        for digest in &marks.purged {
            report.erased_objects += u64::from(holdings.holding(digest)? == Holding::Held);
        }
        for volume in self.volumes.values() {
            volume.read(&mut |frame| {
                if (options.stop)() {
                    return Err(BundleError::Stopped);
                }
                if let Frame::Record { meta, .. } = frame {
                    match holdings.holding(&meta.id())? {
                        Holding::Held => report.held_objects += 1,
                        Holding::Purged => report.purged_objects += 1,
                        Holding::Lacking => report.new_objects += 1,
                    }
                }
                Ok(())
            })?;
            (options.progress)(volume.bytes);
        }
        Ok(())
    }

    /// Whether there is nothing to be done, as far as can be told from outside; what was
    /// to be erased is looked for by whoever writes.
    fn is_in(&self, archive: &Archive) -> bool {
        let is_told = || {
            let here = Here::of(archive).ok()?;
            let standing = self.standing(&here).ok()?;
            let tail = self.tail(Some(archive), standing).ok()??;
            let is_up_to_date = here.generation >= self.header().generation || here.root() != self.header().root();
            let is_told = standing == Standing::Told && is_up_to_date && tail.marks.purged.is_empty();
            let is_signed = tail.signature.is_none_or(|signed| !is_wanted(archive, &signed));
            Some(is_told && is_signed && tail.marks.is_in(archive, &tail.digests).ok()?)
        };
        is_told().unwrap_or(false)
    }

    /// How many objects of the archive it came from are not here, at least.
    fn lacking(&self, archive: &Archive) -> u64 {
        let entries = archive.indexes.iter().map(|segment| segment.entry_count());
        self.header().held.saturating_sub(entries.sum())
    }
}
