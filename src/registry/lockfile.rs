//! `Cargo.lock`, versions 1 to 4: which releases it names, from where, and with
//! which checksums.

use super::{Error, same_registry};
use crate::ids::{Digest, Release};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// One release that a lockfile names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedRelease {
    /// The release.
    pub release: Release,
    /// Its checksum; old lockfiles may lack it.
    pub checksum: Option<Digest>,
}

/// A lockfile, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lockfile {
    /// What comes from the registry asked for.
    pub releases: Vec<LockedRelease>,
    /// Packages from git repositories, left out.
    pub git_count: usize,
    /// Packages from other registries, left out.
    pub other_count: usize,
    /// Packages that cannot be read: which, and why.
    pub bad: Vec<(String, String)>,
}

#[derive(serde::Deserialize)]
struct File {
    version: Option<u32>,
    #[serde(default)]
    package: Vec<Package>,
    /// Version 1 keeps checksums here.
    #[serde(default)]
    metadata: HashMap<String, toml::Value>,
}

#[derive(serde::Deserialize)]
struct Package {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

const CRATES_IO_GIT: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Reads the lockfile at `path`, for the registry whose index is `index`.
///
/// Whoever names another registry index usually means a mirror of crates.io, which
/// lockfiles do not know of. So crates.io's packages are taken, unless the lockfile
/// names that very index: then only what comes from there is.
///
/// # Errors
/// When it cannot be read, is no lockfile, or of a version above 4.
pub fn parse_lockfile(path: &Path, index: &str) -> Result<Lockfile, Error> {
    let fail = |cause: String| Error::File {
        path: path.display().to_string(),
        cause,
    };
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    let text = text.trim_start_matches('\u{feff}');
    let file: File = toml::from_str(text).map_err(|error| {
        let before = error.span().map_or(0, |span| span.start);
        let at = text.bytes().take(before).filter(|byte| *byte == b'\n').count() + 1;
        fail(format!(
            "not a Cargo.lock: line {at}: {}",
            error.message().replace('\n', " ")
        ))
    })?;
    match file.version {
        None | Some(1..=4) => {}
        Some(version) => return Err(fail(format!("expected lockfile version 1 to 4, found {version}"))),
    }
    let named = file.package.iter().filter_map(|package| package.source.as_deref());
    let by_name = named.clone().any(|source| same_registry(source, index));
    let means_index = |source: &str| same_registry(source, index) || (!by_name && same_registry(source, CRATES_IO_GIT));

    let mut lockfile = Lockfile::default();
    let mut seen = BTreeMap::new();
    for package in &file.package {
        let Some(source) = package.source.as_deref() else {
            continue;
        };
        if !means_index(source) {
            match source.starts_with("git+") {
                true => lockfile.git_count += 1,
                false => lockfile.other_count += 1,
            }
            continue;
        }
        match locked(package, source, &file.metadata) {
            Ok(locked) => {
                seen.entry(locked.release.clone()).or_insert(locked);
            }
            Err(cause) => lockfile
                .bad
                .push((format!("{} in {}", package.name.escape_debug(), path.display()), cause)),
        }
    }
    lockfile.releases = seen.into_values().collect();
    Ok(lockfile)
}

fn locked(package: &Package, source: &str, metadata: &HashMap<String, toml::Value>) -> Result<LockedRelease, String> {
    let release: Release = format!("{}@{}", package.name, package.version)
        .parse()
        .map_err(|error: crate::ids::InvalidId| error.to_string())?;
    let key = format!("checksum {} {} ({source})", package.name, package.version);
    let old = metadata.get(&key).and_then(toml::Value::as_str);
    let checksum = match package.checksum.as_deref().or(old) {
        None | Some("<none>") => None,
        Some(text) => Some(text.parse().map_err(|error: crate::ids::InvalidId| error.to_string())?),
    };
    Ok(LockedRelease { release, checksum })
}
