//! Taking bundles in: everything that can be known beforehand is looked at first; then
//! objects, a commit for each volume, and at last, in one commit, what the registry said:
//! an archive that has the root of a bundle has all of it. [R 16.9] [R 16.10]

use super::lineage::{Here, Standing};
use super::take_in::{Counts, Intake};
use super::volume::{Frame, TailBytes, Volume};
use super::{BundleError, VOLUME_SUFFIX};
use crate::archive::purge::{PurgeOptions, Target};
use crate::archive::segments::Told;
use crate::archive::structure::checked_transactions;
use crate::archive::{Archive, CommitInfo, DEFAULT_LEVEL, Error, Writer};
use crate::format::Damaged;
use crate::format::bundle::{Link, VolumeHeader, directory};
use crate::format::manifest::{EventKind, ManifestSegment};
use crate::ids::Digest;
use crate::store::{DiskMedium, FileBytes, Medium};
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a run needs besides archive and bundles.
pub struct ApplyOptions<'a> {
    /// Look at everything, write nothing.
    pub dry_run: bool,
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

/// What stands behind all records of a bundle.
struct Tail {
    /// The digests of all objects, in their order.
    digests: Vec<Digest>,
    manifest: Vec<u8>,
    marks: Marks,
}

/// The volumes of one bundle that are here, by number.
#[derive(Debug)]
struct Bundle {
    volumes: BTreeMap<u32, Volume>,
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
    for bundle in &bundles {
        let standing = bundle.standing(&here)?;
        let tail = bundle.tail(archive.as_ref(), standing)?;
        if options.dry_run {
            let no_marks = Marks::default();
            let marks = tail.as_ref().map_or(&no_marks, |tail| &tail.marks);
            bundle.look(archive.as_ref(), marks, options, &mut report)?;
        }
        match tail {
            Some(_) => here.advance(bundle.header(), standing, &mut report),
            None => break,
        }
    }
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
    // For whoever finds the drive. Without it, or signed, or on a drive that has just
    // become full, the archive is as good.
    let _ = writer.with_archive(Archive::write_root);
    let root = writer.with_archive(|archive| (archive.head.generation, Digest(archive.head.root)));
    (report.snapshot, report.root) = root;
    if let Some(bundle) = bundles.last().filter(|_| report.waiting.is_none()) {
        report.lacking = writer.with_archive(|archive| bundle.lacking(archive));
    }
    Ok(report)
}

/// The volumes in `paths`, by bundle, in the order in which they lead on.
fn gather(paths: &[PathBuf]) -> Result<Vec<Bundle>, BundleError> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut found = Vec::new();
        for entry in std::fs::read_dir(path).map_err(BundleError::io(path.display()))? {
            let file = entry.map_err(BundleError::io(path.display()))?.path();
            let name = file.file_name().map(|name| name.to_string_lossy().to_lowercase());
            // Names that begin with a dot are an operating system's own.
            if name.is_some_and(|name| name.ends_with(VOLUME_SUFFIX) && !name.starts_with('.')) {
                found.push(file);
            }
        }
        if found.is_empty() {
            let path = path.display().to_string();
            return Err(BundleError::NoVolumes { path });
        }
        files.extend(found);
    }
    files.sort();
    files.dedup();
    let mut bundles: BTreeMap<[u8; 32], Bundle> = BTreeMap::new();
    for file in &files {
        let volume = Volume::open(file)?;
        let bundle = bundles.entry(volume.header.bundle_id).or_insert_with(|| Bundle {
            volumes: BTreeMap::new(),
        });
        if let Some(other) = bundle.volumes.values().next() {
            let same = VolumeHeader {
                volume: volume.header.volume,
                ..other.header.clone()
            };
            if same != volume.header {
                return Err(BundleError::Contradiction {
                    path: volume.path,
                    other: other.path.clone(),
                });
            }
        }
        bundle.volumes.entry(volume.header.volume).or_insert(volume);
    }
    let mut bundles: Vec<Bundle> = bundles.into_values().collect();
    bundles.sort_by_key(|bundle| {
        let header = bundle.header();
        let newest = header.chain.last().map_or(0, |link| link.generation);
        (header.base.generation, newest, header.generation, header.bundle_id)
    });
    Ok(bundles)
}

impl Here {
    /// As it will be when the bundle has been taken in.
    fn advance(&mut self, header: &VolumeHeader, standing: Standing, report: &mut ApplyReport) {
        if let Standing::Before(after) = standing {
            for link in header.chain.iter().filter(|link| link.generation > after) {
                self.transactions.push(made(link));
                report.transactions += 1;
            }
        }
        self.generation = self.generation.max(header.generation);
    }
}

