//! Importing crate files beside a registry index that lies on a disk: its lines tell
//! the checksums, and are kept.
//!
//! Such a folder may be of any age. So it only adds: what the archive has from its
//! own registry is never changed by it, and what it lacks is not taken for removed.

use super::Error;
use super::absorb::{etag_event, events, known_releases};
use crate::archive::{self, Archive, CommitInfo, Failure, ImportOptions, ImportReport, Scan, Writer};
use crate::format::manifest::EventKind;
use crate::ids::{Digest, Release};
use crate::registry::{IndexFile, RegistryLine, index_path};
use std::collections::HashMap;
use std::io;
use std::path::Path;

/// The lines of each crate, by key.
type Lines = HashMap<String, Vec<RegistryLine>>;

/// Stores all files of `scan` whose checksum is that of the registry index in
/// `folder` (in the sparse layout: `se/rd/serde`), and keeps the lines of their
/// crates. `options.expected` is asked too.
///
/// # Errors
/// When the archive cannot be read or written to.
pub fn import_with_index(
    writer: &Writer,
    folder: &Path,
    mut scan: Scan,
    options: &ImportOptions<'_>,
) -> Result<ImportReport, Error> {
    let lines = read_lines(folder, &mut scan);
    note_lines(writer, &lines)?;
    let expected = |release: &Release| -> Result<Vec<Digest>, String> {
        let of_version = |line: &&RegistryLine| line.version == release.version;
        let lines = lines.get(&release.name.key()).into_iter().flatten();
        let mut listed: Vec<Digest> = lines.filter(of_version).map(|line| line.digest).collect();
        if listed.is_empty() {
            let folder = folder.display();
            return Err(format!("{release} is not in the registry index {folder}"));
        }
        let known = (options.expected)(release)?;
        if !known.is_empty() {
            listed.retain(|digest| known.contains(digest));
            if listed.is_empty() {
                let folder = folder.display();
                return Err(format!(
                    "the registry index {folder} gives {release} another checksum than the archive knows"
                ));
            }
        }
        Ok(listed)
    };
    let options = ImportOptions {
        expected: &expected,
        ..*options
    };
    archive::import(writer, scan, &options).map_err(Error::Write)
}

fn read_lines(folder: &Path, scan: &mut Scan) -> Lines {
    let mut lines = Lines::new();
    for (key, files) in &scan.crates {
        let Some(name) = files.first().map(|file| &file.release.name) else {
            continue;
        };
        let path = folder.join(index_path(name));
        match std::fs::read(&path) {
            Ok(bytes) => {
                let file = IndexFile::parse(&bytes);
                scan.failures
                    .extend(file.bad.into_iter().map(|(number, cause)| Failure {
                        what: format!("{}, line {number}", path.display()),
                        cause,
                    }));
                let own = file.lines.into_iter().filter(|line| line.name.key() == *key);
                lines.insert(key.clone(), own.collect());
            }
            // The crate's files then fail one by one, as not listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => scan.failures.push(Failure {
                what: path.display().to_string(),
                cause: error.to_string(),
            }),
        }
    }
    lines
}

fn note_lines(writer: &Writer, lines: &Lines) -> Result<(), Error> {
    let mut keys: Vec<&String> = lines.keys().collect();
    keys.sort();
    let mut has_any_news = false;
    for key in keys {
        let Some(first) = lines[key].first() else { continue };
        let state = writer.with_archive(|archive| archive.crate_state(first.name.as_str()))?;
        let known = known_releases(writer, state.as_ref())?;
        let tag = state
            .as_ref()
            .map(|state| writer.with_archive(|archive| archive.etag(state)));
        let has_tag = tag.transpose()?.flatten().is_some();
        let name = state.map_or_else(|| first.name.to_string(), |state| state.name);
        let mut has_news = false;
        for event in events(&known, &lines[key]) {
            let listed_here = known
                .iter()
                .any(|known| known.version.as_str() == event.version && known.line.is_some());
            if !listed_here && event.kind != EventKind::Removed {
                writer.note(&name, event);
                has_news = true;
            }
        }
        has_any_news |= has_news;
        // What is known now is no longer what the registry said under its tag: the next
        // sync is to read the file again, though the registry has not changed it.
        if has_news && has_tag {
            writer.note(&name, etag_event(String::new()));
        }
    }
    let mut info = CommitInfo {
        source: "import".into(),
        ..CommitInfo::default()
    };
    // The same of a git registry index, which has no tags.
    if has_any_news && writer.with_archive(Archive::cursor)?.is_some() {
        info.cursor = Archive::STALE_CURSOR.into();
    }
    writer.commit(&info).map(drop).map_err(Error::Write)
}
