//! The flags that say which crates and versions are wanted, for every command that takes
//! a selection.

use cratehold::registry;
use cratehold::sync::{CrateWant, Filter, NameGlob, Selection};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Flattened into a command's arguments. What names crates is the group `wanted`, so
/// that a command can demand one of it, and add ways of its own.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
#[command(group = clap::ArgGroup::new("wanted").multiple(true))]
pub struct SelectionArgs {
    /// Every registry package of a Cargo.lock, with its checksums.
    #[arg(long, value_name = "FILE", group = "wanted")]
    pub lockfile: Vec<PathBuf>,
    /// All versions of a crate, those that match `@REQ`, or the one full `@VERSION`.
    #[arg(long = "crate", value_name = "NAME[@REQ]", group = "wanted")]
    pub crates: Vec<CrateWant>,
    /// The releases that a file names: one NAME@VERSION a line, `#` begins a comment.
    #[arg(long, value_name = "FILE", group = "wanted")]
    pub list: Vec<PathBuf>,
    /// Of all that, only crates whose name matches, such as `serde*`; `-` and `_` are one.
    #[arg(long, value_name = "GLOB")]
    pub only: Vec<NameGlob>,
    /// No crates whose name matches, such as `*-sys`.
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<NameGlob>,
    /// Of each crate (or of what matches @REQ) only the N newest versions that are not
    /// yanked, prereleases only where there are not enough others. Versions named
    /// exactly, as lockfiles and lists do, are taken all the same.
    #[arg(long, value_name = "N")]
    pub latest: Option<NonZeroUsize>,
}

impl SelectionArgs {
    /// Whether none of these flags was given.
    pub fn is_empty(&self) -> bool {
        let is_filtered = !self.only.is_empty() || !self.exclude.is_empty() || self.latest.is_some();
        !is_filtered && !self.names_any()
    }

    /// Whether crates are named, or lists of them.
    pub fn names_any(&self) -> bool {
        !self.lockfile.is_empty() || !self.crates.is_empty() || !self.list.is_empty()
    }

    /// What these flags ask for, `all` being whether everything is wanted; lockfile
    /// packages count if they are from `registry`.
    pub fn selection(self, all: bool, registry: &str) -> Result<Selection, registry::Error> {
        let mut selection = match all {
            true => Selection::everything(),
            false => Selection::default(),
        };
        for path in &self.lockfile {
            selection.add_lockfile(path, registry)?;
        }
        for path in &self.list {
            selection.add_list(path)?;
        }
        self.crates.into_iter().for_each(|wanted| selection.add_crate(wanted));
        selection.filter = Filter {
            only: self.only,
            exclude: self.exclude,
            latest: self.latest,
        };
        Ok(selection)
    }
}
