//! A whole archive onto another medium, byte for byte: only what is missing there is
//! written, what was written is read back, and what was there stays usable to the end.
//! Or a part of it, as an archive of its own: `part`.

mod error;
mod part;
mod plan;
mod transfer;

pub use error::CopyError;
pub use part::{PartCrate, PartOptions, PartReport, copy_part};

use super::Archive;
use crate::store::{DiskMedium, Medium};
use std::path::Path;
use std::sync::Arc;

/// What a run needs besides the two archives.
pub struct CopyOptions<'a> {
    /// Compare all that is there already with the source, byte for byte, and mend what
    /// is damaged. Without it only a sample of each file is compared.
    pub check: bool,
    /// Asked between pieces of a few megabytes; what was copied counts as there when
    /// the copy is made again.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Told once how many bytes will be written, read back and compared in all.
    pub begin: &'a dyn Fn(u64),
    /// Told of each piece of these.
    pub progress: &'a dyn Fn(u64),
}

/// What a copy did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopyReport {
    /// Bytes written, and read back.
    pub copied_bytes: u64,
    /// Bytes that were there already.
    pub kept_bytes: u64,
    /// Of what was there, bytes that were damaged and are mended.
    pub mended_bytes: u64,
    /// Files removed that the snapshot does not need.
    pub removed_files: u64,
    /// The snapshot that is there now.
    pub snapshot: u64,
}

/// Makes or refreshes the archive in the folder `to`, so that it is the snapshot `from`.
///
/// The heads are written last, so that until then what was there before is found
/// there; files that only it needs are removed after that. [R 10.14]
///
/// # Errors
/// When another archive, or one that has gone its own way, is there; when it does not
/// fit, or a drive fails. What was there before is whole then.
pub fn copy(from: &Archive, to: &Path, options: &CopyOptions<'_>) -> Result<CopyReport, CopyError> {
    copy_on(from, &(Arc::new(DiskMedium::new(to)) as Arc<dyn Medium>), options)
}

/// As [`copy`], to any medium.
///
/// # Errors
/// As [`copy`].
pub fn copy_on(from: &Archive, to: &Arc<dyn Medium>, options: &CopyOptions<'_>) -> Result<CopyReport, CopyError> {
    let there = plan::Destination::open(to)?;
    there.check_lineage(from)?;
    let pieces = plan::plan(from, &there, options.check)?;
    transfer::run(from, &there, pieces, options)
}
