//! Which files differ between the source trees of two crates.

use super::{Error, read};
use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

/// A file that is not the same in two trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange<'a> {
    /// Its path below `NAME-VERSION/`.
    pub path: String,
    /// Its bytes in the older tree; none if it is new.
    pub old: Option<&'a [u8]>,
    /// Its bytes in the newer tree; none if it is gone.
    pub new: Option<&'a [u8]>,
}

/// The files that differ between two crates' tars, by path. Of a path that a tar has
/// twice the last counts, as in unpacking.
///
/// # Errors
/// When one of them is malformed.
pub fn compare_trees<'a>(old: &'a [u8], new: &'a [u8]) -> Result<Vec<FileChange<'a>>, Error> {
    let (was, mut is) = (files(old)?, files(new)?);
    let mut changes = Vec::new();
    for (path, range) in was {
        let before = &old[range];
        let after = is.remove(&path).map(|range| &new[range]);
        if after != Some(before) {
            changes.push(FileChange {
                path,
                old: Some(before),
                new: after,
            });
        }
    }
    changes.extend(is.into_iter().map(|(path, range)| FileChange {
        path,
        old: None,
        new: Some(&new[range]),
    }));
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(changes)
}

fn files(tar: &[u8]) -> Result<BTreeMap<String, Range<usize>>, Error> {
    let mut files = BTreeMap::new();
    read::tar_ranges(tar, |path, range| {
        files.insert(path, range);
        ControlFlow::Continue(())
    })?;
    Ok(files)
}
