//! What every kind of registry index gives, and which address means which kind.

use super::{Error, IndexConfig};
use crate::ids::CrateName;

/// The sparse index of crates.io.
pub const CRATES_IO: &str = "sparse+https://index.crates.io/";

/// What became of a crate's file since it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CrateFile {
    /// The whole file, and a tag to ask with next time.
    Read {
        /// The file.
        bytes: Vec<u8>,
        /// The tag, if the server gives any.
        tag: Option<String>,
    },
    /// It is as it was at the tag given.
    Unchanged,
    /// The registry has no such crate.
    Absent,
}

/// A registry index, asked crate by crate. The sparse kind does it over HTTP; a
/// clone of a git index can do the same with a blob id for a tag.
pub trait RegistryIndex: Send + Sync {
    /// Its address, which names the registry in every commit of the archive.
    fn registry(&self) -> &str;

    /// Its `config.json`.
    ///
    /// # Errors
    /// When it cannot be had or is none.
    fn config(&self) -> Result<IndexConfig, Error>;

    /// The file of the crate `name`, unless it is still the one with `tag`.
    ///
    /// # Errors
    /// When that cannot be told.
    fn crate_file(&self, name: &CrateName, tag: Option<&str>) -> Result<CrateFile, Error>;
}

/// An `--index`, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexUrl {
    /// `sparse+URL`; the URL ends in `/`.
    Sparse(String),
}

impl IndexUrl {
    /// Reads an `--index`.
    ///
    /// # Errors
    /// When it is of no kind that can be asked.
    pub fn parse(text: &str) -> Result<IndexUrl, Error> {
        let Some(url) = text.strip_prefix("sparse+") else {
            return Err(Error::Setting(format!(
                "`{text}`: only sparse registry indexes can be asked yet: expected sparse+URL, such as {CRATES_IO}"
            )));
        };
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        match host {
            Some(host) if !host.trim_matches('/').is_empty() => {
                Ok(IndexUrl::Sparse(format!("{}/", url.trim_end_matches('/'))))
            }
            _ => Err(Error::Setting(format!(
                "`{text}`: expected an address that begins with sparse+https:// or sparse+http://"
            ))),
        }
    }

    /// The address in full, as commits record it.
    pub fn registry(&self) -> String {
        match self {
            IndexUrl::Sparse(url) => format!("sparse+{url}"),
        }
    }
}

/// Whether two addresses, as `--index`, commits and lockfiles write them, mean one
/// registry.
pub fn same_registry(a: &str, b: &str) -> bool {
    fn plain(address: &str) -> String {
        let bare = address
            .strip_prefix("registry+")
            .or_else(|| address.strip_prefix("sparse+"));
        let bare = bare.unwrap_or(address).trim_end_matches('/').trim_end_matches(".git");
        match bare {
            "https://github.com/rust-lang/crates.io-index" | "https://index.crates.io" => "crates.io".to_owned(),
            other => other.to_owned(),
        }
    }
    plain(a) == plain(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_understood_or_refused() {
        let parse = |text| IndexUrl::parse(text).map(|index| index.registry());
        assert_eq!(parse(CRATES_IO).unwrap(), CRATES_IO);
        assert_eq!(parse("sparse+http://[::1]:80").unwrap(), "sparse+http://[::1]:80/");
        for bad in [
            "https://x.test/index.git",
            "sparse+ftp://x.test/",
            "sparse+https://",
            "x",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn crates_io_has_two_addresses() {
        assert!(same_registry(
            CRATES_IO,
            "registry+https://github.com/rust-lang/crates.io-index"
        ));
        assert!(!same_registry(CRATES_IO, "sparse+https://x.test/"));
        assert!(same_registry("sparse+https://x.test", "sparse+https://x.test/"));
    }
}
