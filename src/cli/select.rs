//! From `NAME[@VERSION or REQ]` to one release that the archive knows.

use super::as_of::when;
use cratehold::archive::{Archive, CrateState, ReleaseState};
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

/// Which of the releases held may be taken.
#[derive(Debug, Clone, Copy, Default)]
pub enum Which {
    /// Those that the registry has.
    #[default]
    Current,
    /// Those, and if none matches, those that it no longer has.
    All,
    /// As `Current`, unless `removed`; with this checksum, if one is given. Where
    /// more than one may be meant, none is taken.
    Chosen {
        /// Whether those that it no longer has may be taken too.
        removed: bool,
        /// The checksum.
        sha256: Option<Digest>,
    },
}

/// The release meant by `wanted`, as cargo would choose it.
pub fn select(archive: &Archive, wanted: &str, which: Which) -> Result<Selected, Box<dyn std::error::Error>> {
    let (name, _) = split(wanted);
    let Some(state) = archive.crate_state(name)? else {
        return Err(unknown(archive, name)?.into());
    };
    let mut held = Vec::new();
    for release in &state.releases {
        if archive.find(&release.digest)?.is_some() {
            held.push(release.clone());
        }
    }
    if let Which::Chosen {
        sha256: Some(sha256), ..
    } = which
    {
        held.retain(|release| release.digest == sha256);
    }
    let (current, gone): (Vec<_>, Vec<_>) = held.iter().cloned().partition(ReleaseState::is_current);
    let takes_gone = match which {
        Which::Current => false,
        Which::All => true,
        Which::Chosen { removed, .. } => removed,
    };
    let found = match pick(&current, wanted)? {
        // Of the same version, the one made last goes first. [R 7.20]
        None if takes_gone => {
            let latest_first: Vec<_> = gone.iter().rev().cloned().collect();
            pick(&latest_first, wanted)?
        }
        found => found,
    };
    let Some(found) = found else {
        if let Some(gone) = pick(&gone, wanted).ok().flatten() {
            return Err(vanished(archive, &state, &gone)?.into());
        }
        if let Some(purged) = purged(archive, wanted)? {
            return Err(erased(archive, &state.name, &purged)?.into());
        }
        if let Some(listed) = unheld(archive, &state, wanted)? {
            return Err(lacking(archive, &state.name, &listed)?.into());
        }
        return Err(no_match(&state, &current, wanted).into());
    };
    if let Which::Chosen {
        removed: true,
        sha256: None,
    } = which
    {
        let rivals = held.iter().filter(|release| release.version == found.version);
        let rivals: Vec<&ReleaseState> = rivals.collect();
        if rivals.len() > 1 {
            let list: Vec<String> = rivals
                .iter()
                .map(|rival| Ok(format!("{} ({})", rival.digest, standing(archive, rival)?)))
                .collect::<Result<_, cratehold::archive::Error>>()?;
            return Err(format!(
                "{}@{} is held with {} checksums; choose one by --sha256: {}",
                state.name,
                found.version,
                list.len(),
                list.join(", ")
            )
            .into());
        }
    }
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

fn split(wanted: &str) -> (&str, Option<&str>) {
    wanted
        .split_once('@')
        .map_or((wanted, None), |(name, req)| (name, Some(req)))
}

/// The one of `held` that `wanted` means, as cargo would choose it.
fn pick(held: &[ReleaseState], wanted: &str) -> Result<Option<ReleaseState>, String> {
    let (_, requirement) = split(wanted);
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
    Ok(found.cloned())
}

/// The release that `wanted` would mean, had its bytes not been erased here.
pub fn purged(archive: &Archive, wanted: &str) -> Result<Option<ReleaseState>, Box<dyn std::error::Error>> {
    // Whatever snapshot is looked at: the bytes are gone from all of them.
    let state = archive.at(u64::MAX).crate_state(split(wanted).0)?;
    let releases = state.into_iter().flat_map(|state| state.releases);
    let purged: Vec<ReleaseState> = releases.filter(|release| release.purged).collect();
    Ok(pick(&purged, wanted).ok().flatten())
}

/// That a release was erased here, when and why.
fn erased(archive: &Archive, name: &str, purged: &ReleaseState) -> Result<String, cratehold::archive::Error> {
    let version = &purged.version;
    let how = erasure(archive, purged)?;
    Ok(format!(
        "{name}@{version} was erased from this archive on purpose, {how}; what the registry said of it is kept: \
         `cratehold info {name}@{version}`"
    ))
}

/// When a release was erased here, and why.
pub fn erasure(archive: &Archive, purged: &ReleaseState) -> Result<String, cratehold::archive::Error> {
    let (snapshot, reason) = archive.purge_of(purged)?.unwrap_or_default();
    Ok(format!("in {}: {reason}", when(archive, snapshot)?))
}

/// The release that `wanted` would mean, were it held: one that the registry lists.
fn unheld(
    archive: &Archive,
    state: &CrateState,
    wanted: &str,
) -> Result<Option<ReleaseState>, cratehold::archive::Error> {
    let mut listed = Vec::new();
    for release in state.current().filter(|release| release.is_listed()) {
        if archive.find(&release.digest)?.is_none() {
            listed.push(release.clone());
        }
    }
    Ok(pick(&listed, wanted).ok().flatten())
}

/// That a release is listed and not held, why, and how to get it.
fn lacking(archive: &Archive, name: &str, listed: &ReleaseState) -> Result<String, cratehold::archive::Error> {
    let version = &listed.version;
    let Some(absence) = listed.absence else {
        return Ok(format!(
            "{name}@{version} is in the registry but not held: `cratehold sync --crate {name}@={version}` fetches it"
        ));
    };
    let since = when(archive, absence.first)?;
    let times = match absence.count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    };
    Ok(format!(
        "{name}@{version} is in the registry index, but its download server does not have it: missing upstream since {since}, asked {times}; `cratehold list {name} --missing` says when it is asked for next"
    ))
}

