//! What crate files are called in each kind of folder.

use super::Format;
use crate::ids::{CrateName, Digest, Release};
use crate::offer::ChosenRelease;
use crate::registry::{IndexConfig, index_path};
use std::collections::HashMap;
use std::path::Path;

/// Where the configuration of a static registry lies in its folder.
pub(super) const CONFIG_PLACE: &str = "index/config.json";

/// Where loose crate files lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `serde-1.0.0.crate`, all in one folder.
    Flat,
    /// `se/rd/serde/serde-1.0.0.crate`, as get-all-crates has them.
    GetAllCrates,
    /// `crates/se/rd/serde/1.0.0/serde-1.0.0.crate`, as panamax has them.
    Panamax,
}

/// What a static registry calls its crate files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileNames {
    /// `crates/se/rd/serde/serde-1.0.0.crate`.
    Release,
    /// `crates/SHA-256.crate`: for servers that take `+` in an address for a space.
    Sha256,
}

impl FileNames {
    /// The `dl` of a registry at `base_url`.
    pub(super) fn dl(self, base_url: &str) -> String {
        let base = base_url.trim_end_matches('/');
        match self {
            FileNames::Release => format!("{base}/crates/{{lowerprefix}}/{{crate}}/{{crate}}-{{version}}.crate"),
            FileNames::Sha256 => format!("{base}/crates/{{sha256-checksum}}.crate"),
        }
    }
}

/// The address that the static registry in `folder` was made for, if there is one.
pub fn registry_base(folder: &Path) -> Option<String> {
    let config = std::fs::read(folder.join(CONFIG_PLACE)).ok()?;
    let config = IndexConfig::parse(CONFIG_PLACE, &config).ok()?;
    let (base, _) = config.dl.split_once("/crates/{")?;
    Some(base.to_owned())
}

/// The folders above a crate, in lowercase: `1`, `3/s`, `se/rd`.
fn prefix(name: &CrateName) -> String {
    let path = index_path(name);
    path.rsplit_once('/')
        .map_or(String::new(), |(prefix, _)| prefix.to_owned())
}

/// Where the crate file of a release lies in an export.
pub(super) fn place(release: &Release, digest: &Digest, format: &Format) -> String {
    let (name, version, stem) = (&release.name, &release.version, release.stem());
    let prefix = prefix(name);
    match format {
        Format::Crates(Layout::GetAllCrates) => format!("{prefix}/{name}/{stem}.crate"),
        Format::Crates(Layout::Panamax) => format!("crates/{prefix}/{name}/{version}/{stem}.crate"),
        Format::Registry { names, .. } => match names {
            FileNames::Release => format!("crates/{prefix}/{name}/{stem}.crate"),
            FileNames::Sha256 => format!("crates/{digest}.crate"),
        },
        Format::LocalRegistry | Format::Crates(Layout::Flat) | Format::Vendor { .. } => format!("{stem}.crate"),
    }
}

/// The place of each of `chosen`. Of releases whose names some file systems take for one,
/// only the first has a place.
pub(super) fn places(chosen: &[ChosenRelease], format: &Format) -> Vec<Result<String, String>> {
    let places = chosen.iter().map(|one| place(&one.release, &one.digest, format));
    unlike(places, chosen)
}

/// Refuses places that differ from another only in letter case. Those of one crate stand
/// together, and no two crates' names differ so.
pub(super) fn unlike(places: impl Iterator<Item = String>, chosen: &[ChosenRelease]) -> Vec<Result<String, String>> {
    let mut taken: HashMap<String, usize> = HashMap::new();
    let mut crate_name = None;
    let places = places.enumerate().map(|(at, place)| {
        if crate_name != Some(&chosen[at].release.name) {
            crate_name = Some(&chosen[at].release.name);
            taken.clear();
        }
        match taken.get(&place.to_lowercase()) {
            Some(&other) if chosen[other].digest != chosen[at].digest => Err(format!(
                "its file would be named like that of {}, but for the case of letters: export it to a folder of its own",
                chosen[other].release
            )),
            _ => {
                taken.insert(place.to_lowercase(), at);
                Ok(place)
            }
        }
    });
    places.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;
    use crate::registry::DownloadTemplate;

    #[test]
    fn every_layout_has_its_places() {
        let release: Release = "Serde@1.0.0+a".parse().unwrap();
        let digest = Digest([0xab; 32]);
        for (layout, path) in [
            (Layout::Flat, "Serde-1.0.0+a.crate"),
            (Layout::GetAllCrates, "se/rd/Serde/Serde-1.0.0+a.crate"),
            (Layout::Panamax, "crates/se/rd/Serde/1.0.0+a/Serde-1.0.0+a.crate"),
        ] {
            assert_eq!(place(&release, &digest, &Format::Crates(layout)), path);
        }
        assert_eq!(
            place(&"ab@1.0.0".parse().unwrap(), &digest, &Format::LocalRegistry),
            "ab-1.0.0.crate"
        );
    }

    #[test]
    fn a_registrys_places_are_where_its_dl_leads() {
        for names in [FileNames::Release, FileNames::Sha256] {
            for release in ["a@1.0.0", "Ab@1.0.0", "aBc@1.0.0", "Serde@1.0.0"] {
                let (release, digest) = (release.parse().unwrap(), Digest([0xab; 32]));
                let base_url = "http://h/x/".to_owned();
                let dl = names.dl(&base_url);
                let place = place(&release, &digest, &Format::Registry { base_url, names });
                let url = DownloadTemplate::parse(&dl).unwrap().url(&release, &digest);
                assert_eq!(url, format!("http://h/x/{place}"));
            }
        }
    }

    #[test]
    fn names_that_differ_only_in_case_are_not_mixed_up() {
        let chosen = ["a@1.0.0+x", "a@1.0.0+X", "a@1.0.1", "b@1.0.0+X"].map(|release| ChosenRelease {
            release: release.parse().unwrap(),
            digest: Digest::of(release.as_bytes()),
            crate_bytes: 1,
        });
        let places = places(&chosen, &Format::LocalRegistry);
        let good: Vec<bool> = places.iter().map(Result::is_ok).collect();
        assert_eq!(good, [true, false, true, true]);
        assert!(places[1].as_ref().unwrap_err().contains("a@1.0.0+x"));
    }
}
