//! Writing a bundle: volume by volume, each read back, and none taken for whole before
//! its end is on the medium.

use super::plan::{Plan, Tail, plan};
use super::volume::{TailBytes, Volume, looks_begun};
use super::{BundleError, Since, VOLUME_SUFFIX};
use crate::archive::{Archive, chain};
use crate::format::bundle::{End, Part, VolumeHeader};
use crate::ids::Digest;
use crate::store::{DiskMedium, Medium};
use sha2::{Digest as _, Sha256};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A volume is written, and read back, in pieces of about so many bytes.
const PIECE_BYTES: usize = 4 << 20;
/// What lies beside the volumes, for whoever finds the drive.
const README: &str = include_str!("readme.txt");
const README_NAME: &str = "README.txt";

/// What a run needs besides the archive.
pub struct BundleOptions<'a> {
    /// No volume is longer.
    pub volume_bytes: u64,
    /// What the names of the volumes begin with; the two snapshots if not given.
    pub stem: Option<&'a str>,
    /// Asked between records; whole volumes count when the bundle is made again.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Told once how many bytes will be written and read back in all.
    pub begin: &'a dyn Fn(u64),
    /// Told of each piece of these.
    pub progress: &'a dyn Fn(u64),
}

/// What a bundle has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleReport {
    /// The state that it goes on from: a snapshot, and its root.
    pub base: (u64, Digest),
    /// The state that it leads to.
    pub leads_to: (u64, Digest),
    /// Transactions between the two.
    pub transactions: u64,
    /// Crate files, and seeds that they need.
    pub objects: u64,
    /// Bytes of all volumes.
    pub bytes: u64,
    /// Whether it carries the archive's signature: there is one, of the root it leads to.
    pub is_signed: bool,
    /// The volumes' names and lengths.
    pub volumes: Vec<(String, u64)>,
    /// How many of them were there already, whole.
    pub kept_volumes: u64,
}

/// Writes what `archive` has and had not at `since` as volumes into `folder`.
///
/// # Errors
/// When the archive is damaged where it matters, when something else has a volume's name,
/// or the drive fails or is full. Volumes that are whole by then are kept.
pub fn bundle(
    archive: &Archive,
    since: Since<'_>,
    folder: &Path,
    options: &BundleOptions<'_>,
) -> Result<BundleReport, BundleError> {
    bundle_on(
        archive,
        since,
        &(Arc::new(DiskMedium::new(folder)) as Arc<dyn Medium>),
        options,
    )
}

/// As [`bundle`], into any folder of files.
///
/// # Errors
/// As [`bundle`].
pub fn bundle_on(
    archive: &Archive,
    since: Since<'_>,
    to: &Arc<dyn Medium>,
    options: &BundleOptions<'_>,
) -> Result<BundleReport, BundleError> {
    let plan = plan(archive, since, options.volume_bytes)?;
    (options.begin)(2 * plan.bytes());
    let folder = to.describe();
    to.create_folder("").map_err(BundleError::writing(&folder))?;
    let header = &plan.header;
    let mut report = BundleReport {
        base: (header.base.generation, Digest(header.base.hash)),
        leads_to: (header.generation, Digest(header.root())),
        transactions: header.chain.len() as u64,
        objects: plan.items.len() as u64,
        bytes: 0,
        is_signed: !plan.signature.is_empty(),
        volumes: Vec::new(),
        kept_volumes: 0,
    };
    let run = Run {
        archive,
        to,
        plan: &plan,
        options,
    };
    for volume in 1..=header.volumes() {
        let name = volume_name(header, volume, options.stem);
        let (bytes, is_kept) = run.volume(volume, &name)?;
        report.bytes += bytes;
        report.kept_volumes += u64::from(is_kept);
        report.volumes.push((name, bytes));
    }
    // With a name of its own choosing the user made a file, not a folder of a drive.
    if options.stem.is_none() && to.len(README_NAME).is_err() {
        run.text(README_NAME, README)?;
    }
    to.sync_folder("").map_err(BundleError::writing(&folder))?;
    Ok(report)
}

/// Lowercase, no longer than any file system likes, and sorted as they are to be read.
fn volume_name(header: &VolumeHeader, volume: u32, stem: Option<&str>) -> String {
    match stem {
        Some(stem) if header.volumes() == 1 => format!("{stem}{VOLUME_SUFFIX}"),
        Some(stem) => format!("{stem}-{volume:03}{VOLUME_SUFFIX}"),
        None => {
            let (base, generation) = (header.base.generation, header.generation);
            format!("{base:06}-{generation:06}-{volume:03}{VOLUME_SUFFIX}")
        }
    }
}

struct Run<'a> {
    archive: &'a Archive,
    to: &'a Arc<dyn Medium>,
    plan: &'a Plan,
    options: &'a BundleOptions<'a>,
}

