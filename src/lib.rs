//! cratehold: a content-addressed archive that can hold all of crates.io.
//!
//! Each crate is stored once, by the SHA-256 of its exact `.crate` bytes, as a
//! zstd frame in an append-only pack. `format-spec/format-1.md` is the one
//! place that says what the bytes on disk mean; `ARCHITECTURE.md` says which
//! module may know what.

pub mod archive;
pub mod deflate;
pub mod format;
pub mod ids;
pub mod registry;
pub mod store;
pub mod sync;
