//! Bytes to structs and back: heads, packs, index and manifest segments,
//! bundles.
//!
//! `format-spec/format-1.md` is normative; code here cites its rules as
//! `[R n]`. No I/O, no clock, no threads: everything takes byte slices, so that
//! tests and fuzzers can hand it anything.

pub mod bundle;
pub mod frame;
pub mod head;
pub mod index;
mod key;
pub mod manifest;
mod manifest_block;
pub mod manifest_draft;
pub mod manifest_event;
pub mod manifest_merge;
mod manifest_text;
pub mod manifest_write;
pub mod normal_form;
pub mod note;
pub mod pack;
pub mod pages;
pub mod recovery;
pub mod wire;

pub use key::{key_order, name_order};

/// The format version this code reads and writes.
pub const FORMAT_VERSION: u32 = 1;

/// Bytes that are not what the format says they must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at offset {offset}: expected {expected}, found {found}")]
pub struct Damaged {
    /// The structure that is wrong.
    pub what: &'static str,
    /// Where in the file or slice, in bytes.
    pub offset: u64,
    /// What the format asks for.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl Damaged {
    /// A report of one mismatch.
    pub fn new(what: &'static str, offset: u64, expected: impl ToString, found: impl ToString) -> Damaged {
        Damaged {
            what,
            offset,
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}

/// The slice `bytes[offset..offset + len]`, with checked arithmetic.
pub(crate) fn slice<'a>(bytes: &'a [u8], offset: u64, len: u64, what: &'static str) -> Result<&'a [u8], Damaged> {
    offset
        .checked_add(len)
        .filter(|&end| end <= bytes.len() as u64)
        .map(|end| &bytes[offset as usize..end as usize])
        .ok_or_else(|| Damaged::new(what, offset, format!("{len} bytes"), format!("{} in all", bytes.len())))
}

/// A little-endian u32; `at` must leave four bytes.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

/// A little-endian u64; `at` must leave eight bytes.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}