/// As much of a transaction as a header tells.
fn made(link: &Link) -> crate::format::manifest::Transaction {
    crate::format::manifest::Transaction {
        generation: link.generation,
        parent: [0; 32],
        time: 0,
        registry: String::new(),
        cursor: String::new(),
        source: String::new(),
        event_count: 0,
        hash: link.hash,
    }
}

/// What is to become of objects, by what the bundle tells.
#[derive(Debug, Default)]
struct Marks {
    /// To be erased here too.
    purged: BTreeSet<Digest>,
    /// Welcome, even if they were erased here.
    welcome: BTreeSet<Digest>,
}

/// How an archive stands to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holding {
    Held,
    /// Erased on purpose.
    Purged,
    Lacking,
}

/// What an archive holds and what it has erased.
struct Holdings<'a> {
    archive: Option<&'a Archive>,
    welcome: &'a BTreeSet<Digest>,
    /// Walks the manifest, so only once somebody has asked.
    purged: OnceCell<BTreeSet<Digest>>,
}

impl<'a> Holdings<'a> {
    fn of(archive: Option<&'a Archive>, marks: &'a Marks) -> Holdings<'a> {
        Holdings {
            archive,
            welcome: &marks.welcome,
            purged: OnceCell::new(),
        }
    }

    fn holding(&self, digest: &Digest) -> Result<Holding, Error> {
        let Some(archive) = self.archive else {
            return Ok(Holding::Lacking);
        };
        if archive.find(digest)?.is_some() {
            return Ok(Holding::Held);
        }
        if self.welcome.contains(digest) || !archive.is_let_go(digest)? {
            return Ok(Holding::Lacking);
        }
        let purged = match self.purged.get() {
            Some(purged) => purged,
            None => {
                let purged = archive.purged_digests()?.into_keys().collect();
                self.purged.get_or_init(|| purged)
            }
        };
        Ok(match purged.contains(digest) {
            true => Holding::Purged,
            false => Holding::Lacking,
        })
    }
}

impl Bundle {
    /// What all its volumes say.
    fn header(&self) -> &VolumeHeader {
        // A bundle is made with its first volume, and none is ever taken out.
        static NONE: VolumeHeader = VolumeHeader::NONE;
        self.volumes.values().next().map_or(&NONE, |volume| &volume.header)
    }

    fn path(&self) -> &str {
        self.volumes.values().next().map_or("", |volume| &volume.path)
    }

    fn standing(&self, here: &Here) -> Result<Standing, BundleError> {
        here.standing(self.header(), self.path())
    }

    fn has_last(&self) -> bool {
        self.volumes.contains_key(&self.header().volumes())
    }

    /// The volumes that are not here.
    fn absent(&self) -> impl DoubleEndedIterator<Item = u32> {
        (1..=self.header().volumes()).filter(|volume| !self.volumes.contains_key(volume))
    }

    fn waiting(&self) -> Option<(Vec<u32>, u32, String)> {
        match self.has_last() {
            true => None,
            false => Some((
                self.absent()
                    .filter(|absent| self.volumes.keys().all(|volume| volume < absent))
                    .collect(),
                self.header().volumes(),
                self.path().to_owned(),
            )),
        }
    }

    fn missing(&self, volume: u32) -> BundleError {
        BundleError::Missing {
            path: self.path().to_owned(),
            volume,
            volumes: self.header().volumes(),
        }
    }

    /// The digests of all objects and the manifest segment, if the last volume is here.
    /// Of volumes that are not, `archive` must have all objects already.
    fn tail(&self, archive: Option<&Archive>, standing: Standing) -> Result<Option<Tail>, BundleError> {
        let header = self.header();
        // Between two that are here none may be lacking; the first ones may be in already.
        let newest = self.volumes.keys().next_back().copied().unwrap_or(0);
        if !self.has_last() {
            let oldest = self.volumes.keys().next().copied().unwrap_or(0);
            return match self.absent().find(|volume| (oldest..newest).contains(volume)) {
                Some(gap) => Err(self.missing(gap)),
                None => Ok(None),
            };
        }
        let mut tail = TailBytes::default();
        for volume in self.volumes.values() {
            volume.tail(&mut tail)?;
        }
        let objects = header.all_objects();
        let digests = match (directory(&tail.directory, objects), self.absent().next_back()) {
            (Ok(digests), _) => digests,
            (Err(_), Some(absent)) => return Err(self.missing(absent)),
            (Err(damage), None) => {
                return Err(BundleError::NotAVolume {
                    path: self.path().to_owned(),
                    damage,
                });
            }
        };
        self.check_id(&digests)?;
        let marks = match tail.manifest.is_empty() {
            true => Marks::default(),
            false => self.marks(&tail.manifest, standing)?,
        };
        let holdings = Holdings::of(archive, &marks);
        for absent in self.absent() {
            for digest in &digests[header.objects_of(absent)] {
                if holdings.holding(digest)? == Holding::Lacking {
                    return Err(self.missing(absent));
                }
            }
        }
        Ok(Some(Tail {
            digests,
            manifest: tail.manifest,
            marks,
        }))
    }

