//! The bare clone of a remote registry index: made, locked, and cleared of what a
//! fetch that was killed has left.
//!
//! A clone made here has a lock file of ours. In a repository that somebody else has
//! made nothing is removed and no lock is asked for.

use super::fetch::{BRANCH, open};
use super::why;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Locked while one process fetches; its being there says that the clone is ours.
const LOCK: &str = "cratehold.lock";
/// Where git leaves unfinished packs, and what their names begin with.
const PACKS: &str = "objects/pack";
const UNFINISHED: &str = ".tmp";
/// Each fetch adds a pack. With more of them than this, a clone is fetched anew: years of
/// daily runs must not leave thousands, each of which is asked for each object.
const MOST_PACKS: usize = 50;
/// What tells a server how much of its history is here.
const HAVES: [&str; 2] = [BRANCH, "shallow"];
/// Where git's own locks may be left.
const LOCKED: [&str; 3] = ["", "refs", "refs/cratehold"];

/// Opens the clone in `folder`, or makes one, to be fetched into as long as the file
/// returned lives.
pub(super) fn claim(folder: &Path) -> Result<(gix::Repository, Option<File>), String> {
    let lock_path = folder.join(LOCK);
    let is_new = !folder.join("HEAD").exists();
    let lock = if is_new || lock_path.exists() {
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).open(&lock_path);
        let file = file.map_err(|error| error.to_string())?;
        match file.try_lock() {
            Ok(()) => Some(file),
            Err(TryLockError::WouldBlock) => {
                return Err(
                    "another cratehold is fetching into this clone of the registry index; wait for it, or give this one its own --index-cache"
                        .into(),
                );
            }
            Err(TryLockError::Error(error)) => return Err(error.to_string()),
        }
    } else {
        None
    };
    if lock.is_some() {
        clear(folder).map_err(|error| format!("cannot remove what a fetch has left: {error}"))?;
    }
    // Looked at again under the lock: it may have been made meanwhile.
    if is_new && !folder.join("HEAD").exists() {
        make(folder).map_err(|cause| damaged(folder, &cause))?;
    }
    let repository = open(folder).map_err(|cause| damaged(folder, &cause))?;
    Ok((repository, lock))
}

/// Makes a clone with too many packs forget what it has, so that the next fetch brings
/// everything in one. Returns the packs that are then of no use. If that fetch fails, or
/// the process is killed, the next run fetches everything again.
pub(super) fn forget_if_worn(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let packs = files(&folder.join(PACKS), |name| name.starts_with("pack-"))?;
    if packs
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "pack"))
        .count()
        <= MOST_PACKS
    {
        return Ok(Vec::new());
    }
    for have in HAVES {
        match std::fs::remove_file(folder.join(have)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(packs)
}

/// A cause, and what helps when a clone is damaged.
pub(super) fn damaged(folder: &Path, cause: &str) -> String {
    format!(
        "{cause}; if this clone of the registry index is damaged, remove {} and run this again",
        folder.display()
    )
}

/// `HEAD` comes last, so that a clone that has it is whole.
fn make(folder: &Path) -> Result<(), String> {
    let fail = |error: io::Error| error.to_string();
    let making = folder.join("making");
    match std::fs::remove_dir_all(&making) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    gix::init_bare(&making).map_err(|error| why(&error))?;
    let mut entries: Vec<_> = std::fs::read_dir(&making)
        .and_then(Iterator::collect::<io::Result<_>>)
        .map_err(fail)?;
    entries.sort_by_key(|entry| entry.file_name() == "HEAD");
    for entry in entries {
        let place = folder.join(entry.file_name());
        match entry.file_type().map_err(fail)?.is_dir() {
            true => drop(std::fs::remove_dir_all(&place)),
            false => drop(std::fs::remove_file(&place)),
        }
        std::fs::rename(entry.path(), place).map_err(fail)?;
    }
    std::fs::remove_dir(&making).map_err(fail)
}

fn clear(folder: &Path) -> io::Result<()> {
    remove_files(&folder.join(PACKS), |name| name.starts_with(UNFINISHED))?;
    for below in LOCKED {
        remove_files(&folder.join(below), |name| name.ends_with(".lock") && name != LOCK)?;
    }
    Ok(())
}

fn remove_files(folder: &Path, is_left: impl Fn(&str) -> bool) -> io::Result<()> {
    files(folder, is_left)?.into_iter().try_for_each(std::fs::remove_file)
}

/// The files in `folder`, if there is one, whose name `is_meant`.
fn files(folder: &Path, is_meant: impl Fn(&str) -> bool) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() && entry.file_name().to_str().is_some_and(&is_meant) {
            files.push(entry.path());
        }
    }
    Ok(files)
}
