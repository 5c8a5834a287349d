//! A directory source: source trees with `.cargo-checksum.json`, byte for byte as
//! `cargo vendor` makes them.

use super::files::{Folder, digest_of};
use super::layout::unlike;
use super::{ExportError, Refusal};
use crate::archive::{self, unpack_tar};
use crate::ids::Digest;
use crate::offer::ChosenRelease;
use crate::offer::choose::newest;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// In every vendored crate: its checksum and those of its files.
pub(super) const CHECKSUM_FILE: &str = ".cargo-checksum.json";

/// Files that cargo leaves out wherever they lie, for they would confuse whoever checks
/// the folder in, or are cargo's own.
const LEFT_OUT: [&str; 4] = [".gitattributes", ".gitignore", ".git", ".cargo-ok"];

/// Folders of these names cannot be made on Windows.
const DEVICES: [&str; 4] = ["aux", "con", "nul", "prn"];

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Checksums {
    files: BTreeMap<String, String>,
    package: Option<String>,
}

/// The folder of each of `chosen`: the newest of a crate gets its bare name, as from
/// `cargo vendor`, unless another release has it already.
pub(super) fn places(root: &Path, chosen: &[ChosenRelease], versioned_dirs: bool) -> Vec<Result<String, String>> {
    let mut places = Vec::new();
    for releases in chosen.chunk_by(|a, b| a.release.name == b.release.name) {
        let newest = newest(releases.iter());
        let name = releases[0].release.name.to_string();
        let bare = root.join(&name);
        let in_bare = package_of(&bare);
        let version_in_bare = in_bare.and_then(|_| version_of(&bare));
        let can_be_bare = !versioned_dirs && !is_device(&name);
        for one in releases {
            let is_bare = match in_bare {
                // Whoever has the bare name keeps it. Other bytes of the same version are
                // not put beside it, for cargo would take either.
                Some(package) => {
                    package == Some(one.digest) || version_in_bare.as_deref() == Some(one.release.version.as_str())
                }
                None => can_be_bare && newest == Some(&one.release.version),
            };
            places.push(if is_bare { name.clone() } else { one.release.stem() });
        }
    }
    unlike(places.into_iter(), chosen)
}

fn is_device(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let numbered = name.len() == 4 && (name.starts_with("com") || name.starts_with("lpt"));
    DEVICES.contains(&name.as_str()) || (numbered && name.ends_with(|c: char| c.is_ascii_digit()))
}

/// The checksum of the crate in a folder, if that can be told; none if there is no folder.
fn package_of(folder: &Path) -> Option<Option<Digest>> {
    fs::symlink_metadata(folder).ok()?;
    let checksums = read_checksums(folder);
    Some(checksums.and_then(|checksums| checksums.package?.parse().ok()))
}

/// The version of the crate in a folder, by its `Cargo.toml`.
fn version_of(folder: &Path) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Manifest {
        #[serde(alias = "project")]
        package: Package,
    }
    #[derive(serde::Deserialize)]
    struct Package {
        version: String,
    }
    let text = fs::read_to_string(folder.join("Cargo.toml")).ok()?;
    Some(toml::from_str::<Manifest>(&text).ok()?.package.version)
}

fn read_checksums(folder: &Path) -> Option<Checksums> {
    let bytes = fs::read(folder.join(CHECKSUM_FILE)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Whether the folder holds the release with this `digest`, whole. Another one in its
/// place is never overwritten.
pub(super) fn is_there(folder: &Path, digest: &Digest) -> Result<bool, Refusal> {
    match package_of(folder) {
        None => return Ok(false),
        Some(Some(package)) if package == *digest => {}
        Some(Some(package)) => {
            return Err(Refusal::This(format!(
                "{} is there with another checksum, {package}: name another folder for {digest}",
                folder.display()
            )));
        }
        Some(None) => {
            return Err(Refusal::This(format!(
                "{} is there, and its {CHECKSUM_FILE} names no crate: remove it, or name another folder",
                folder.display()
            )));
        }
    }
    let Some(checksums) = read_checksums(folder) else {
        return Ok(false);
    };
    for (path, sum) in &checksums.files {
        let path = path.split('/').fold(folder.to_owned(), |path, part| path.join(part));
        let found = digest_of(&path)?;
        if found.is_none_or(|found| found.to_string() != *sum) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Unpacks a release to the folder `place`.
pub(super) fn write(folder: &Folder, place: &str, one: &ChosenRelease, tar: &[u8]) -> Result<(), Refusal> {
    let part = folder.part(place);
    fs::create_dir_all(&part).map_err(ExportError::io(&part))?;
    let tree = match unpack_tar(tar, &one.release, &part) {
        Err(archive::Error::Io { path, source }) => return Err(ExportError::io(Path::new(&path))(source).into()),
        Err(error) => return Err(Refusal::This(error.to_string())),
        Ok(tree) => tree,
    };
    let mut checksums = Checksums {
        files: BTreeMap::new(),
        package: Some(one.digest.to_string()),
    };
    sum(&tree, "", &mut checksums.files)?;
    let text = serde_json::to_vec(&checksums).map_err(|error| Refusal::This(error.to_string()))?;
    let path = tree.join(CHECKSUM_FILE);
    fs::write(&path, text).map_err(ExportError::io(&path))?;
    // What may be there is this very release, but damaged: see `is_there`.
    folder.is_ready(tree, place);
    Ok(())
}

/// Adds the checksums of all files below `folder`, which is `prefix` in the crate, and
/// removes those that are left out, with folders that then are empty; whether any are left.
fn sum(folder: &Path, prefix: &str, files: &mut BTreeMap<String, String>) -> Result<bool, ExportError> {
    let mut is_left = false;
    for entry in fs::read_dir(folder).map_err(ExportError::io(folder))? {
        let entry = entry.map_err(ExportError::io(folder))?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let in_crate = format!("{prefix}{name}");
        if entry.file_type().map_err(ExportError::io(folder))?.is_dir() {
            match sum(&path, &format!("{in_crate}/"), files)? {
                true => is_left = true,
                false => fs::remove_dir(&path).map_err(ExportError::io(&path))?,
            }
        } else if LEFT_OUT.contains(&&*name) || in_crate == CHECKSUM_FILE {
            fs::remove_file(&path).map_err(ExportError::io(&path))?;
        } else if let Some(digest) = digest_of(&path)? {
            files.insert(in_crate, digest.to_string());
            is_left = true;
        }
    }
    Ok(is_left)
}
