//! Bundles as they are given: which volumes are here, in what order bundles lead on, and
//! what stands behind all records of one.

use super::lineage::{Here, Standing};
use super::marks::{Holding, Holdings, Marks};
use super::volume::{TailBytes, Volume};
use super::{BundleError, VOLUME_SUFFIX};
use crate::archive::Archive;
use crate::archive::segments::Told;
use crate::archive::sign::SignedRoot;
use crate::archive::structure::checked_transactions;
use crate::format::bundle::{Link, SignatureFiles, VolumeHeader, directory};
use crate::format::manifest::ManifestSegment;
use crate::ids::Digest;
use crate::store::FileBytes;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What stands behind all records of a bundle.
pub(super) struct Tail {
    /// The digests of all objects, in their order.
    pub digests: Vec<Digest>,
    pub manifest: Vec<u8>,
    pub marks: Marks,
    /// What claims to be a signature of the root that it leads to. [R 16.12]
    pub signature: Option<SignedRoot>,
}

/// The volumes of one bundle that are here, by number.
#[derive(Debug)]
pub(super) struct Bundle {
    pub volumes: BTreeMap<u32, Volume>,
}
/// The volumes in `paths`, by bundle, in the order in which they lead on.
pub(super) fn gather(paths: &[PathBuf]) -> Result<Vec<Bundle>, BundleError> {
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

impl Bundle {
    /// What all its volumes say.
    pub(super) fn header(&self) -> &VolumeHeader {
        // A bundle is made with its first volume, and none is ever taken out.
        static NONE: VolumeHeader = VolumeHeader::NONE;
        self.volumes.values().next().map_or(&NONE, |volume| &volume.header)
    }

    pub(super) fn path(&self) -> &str {
        self.volumes.values().next().map_or("", |volume| &volume.path)
    }

    pub(super) fn standing(&self, here: &Here) -> Result<Standing, BundleError> {
        here.standing(self.header(), self.path())
    }

    fn has_last(&self) -> bool {
        self.volumes.contains_key(&self.header().volumes())
    }

    /// The volumes that are not here.
    fn absent(&self) -> impl DoubleEndedIterator<Item = u32> {
        (1..=self.header().volumes()).filter(|volume| !self.volumes.contains_key(volume))
    }

    pub(super) fn waiting(&self) -> Option<(Vec<u32>, u32, String)> {
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
    pub(super) fn tail(&self, archive: Option<&Archive>, standing: Standing) -> Result<Option<Tail>, BundleError> {
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
            signature: self.signature(&tail.signature)?,
            manifest: tail.manifest,
            marks,
        }))
    }

    /// The signature in the bundle, which must be of where it leads, good or not.
    fn signature(&self, bytes: &[u8]) -> Result<Option<SignedRoot>, BundleError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let damaged = |cause: String| self.bad_tail(&format!("its signature: {cause}"));
        let files = SignatureFiles::decode(bytes).map_err(|damage| damaged(damage.to_string()))?;
        let signed = SignedRoot {
            text: files.text,
            signature: files.signature,
        };
        match signed.root() {
            Ok(root) if root.hash.0 == self.header().root() => Ok(Some(signed)),
            Ok(root) => Err(damaged(format!("is of root {}, to which it does not lead", root.hash))),
            Err(error) => Err(damaged(error.to_string())),
        }
    }

    pub(super) fn bad_manifest(&self, cause: &str) -> BundleError {
        self.bad_tail(&format!("what it tells of the registry: {cause}"))
    }

    fn bad_tail(&self, cause: &str) -> BundleError {
        BundleError::Damaged {
            path: self.path().to_owned(),
            volume: self.header().volumes(),
            offset: 0,
            cause: cause.to_owned(),
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

    /// The bundle's transactions that are new here, their hashes recomputed.
    pub(super) fn told(&self, manifest: &[u8], after: u64, here: &Here) -> Result<Option<Told>, BundleError> {
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
}
