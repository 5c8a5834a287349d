//! The git registry index: read from the object store, never checked out.
//!
//! What changed since a commit is told by comparing two trees, never by walking
//! history: a registry squashes its history whenever it likes.

mod cache;
mod counts;
mod fetch;
mod http;

pub use counts::FetchCounts;

use super::{CrateFile, Error, Http, IndexConfig, RegistryIndex, Stop, index_path};
use crate::ids::CrateName;
use gix::ObjectId;
use gix::bstr::ByteSlice;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A crate's file lies at most this many folders deep; see [`index_path`].
const MAX_DEPTH: usize = 2;

/// Where a git registry index is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GitPlace {
    /// A repository on this machine, read where it is.
    Local {
        /// Its folder.
        folder: PathBuf,
        /// Of a clone: the address that it was cloned from, and may be updated from.
        origin: Option<String>,
    },
    /// One to fetch from: `https://`, `http://` or `git://`.
    Remote(String),
}

impl GitPlace {
    /// The repository in `folder`.
    pub(super) fn local(folder: PathBuf) -> GitPlace {
        let repository = gix::open_opts(&folder, gix::open::Options::isolated()).ok();
        let origin = repository.and_then(|repository| repository.config_snapshot().string("remote.origin.url"));
        let origin = origin.map(|url| url.to_string()).filter(|url| is_remote(url));
        GitPlace::Local {
            folder,
            origin: origin.map(|url| url.trim_end_matches('/').to_owned()),
        }
    }
}

/// The address of a repository on this machine.
pub(super) fn file_url(folder: &Path) -> String {
    format!("file://{}", folder.display())
}

/// Whether `url` is one that a registry index can be fetched from.
pub(super) fn is_remote(url: &str) -> bool {
    ["https://", "http://", "git://"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
}

/// One commit of a git registry index.
pub struct GitIndex {
    repository: gix::ThreadSafeRepository,
    registry: String,
    commit: ObjectId,
    tree: ObjectId,
}

/// A crate's file, not yet read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexBlob {
    /// The crate's name, in lowercase.
    pub name: CrateName,
    id: ObjectId,
}

/// How one commit's tree differs from another's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TreeChanges {
    /// Crates whose file is new or not what it was.
    pub changed: Vec<IndexBlob>,
    /// Crates that have no file any more.
    pub gone: Vec<CrateName>,
}

/// Reads blobs, on one thread.
pub struct BlobReader {
    repository: gix::Repository,
    registry: String,
}

impl GitIndex {
    /// Opens the registry index at `place`, brought up to its newest commit. A
    /// remote one is kept in the bare repository `cache`; `watch` hears how far git is
    /// in fetching it.
    ///
    /// # Errors
    /// When it cannot be fetched or read.
    pub fn open(
        place: &GitPlace,
        registry: &str,
        cache: &Path,
        http: &Http,
        stop: &Stop,
        watch: &dyn Fn(FetchCounts),
    ) -> Result<GitIndex, Error> {
        // Of a clone it is the clone that messages must name, not its origin.
        let registry = &match place {
            GitPlace::Local { folder, .. } => file_url(folder),
            GitPlace::Remote(_) => registry.to_owned(),
        };
        let (repository, commit) = match place {
            GitPlace::Local { folder, .. } => fetch::open_local(folder, registry)?,
            GitPlace::Remote(url) => fetch::fetch(url, cache, http, stop, watch)?,
        };
        let tree = tree_of(&repository, commit).map_err(|cause| unreadable(registry, &repository, &cause))?;
        Ok(GitIndex {
            repository: repository.into_sync(),
            registry: registry.to_owned(),
            commit,
            tree,
        })
    }

    /// The commit, in hexadecimal: what a later run asks for changes since.
    pub fn commit(&self) -> String {
        self.commit.to_string()
    }

    /// What differs between commit `since` and this one; none if `since` is not
    /// here (any more), so that there is nothing to compare with.
    ///
    /// # Errors
    /// When a tree of this commit cannot be read.
    pub fn changes_since(&self, since: &str) -> Result<Option<TreeChanges>, Error> {
        let repository = self.repository();
        let Ok(since) = since.parse::<ObjectId>() else {
            return Ok(None);
        };
        let Ok(old) = tree_of(&repository, since) else {
            return Ok(None);
        };
        let mut changes = TreeChanges::default();
        // A tree of the old commit may be missing where a clone is shallow or cleaned up.
        match compare(&repository, Some(old), Some(self.tree), "", 0, &mut changes) {
            Ok(()) => Ok(Some(changes)),
            Err(_) => Ok(None),
        }
    }

    /// Every crate's file.
    ///
    /// # Errors
    /// When a tree cannot be read.
    pub fn all(&self) -> Result<Vec<IndexBlob>, Error> {
        let mut changes = TreeChanges::default();
        let repository = self.repository();
        compare(&repository, None, Some(self.tree), "", 0, &mut changes)
            .map_err(|cause| unreadable(&self.registry, &repository, &cause))?;
        Ok(changes.changed)
    }

    /// A reader for this thread.
    pub fn reader(&self) -> BlobReader {
        BlobReader {
            repository: self.repository(),
            registry: self.registry.clone(),
        }
    }

    fn repository(&self) -> gix::Repository {
        // No cache of whole objects: hardly any is asked for twice, and each would be
        // copied. What undoing deltas remembers is another one: see `fetch`.
        self.repository.to_thread_local()
    }