    /// What the transactions that are new here tell of objects to be erased or welcome;
    /// of those that are known, what they told to erase.
    fn marks(&self, manifest: &[u8], standing: Standing) -> Result<Marks, BundleError> {
        let after = match standing {
            Standing::Told => 0,
            Standing::Before(after) => after,
        };
        let mut marks = Marks::default();
        let damaged = |damage: Damaged| self.bad_manifest(&damage.to_string());
        let segment = ManifestSegment::open(manifest).map_err(damaged)?;
        for record in segment.crates() {
            for event in record.map_err(damaged)?.events() {
                let event = event.map_err(damaged)?;
                let Some(digest) = event.digest.filter(|_| event.generation > after) else {
                    continue;
                };
                match event.kind {
                    EventKind::Purged => {
                        marks.welcome.remove(&digest);
                        marks.purged.insert(digest);
                    }
                    EventKind::Added if standing != Standing::Told => {
                        marks.purged.remove(&digest);
                        marks.welcome.insert(digest);
                    }
                    _ => {}
                }
            }
        }
        Ok(marks)
    }

    fn bad_manifest(&self, cause: &str) -> BundleError {
        BundleError::Damaged {
            path: self.path().to_owned(),
            volume: self.header().volumes(),
            offset: 0,
            cause: format!("what it tells of the registry: {cause}"),
        }
    }

    /// That the directory belongs to the headers. [R 16.4]
    fn check_id(&self, digests: &[Digest]) -> Result<(), BundleError> {
        let directory: Vec<u8> = digests.iter().flat_map(|digest| digest.0).collect();
        if self.header().id(&directory) == self.header().bundle_id {
            return Ok(());
        }
        Err(BundleError::Contradiction {
            path: self.path().to_owned(),
            other: "its own directory".into(),
        })
    }

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

    fn take_in(
        &self,
        writer: &Writer,
        options: &ApplyOptions<'_>,
        report: &mut ApplyReport,
    ) -> Result<(), BundleError> {
        let header = self.header();
        let folder = writer.medium().describe();
        let here = writer.with_archive(Here::of)?;
        let standing = self.standing(&here)?;
        let tail = writer.with_archive(|archive| self.tail(Some(archive), standing))?;
        let told = match (&tail, standing) {
            (Some(tail), Standing::Before(after)) => self.told(&tail.manifest, after, &here)?,
            _ => None,
        };
        let no_marks = Marks::default();
        let marks = tail.as_ref().map_or(&no_marks, |tail| &tail.marks);
        let mut intake = Intake::new(writer, &marks.welcome, options.threads);
        for volume in self.volumes.values() {
            if let Some(tail) = &tail {
                let own = &tail.digests[header.objects_of(volume.header.volume)];
                if writer.with_archive(|archive| is_in(archive, marks, own))? {
                    intake.counts.held += own.len() as u64;
                    (options.progress)(volume.bytes);
                    continue;
                }
            }
            let read = self.read_volume(volume, &mut intake, options);
            add(report, &mut intake.counts);
            // What came before the trouble is good, and stays.
            let is_last = volume.header.volume == header.volumes();
            if read.is_err() || !is_last {
                let info = CommitInfo {
                    source: "apply".into(),
                    ..CommitInfo::default()
                };
                let committed = writer.commit(&info).map_err(BundleError::applying(&folder));
                read?;
                committed?;
            }
        }
        add(report, &mut intake.counts);
        if tail.is_none() {
            report.waiting = self.waiting();
            return Ok(());
        }
        let is_behind = here.generation < header.generation && here.root() == header.root();
        report.transactions += told.as_ref().map_or(0, |told| told.transactions.len() as u64);
        let purge = PurgeOptions {
            reason: "told by a bundle",
            level: DEFAULT_LEVEL,
            progress: &|_| {},
        };
        let targets = |digests: &BTreeSet<Digest>| digests.iter().copied().map(Target::Digest).collect::<Vec<_>>();
        if told.is_some() && !marks.purged.is_empty() {
            for digest in &marks.purged {
                report.erased_objects += u64::from(writer.find(digest)?.is_some());
            }
            writer
                .let_go_as_told(&targets(&marks.purged), &purge)
                .map_err(BundleError::applying(&folder))?;
        }
        if told.is_some() || is_behind || writer.has_news() {
            writer
                .commit_told(told, header.generation)
                .map_err(BundleError::applying(&folder))?;
        }
        if !marks.purged.is_empty() {
            // Of what a run that was stopped here has left, too; but not what has become
            // welcome again since.
            let purged = writer.with_archive(Archive::purged_digests)?;
            let still = marks
                .purged
                .iter()
                .filter(|digest| purged.contains_key(digest))
                .copied();
            writer
                .purge(&targets(&still.collect()), &purge)
                .map_err(BundleError::applying(&folder))?;
        }
        Ok(())
    }

