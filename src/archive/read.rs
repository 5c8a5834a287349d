//! Reading one object: its crate file, its tar, one of its files.

use super::alone;
use super::chain::{self, Chain};
use super::encode::redo;
use super::{Archive, Error, form};
use crate::format::index::Entry;
use crate::format::pack::RecordMeta;
use crate::ids::Digest;
use std::borrow::Cow;
use std::io::Read;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// What is called with each object of many.
pub type Visit<'a, T> = dyn Fn(&Digest, Result<T, Error>) + Sync + 'a;

/// One entry of a crate's tar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Its path below `NAME-VERSION/`.
    pub path: String,
    /// Its length.
    pub bytes: u64,
}

impl Archive {
    /// The exact crate file; its SHA-256 has been checked.
    ///
    /// # Errors
    /// When it is not held or cannot be given back exactly.
    pub fn read_crate(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let entry = self.find(digest)?.ok_or(Error::NotHeld { digest: *digest })?;
        let chain = self.read_chain_alone(&entry)?;
        if let Some(crate_file) = alone::rebuild(&chain, |_| ()) {
            return Ok(crate_file);
        }
        let (meta, content) = self.decode_chain(chain)?;
        rebuild(&entry, &meta, &content)
    }

    /// The tar inside a crate file; its checksum has been checked.
    ///
    /// # Errors
    /// When it is not held or cannot be decoded.
    pub fn read_tar(&self, digest: &Digest) -> Result<Arc<Vec<u8>>, Error> {
        let entry = self.find(digest)?.ok_or(Error::NotHeld { digest: *digest })?;
        let (meta, content) = self.decode(&entry, &|_| None)?;
        tar_of(&entry, &meta, content)
    }

    /// As [`Archive::read_tar`], of a crate file that has been rebuilt and checked
    /// against its digest: for archives that a stranger may have made, whose own
    /// checksums prove nothing. Takes as long as [`Archive::read_crate`].
    ///
    /// # Errors
    /// When it is not held, or not what its digest says.
    pub fn read_checked_tar(&self, digest: &Digest) -> Result<Arc<Vec<u8>>, Error> {
        let entry = self.find(digest)?.ok_or(Error::NotHeld { digest: *digest })?;
        let chain = self.read_chain_alone(&entry)?;
        let mut checked = None;
        alone::rebuild(&chain, |tar| checked = Some(Arc::new(tar.to_vec())));
        if let Some(tar) = checked {
            return Ok(tar);
        }
        let (meta, content) = self.decode_chain(chain)?;
        checked_tar_of(&entry, &meta, content)
    }

    /// As [`Archive::read_tars`], each checked as in [`Archive::read_checked_tar`].
    pub fn read_checked_tars(&self, digests: &[Digest], threads: usize, visit: &Visit<'_, Arc<Vec<u8>>>) {
        self.walk_contents(self.entries_of(digests, visit), threads, &|entry, decoded| {
            visit(
                &entry.digest,
                decoded.and_then(|(meta, content)| checked_tar_of(entry, &meta, content)),
            );
        });
    }

    /// Calls `visit` with the tar of each of `digests`, on `threads` threads and in
    /// no order that could be relied on: much faster than one after the other.
    pub fn read_tars(&self, digests: &[Digest], threads: usize, visit: &Visit<'_, Arc<Vec<u8>>>) {
        self.walk_contents(self.entries_of(digests, visit), threads, &|entry, decoded| {
            visit(
                &entry.digest,
                decoded.and_then(|(meta, content)| tar_of(entry, &meta, content)),
            );
        });
    }

    /// As [`Archive::read_tars`], with the exact crate files, each checked against
    /// its digest.
    pub fn read_crates(&self, digests: &[Digest], threads: usize, visit: &Visit<'_, Vec<u8>>) {
        self.walk_contents(self.entries_of(digests, visit), threads, &|entry, decoded| {
            visit(
                &entry.digest,
                decoded.and_then(|(meta, content)| rebuild(entry, &meta, &content)),
            );
        });
    }

    /// Where `digests` lie; what cannot be found is said to `visit`.
    fn entries_of<T>(&self, digests: &[Digest], visit: &Visit<'_, T>) -> Vec<Entry> {
        let find = |digest: &Digest| match self.find(digest) {
            Ok(Some(entry)) => Some(entry),
            Ok(None) => {
                visit(digest, Err(Error::NotHeld { digest: *digest }));
                None
            }
            Err(error) => {
                visit(digest, Err(error));
                None
            }
        };
        digests.iter().filter_map(find).collect()
    }

    /// The record of a held object, without decoding it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn record(&self, entry: &Entry) -> Result<RecordMeta, Error> {
        Ok(chain::read_record(&*self.medium, entry)?.meta)
    }

    pub(super) fn decode(
        &self,
        entry: &Entry,
        cached: &dyn Fn(&Digest) -> Option<Arc<Vec<u8>>>,
    ) -> Result<(RecordMeta, Arc<Vec<u8>>), Error> {
        self.decode_chain(self.read_chain(entry, cached)?)
    }

    pub(super) fn read_chain(
        &self,
        entry: &Entry,
        cached: &dyn Fn(&Digest) -> Option<Arc<Vec<u8>>>,
    ) -> Result<Chain, Error> {
        let cached = |digest: &Digest| cached(digest).or_else(|| self.seed_cache.get(digest));
        chain::read(&*self.medium, entry, &|digest| self.find(digest), &cached)
    }

    /// As [`Archive::read_chain`], its seed decoded: what it takes is kept for the next.
    fn read_chain_alone(&self, entry: &Entry) -> Result<Chain, Error> {
        let mut chain = self.read_chain(entry, &|_| None)?;
        chain.decode_seed(&|entry, content| self.seed_cache.offer(entry, content))?;
        Ok(chain)
    }

    fn decode_chain(&self, chain: Chain) -> Result<(RecordMeta, Arc<Vec<u8>>), Error> {
        chain.decode(&|entry, content| self.seed_cache.offer(entry, content))
    }
}

