//! Which crates and versions of those wanted are taken: by name, and the newest only.
//!
//! Pure. A filter says what is fetched (or exported, or copied), never what is noted of
//! a registry index: a crate that it leaves out is not taken for removed.

use crate::ids::{CrateName, Version};
use gix::glob::wildmatch;
use gix::glob::wildmatch::Mode;
use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

/// A glob on crate names: `*`, `?` and `[a-z]`. Letter case is nothing, and `-` and `_`
/// are one, as for crates.io.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameGlob {
    text: String,
    /// Matches keys where `text` matches names.
    by_key: String,
}

impl FromStr for NameGlob {
    type Err = String;

    fn from_str(text: &str) -> Result<NameGlob, String> {
        let bad = |cause: &str| Err(format!("`{text}` is no glob on crate names, such as `serde*`: {cause}"));
        if text.is_empty() {
            return bad("it is empty");
        }
        let (mut by_key, mut in_brackets) = (String::new(), false);
        for c in text.chars() {
            match c {
                '[' => in_brackets = true,
                ']' => in_brackets = false,
                '{' | '}' => return bad("braces mean nothing; give a glob for each alternative"),
                _ if in_brackets || "*?-_".contains(c) || c.is_ascii_alphanumeric() => {}
                _ => return bad(&format!("no name has `{c}` in it")),
            }
            // Within brackets it makes a range.
            let c = if c == '-' && !in_brackets { '_' } else { c };
            by_key.push(c.to_ascii_lowercase());
        }
        if in_brackets {
            return bad("`[` without `]`");
        }
        let text = text.to_owned();
        Ok(NameGlob { text, by_key })
    }
}

impl fmt::Display for NameGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl NameGlob {
    fn matches(&self, key: &str) -> bool {
        wildmatch(self.by_key.as_bytes().into(), key.as_bytes().into(), Mode::empty())
    }
}

/// Which crates and versions are taken. By default all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only crates that one of these matches, if there are any.
    pub only: Vec<NameGlob>,
    /// No crate that one of these matches.
    pub exclude: Vec<NameGlob>,
    /// Only so many versions of each crate, the newest; see [`Filter::newest`].
    pub latest: Option<NonZeroUsize>,
}

impl Filter {
    /// Whether the crate `name` is taken.
    pub fn takes(&self, name: &CrateName) -> bool {
        let key = name.key();
        let matches = |glob: &NameGlob| glob.matches(&key);
        (self.only.is_empty() || self.only.iter().any(matches)) && !self.exclude.iter().any(matches)
    }

    /// Which of the `releases` of one crate, each a version and whether it is yanked, are
    /// among the newest: places in the list, in its order. Newest is what cargo would
    /// take first: yanked ones not at all, and a prerelease only where there are not
    /// enough others.
    pub fn newest(&self, releases: &[(&Version, bool)]) -> Vec<usize> {
        let mut places: Vec<usize> = (0..releases.len()).collect();
        let Some(count) = self.latest else { return places };
        places.retain(|&place| !releases[place].1);
        let rank = |place: &usize| {
            let version = releases[*place].0;
            (version.semver().pre.is_empty(), version)
        };
        places.sort_by(|a, b| rank(b).cmp(&rank(a)));
        places.truncate(count.get());
        places.sort_unstable();
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(texts: &[&str]) -> Vec<NameGlob> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn takes(only: &[&str], exclude: &[&str], name: &str) -> bool {
        let filter = Filter {
            only: globs(only),
            exclude: globs(exclude),
            latest: None,
        };
        filter.takes(&name.parse().unwrap())
    }

    #[test]
    fn names_are_taken_by_globs() {
        assert!(takes(&[], &[], "any"));
        assert!(takes(&["serde*", "syn"], &[], "serde_json"));
        assert!(!takes(&["serde*", "syn"], &[], "syn2"));
        assert!(takes(&["SERDE-*"], &[], "serde_json") && takes(&["serde_j?on"], &[], "Serde-JSON"));
        assert!(takes(&["[a-c]*"], &[], "Bcd") && !takes(&["[a-c]*"], &[], "dcb"));
        assert!(takes(&["[!a-c]*"], &[], "dcb") && takes(&["a[-_]b"], &[], "a-b"));
        assert!(!takes(&[], &["*-sys"], "libz_sys"));
        assert!(!takes(&["lib*"], &["*-sys"], "libz-sys"), "what is excluded stays out");
    }

    #[test]
    fn what_is_no_glob_is_said() {
        for (bad, part) in [
            ("", "empty"),
            ("[a", "without"),
            ("{a,b}", "braces"),
            ("a.b", "no name has `.`"),
        ] {
            let cause = bad.parse::<NameGlob>().unwrap_err();
            assert!(cause.contains(part), "{cause}");
        }
    }

    #[test]
    fn the_newest_are_what_cargo_takes_first() {
        let versions = ["0.9.0", "1.0.0", "2.0.0-rc.1", "1.10.0", "1.2.0", "2.0.0-rc.2", "3.0.0"];
        let versions = versions.map(|version| version.parse::<Version>().unwrap());
        // The newest of all is yanked.
        let releases: Vec<(&Version, bool)> = versions
            .iter()
            .map(|version| (version, *version == versions[6]))
            .collect();
        let newest = |count| {
            let filter = Filter {
                latest: NonZeroUsize::new(count),
                ..Filter::default()
            };
            filter.newest(&releases)
        };
        assert_eq!(newest(1), [3]);
        assert_eq!(newest(2), [3, 4]);
        assert_eq!(newest(5), [0, 1, 3, 4, 5], "then prereleases, the newest first");
        assert_eq!(newest(9), [0, 1, 2, 3, 4, 5], "yanked ones never");
        assert_eq!(Filter::default().newest(&releases).len(), 7);
    }
}
