//! From `NAME[@VERSION or REQ]` to one release that the archive knows.

use cratehold::archive::{Archive, ReleaseState};
use cratehold::ids::{Digest, Release, Version};

/// A release that is held.
pub struct Selected {
    /// Its name, in the spelling it was published with, and its version.
    pub release: Release,
    /// What the manifest says of it.
    pub state: ReleaseState,
    /// Its checksum.
    pub digest: Digest,
}

/// The release meant by `wanted`, as cargo would choose it.
pub fn select(archive: &Archive, wanted: &str) -> Result<Selected, Box<dyn std::error::Error>> {
    let (name, requirement) = wanted
        .split_once('@')
        .map_or((wanted, None), |(name, req)| (name, Some(req)));
    let Some(state) = archive.crate_state(name)? else {
        return Err(unknown(archive, name)?.into());
    };
    let mut held = Vec::new();
    for release in state.current() {
        if archive.find(&release.digest)?.is_some() {
            held.push(release.clone());
        }
    }
    let exact = requirement.and_then(|text| text.parse::<Version>().ok());
    let found = match (&exact, requirement) {
        (Some(version), _) => held.iter().find(|release| release.version == *version),
        (None, Some(text)) => {
            let requirement: semver::VersionReq = text
                .parse()
                .map_err(|error| format!("`{text}` is neither a version nor a requirement: {error}"))?;
            let matching = |release: &&ReleaseState| requirement.matches(release.version.semver());
            newest(held.iter().filter(matching), wanted)?
        }
        (None, None) => {
            let stable = |release: &&ReleaseState| release.version.semver().pre.is_empty() && !release.yanked;
            match held.iter().any(|release| stable(&release)) {
                true => newest(held.iter().filter(stable), wanted)?,
                false => newest(held.iter(), wanted)?,
            }
        }
    };
    let Some(found) = found.cloned() else {
        let mut versions: Vec<&Version> = held.iter().map(|release| &release.version).collect();
        versions.sort();
        let shown: Vec<String> = versions.iter().rev().take(8).map(ToString::to_string).collect();
        let shown = if shown.is_empty() {
            "none".to_owned()
        } else {
            shown.join(", ")
        };
        return Err(format!(
            "no held release matches `{wanted}`; newest held of {}: {shown}",
            state.name
        )
        .into());
    };
    let release = Release {
        name: state.name.parse()?,
        version: found.version.clone(),
    };
    Ok(Selected {
        release,
        digest: found.digest,
        state: found,
    })
}

/// The newest that is not yanked; where all are, none may be taken unasked.
fn newest<'a>(
    releases: impl Iterator<Item = &'a ReleaseState> + Clone,
    wanted: &str,
) -> Result<Option<&'a ReleaseState>, String> {
    let found = releases
        .clone()
        .filter(|release| !release.yanked)
        .max_by_key(|release| &release.version);
    match (found, releases.max_by_key(|release| &release.version)) {
        (None, Some(yanked)) => Err(format!(
            "every held release that matches `{wanted}` is yanked; name one exactly to get it, such as @{}",
            yanked.version
        )),
        (found, _) => Ok(found),
    }
}

/// "No such crate", with the names that look most like it.
pub fn unknown(archive: &Archive, name: &str) -> Result<String, cratehold::archive::Error> {
    let mut near: Vec<(usize, String)> = archive
        .crates()?
        .into_iter()
        .map(|state| (strsim::damerau_levenshtein(name, &state.name), state.name))
        .filter(|(distance, _)| *distance <= 1 + name.len() / 4)
        .collect();
    near.sort();
    let shown: Vec<String> = near.into_iter().take(3).map(|(_, name)| format!("`{name}`")).collect();
    let hint = match shown.is_empty() {
        true => "`cratehold list` shows what there is".to_owned(),
        false => format!("did you mean {}?", shown.join(", ")),
    };
    Ok(format!("no crate `{name}` in this archive; {hint}"))
}
