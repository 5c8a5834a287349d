//! What every kind of registry index gives, and which address means which kind.

use super::git::{file_url, is_remote};
use super::{Error, GitPlace, IndexConfig};
use crate::ids::CrateName;
use std::path::Path;

/// The sparse index of crates.io.
pub const CRATES_IO: &str = "sparse+https://index.crates.io/";

/// The git index of crates.io.
pub const CRATES_IO_GIT: &str = "https://github.com/rust-lang/crates.io-index";

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
    /// A git repository, local or not.
    Git(GitPlace),
}

impl IndexUrl {
    /// Reads an `--index`.
    ///
    /// # Errors
    /// When it is of no kind that can be asked.
    pub fn parse(text: &str) -> Result<IndexUrl, Error> {
        let Some(url) = text.strip_prefix("sparse+") else {
            return parse_git(text).map(IndexUrl::Git);
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

    /// The address in full, as commits record it. Of a clone, that of its origin: it is
    /// the same registry.
    pub fn registry(&self) -> String {
        match self {
            IndexUrl::Sparse(url) => format!("sparse+{url}"),
            IndexUrl::Git(GitPlace::Remote(url)) => url.clone(),
            IndexUrl::Git(GitPlace::Local {
                origin: Some(origin), ..
            }) => origin.clone(),
            IndexUrl::Git(GitPlace::Local { folder, .. }) => file_url(folder),
        }
    }

    /// Whether this is the registry index that `registry` names, as commits, lockfiles or
    /// an earlier cratehold wrote it, which named a clone by its folder.
    pub fn is(&self, registry: &str) -> bool {
        let by_folder = match self {
            IndexUrl::Git(GitPlace::Local { folder, .. }) => file_url(folder) == registry,
            _ => false,
        };
        by_folder || same_registry(registry, &self.registry())
    }
}

/// The address or folder of a git registry index.
fn parse_git(text: &str) -> Result<GitPlace, Error> {
    let text = text.strip_prefix("git+").unwrap_or(text);
    if is_remote(text) {
        return Ok(GitPlace::Remote(text.trim_end_matches('/').to_owned()));
    }
    let folder = Path::new(text.strip_prefix("file://").unwrap_or(text));
    // In full, for it names the registry in every commit of the archive.
    match std::fs::canonicalize(folder) {
        Ok(folder) if folder.is_dir() => Ok(GitPlace::local(folder)),
        _ => Err(Error::Setting(format!(
            "`{text}`: expected sparse+URL, such as {CRATES_IO}, the https://, git:// or file:// address of a git registry index, or its folder"
        ))),
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
        assert_eq!(parse("https://x.test/index.git").unwrap(), "https://x.test/index.git");
        assert_eq!(parse("git://x.test/index/").unwrap(), "git://x.test/index");
        for bad in [
            "no/such/folder",
            "ftp://x.test/index.git",
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
