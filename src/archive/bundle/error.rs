//! Why a bundle was not made or not taken in, in one line each.

use crate::archive::Error;
use crate::format::Damaged;
use crate::ids::Digest;
use std::io;

/// A bundle that was not made or not taken in. The archives are whole either way.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// An archive cannot be read or written to.
    #[error("{0}")]
    Archive(#[from] Error),
    /// A file of a bundle cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The drive that the bundle is written to became full.
    #[error(
        "{path}: the drive is full; make room or name another folder, and run the same command again: whole volumes are kept"
    )]
    NoRoom {
        /// The volume.
        path: String,
    },
    /// The archive's drive became full on the way.
    #[error(
        "{path}: the drive is full; make room and run the same command again, which goes on from here: the archive is whole"
    )]
    Full {
        /// The archive.
        path: String,
    },
    /// What was written does not come back.
    #[error("{path}: the drive does not give back what was written to it: it cannot be trusted with this")]
    Unfaithful {
        /// The volume.
        path: String,
    },
    /// Something else has the name of a volume.
    #[error("{path}: is there already and not a volume of this bundle; name another folder or file")]
    Occupied {
        /// The file.
        path: String,
    },
    /// A crate does not fit into a volume.
    #[error("{release}: takes {needed_bytes} bytes of one volume; give `--volume-size` at least as much")]
    VolumeTooSmall {
        /// The crate.
        release: String,
        /// What it takes, with what every volume has.
        needed_bytes: u64,
    },
    /// The other archive cannot be gone on from.
    #[error("{path}: cannot be gone on from: {cause}")]
    NoBase {
        /// The other archive.
        path: String,
        /// Why not.
        cause: String,
    },
    /// There is nothing to take in.
    #[error("{path}: no bundle: no file in it ends with .chb")]
    NoVolumes {
        /// The folder.
        path: String,
    },
    /// A file is no volume.
    #[error("{path}: not a volume of a bundle: {damage}")]
    NotAVolume {
        /// The file.
        path: String,
        /// How that was seen.
        damage: Damaged,
    },
    /// A volume without its end.
    #[error(
        "{path}: not a whole volume: it has no end mark, so that writing or copying it was cut short; bring it anew, or make it again with the same `bundle` command"
    )]
    Unfinished {
        /// The file.
        path: String,
    },
    /// A volume is not as it was written.
    #[error(
        "{path}: volume {volume} is damaged at offset {offset}: {cause}; bring that volume anew and run the same command again: the archive is whole, and what came before stays in"
    )]
    Damaged {
        /// The file.
        path: String,
        /// Its number.
        volume: u32,
        /// Where.
        offset: u64,
        /// What is wrong.
        cause: String,
    },
    /// Two volumes of one bundle contradict each other.
    #[error("{path}: says otherwise of its bundle than {other}; one of them was tampered with")]
    Contradiction {
        /// One file.
        path: String,
        /// The other.
        other: String,
    },
    /// A volume of the bundle is not there.
    #[error(
        "volume {volume} of {volumes} is missing beside {path}; bring it and run the same command again with all of them"
    )]
    Missing {
        /// A volume that is there.
        path: String,
        /// The number of the missing one.
        volume: u32,
        /// How many there are.
        volumes: u32,
    },
    /// Volumes have to be taken in in their order.
    #[error("{path}: volume {volume} of {volumes} needs what an earlier one has ({base}): apply volume {before} first")]
    OutOfOrder {
        /// The volume.
        path: String,
        /// Its number.
        volume: u32,
        /// How many there are.
        volumes: u32,
        /// The one before it.
        before: u32,
        /// The object that is lacking.
        base: Digest,
    },
    /// The archive is older than what the bundle goes on from.
    #[error(
        "{path}: goes on from snapshot {base} (root {base_root}), and this archive is at snapshot {snapshot} (root {root}): first apply the bundle that leads from {snapshot} to {base}, or make one with `bundle --since {snapshot}`"
    )]
    Earlier {
        /// A volume.
        path: String,
        /// The snapshot it goes on from.
        base: u64,
        /// The root of that.
        base_root: Digest,
        /// Where this archive is.
        snapshot: u64,
        /// Its root.
        root: Digest,
    },
    /// The archive is empty, and the bundle is not of everything.
    #[error(
        "{path}: goes on from snapshot {base} (root {base_root}), and there is no snapshot here yet: first apply a bundle of everything (`bundle` without --since), or copy the whole archive"
    )]
    NothingHere {
        /// A volume.
        path: String,
        /// The snapshot it goes on from.
        base: u64,
        /// The root of that.
        base_root: Digest,
    },
    /// The archive has gone its own way since.
    #[error(
        "{path}: leads to root {new_root}, and this archive has gone its own way since snapshot {base}: it is at root {root}, which the bundle does not know; what was added here by itself cannot be merged: apply to a copy that was not written to, or to a new archive"
    )]
    Diverged {
        /// A volume.
        path: String,
        /// Where the ways part at the latest.
        base: u64,
        /// Where the bundle leads.
        new_root: Digest,
        /// Where this archive is.
        root: Digest,
    },
    /// The bundle is of an archive that has nothing to do with this one.
    #[error(
        "{path}: is of another archive: its history begins with {theirs}, that of this one with {ours}; apply it to a new, empty archive"
    )]
    Stranger {
        /// A volume.
        path: String,
        /// The hash of its first transaction.
        theirs: Digest,
        /// The hash of ours.
        ours: Digest,
    },
    /// It is not what was asked for.
    #[error("{path}: {cause}; nothing of it was taken in")]
    Untrusted {
        /// A volume.
        path: String,
        /// What it is instead.
        cause: String,
    },
    /// It was asked to stop.
    #[error("stopped: what is done is kept, and the same command goes on from there")]
    Stopped,
}

impl BundleError {
    /// An I/O error at `path`.
    pub(super) fn io(path: impl ToString) -> impl FnOnce(io::Error) -> BundleError {
        let path = path.to_string();
        move |source| BundleError::Io { path, source }
    }

    /// An I/O error while the volume at `path` was written.
    pub(super) fn writing(path: impl ToString) -> impl FnOnce(io::Error) -> BundleError {
        let path = path.to_string();
        move |source| match is_full(&source) {
            true => BundleError::NoRoom { path },
            false => BundleError::Io { path, source },
        }
    }

    /// An error of the archive at `folder` while it was written to.
    pub(super) fn applying(folder: &str) -> impl FnOnce(Error) -> BundleError {
        move |error| match &error {
            Error::Io { source, .. } if is_full(source) => BundleError::Full {
                path: folder.to_owned(),
            },
            _ => BundleError::Archive(error),
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
