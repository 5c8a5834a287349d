//! cratehold: a content-addressed archive that can hold all of crates.io.
//!
//! Each crate is stored once, by the SHA-256 of its exact `.crate` bytes, as a
//! zstd frame in an append-only pack. `format-spec/format-1.md` is the one
//! place that says what the bytes on disk mean; `ARCHITECTURE.md` says which
//! module may know what.
//!
//! # Reading
//!
//! ```no_run
//! use cratehold::archive::{Archive, tar_files};
//! use std::path::Path;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let archive = Archive::open(Path::new("demo"))?;
//!
//! // From a name and a version to the exact bytes that cargo's checksum expects.
//! if let Some(release) = archive.release_state("serde", "1.0.228")? {
//!     let crate_file: Vec<u8> = archive.read_crate(&release.digest)?;
//!     std::fs::write("serde-1.0.228.crate", crate_file)?;
//! }
//!
//! // Every release that the registry has now, and one file of each.
//! for krate in archive.crates()? {
//!     for release in krate.current() {
//!         if archive.find(&release.digest)?.is_none() {
//!             continue; // listed, but not held
//!         }
//!         let tar = archive.read_tar(&release.digest)?;
//!         tar_files(&tar, |file, contents| {
//!             if file.path == "Cargo.toml" {
//!                 let mut text = String::new();
//!                 let _ = contents.read_to_string(&mut text);
//!             }
//!         })?;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Writing
//!
//! One process writes at a time; any number read meanwhile. What was added counts
//! from the commit on.
//!
//! ```no_run
//! use cratehold::archive::{Archive, CommitInfo, EncodeOptions, Writer};
//! use std::path::Path;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let writer = Writer::open(Path::new("demo"))?; // makes an empty archive if there is none
//! let crate_file = std::fs::read("serde-1.0.228.crate")?;
//! writer.add(&"serde@1.0.228".parse()?, crate_file, EncodeOptions::default())?;
//! let info = CommitInfo { source: "example".into(), ..CommitInfo::default() };
//! if let Some(snapshot) = writer.commit(&info)? {
//!     assert_eq!(Archive::open(Path::new("demo"))?.head().generation, snapshot);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Whole folders of crate files, on all cores:
//!
//! ```
//! use cratehold::archive::{EncodeOptions, ImportOptions, Scan, Writer, import};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let writer = Writer::open(folder)?;
//! let options = ImportOptions {
//!     encode: EncodeOptions { check_release: true, ..EncodeOptions::default() },
//!     threads: 2,
//!     expected: &|_release| Ok(Vec::new()),
//!     stop: &|| false,
//!     progress: &|_bytes| {},
//! };
//! let report = import(&writer, Scan::of(&["no-such-folder".into()], 2), &options)?;
//! assert_eq!((report.stored, report.failures.len()), (0, 1));
//! # Ok(())
//! # }
//! ```

pub mod archive;
pub mod deflate;
pub mod format;
pub mod ids;
pub mod offer;
pub mod registry;
pub mod serve;
pub mod store;
pub mod sync;
