//! Optimizing into another folder: an archive with the same manifest, whose packs are
//! made from the crate files of this one.

use super::source::Source;
use super::{OptimizeOptions, OptimizeReport, run};
use crate::archive::commit::{replace, write_head};
use crate::archive::create::create_with;
use crate::archive::gc::sweep;
use crate::archive::names::manifest_name;
use crate::archive::{Archive, CommitInfo, Error, ROOT_FILE, SIGNATURE_FILE, Writer};
use crate::format::head::{Head, SegmentEntry};
use crate::store::{DiskMedium, Medium};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Makes or refreshes the archive in the folder `to`: it tells what `from` tells, by the
/// same root, and holds the same crate files, stored as `options` say. `from` is left as
/// it is. What a run that was stopped has done there counts for the next one.
///
/// # Errors
/// When what is in `to` is neither nothing nor an earlier state of `from`; else as
/// [`Writer::optimize`].
pub fn optimize_to(from: &Archive, to: &Path, options: &OptimizeOptions<'_>) -> Result<OptimizeReport, Error> {
    optimize_to_on(from, &(Arc::new(DiskMedium::new(to)) as Arc<dyn Medium>), options)
}

/// As [`optimize_to`], on any medium.
///
/// # Errors
/// As [`optimize_to`].
pub fn optimize_to_on(
    from: &Archive,
    to: &Arc<dyn Medium>,
    options: &OptimizeOptions<'_>,
) -> Result<OptimizeReport, Error> {
    let writer = Writer::open_made(to.clone(), &nothing_stored, &|medium, files| {
        create_with(medium, files, &|head| {
            copy_manifests(from, &**medium, &[])?;
            head.generation = from.head.generation;
            head.root = from.head.root;
            head.manifests.clone_from(&from.head.manifests);
            Ok(())
        })
    })?;
    let info = CommitInfo {
        source: "optimize".into(),
        ..CommitInfo::default()
    };
    writer.commit(&info)?;
    let there = writer.with_archive(Archive::clone);
    if there.head.root != from.head.root {
        let path = to.describe();
        let is_earlier =
            there.head.root == [0; 32] || from.transactions()?.iter().any(|made| made.hash == there.head.root);
        if !is_earlier {
            return Err(Error::Rejected(format!(
                "{path}: holds an archive that is no earlier state of this one; name another folder, or remove it first"
            )));
        }
        writer.take_manifests(from)?;
    }
    for entry in there.entries()? {
        if from.find(&entry.digest)?.is_none() && entry.kind == crate::format::index::EntryKind::Blob {
            writer.forget(entry.digest);
        }
    }
    let report = run(Source::Other(from), &writer, options)?;
    for name in [ROOT_FILE, SIGNATURE_FILE] {
        match from.medium.read(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(name)(error)),
            Ok(bytes) => replace(&**to, name, &bytes)?,
        }
    }
    Ok(report)
}

/// Whether no object was ever stored here, so that an archive may be begun anew.
fn nothing_stored(medium: &dyn Medium) -> Result<bool, Error> {
    for folder in ["packs", "index"] {
        if !medium.list(folder).map_err(Error::io(folder))?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes the manifest segments of `from` that are not among `present`.
fn copy_manifests(from: &Archive, medium: &dyn Medium, present: &[SegmentEntry]) -> Result<(), Error> {
    for segment in &from.head.manifests {
        let name = manifest_name(segment.generation);
        match present.iter().find(|held| held.generation == segment.generation) {
            Some(held) if held == segment => continue,
            Some(_) => {
                let path = medium.describe();
                return Err(Error::Rejected(format!(
                    "{path}: its {name} is another than this archive's; name another folder"
                )));
            }
            None => {}
        }
        let bytes = from.medium.read(&name).map_err(Error::io(&name))?;
        replace(medium, &name, &bytes)?;
    }
    medium.sync_folder("manifest").map_err(Error::io("manifest"))
}

impl Writer {
    /// Commits what the manifest of `from` tells in place of what is told here.
    fn take_manifests(&self, from: &Archive) -> Result<(), Error> {
        let mut state = self.usable_state()?;
        let medium = state.archive.medium.clone();
        let old = state.archive.head.clone();
        copy_manifests(from, &*medium, &old.manifests)?;
        // Not over the head that is in use: generations alternate between the two files.
        let mut generation = from.head.generation.max(old.generation + 1);
        generation += u64::from(generation % 2 == old.generation % 2);
        let head = Head {
            generation,
            time: from.head.time,
            previous_head: old.hash(),
            root: from.head.root,
            manifests: from.head.manifests.clone(),
            ..old.clone()
        };
        write_head(&*medium, &head)?;
        state.archive = Archive::with_head(medium.clone(), head)?;
        sweep(&*medium, &state.archive.head, &old);
        Ok(())
    }
}