/// The crate file of decoded content, checked against its digest.
pub(super) fn rebuild(entry: &Entry, meta: &RecordMeta, content: &[u8]) -> Result<Vec<u8>, Error> {
    redo(meta, content).map_err(|cause| chain::blob_error(entry, Some(meta), cause))
}

fn checked_tar_of(entry: &Entry, meta: &RecordMeta, content: Arc<Vec<u8>>) -> Result<Arc<Vec<u8>>, Error> {
    rebuild(entry, meta, &content)?;
    tar_of(entry, meta, content)
}

/// The tar of decoded content, which may be a crate file stored as it came.
pub(super) fn tar_of(entry: &Entry, meta: &RecordMeta, content: Arc<Vec<u8>>) -> Result<Arc<Vec<u8>>, Error> {
    if meta.engine != 0 {
        let tar = form::undo(meta, &content).map_err(|damage| chain::blob_error(entry, Some(meta), damage))?;
        return Ok(match tar {
            Cow::Borrowed(_) => content,
            Cow::Owned(tar) => Arc::new(tar),
        });
    }
    let undone = crate::deflate::gunzip(&content)
        .map_err(|error| chain::blob_error(entry, Some(meta), format!("stored as it came, and {error}")))?;
    Ok(Arc::new(undone))
}

/// The files of a crate's tar with their contents, folders left out. Paths are
/// given without the leading `NAME-VERSION/`.
///
/// # Errors
/// When the tar is malformed.
pub fn tar_files(tar: &[u8], mut visit: impl FnMut(FileEntry, &mut dyn Read)) -> Result<(), Error> {
    let bad = |error: std::io::Error| Error::Rejected(format!("not a tar: {error}"));
    for entry in tar::Archive::new(tar).entries().map_err(bad)? {
        let mut entry = entry.map_err(bad)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let full = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = full.split_once('/').map_or(full.as_str(), |(_, path)| path).to_owned();
        let bytes = entry.size();
        visit(FileEntry { path, bytes }, &mut entry);
    }
    Ok(())
}

/// As [`tar_files`], with where each file's bytes lie in the tar; ends early when
/// `visit` says so.
///
/// # Errors
/// When the tar is malformed.
pub(super) fn tar_ranges(
    tar: &[u8],
    mut visit: impl FnMut(String, Range<usize>) -> ControlFlow<()>,
) -> Result<(), Error> {
    let bad = |error: std::io::Error| Error::Rejected(format!("not a tar: {error}"));
    for entry in tar::Archive::new(tar).entries().map_err(bad)? {
        let entry = entry.map_err(bad)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let full = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = full.split_once('/').map_or(full.as_str(), |(_, path)| path).to_owned();
        let start = entry.raw_file_position() as usize;
        let end = start.saturating_add(entry.size() as usize);
        if end > tar.len() {
            return Err(Error::Rejected(format!("not a tar: `{path}` is cut off")));
        }
        if visit(path, start..end).is_break() {
            break;
        }
    }
    Ok(())
}

/// Name and version of a crate, from the folder that everything in its tar lies
/// in. `tar` may be cut off behind its first entry.
///
/// The folder is what crates.io and cargo hold a crate file to; a `Cargo.toml`
/// may be of any age and spelling.
///
/// # Errors
/// When the tar is malformed or its first entry lies in no such folder.
pub fn release_of(tar: &[u8]) -> Result<crate::ids::Release, Error> {
    let bad = |error: std::io::Error| Error::Rejected(format!("not a tar: {error}"));
    let mut tar = tar::Archive::new(tar);
    let first = tar.entries().map_err(bad)?.find(|entry| {
        !entry
            .as_ref()
            .is_ok_and(|entry| entry.header().entry_type().is_pax_global_extensions())
    });
    let entry = first
        .ok_or_else(|| Error::Rejected("not a crate: its tar is empty".into()))?
        .map_err(bad)?;
    let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    let top = path.split('/').next().unwrap_or_default();
    crate::ids::Release::from_stem(top).map_err(|error| {
        Error::Rejected(format!(
            "not a crate: its tar begins with `{}`: {error}",
            path.escape_default()
        ))
    })
}

/// Checks that `tar` is of `release`: whole, with a `NAME-VERSION/Cargo.toml`.
///
/// # Errors
/// When it is not.
pub(super) fn check_release(tar: &[u8], release: &crate::ids::Release) -> Result<(), Error> {
    let found = release_of(tar)?;
    if found != *release {
        return Err(Error::Rejected(format!("expected {release}, found the tar of {found}")));
    }
    let mut has_manifest = false;
    tar_files(tar, |file, _| has_manifest |= file.path == "Cargo.toml")?;
    if has_manifest {
        return Ok(());
    }
    Err(Error::Rejected(format!(
        "not a crate: its tar has no {}/Cargo.toml",
        release.stem()
    )))
}
