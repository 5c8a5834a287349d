//! What is wanted, as the command line, lists and lockfiles say it, and which of
//! the releases that a registry lists that is. Pure, but for reading those files: the
//! same choice is made whether a registry lists the releases or an archive does.

use super::{Failure, Filter};
use crate::archive::CrateState;
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
    /// Which of all that is wanted are taken.
    pub filter: Filter,
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

    /// Whether everything that the registry lists is wanted, but for the filter.
    pub fn is_everything(&self) -> bool {
        self.all
    }

    /// The crates that were named and that the filter takes, by key, and what is wanted
    /// of each. None if [everything](Selection::is_everything) is.
    pub fn crates(&self) -> impl Iterator<Item = (&CrateName, &[Want])> {
        let taken = self.crates.values().filter(|(name, _)| self.filter.takes(name));
        taken.map(|(name, wants)| (name, &wants[..]))
    }

    /// How many wants of named crates the filter leaves out.
    pub fn excluded_count(&self) -> u64 {
        let left_out = self.crates.values().filter(|(name, _)| !self.filter.takes(name));
        left_out.map(|(_, wants)| wants.len() as u64).sum()
    }

    /// What cannot be read in lockfiles and lists.
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// Chooses from `listed`, the releases of the crate `name`.
    pub fn choose(&self, name: &CrateName, listed: &[Listed]) -> Choice {
        if !self.filter.takes(name) {
            return Choice::default();
        }
        match (self.all, self.crates.get(&name.key())) {
            (true, _) => choose(name, &[Want::All], &self.filter, listed),
            (false, Some((_, wants))) => choose(name, wants, &self.filter, listed),
            (false, None) => Choice::default(),
        }
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
pub struct Listed {
    /// The exact version.
    pub version: Version,
    /// Its checksum.
    pub digest: Digest,
    /// Whether it is yanked.
    pub yanked: bool,
    /// Its line, unless that is still to be looked up in the archive.
    pub line: Option<RegistryLine>,
}

impl Listed {
    /// What the archive knows the registry to list of a crate.
    pub fn known(state: &CrateState) -> impl Iterator<Item = Listed> + '_ {
        let listed = state.current().filter(|release| release.is_listed());
        listed.map(|release| Listed {
            version: release.version.clone(),
            digest: release.digest,
            yanked: release.yanked,
            line: None,
        })
    }
}

/// What of a crate's releases is wanted.
#[derive(Debug, Default)]
pub struct Choice {
    /// Places in the list, and whether each was asked for by its version.
    pub chosen: Vec<(usize, bool)>,
    /// What cannot be had, and why.
    pub failures: Vec<(Want, Failure)>,
}

/// Chooses from `listed` what `wants` asks for. Of versions that were not named exactly,
/// only the newest that `filter` asks for, of each want by itself.
pub(super) fn choose(name: &CrateName, wants: &[Want], filter: &Filter, listed: &[Listed]) -> Choice {
    let newest_of = |places: Vec<usize>| {
        let releases: Vec<(&Version, bool)> = places.iter().map(|&i| (&listed[i].version, listed[i].yanked)).collect();
        let newest = filter.newest(&releases);
        newest.into_iter().map(move |at| places[at])
    };
    let mut chosen: BTreeMap<usize, bool> = BTreeMap::new();
    let mut refused = BTreeSet::new();
    let mut failures = Vec::new();
    for want in wants {
        let mut fail = |cause: String| {
            let what = describe(name, want);
            failures.push((want.clone(), Failure { what, cause }));
        };
        match want {
            Want::All => newest_of((0..listed.len()).collect()).for_each(|i| {
                chosen.entry(i).or_insert(false);
            }),
            Want::Matching(requirement) => {
                let matching = |i: &usize| requirement.matches(listed[*i].version.semver());
                let found: Vec<usize> = (0..listed.len()).filter(matching).collect();
                if found.is_empty() {
                    fail(format!("no version in the registry index matches{}", newest(listed)));
                }
                for i in newest_of(found) {
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
            yanked: false,
            line: None,
        }
    }

    fn chosen(wants: &[&str]) -> (Vec<usize>, usize) {
        let listed = ["1.0.0", "1.0.0+b", "1.2.0", "2.0.0-rc.1"].map(listed);
        let wants: Vec<CrateWant> = wants.iter().map(|want| want.parse().unwrap()).collect();
        let name = wants[0].name.clone();
        let wants: Vec<Want> = wants.into_iter().map(|want| want.want).collect();
        let Choice { chosen, failures } = choose(&name, &wants, &Filter::default(), &listed);
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
        let Choice { chosen, failures } = choose(&name, &[demanded, Want::All], &Filter::default(), &[listed("1.0.0")]);
        assert!(chosen.is_empty());
        assert!(failures[0].1.cause.contains(&Digest([0; 32]).to_string()));
    }

    #[test]
    fn only_the_newest_but_every_one_named() {
        let mut selection = Selection::default();
        for want in ["a@^1", "a@0.9.0", "b"] {
            selection.add_crate(want.parse().unwrap());
        }
        selection.filter = Filter {
            exclude: vec!["b".parse().unwrap()],
            latest: std::num::NonZeroUsize::new(1),
            ..Filter::default()
        };
        let mut listed = ["0.9.0", "1.0.0", "1.2.0", "1.1.0", "2.0.0"].map(listed);
        listed[2].yanked = true;
        let chosen = |selection: &Selection, name: &str| {
            let Choice { chosen, failures } = selection.choose(&name.parse().unwrap(), &listed);
            assert!(failures.is_empty());
            chosen
        };
        assert_eq!(chosen(&selection, "a"), [(0, true), (3, false)]);
        assert_eq!(chosen(&selection, "b"), []);
        assert_eq!(chosen(&selection, "c"), []);
        assert_eq!(selection.crates().count(), 1);
        assert_eq!(selection.excluded_count(), 1);
        let everything = Selection {
            filter: selection.filter,
            ..Selection::everything()
        };
        assert_eq!(chosen(&everything, "a"), [(4, false)]);
        assert_eq!(chosen(&everything, "b"), []);
        assert_eq!(everything.crates().count(), 0);
    }
}
