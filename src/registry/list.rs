//! Lists of releases: one `NAME@VERSION` a line.

use super::Error;
use crate::ids::Release;
use std::path::Path;

/// A list, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    /// The releases, in their order.
    pub releases: Vec<Release>,
    /// Lines that name none: `FILE:LINE`, and why.
    pub bad: Vec<(String, String)>,
}

/// Reads the list in `path`. Blank lines, and all behind a `#`, are nothing.
///
/// # Errors
/// When the file cannot be read.
pub fn parse_list(path: &Path) -> Result<List, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::File {
        path: path.display().to_string(),
        cause: error.to_string(),
    })?;
    let mut list = List::default();
    for (i, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        match line.parse() {
            Ok(release) => list.releases.push(release),
            Err(error) => list
                .bad
                .push((format!("{}:{}", path.display(), i + 1), error.to_string())),
        }
    }
    Ok(list)
}
