//! What is wanted, as the command line, lists and lockfiles say it, and which of
//! the releases that a registry lists that is.

use super::Failure;
use crate::ids::{CrateName, Digest, InvalidId, Version};
use crate::registry::{self, RegistryLine};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr;

/// What is wanted of one crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// Every version.
    All,
    /// Every version that matches.
    Matching(semver::VersionReq),
    /// This version, with this checksum if one is demanded.
    Exact(Version, Option<Digest>),
}

/// `NAME` or `NAME@REQ`; a full version is exact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrateWant {
    /// The crate.
    pub name: CrateName,
    /// What of it.
    pub want: Want,
}

impl FromStr for CrateWant {
    type Err = String;

    fn from_str(text: &str) -> Result<CrateWant, String> {
        let (name, requirement) = text
            .split_once('@')
            .map_or((text, None), |(name, req)| (name, Some(req)));
        let name = name.parse().map_err(|error: InvalidId| error.to_string())?;
        let want =
            match requirement.map(|text| (text, text.parse::<Version>())) {
                None => Want::All,
                Some((_, Ok(version))) => Want::Exact(version, None),
                Some((text, Err(_))) => Want::Matching(text.parse().map_err(|error| {
                    format!("`{text}` is neither a full version nor a version requirement: {error}")
                })?),
            };
        Ok(CrateWant { name, want })
    }
}

/// Everything wanted, by crate.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    pub(super) crates: BTreeMap<String, (CrateName, Vec<Want>)>,
    pub(super) failures: Vec<Failure>,
    pub(super) git_count: usize,
    pub(super) other_count: usize,
    pub(super) all: bool,
}

impl Selection {
    /// Adds what the lockfile at `path` takes from the registry with this `index`.
    ///
    /// # Errors
    /// When it cannot be used as a whole. Single packages that cannot be read are
    /// failures of the run, and stop nothing.
    pub fn add_lockfile(&mut self, path: &Path, index: &str) -> Result<(), registry::Error> {
        let lockfile = registry::parse_lockfile(path, index)?;
        self.git_count += lockfile.git_count;
        self.other_count += lockfile.other_count;
        self.failures.extend(lockfile.bad.into_iter().map(Failure::from));
        for locked in lockfile.releases {
            self.add(
                locked.release.name,
                Want::Exact(locked.release.version, locked.checksum),
            );
        }
        Ok(())
    }

    /// Adds the releases that the list at `path` names.
    ///
    /// # Errors
    /// When it cannot be read. Single lines that cannot are failures of the run.
    pub fn add_list(&mut self, path: &Path) -> Result<(), registry::Error> {
        let list = registry::parse_list(path)?;
        self.failures.extend(list.bad.into_iter().map(Failure::from));
        for release in list.releases {
            self.add(release.name, Want::Exact(release.version, None));
        }
        Ok(())
    }

    /// Everything that the registry lists; then nothing else need be added.
    pub fn everything() -> Selection {
        Selection {
            all: true,
            ..Selection::default()
        }
    }

    /// Adds what is wanted of one crate.
    pub fn add_crate(&mut self, wanted: CrateWant) {
        self.add(wanted.name, wanted.want);
    }

    fn add(&mut self, name: CrateName, want: Want) {
        let (_, wants) = self.crates.entry(name.key()).or_insert_with(|| (name, Vec::new()));
        if !wants.contains(&want) {
            wants.push(want);
        }
    }
}

/// How a want reads in a report.
pub(super) fn describe(name: &CrateName, want: &Want) -> String {
    match want {
        Want::All => name.to_string(),
        Want::Matching(requirement) => format!("{name}@{requirement}"),
        Want::Exact(version, _) => format!("{name}@{version}"),
    }
}

/// A release that the registry lists now, the newest of its version.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub version: Version,
    pub digest: Digest,
    /// Its line, unless that is still to be looked up in the archive.
    pub line: Option<RegistryLine>,
}

/// What of a crate's releases is wanted.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// Places in the list, and whether each was asked for by its version.
    pub chosen: Vec<(usize, bool)>,
    /// What cannot be had, and why.
    pub failures: Vec<(Want, Failure)>,
}

