//! From `NAME[@VERSION or REQ]` to one release that the archive knows.

use cratehold::archive::{Archive, CrateState, ReleaseState};
use cratehold::ids::{Release, Version};

/// The release meant by `wanted`, as cargo would choose it.
pub fn select(
    archive: &Archive,
    wanted: &str,
) -> Result<(CrateState, ReleaseState, Release), Box<dyn std::error::Error>> {
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
            newest(
                held.iter()
                    .filter(|release| requirement.matches(release.version.semver())),
            )
        }
        (None, None) => {
            let stable = held.iter().filter(|release| release.version.semver().pre.is_empty());
            newest(stable).or_else(|| newest(held.iter()))
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
    Ok((state, found, release))
}

/// The newest that is not yanked, else the newest.
fn newest<'a>(releases: impl Iterator<Item = &'a ReleaseState> + Clone) -> Option<&'a ReleaseState> {
    let by_version = |release: &&ReleaseState| release.version.clone();
    releases
        .clone()
        .filter(|release| !release.yanked)
        .max_by_key(by_version)
        .or(releases.max_by_key(by_version))
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