fn no_match(state: &CrateState, held: &[ReleaseState], wanted: &str) -> String {
    let mut versions: Vec<&Version> = held.iter().map(|release| &release.version).collect();
    versions.sort();
    let shown: Vec<String> = versions.iter().rev().take(8).map(ToString::to_string).collect();
    let shown = if shown.is_empty() {
        "none".to_owned()
    } else {
        shown.join(", ")
    };
    format!(
        "no held release matches `{wanted}`; newest held of {}: {shown}",
        state.name
    )
}

/// That a release is no longer in the registry, since when, and how to get it.
fn vanished(archive: &Archive, state: &CrateState, gone: &ReleaseState) -> Result<String, cratehold::archive::Error> {
    let fate = fate(archive, gone)?;
    let (name, version, digest) = (&state.name, &gone.version, gone.digest);
    let same = state.releases.iter().filter(|other| other.version == *version);
    let by = match same.count() {
        1 => String::new(),
        _ => format!(" --sha256 {digest}"),
    };
    Ok(format!(
        "{name}@{version} is no longer in the registry: {fate}; its bytes are kept: `cratehold extract {name}@{version} --removed{by}` gives them"
    ))
}

/// What the manifest says of a release, in words.
pub fn standing(archive: &Archive, state: &ReleaseState) -> Result<String, cratehold::archive::Error> {
    let mut text = format!("since {}", when(archive, state.added)?);
    if state.yanked {
        text += "; yanked";
    }
    if !state.is_current() {
        text += &format!("; {}", fate(archive, state)?);
    }
    if state.purged {
        text += &format!("; erased here {}", erasure(archive, state)?);
    }
    Ok(text)
}

/// How a release left the registry, and when.
pub fn fate(archive: &Archive, gone: &ReleaseState) -> Result<String, cratehold::archive::Error> {
    let mut parts = Vec::new();
    for (what, generation) in [("replaced", gone.replaced), ("removed", gone.removed)] {
        if let Some(generation) = generation {
            parts.push(format!("{what} in {}", when(archive, generation)?));
        }
    }
    Ok(parts.join("; "))
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
