//! The folder of an export: whether it may be written to, and giving names only to what is
//! whole, and on the medium. A crash leaves an export that the same command goes on with.

use super::{ExportError, Format, Layout};
use crate::ids::Digest;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Where things are put together before they get their names.
const PART: &str = ".cratehold-part";
/// What operating systems put on every drive.
const JUNK: [&str; 3] = ["lost+found", "System Volume Information", "$RECYCLE.BIN"];

/// The folder that is exported to.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    index: bool,
    /// What is whole, and the names that it is to have.
    ready: Mutex<Vec<(PathBuf, PathBuf)>>,
}

impl Folder {
    /// Makes the folder, or sees that it is one that a like export has made.
    pub fn open(root: &Path, format: &Format) -> Result<Folder, ExportError> {
        match fs::read_dir(root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            entries => {
                for entry in entries.map_err(ExportError::io(root))? {
                    let entry = entry.map_err(ExportError::io(root))?;
                    let name = entry.file_name().to_string_lossy().into_owned();
                    let is_folder = entry.file_type().map_err(ExportError::io(root))?.is_dir();
                    if !is_expected(&name, is_folder, &entry.path(), format) {
                        return Err(ExportError::Foreign {
                            path: root.display().to_string(),
                            expected: expected(format),
                            found: name,
                        });
                    }
                }
            }
        }
        fs::create_dir_all(root).map_err(ExportError::io(root))?;
        // An absolute path is what cargo's configuration needs, and what errors should name.
        let root = std::path::absolute(root).map_err(ExportError::io(root))?;
        let index = matches!(format, Format::LocalRegistry | Format::Registry { .. });
        let folder = Folder {
            root,
            index,
            ready: Mutex::default(),
        };
        folder.remove_parts()?;
        Ok(folder)
    }

    /// Whether there is a registry index in it.
    pub fn has_index(&self) -> bool {
        self.index
    }

    /// The path of `place`, which is `/`-separated.
    pub fn at(&self, place: &str) -> PathBuf {
        place.split('/').fold(self.root.clone(), |path, part| path.join(part))
    }

    /// A folder of one's own to put `name` together in.
    pub fn part(&self, name: &str) -> PathBuf {
        self.root.join(PART).join(name)
    }

    /// Writes a whole file, which [`Folder::publish`] gives its name.
    pub fn put(&self, place: &str, bytes: &[u8]) -> Result<(), ExportError> {
        let part = self.part(&Digest::of(place.as_bytes()).to_string()[..32]);
        make_parent(&part)?;
        fs::write(&part, bytes).map_err(ExportError::io(&part))?;
        self.is_ready(part, place);
        Ok(())
    }

    /// `part` is whole: a file or a tree that is to be at `place`.
    pub fn is_ready(&self, part: PathBuf, place: &str) {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.push((part, self.at(place)));
    }

    /// Puts what is whole on the medium and then in its place: whoever looks, even after a
    /// crash, finds what was there before, or all of it.
    pub fn publish(&self) -> Result<(), ExportError> {
        let ready = std::mem::take(&mut *self.ready.lock().unwrap_or_else(PoisonError::into_inner));
        if ready.is_empty() {
            return Ok(());
        }
        let parts = self.root.join(PART);
        sync_below(&parts).map_err(ExportError::io(&parts))?;
        for (part, path) in ready {
            // A tree is only replaced where it is damaged.
            if part.is_dir() && fs::symlink_metadata(&path).is_ok() {
                fs::remove_dir_all(&path).map_err(ExportError::io(&path))?;
            }
            make_parent(&path)?;
            fs::rename(&part, &path).map_err(ExportError::io(&path))?;
        }
        Ok(())
    }

    /// Removes what was not completed.
    fn remove_parts(&self) -> Result<(), ExportError> {
        let parts = self.root.join(PART);
        match fs::remove_dir_all(&parts) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(ExportError::io(&parts)),
        }
    }

    /// The end of an export: names are on the medium too, and those of earlier runs.
    pub fn close(&self) -> Result<(), ExportError> {
        self.publish()?;
        self.remove_parts()?;
        sync_below(&self.root).map_err(ExportError::io(&self.root))
    }
}

/// Returns when all below `folder` is on the medium. All of its file system is: one wait
/// for thousands of small files, each of which would have its own.
#[cfg(target_os = "linux")]
fn sync_below(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(fs::File::open(folder)?)?)
}

/// Returns when all below `folder` is on the medium.
#[cfg(not(target_os = "linux"))]
fn sync_below(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => sync_below(&entry.path())?,
            // Windows syncs only what is open for writing.
            false => fs::OpenOptions::new().append(true).open(entry.path())?.sync_all()?,
        }
    }
    // Names: Windows has no way to ask for them.
    match cfg!(unix) {
        true => fs::File::open(folder)?.sync_all(),
        false => Ok(()),
    }
}

/// Makes the folder that `path` is to lie in.
pub(super) fn make_parent(path: &Path) -> Result<(), ExportError> {
    match path.parent() {
        Some(parent) => fs::create_dir_all(parent).map_err(ExportError::io(parent)),
        None => Ok(()),
    }
}

/// The SHA-256 of a file; none if there is none.
pub(super) fn digest_of(path: &Path) -> Result<Option<Digest>, ExportError> {
    let mut file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(ExportError::io(path))?,
    };
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 128 << 10]);
    loop {
        match file.read(&mut buffer).map_err(ExportError::io(path))? {
            0 => return Ok(Some(Digest(hasher.finalize().into()))),
            count => hasher.update(&buffer[..count]),
        }
    }
}

fn expected(format: &Format) -> &'static str {
    match format {
        Format::LocalRegistry => "a local registry",
        Format::Vendor { .. } => "a folder of vendored crates",
        Format::Crates(_) => "a folder of crate files in this layout",
        Format::Registry { .. } => "a static registry",
    }
}

/// Whether an export of this kind may have made it, or nobody.
fn is_expected(name: &str, is_folder: bool, path: &Path, format: &Format) -> bool {
    if name == PART || (name.starts_with('.') && !is_folder) || JUNK.contains(&name) {
        return true;
    }
    let is_crate = !is_folder && name.ends_with(".crate");
    // The first folders of a path in a registry index: `1`, `2`, `3`, `se`.
    let is_prefix = is_folder && (1..=2).contains(&name.len()) && name == name.to_ascii_lowercase();
    match format {
        Format::LocalRegistry => is_crate || (is_folder && name == "index"),
        Format::Vendor { .. } => is_folder && path.join(super::vendor::CHECKSUM_FILE).is_file(),
        Format::Crates(Layout::Flat) => is_crate,
        Format::Crates(Layout::GetAllCrates) => is_prefix,
        Format::Crates(Layout::Panamax) => is_folder && name == "crates",
        Format::Registry { .. } => is_folder && (name == "index" || name == "crates"),
    }
}
