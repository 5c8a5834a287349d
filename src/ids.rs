//! The names of things: digest, crate name, release, pack id, generation.
//!
//! This room imports nothing of the project. Everything here is plain data
//! with checked constructors; no I/O, no bytes-on-disk layouts.

use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// SHA-256 of a crate file: the identity of a blob, and the registry's `cksum`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {what}: expected {expected}")]
pub struct InvalidId {
    /// What was given, shortened to 80 characters.
    pub text: String,
    /// Which id it should have been.
    pub what: &'static str,
    /// The rule it breaks.
    pub expected: &'static str,
}

impl InvalidId {
    fn new(text: &str, what: &'static str, expected: &'static str) -> InvalidId {
        let text = text.chars().take(80).flat_map(char::escape_default).collect();
        InvalidId { text, what, expected }
    }
}

impl FromStr for Digest {
    type Err = InvalidId;

    /// Exactly 64 hexadecimal digits, of either case.
    fn from_str(text: &str) -> Result<Digest, InvalidId> {
        let bad = || InvalidId::new(text, "SHA-256 checksum", "64 hexadecimal digits");
        let nibble = |c: u8| (c as char).to_digit(16).map(|v| v as u8);
        let text_bytes = text.as_bytes();
        if text_bytes.len() != 64 {
            return Err(bad());
        }
        let mut digest = [0u8; 32];
        for (byte, pair) in digest.iter_mut().zip(text_bytes.chunks_exact(2)) {
            *byte = nibble(pair[0]).ok_or_else(bad)? << 4 | nibble(pair[1]).ok_or_else(bad)?;
        }
        Ok(Digest(digest))
    }
}

/// A crate's name, in the spelling it was published with.
///
/// 1 to 64 ASCII letters, digits, `-` or `_`: what crates.io accepts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrateName(String);

impl CrateName {
    /// The longest name, in bytes; crates.io's own limit.
    pub const MAX_BYTES: usize = 64;

    /// The name as published.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the registry holds unique: lowercase, with `-` as `_`.
    pub fn key(&self) -> String {
        name_key(&self.0)
    }
}

/// The key of any text that may be a crate name; see [`CrateName::key`].
pub fn name_key(name: &str) -> String {
    name.chars()
        .map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() })
        .collect()
}

impl FromStr for CrateName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<CrateName, InvalidId> {
        let good = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        if text.is_empty() || text.len() > CrateName::MAX_BYTES || !text.bytes().all(good) {
            return Err(InvalidId::new(
                text,
                "crate name",
                "1 to 64 letters, digits, `-` or `_`",
            ));
        }
        Ok(CrateName(text.to_owned()))
    }
}

impl fmt::Display for CrateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A version's exact text. Two texts that differ only in `+build` are two versions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version {
    text: String,
    parsed: semver::Version,
}

impl Version {
    /// The exact text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its meaning, for ordering and for matching requirements.
    pub fn semver(&self) -> &semver::Version {
        &self.parsed
    }
}

impl FromStr for Version {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Version, InvalidId> {
        let bad = || InvalidId::new(text, "version", "a full semantic version such as 1.2.3");
        if text.len() > 255 {
            return Err(bad());
        }
        let parsed = semver::Version::parse(text).map_err(|_| bad())?;
        Ok(Version {
            text: text.to_owned(),
            parsed,
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Version) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    /// Semver precedence; build metadata, then text, break ties.
    fn cmp(&self, other: &Version) -> std::cmp::Ordering {
        self.parsed.cmp(&other.parsed).then_with(|| self.text.cmp(&other.text))
    }
}

/// A crate name and an exact version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    /// The crate.
    pub name: CrateName,
    /// The version.
    pub version: Version,
}

impl Release {
    /// From `NAME-VERSION`, as the folder inside a crate file is called.
    ///
    /// Both may hold dashes, but only the version holds dots and it begins with
    /// three numbers, so at most one dash parts a valid name from a valid version.
    ///
    /// # Errors
    /// When no dash does.
    pub fn from_stem(text: &str) -> Result<Release, InvalidId> {
        text.match_indices('-')
            .find_map(|(at, _)| {
                let (name, version) = (text[..at].parse().ok()?, text[at + 1..].parse().ok()?);
                Some(Release { name, version })
            })
            .ok_or_else(|| InvalidId::new(text, "release", "NAME-VERSION"))
    }

    /// `NAME-VERSION`, the inverse of [`Release::from_stem`].
    pub fn stem(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

impl FromStr for Release {
    type Err = InvalidId;

    /// `NAME@VERSION`.
    fn from_str(text: &str) -> Result<Release, InvalidId> {
        let (name, version) = text
            .split_once('@')
            .ok_or_else(|| InvalidId::new(text, "release", "NAME@VERSION"))?;
        Ok(Release {
            name: name.parse()?,
            version: version.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_round_trips_and_refuses() {
        let digest = Digest::of(b"");
        assert_eq!(
            digest.to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(digest.to_string().to_uppercase().parse(), Ok(digest));
        for bad in ["", "e3b0", "zz", &"g".repeat(64), &"é".repeat(32)] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_share_a_key_across_case_and_dashes() {
        let name: CrateName = "Serde-JSON".parse().unwrap();
        assert_eq!(name.key(), "serde_json");
        for bad in ["", "a b", "../x", "a/b", "é", &"a".repeat(65)] {
            assert!(bad.parse::<CrateName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_keep_build_metadata_apart() {
        let plain: Version = "1.0.0".parse().unwrap();
        let build: Version = "1.0.0+a".parse().unwrap();
        assert_ne!(plain, build);
        assert!(plain < build);
        assert!("1.0".parse::<Version>().is_err());
        assert_eq!("serde@1.0.0".parse::<Release>().unwrap().to_string(), "serde@1.0.0");
    }

    #[test]
    fn stems_part_at_the_one_dash_that_can_be() {
        for (stem, release) in [
            ("serde-1.0.0", "serde@1.0.0"),
            ("a-1-2.0.0", "a-1@2.0.0"),
            ("a-1.0.0-2.0.0", "a@1.0.0-2.0.0"),
            ("x-y-0.1.0-beta-1.2+b-3.0", "x-y@0.1.0-beta-1.2+b-3.0"),
        ] {
            let parsed = Release::from_stem(stem).unwrap();
            assert_eq!((parsed.to_string(), parsed.stem()), (release.into(), stem.into()));
        }
        for bad in ["", "serde", "serde-1", "-1.0.0", "a.b-1.0.0", "serde-1.0.0/x"] {
            assert!(Release::from_stem(bad).is_err(), "{bad}");
        }
    }
}
