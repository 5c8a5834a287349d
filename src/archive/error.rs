//! What can go wrong with an archive, in one line each.

use crate::format::Damaged;
use crate::ids::Digest;
use std::io;

/// An archive operation that failed. Nothing committed before is lost by it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: String,
        /// What it said.
        source: io::Error,
    },
    /// A file of the archive is not what the format says.
    #[error("{path}: damaged: {damage}; run `cratehold verify` to see what it hurts")]
    Damaged {
        /// The file.
        path: String,
        /// The mismatch.
        damage: Damaged,
    },
    /// There is no archive at this path.
    #[error("{path}: not a cratehold archive (no head0 or head1 file); `cratehold sync` and `import` create one")]
    NotAnArchive {
        /// The folder.
        path: String,
    },
    /// Neither head can be used.
    #[error("{path}: neither head can be used: head0: {head0}; head1: {head1}")]
    NoHead {
        /// The folder.
        path: String,
        /// Why not the first.
        head0: String,
        /// Why not the second.
        head1: String,
    },
    /// The newest snapshot cannot be opened, and a commit would overwrite its head.
    #[error(
        "{path}: snapshot {generation} cannot be opened: {cause}; writing would go on from snapshot {opened} and lose \
         what came after: run `cratehold repair` first"
    )]
    Hidden {
        /// The folder.
        path: String,
        /// The snapshot that its head names.
        generation: u64,
        /// The snapshot that can be opened.
        opened: u64,
        /// Why not the newer.
        cause: String,
    },
    /// Another process writes.
    #[error("{path}: another cratehold is writing to this archive{holder}; wait for it to end and run this again")]
    Locked {
        /// The folder.
        path: String,
        /// Which process it is, behind a colon; empty if that cannot be told.
        holder: String,
    },
    /// This writer can no longer be used.
    #[error(
        "writing failed: {cause}; what was committed before is whole: make room or mend the drive, then run this again"
    )]
    WriterFailed {
        /// The failure that came first.
        cause: String,
    },
    /// The archive lies where this process may not write.
    #[error(
        "{path}: cannot be changed: {cause}; reading needs no more than this: list, extract, grep, verify, serve and copy \
         work, and a copy of it elsewhere can be changed"
    )]
    NotWritable {
        /// The folder.
        path: String,
        /// What the operating system said.
        cause: io::Error,
    },
    /// The archive needs a newer program to be written to.
    #[error("{path}: uses write features {features:#x}; a newer cratehold is needed to change it")]
    ReadOnly {
        /// The folder.
        path: String,
        /// The unknown bits.
        features: u64,
    },
    /// A digest that the archive does not hold.
    #[error("{digest}: not held in this archive")]
    NotHeld {
        /// The digest asked for.
        digest: Digest,
    },
    /// What was erased on purpose is not taken in unasked.
    #[error(
        "{release} ({digest}) was erased from this archive on purpose, in snapshot {snapshot}: {reason}; \
         `--accept-purged {release}` takes it in again"
    )]
    Purged {
        /// A release that has these bytes.
        release: String,
        /// Their digest.
        digest: Digest,
        /// The snapshot that erased them.
        snapshot: u64,
        /// Why.
        reason: String,
    },
    /// One stored object cannot be read back.
    #[error("{release} ({digest}) in {pack} at offset {offset}: {cause}")]
    Blob {
        /// Name and version, if they can be told.
        release: String,
        /// The object.
        digest: Digest,
        /// The pack file.
        pack: String,
        /// Where its record begins.
        offset: u64,
        /// What is wrong.
        cause: String,
    },
    /// The archive is not the one that a root or key stands for.
    #[error("{0}")]
    Untrusted(String),
    /// A crate file that cannot be taken in.
    #[error("{0}")]
    Rejected(String),
}

impl Error {
    /// An I/O error at `path`.
    pub fn io(path: impl ToString) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_string();
        move |source| Error::Io { path, source }
    }

    /// A mismatch in the file `path`.
    pub fn damaged(path: impl ToString) -> impl FnOnce(Damaged) -> Error {
        let path = path.to_string();
        move |damage| Error::Damaged { path, damage }
    }
}