/// Chooses from `listed` what `wants` asks for.
pub(super) fn choose(name: &CrateName, wants: &[Want], listed: &[Listed]) -> Choice {
    let mut chosen: BTreeMap<usize, bool> = BTreeMap::new();
    let mut refused = BTreeSet::new();
    let mut failures = Vec::new();
    for want in wants {
        let mut fail = |cause: String| {
            let what = describe(name, want);
            failures.push((want.clone(), Failure { what, cause }));
        };
        match want {
            Want::All => (0..listed.len()).for_each(|i| {
                chosen.entry(i).or_insert(false);
            }),
            Want::Matching(requirement) => {
                let matching = |i: &usize| requirement.matches(listed[*i].version.semver());
                let found: Vec<usize> = (0..listed.len()).filter(matching).collect();
                if found.is_empty() {
                    fail(format!("no version in the registry index matches{}", newest(listed)));
                }
                for i in found {
                    chosen.entry(i).or_insert(false);
                }
            }
            Want::Exact(version, checksum) => match listed.iter().position(|listed| listed.version == *version) {
                None => fail(format!("no such version in the registry index{}", newest(listed))),
                Some(i) => match checksum.filter(|checksum| *checksum != listed[i].digest) {
                    Some(checksum) => {
                        refused.insert(i);
                        fail(format!(
                            "the lockfile expects SHA-256 {checksum}, the registry index lists {}; one of them is not to be trusted",
                            listed[i].digest
                        ));
                    }
                    None => {
                        chosen.insert(i, true);
                    }
                },
            },
        }
    }
    // Whoever demands another checksum does not want these bytes, whoever else does.
    chosen.retain(|i, _| !refused.contains(i));
    let chosen = chosen.into_iter().collect();
    Choice { chosen, failures }
}

fn newest(listed: &[Listed]) -> String {
    let newest = listed.iter().map(|listed| &listed.version).max();
    newest.map_or_else(String::new, |newest| format!("; the newest is {newest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(version: &str) -> Listed {
        let version: Version = version.parse().unwrap();
        let digest = Digest::of(version.as_str().as_bytes());
        Listed {
            version,
            digest,
            line: None,
        }
    }

    fn chosen(wants: &[&str]) -> (Vec<usize>, usize) {
        let listed = ["1.0.0", "1.0.0+b", "1.2.0", "2.0.0-rc.1"].map(listed);
        let wants: Vec<CrateWant> = wants.iter().map(|want| want.parse().unwrap()).collect();
        let name = wants[0].name.clone();
        let wants: Vec<Want> = wants.into_iter().map(|want| want.want).collect();
        let Choice { chosen, failures } = choose(&name, &wants, &listed);
        (chosen.into_iter().map(|(i, _)| i).collect(), failures.len())
    }

    #[test]
    fn wants_choose_releases() {
        assert_eq!(chosen(&["a"]), (vec![0, 1, 2, 3], 0));
        assert_eq!(chosen(&["a@1.0.0"]), (vec![0], 0));
        assert_eq!(chosen(&["a@1.0.0+b"]), (vec![1], 0));
        assert_eq!(chosen(&["a@^1.1", "a@2.0.0-rc.1"]), (vec![2, 3], 0));
        assert_eq!(chosen(&["a@3.0.0", "a@^4"]), (vec![], 2));
        for bad in ["", "a b", "a@", "a@x.y", "../a"] {
            assert!(bad.parse::<CrateWant>().is_err(), "{bad}");
        }
    }

    #[test]
    fn another_checksum_is_refused() {
        let demanded = Want::Exact("1.0.0".parse().unwrap(), Some(Digest([0; 32])));
        let name = "a".parse().unwrap();
        let Choice { chosen, failures } = choose(&name, &[demanded, Want::All], &[listed("1.0.0")]);
        assert!(chosen.is_empty());
        assert!(failures[0].1.cause.contains(&Digest([0; 32]).to_string()));
    }
}
