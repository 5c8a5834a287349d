//! The libraries that made crate files, at the settings and versions that did.
//!
//! Their versions are part of the format: the same input must give the same bytes
//! for ever.

pub(super) mod miniz;
pub(super) mod zlib;
pub(super) mod zlib_rs;

use super::Sink;

/// Input is fed in pieces of this size, so that a wrong guess ends early.
const SLICE_BYTES: usize = 32 << 10;