    fn read_volume(
        &self,
        volume: &Volume,
        intake: &mut Intake<'_>,
        options: &ApplyOptions<'_>,
    ) -> Result<(), BundleError> {
        let mut done = 0;
        let result = volume.read(&mut |frame| {
            if (options.stop)() {
                return Err(BundleError::Stopped);
            }
            match frame {
                Frame::Base(note) => intake.note(note),
                Frame::Record { meta, frame, offset } => {
                    let bytes = frame.len() as u64;
                    intake.record(volume, *meta, frame, offset)?;
                    done += bytes;
                    (options.progress)(bytes);
                }
            }
            Ok(())
        });
        let flushed = intake.flush(volume);
        (options.progress)(volume.bytes.saturating_sub(done));
        result.and(flushed)
    }

    /// The bundle's transactions that are new here, their hashes recomputed.
    fn told(&self, manifest: &[u8], after: u64, here: &Here) -> Result<Option<Told>, BundleError> {
        let header = self.header();
        let new: Vec<&Link> = header.chain.iter().filter(|link| link.generation > after).collect();
        if new.is_empty() {
            return Ok(None);
        }
        let damaged = |cause: String| self.bad_manifest(&cause);
        let segment = ManifestSegment::open(FileBytes::Held(manifest.to_vec()));
        let segment = segment.map_err(|damage| damaged(damage.to_string()))?;
        let mut transactions = checked_transactions(&segment).map_err(damaged)?;
        let told = transactions.iter().map(|made| (made.generation, made.hash));
        if !told.eq(header.chain.iter().map(|link| (link.generation, link.hash))) {
            return Err(damaged("its transactions are not those that its header names".into()));
        }
        let mut parent = header.base.hash;
        for made in &transactions {
            if made.parent != parent {
                return Err(damaged(format!(
                    "the hash chain breaks at snapshot {}",
                    made.generation
                )));
            }
            parent = made.hash;
        }
        transactions.retain(|made| made.generation > after);
        if transactions.first().is_none_or(|first| first.parent != here.root()) {
            return Err(damaged("it does not go on from the root here".into()));
        }
        Ok(Some(Told {
            segment,
            after,
            transactions,
        }))
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
            Some(is_told && is_in(archive, &tail.marks, &tail.digests).ok()?)
        };
        is_told().unwrap_or(false)
    }

    /// How many objects of the archive it came from are not here, at least.
    fn lacking(&self, archive: &Archive) -> u64 {
        let entries = archive.indexes.iter().map(|segment| segment.entry_count());
        self.header().held.saturating_sub(entries.sum())
    }
}

/// Whether nothing of these is to be taken in.
fn is_in(archive: &Archive, marks: &Marks, digests: &[Digest]) -> Result<bool, Error> {
    let holdings = Holdings::of(Some(archive), marks);
    for digest in digests {
        if holdings.holding(digest)? == Holding::Lacking {
            return Ok(false);
        }
    }
    Ok(true)
}

fn add(report: &mut ApplyReport, counts: &mut Counts) {
    report.new_objects += counts.new;
    report.new_bytes += counts.new_bytes;
    report.held_objects += counts.held;
    report.purged_objects += counts.purged;
    *counts = Counts::default();
}