impl Run<'_> {
    /// Writes volume number `volume`; its length, and whether it was there.
    fn volume(&self, volume: u32, name: &str) -> Result<(u64, bool), BundleError> {
        let header = VolumeHeader {
            volume,
            ..self.plan.header.clone()
        };
        let path = format!("{}/{name}", self.to.describe());
        match Volume::open_on(self.to, name) {
            Ok(there) if there.header == header => {
                if self.is_signed_alike(&there) && there.is_whole(&|bytes| (self.options.progress)(2 * bytes))? {
                    return Ok((there.bytes, true));
                }
            }
            Err(BundleError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            // What an earlier run was writing when it ended.
            Err(BundleError::Unfinished { .. }) => {}
            Err(_) if looks_begun(&**self.to, name) => {}
            _ => return Err(BundleError::Occupied { path }),
        }
        let result = self.write_volume(&header, name);
        if matches!(result, Err(BundleError::Stopped)) {
            // Half a volume is of no use to anybody; the next run would replace it too.
            let _ = self.to.remove(name);
        }
        result.map(|bytes| (bytes, false))
    }

    /// Whether a volume that is there has what this one is to have of the signature, which
    /// its header says nothing of.
    fn is_signed_alike(&self, there: &Volume) -> bool {
        let planned = self.plan.volumes.get((there.header.volume - 1) as usize);
        let pieces = planned
            .into_iter()
            .flat_map(|volume| &volume.tail)
            .filter_map(|piece| match piece {
                Tail::Signature(range) => Some(&self.plan.signature[range.clone()]),
                _ => None,
            });
        let mut tail = TailBytes::default();
        there.tail(&mut tail).is_ok() && tail.signature == pieces.collect::<Vec<_>>().concat()
    }

    fn write_volume(&self, header: &VolumeHeader, name: &str) -> Result<u64, BundleError> {
        let mut file = VolumeFile::create(&**self.to, name)?;
        let parts = &self.plan.volumes[(header.volume - 1) as usize];
        file.push(&header.encode())?;
        for item in &self.plan.items[parts.items.clone()] {
            if (self.options.stop)() {
                return Err(BundleError::Stopped);
            }
            if let Some(note) = item.note {
                file.push(&Part::Base(note).encode())?;
            }
            // Its checksum is looked at: damage is not passed on.
            let record = chain::read_record(&*self.archive.medium, &item.entry)?;
            file.push(record.bytes())?;
            (self.options.progress)(record.bytes().len() as u64);
        }
        let tail_offset = file.bytes();
        for piece in &parts.tail {
            let part = match piece {
                Tail::Directory(range) => Part::Directory(self.plan.directory[range.clone()].to_vec()),
                Tail::Manifest(range) => Part::Manifest(self.plan.manifest[range.clone()].to_vec()),
                Tail::Signature(range) => Part::Signature(self.plan.signature[range.clone()].to_vec()),
            };
            file.push(&part.encode())?;
        }
        file.finish(tail_offset, self.options)
    }

    /// Writes a file for people.
    fn text(&self, name: &str, text: &str) -> Result<(), BundleError> {
        let fail = || BundleError::writing(format!("{}/{name}", self.to.describe()));
        self.to.create(name).map_err(fail())?;
        self.to.write_at(name, 0, text.as_bytes()).map_err(fail())?;
        self.to.sync(name).map_err(fail())
    }
}

/// A volume while it is written.
struct VolumeFile<'a> {
    to: &'a dyn Medium,
    name: &'a str,
    path: String,
    written_bytes: u64,
    ready: Vec<u8>,
    hasher: Sha256,
}

impl<'a> VolumeFile<'a> {
    fn create(to: &'a dyn Medium, name: &'a str) -> Result<VolumeFile<'a>, BundleError> {
        let path = format!("{}/{name}", to.describe());
        match to.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(BundleError::writing(&path)(error)),
            _ => {}
        }
        to.create(name).map_err(BundleError::writing(&path))?;
        Ok(VolumeFile {
            to,
            name,
            path,
            written_bytes: 0,
            ready: Vec::new(),
            hasher: Sha256::new(),
        })
    }

    fn bytes(&self) -> u64 {
        self.written_bytes + self.ready.len() as u64
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), BundleError> {
        self.hasher.update(bytes);
        self.ready.extend_from_slice(bytes);
        match self.ready.len() >= PIECE_BYTES {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), BundleError> {
        self.to
            .write_at(self.name, self.written_bytes, &self.ready)
            .map_err(BundleError::writing(&self.path))?;
        self.written_bytes += self.ready.len() as u64;
        self.ready.clear();
        Ok(())
    }

    /// All that it has is on the medium before the end says that it is; then it is read
    /// back. [R 16.8]
    fn finish(mut self, tail_offset: u64, options: &BundleOptions<'_>) -> Result<u64, BundleError> {
        let sha256 = self.hasher.clone().finalize().into();
        self.flush()?;
        self.to.sync(self.name).map_err(BundleError::writing(&self.path))?;
        self.push(&Part::End(End { sha256, tail_offset }).encode())?;
        self.flush()?;
        self.to.sync(self.name).map_err(BundleError::writing(&self.path))?;
        self.to.sync_folder("").map_err(BundleError::writing(&self.path))?;
        self.to.forget(self.name);
        let expected = self.hasher.finalize();
        let mut hasher = Sha256::new();
        let mut at = 0;
        while at < self.written_bytes {
            if (options.stop)() {
                return Err(BundleError::Stopped);
            }
            let bytes = (self.written_bytes - at).min(PIECE_BYTES as u64);
            let back = self.to.read_at(self.name, at, bytes as usize);
            hasher.update(back.map_err(BundleError::io(&self.path))?);
            at += bytes;
            (options.progress)(bytes);
        }
        if hasher.finalize() != expected {
            return Err(BundleError::Unfaithful { path: self.path });
        }
        Ok(self.written_bytes)
    }
}
