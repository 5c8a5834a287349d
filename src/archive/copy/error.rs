//! Why a copy was not made, in one line each.

use crate::archive::Error;
use std::io;

/// A copy that was not made. What was at the destination before is whole.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The source or the destination cannot be read as an archive.
    #[error("{0}")]
    Archive(#[from] Error),
    /// Another archive is at the destination.
    #[error("{path}: another archive is there ({cause}); name another folder, or remove that one first")]
    OtherArchive {
        /// The destination.
        path: String,
        /// How that was seen.
        cause: String,
    },
    /// The destination is of the same archive, but has something the source lacks.
    #[error(
        "{path}: was written to on its own since it was copied ({cause}); a copy would lose that: name another folder"
    )]
    Diverged {
        /// The destination.
        path: String,
        /// What it has.
        cause: String,
    },
    /// Both places have it, not alike, and neither is seen to be right.
    #[error(
        "{path}: {file} differs at offset {offset}, and the source is damaged there too; run `cratehold verify` on both"
    )]
    DamagedSource {
        /// The destination.
        path: String,
        /// The file.
        file: String,
        /// Where.
        offset: u64,
    },
    /// It will not fit, as was seen before anything was written.
    #[error(
        "{path}: {needed_bytes} more bytes are needed there, and {free_bytes} are free; make room or take a bigger drive"
    )]
    NoRoom {
        /// The destination.
        path: String,
        /// What would be written.
        needed_bytes: u64,
        /// What is free.
        free_bytes: u64,
    },
    /// The drive became full on the way.
    #[error(
        "{path}: the drive is full ({left_bytes} bytes are still to be written); make room and run the same command again, which goes on from here"
    )]
    Full {
        /// The destination.
        path: String,
        /// What had still to be written.
        left_bytes: u64,
    },
    /// A drive cannot be read from or written to any more.
    #[error(
        "{path}: {source}: the drive failed or was pulled out; plug it in and run the same command again, which goes on from here"
    )]
    Gone {
        /// The file or folder.
        path: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// What was written does not come back.
    #[error(
        "{path}: at offset {offset} the drive does not give back what was written to it: it cannot be trusted with this (worn out, or smaller than it says)"
    )]
    Unfaithful {
        /// The file.
        path: String,
        /// Where.
        offset: u64,
    },
    /// A file of the source vanished.
    #[error("{path}: is gone: the archive was changed while it was copied; run the same command again")]
    SourceChanged {
        /// The file.
        path: String,
    },
    /// It was asked to stop.
    #[error("stopped: what was copied so far is kept, and the same command goes on from there")]
    Stopped,
}

impl CopyError {
    /// An I/O error at the destination's `path`, with so many bytes still to write.
    pub(super) fn writing(path: String, left_bytes: u64) -> impl FnOnce(io::Error) -> CopyError {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => CopyError::Full { path, left_bytes },
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::FileTooLarge
            | io::ErrorKind::InvalidInput => CopyError::Archive(Error::Io { path, source }),
            _ => CopyError::Gone { path, source },
        }
    }

    /// An I/O error at the source's `path`.
    pub(super) fn reading(path: String) -> impl FnOnce(io::Error) -> CopyError {
        move |source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => CopyError::SourceChanged { path },
            io::ErrorKind::PermissionDenied => CopyError::Archive(Error::Io { path, source }),
            _ => CopyError::Gone { path, source },
        }
    }
}
