//! Updates that are carried: the difference between an archive and an earlier state of it
//! as volumes, each small enough for any drive, and taking them in elsewhere.
//! Spec section 16.

mod apply;
mod error;
mod given;
mod land;
mod lineage;
mod marks;
mod plan;
mod take_in;
mod trust;
mod volume;
mod write;

pub use apply::{ApplyOptions, ApplyReport, apply, apply_on};
pub use error::BundleError;
pub use trust::Trust;
pub use write::{BundleOptions, BundleReport, bundle, bundle_on};

use crate::archive::Archive;

/// How the names of volumes end. [R 16.1]
pub const VOLUME_SUFFIX: &str = ".chb";
/// Below FAT32's 4 GiB, in a round number.
pub const DEFAULT_VOLUME_BYTES: u64 = 4_000_000_000;
/// A volume may not be made smaller.
pub const MIN_VOLUME_BYTES: u64 = 1 << 20;

/// The earlier state that a bundle goes on from.
#[derive(Debug, Clone, Copy)]
pub enum Since<'a> {
    /// None: the bundle has everything.
    Nothing,
    /// This snapshot.
    Snapshot(u64),
    /// What another archive of the same lineage has.
    Archive(&'a Archive),
}

#[cfg(test)]
mod tests;