    /// The file at `path` in the tree, if there is one.
    fn lookup(&self, path: &str) -> Result<Option<ObjectId>, Error> {
        let repository = self.repository();
        let mut id = self.tree;
        for part in path.split('/') {
            let entries =
                entries(&repository, Some(id)).map_err(|cause| unreadable(&self.registry, &repository, &cause))?;
            match entries.get(part) {
                Some(entry) => id = entry.id,
                None => return Ok(None),
            }
        }
        Ok(Some(id))
    }
}

impl BlobReader {
    /// The bytes of a crate's file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, blob: &IndexBlob) -> Result<Vec<u8>, Error> {
        self.bytes(blob.id)
    }

    fn bytes(&self, id: ObjectId) -> Result<Vec<u8>, Error> {
        match self.repository.find_object(id) {
            Ok(object) => Ok(object.detach().data),
            Err(error) => Err(unreadable(&self.registry, &self.repository, &why(&error))),
        }
    }
}

impl RegistryIndex for GitIndex {
    fn registry(&self) -> &str {
        &self.registry
    }

    fn config(&self) -> Result<IndexConfig, Error> {
        let url = format!("{}: config.json", self.registry);
        match self.lookup("config.json")? {
            Some(id) => IndexConfig::parse(&url, &self.reader().bytes(id)?),
            None => Err(Error::NotAnIndex {
                url,
                cause: format!("no such file in commit {}; check --index", self.commit),
            }),
        }
    }

    fn crate_file(&self, name: &CrateName, tag: Option<&str>) -> Result<CrateFile, Error> {
        let Some(id) = self.lookup(&index_path(name))? else {
            return Ok(CrateFile::Absent);
        };
        // Quoted like an HTTP entity tag, so that a sparse index may be asked with it.
        let found = format!("\"git-{id}\"");
        if tag == Some(&found) {
            return Ok(CrateFile::Unchanged);
        }
        Ok(CrateFile::Read {
            bytes: self.reader().bytes(id)?,
            tag: Some(found),
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    is_tree: bool,
    id: ObjectId,
}

/// The folders and plain files of a tree, by name. Names that are no UTF-8 name no crate.
fn entries(repository: &gix::Repository, tree: Option<ObjectId>) -> Result<BTreeMap<String, Entry>, String> {
    let mut entries = BTreeMap::new();
    let Some(tree) = tree else { return Ok(entries) };
    let tree = repository.find_tree(tree).map_err(|error| why(&error))?;
    for entry in tree.iter() {
        let entry = entry.map_err(|error| error.to_string())?;
        let (is_tree, id) = (entry.mode().is_tree(), entry.object_id());
        if let (true, Ok(name)) = (is_tree || entry.mode().is_blob(), entry.filename().to_str()) {
            entries.insert(name.to_owned(), Entry { is_tree, id });
        }
    }
    Ok(entries)
}

/// Collects how the files below `prefix` differ; equal trees are passed over unread.
fn compare(
    repository: &gix::Repository,
    old: Option<ObjectId>,
    new: Option<ObjectId>,
    prefix: &str,
    depth: usize,
    changes: &mut TreeChanges,
) -> Result<(), String> {
    let (old, mut new) = (entries(repository, old)?, entries(repository, new)?);
    let mut pairs: Vec<(String, Option<Entry>, Option<Entry>)> = old
        .into_iter()
        .map(|(name, old)| {
            let new = new.remove(&name);
            (name, Some(old), new)
        })
        .collect();
    pairs.extend(new.into_iter().map(|(name, new)| (name, None, Some(new))));
    for (name, old, new) in pairs {
        if old == new {
            continue;
        }
        let path = format!("{prefix}{name}");
        let side = |entry: Option<Entry>, is_tree: bool| entry.filter(|entry| entry.is_tree == is_tree).map(|e| e.id);
        let (old_tree, new_tree) = (side(old, true), side(new, true));
        if depth < MAX_DEPTH && old_tree.or(new_tree).is_some() {
            compare(repository, old_tree, new_tree, &format!("{path}/"), depth + 1, changes)?;
        }
        // `config.json`, a readme, and whatever else is no crate's file.
        let Some(name) = name.parse::<CrateName>().ok().filter(|name| index_path(name) == path) else {
            continue;
        };
        match (side(old, false), side(new, false)) {
            (_, Some(id)) => changes.changed.push(IndexBlob { name, id }),
            (Some(_), None) => changes.gone.push(name),
            (None, None) => {}
        }
    }
    Ok(())
}

fn tree_of(repository: &gix::Repository, commit: ObjectId) -> Result<ObjectId, String> {
    let commit = repository.find_commit(commit).map_err(|error| why(&error))?;
    let tree = commit.tree_id().map_err(|error| why(&error))?;
    // Named by the commit, but a shallow or damaged repository may lack it.
    repository.find_tree(tree).map_err(|error| why(&error))?;
    Ok(tree.detach())
}

fn unreadable(registry: &str, repository: &gix::Repository, cause: &str) -> Error {
    let folder = repository.git_dir().display();
    Error::NotAnIndex {
        url: registry.to_owned(),
        cause: format!("{cause}; if the repository is damaged, remove {folder}, clone it anew and run this again"),
    }
}

/// An error with all that it was caused by, on one line.
fn why(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text.replace('\n', " ")
}
