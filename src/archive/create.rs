//! Making an empty archive, and knowing one that a crash left half made.

use super::commit::{now, replace, write_head};
use super::names::HEAD_NAMES;
use super::{Archive, Error};
use crate::deflate::{self, Engine, Recipe};
use crate::format::head::Head;
use crate::store::Medium;
use std::io;
use std::sync::Arc;

/// The files for people. What only a programmer needs is deflated: archives of a single
/// project are small.
const GUIDES: [(&str, &str); 4] = [
    ("README.txt", super::README_TXT),
    ("format-1.md.gz", super::SPEC),
    ("engines.md.gz", super::ENGINES),
    ("reader.py", super::READER_PY),
];

/// `text` as it lies in the file `name`.
fn guide(name: &str, text: &str) -> Vec<u8> {
    if !name.ends_with(".gz") {
        return text.as_bytes().to_vec();
    }
    let length = text.len() as u32;
    let trailer = [crc32fast::hash(text.as_bytes()).to_le_bytes(), length.to_le_bytes()];
    let recipe = Recipe {
        engine: Engine::Zlib9Mem9,
        // Deflated, without name or time, at the highest level, on no system in particular.
        header: vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255],
        trailer: trailer.concat(),
    };
    deflate::redo(text.as_bytes(), &recipe)
}

/// Whether no commit was ever begun here.
pub(super) fn is_empty(medium: &dyn Medium) -> Result<bool, Error> {
    for folder in ["packs", "index", "manifest"] {
        if !medium.list(folder).map_err(Error::io(folder))?.is_empty() {
            return Ok(false);
        }
    }
    match medium.len(HEAD_NAMES[1]) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(Error::io(HEAD_NAMES[1])(error)),
        Ok(_) => Ok(false),
    }
}

/// Makes an empty archive; `files` lay in the folder before it was locked.
pub(super) fn create(medium: &Arc<dyn Medium>, files: &[(String, u64)]) -> Result<Archive, Error> {
    create_with(medium, files, &|_| Ok(()))
}

/// As [`create`]; `fill` may put more into the first head, once the files that it is to
/// name are on the medium.
pub(super) fn create_with(
    medium: &Arc<dyn Medium>,
    files: &[(String, u64)],
    fill: &dyn Fn(&mut Head) -> Result<(), Error>,
) -> Result<Archive, Error> {
    let path = medium.describe();
    // The lock's name comes first and for good: files of these names are ours to
    // replace only where it is, for then a crash left them.
    medium.sync_folder("").map_err(Error::io(&path))?;
    let has = |name: &str| files.iter().any(|(file, _)| file == name);
    if let Some((name, _)) = GUIDES.iter().find(|(name, _)| has(name) && !has("lock")) {
        return Err(Error::Rejected(format!(
            "{path}: has a file `{name}`, which an archive would replace; choose an empty folder"
        )));
    }
    for folder in ["packs", "index", "manifest"] {
        medium
            .create_folder(folder)
            .map_err(Error::io(format!("{path}/{folder}")))?;
    }
    for (name, text) in GUIDES {
        replace(&**medium, name, &guide(name, text))?;
    }
    let mut archive_id = [0; 16];
    archive_id.iter_mut().for_each(|byte| *byte = fastrand::u8(..));
    let mut head = Head {
        archive_id,
        incompatible_features: 0,
        write_features: 0,
        generation: 0,
        time: now(),
        previous_head: [0; 32],
        root: [0; 32],
        packs: Vec::new(),
        indexes: Vec::new(),
        manifests: Vec::new(),
        extras: Vec::new(),
    };
    fill(&mut head)?;
    medium.sync_folder("").map_err(Error::io(&path))?;
    write_head(&**medium, &head)?;
    Archive::open_on(medium.clone())
}
