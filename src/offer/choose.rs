//! Which of the releases that an archive holds a selection asks for.

use crate::archive::{Archive, CrateState, Error, ReleaseState};
use crate::ids::{CrateName, Digest, Release, Version};
use crate::sync::{Failure, Listed, Selection, Want};

/// A release that was chosen, and is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChosenRelease {
    /// Its name as published, and its version.
    pub release: Release,
    /// Its checksum.
    pub digest: Digest,
    /// Its crate file's length.
    pub crate_bytes: u64,
}

/// What was chosen.
#[derive(Debug, Default)]
pub struct Chosen {
    /// Those of one crate stand together, in the order in which they were first seen.
    pub releases: Vec<ChosenRelease>,
    /// What was asked for by its version or name and is not held, and why.
    pub missing: Vec<Failure>,
}

/// Chooses from what `archive` holds. Of versions that are not named exactly, only what
/// the registry has, unless `removed`; what is named exactly, as lockfiles do, may be
/// gone from it.
///
/// Whoever asks for a crate gets what is held of it; whoever names a version must get
/// that one.
///
/// # Errors
/// When the archive is damaged where this looks.
pub fn choose(archive: &Archive, selection: &Selection, removed: bool) -> Result<Chosen, Error> {
    let mut chosen = Chosen {
        missing: selection.failures().to_vec(),
        ..Chosen::default()
    };
    if selection.is_everything() {
        archive.each_crate(|state| chosen.add(archive, selection, &state, &[], removed))?;
        return Ok(chosen);
    }
    for (name, wants) in selection.crates() {
        match archive.crate_state(name.as_str())? {
            Some(state) => chosen.add(archive, selection, &state, wants, removed)?,
            None => chosen.missing.extend(wants.iter().map(|want| Failure {
                what: describe(name, want),
                cause: format!("this archive knows no crate {name}"),
            })),
        }
    }
    Ok(chosen)
}

impl Chosen {
    /// Bytes of all crate files.
    pub fn crate_bytes(&self) -> u64 {
        self.releases.iter().map(|release| release.crate_bytes).sum()
    }

    fn add(
        &mut self,
        archive: &Archive,
        selection: &Selection,
        state: &CrateState,
        wants: &[Want],
        removed: bool,
    ) -> Result<(), Error> {
        // A name that this program cannot read has no place in any layout.
        let Ok(name) = state.name.parse::<CrateName>() else {
            return Ok(());
        };
        let mut held = Vec::new();
        for release in &state.releases {
            if let Some(entry) = archive.find(&release.digest)? {
                held.push((release, u64::from(entry.crate_bytes)));
            }
        }
        let mut offered: Vec<&(&ReleaseState, u64)> = Vec::new();
        for one in held.iter().filter(|(release, _)| removed || release.is_current()) {
            // Of two with one version, the one that the registry has, else the later.
            match offered.iter().position(|other| other.0.version == one.0.version) {
                Some(at) if offered[at].0.is_current() => {}
                Some(at) => offered[at] = one,
                None => offered.push(one),
            }
        }
        let listed: Vec<Listed> = offered.iter().map(|(release, _)| listed(release)).collect();
        let choice = selection.choose(&name, &listed);
        let mut taken: Vec<&(&ReleaseState, u64)> = choice.chosen.iter().map(|(at, _)| offered[*at]).collect();
        for (want, _) in choice.failures {
            let of_want = |one: &&(&ReleaseState, u64)| match &want {
                Want::Exact(version, checksum) => {
                    one.0.version == *version && checksum.is_none_or(|checksum| checksum == one.0.digest)
                }
                _ => false,
            };
            match held.iter().rev().find(of_want) {
                // Its bytes are what was asked for, whatever the registry says of them now.
                Some(found) if !taken.iter().any(|other| other.0.version == found.0.version) => taken.push(found),
                Some(_) => {}
                None => self.missing.push(Failure {
                    what: describe(&name, &want),
                    cause: why_missing(state, &held, &want),
                }),
            }
        }
        if taken.is_empty() && wants.contains(&Want::All) {
            self.missing.push(Failure {
                what: name.to_string(),
                cause: "the archive holds no release of it that was asked for".into(),
            });
        }
        self.releases
            .extend(taken.into_iter().map(|(release, crate_bytes)| ChosenRelease {
                release: Release {
                    name: name.clone(),
                    version: release.version.clone(),
                },
                digest: release.digest,
                crate_bytes: *crate_bytes,
            }));
        Ok(())
    }
}

fn listed(release: &ReleaseState) -> Listed {
    Listed {
        version: release.version.clone(),
        digest: release.digest,
        yanked: release.yanked || !release.is_current(),
        line: None,
    }
}

fn describe(name: &CrateName, want: &Want) -> String {
    match want {
        Want::All => name.to_string(),
        Want::Matching(requirement) => format!("{name}@{requirement}"),
        Want::Exact(version, _) => format!("{name}@{version}"),
    }
}

fn why_missing(state: &CrateState, held: &[(&ReleaseState, u64)], want: &Want) -> String {
    let newest = held.iter().map(|(release, _)| &release.version).max();
    let newest = newest.map_or_else(
        || "; the archive holds no release of it".to_owned(),
        |newest| format!("; the newest held is {newest}"),
    );
    let Want::Exact(version, checksum) = want else {
        return format!("no version that the archive holds matches{newest}");
    };
    let of_version = |release: &&ReleaseState| release.version == *version;
    if let (Some(checksum), Some((other, _))) = (checksum, held.iter().find(|(release, _)| of_version(release))) {
        let digest = other.digest;
        return format!(
            "the lockfile expects SHA-256 {checksum}, the archive holds {digest}; one of them is not to be trusted"
        );
    }
    match state.releases.iter().find(of_version) {
        Some(known) if known.purged => "its bytes were erased here on purpose (purged)".into(),
        Some(_) => "the archive knows it and does not hold it; `cratehold sync` fetches it".into(),
        None => format!("the archive does not know this version{newest}"),
    }
}

/// The newest of some releases of one crate.
pub(super) fn newest<'a>(releases: impl Iterator<Item = &'a ChosenRelease>) -> Option<&'a Version> {
    releases.map(|chosen| &chosen.release.version).max()
}
