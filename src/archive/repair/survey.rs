//! Which of the objects held cannot be given back.

use super::super::{Archive, Error, chain, form, read};
use super::RepairOptions;
use crate::format::index::{Entry, EntryKind};
use crate::ids::{Digest, Release};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

/// An object that is wanted from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its digest.
    pub digest: Digest,
    /// A release that it is of, if one is known.
    pub release: Option<Release>,
    /// Length of the crate file; 0 if that is not known.
    pub crate_bytes: u64,
    /// A seed: no source has it but this archive.
    pub is_seed: bool,
}

impl Wanted {
    /// Its release, or what else tells it from others.
    pub fn label(&self) -> String {
        match (&self.release, self.is_seed) {
            (Some(release), _) => release.to_string(),
            (None, true) => format!("seed {}", self.digest),
            (None, false) => self.digest.to_string(),
        }
    }
}

/// An object that cannot be given back.
#[derive(Debug, Clone)]
pub(super) struct Damage {
    pub wanted: Wanted,
    pub entry: Entry,
    pub cause: String,
    /// Its own record is at fault, not only one of its bases.
    pub is_own: bool,
}

#[derive(Debug, Default)]
pub(super) struct Survey {
    pub objects: u64,
    /// Bases before what needs them.
    pub damages: Vec<Damage>,
}

impl Survey {
    pub(super) fn wanted(&self) -> impl Iterator<Item = &Wanted> {
        self.damages.iter().map(|damage| &damage.wanted)
    }
}

impl Archive {
    /// Tries to decode everything that is held.
    pub(super) fn survey(&self, options: &RepairOptions<'_>) -> Result<Survey, Error> {
        let entries = self.entries()?;
        let objects = entries.len() as u64;
        let failed: Mutex<Vec<(Entry, String)>> = Mutex::default();
        self.walk_contents(entries, options.threads, &|entry, decoded| {
            let result = decoded.and_then(|(meta, content)| {
                let is_crate = entry.kind == EntryKind::Blob;
                if is_crate && (options.full || meta.engine == 0) {
                    read::rebuild(entry, &meta, &content)?;
                }
                form::check(&meta, &content).map_err(|damage| chain::blob_error(entry, Some(&meta), damage))?;
                if !is_crate && Digest::of(&content) != entry.digest {
                    return Err(chain::blob_error(entry, Some(&meta), "the seed has another SHA-256"));
                }
                Ok(())
            });
            if let Err(error) = result {
                let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.push((*entry, error.to_string()));
            }
            (options.progress)(u64::from(entry.content_bytes));
        });
        let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        if failed.is_empty() {
            let damages = Vec::new();
            return Ok(Survey { objects, damages });
        }
        let mut releases: HashMap<Digest, Release> = HashMap::new();
        let bad: BTreeSet<Digest> = failed.iter().map(|(entry, _)| entry.digest).collect();
        self.each_crate(|state| {
            for release in state.releases.iter().filter(|release| bad.contains(&release.digest)) {
                if let Ok(name) = state.name.parse() {
                    let version = release.version.clone();
                    releases.insert(release.digest, Release { name, version });
                }
            }
            Ok::<(), Error>(())
        })?;
        let mut damages: Vec<Damage> = failed
            .into_iter()
            .map(|(entry, cause)| {
                let record = chain::read_record(&*self.medium, &entry);
                let base = record.as_ref().ok().and_then(|record| record.meta.base);
                let is_own = !base.is_some_and(|base| self.lacks(&Digest(base), &bad));
                let release = releases.remove(&entry.digest).or_else(|| {
                    let meta = record.ok()?.meta;
                    let (name, version) = (meta.name.parse().ok()?, meta.version.parse().ok()?);
                    Some(Release { name, version })
                });
                Damage {
                    wanted: Wanted {
                        digest: entry.digest,
                        release,
                        crate_bytes: u64::from(entry.crate_bytes),
                        is_seed: entry.kind == EntryKind::Seed,
                    },
                    entry,
                    cause,
                    is_own,
                }
            })
            .collect();
        damages.sort_by_key(|damage| (damage.entry.chain_depth, damage.entry.digest));
        Ok(Survey { objects, damages })
    }

    /// Whether a base cannot be had: damaged, or not held at all.
    fn lacks(&self, base: &Digest, bad: &BTreeSet<Digest>) -> bool {
        bad.contains(base) || !matches!(self.find(base), Ok(Some(_)))
    }
}
