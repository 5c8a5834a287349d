//! From a name, and a version or none, to what is to be shown.

use super::NoPage;
use crate::archive::{Archive, CrateState, ReleaseState};
use crate::format::index::Entry;

/// The crate of this name, in any spelling.
pub(super) fn krate(archive: &Archive, name: &str) -> Result<CrateState, NoPage> {
    let state = archive.crate_state(name)?;
    state.ok_or_else(|| NoPage::Absent(format!("The archive knows no crate of the name “{name}”.")))
}

/// The release with this exact version: the one that the registry has, else the last one
/// that it had.
pub(super) fn release<'a>(state: &'a CrateState, version: &str) -> Result<&'a ReleaseState, NoPage> {
    let mut same = state
        .releases
        .iter()
        .filter(|release| release.version.as_str() == version);
    let current = same.clone().rfind(|release| release.is_current());
    let found = current.or_else(|| same.next_back());
    found.ok_or_else(|| NoPage::Absent(format!("The archive knows no version “{version}” of {}.", state.name)))
}

/// The release to show of a crate: as cargo would choose it among what is held, else the
/// newest of all.
pub(super) fn newest<'a>(archive: &Archive, state: &'a CrateState) -> Result<Option<&'a ReleaseState>, NoPage> {
    let mut held = Vec::new();
    for release in &state.releases {
        if archive.find(&release.digest)?.is_some() {
            held.push(release);
        }
    }
    let rank = |release: &&ReleaseState| {
        let is_stable = release.version.semver().pre.is_empty();
        (
            release.is_current(),
            !release.yanked,
            is_stable,
            release.version.clone(),
        )
    };
    let newest = held.into_iter().max_by_key(rank);
    Ok(newest.or_else(|| state.releases.iter().max_by_key(rank)))
}

/// Where the release's bytes lie; in words if they are not held.
pub(super) fn entry(archive: &Archive, state: &CrateState, release: &ReleaseState) -> Result<Entry, NoPage> {
    archive.find(&release.digest)?.ok_or_else(|| {
        let why = if release.purged {
            "was erased here"
        } else {
            "is not held here"
        };
        NoPage::Absent(format!(
            "{} {} {why}, so its files cannot be shown.",
            state.name, release.version
        ))
    })
}
