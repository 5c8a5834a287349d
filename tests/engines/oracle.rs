//! The engine beside the library, with the same signatures.
#![allow(dead_code, reason = "each user needs only some of these")]

use crate::libz;

use cratehold::deflate::engines::zlib9::{MemLevel, Zlib9, deflate_on};
use std::ops::{ControlFlow, RangeInclusive};

/// Both memLevels.
pub const MEM_LEVELS: [MemLevel; 2] = [MemLevel::Eight, MemLevel::Nine];

/// Longer than the window, so that a piece begins in the middle of much; short enough for
/// several pieces of most inputs.
pub const PIECE_BYTES: RangeInclusive<usize> = 40_000..=40_000;

/// What zlib makes of `input`, given in pieces of `piece_bytes`.
pub fn deflate_in_pieces(input: &[u8], mem_level: MemLevel, piece_bytes: usize) -> Vec<u8> {
    let mem_level = if mem_level == MemLevel::Nine { 9 } else { 8 };
    libz::deflate(input, mem_level, libz_sys::Z_DEFAULT_STRATEGY, piece_bytes)
}

/// What zlib makes of `input` given whole.
pub fn deflate(input: &[u8], mem_level: MemLevel) -> Vec<u8> {
    deflate_in_pieces(input, mem_level, usize::MAX)
}

/// What the engine makes of `input`.
pub fn own(engine: &mut Zlib9, input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let whole = engine.deflate(input, &mut |piece| {
        out.extend_from_slice(piece);
        ControlFlow::Continue(())
    });
    assert!(whole);
    out
}

/// The same on two threads, in short pieces of the input.
pub fn own_on_threads(mem_level: MemLevel, input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let whole = deflate_on(2, &PIECE_BYTES, mem_level, || Some(input), &mut |piece| {
        out.extend_from_slice(piece);
        ControlFlow::Continue(())
    });
    assert_eq!(whole, Some(true));
    out
}

/// Undoes a gzip file.
pub fn gunzip(file: &[u8]) -> Vec<u8> {
    libz::inflate(file, false)
}

/// Undoes a raw deflate stream.
pub fn inflate(stream: &[u8]) -> Vec<u8> {
    libz::inflate(stream, true)
}
