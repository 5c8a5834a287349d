//! The folder of an export: whether it may be written to, and writing whole files only.

use super::{ExportError, Format, Layout};
use crate::ids::Digest;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Where things are put together before they get their names.
const PART: &str = ".cratehold-part";
/// What operating systems put on every drive.
const JUNK: [&str; 3] = ["lost+found", "System Volume Information", "$RECYCLE.BIN"];

/// The folder that is exported to.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    index: bool,
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
        let folder = Folder { root, index };
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

    /// Writes a whole file: whoever looks finds what was there before, or all of this.
    pub fn put(&self, place: &str, bytes: &[u8]) -> Result<(), ExportError> {
        let path = self.at(place);
        // Like the file itself, so that it is on the same drive and nobody else's.
        let part = self.part(&Digest::of(place.as_bytes()).to_string()[..32]);
        self.put_at(&part, &path, bytes)
    }

    fn put_at(&self, part: &Path, path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
        make_parent(part)?;
        fs::write(part, bytes).map_err(ExportError::io(part))?;
        make_parent(path)?;
        fs::rename(part, path).map_err(ExportError::io(path))
    }

    /// Removes what was not completed.
    fn remove_parts(&self) -> Result<(), ExportError> {
        let parts = self.root.join(PART);
        match fs::remove_dir_all(&parts) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(ExportError::io(&parts)),
        }
    }

    /// The end of an export.
    pub fn close(&self) -> Result<(), ExportError> {
        self.remove_parts()
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
