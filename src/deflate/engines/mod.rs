//! The deflate implementations that have made crate files. Spec section 8.
//!
//! Their versions are part of the format: the same input must give the same
//! bytes for ever.

mod miniz;
mod zlib;
mod zlib_rs;

use super::RedoError;
use std::ops::ControlFlow;

/// Takes output as it is made; breaking ends the work.
pub(super) type Sink<'a> = dyn FnMut(&[u8]) -> ControlFlow<()> + 'a;

/// Input is fed in pieces of this size, so that a wrong guess ends early.
const SLICE_BYTES: usize = 32 << 10;

/// A deflate implementation at fixed settings; the numbers are on disk. [R 8.1]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Engine {
    /// miniz, level 9.
    Miniz9 = 1,
    /// zlib, level 9, memLevel 9.
    Zlib9Mem9 = 2,
    /// zlib, level 9, memLevel 8.
    Zlib9Mem8 = 3,
    /// zlib-rs 0.6, level 9.
    ZlibRs06 = 4,
    /// zlib-rs 0.5, level 9.
    ZlibRs05 = 5,
}

impl Engine {
    /// Every engine, by number.
    pub const ALL: [Engine; 5] = [
        Engine::Miniz9,
        Engine::Zlib9Mem9,
        Engine::Zlib9Mem8,
        Engine::ZlibRs06,
        Engine::ZlibRs05,
    ];

    /// Its number on disk.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The engine with this number.
    pub fn from_number(number: u8) -> Option<Engine> {
        Engine::ALL.into_iter().find(|engine| engine.number() == number)
    }

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Miniz9 => "miniz-9",
            Engine::Zlib9Mem9 => "zlib-9-mem9",
            Engine::Zlib9Mem8 => "zlib-9-mem8",
            Engine::ZlibRs06 => "zlib-rs-0.6",
            Engine::ZlibRs05 => "zlib-rs-0.5",
        }
    }

    /// All engines, those that fit the gzip header's OS byte first.
    pub(super) fn likely_order(os: u8) -> [Engine; 5] {
        use Engine::*;
        match os {
            3 => [Miniz9, Zlib9Mem8, Zlib9Mem9, ZlibRs06, ZlibRs05],
            _ => [Zlib9Mem8, ZlibRs06, Zlib9Mem9, Miniz9, ZlibRs05],
        }
    }

    /// Deflates `input` into `sink`; says whether it came to the end.
    ///
    /// # Errors
    /// When the engine fails.
    pub(super) fn deflate(self, input: &[u8], sink: &mut Sink<'_>) -> Result<bool, RedoError> {
        let done = match self {
            Engine::Miniz9 => miniz::deflate(input, sink),
            Engine::Zlib9Mem9 => zlib::deflate(input, 9, sink),
            Engine::Zlib9Mem8 => zlib::deflate(input, 8, sink),
            Engine::ZlibRs06 => zlib_rs::deflate_06(input, sink),
            Engine::ZlibRs05 => zlib_rs::deflate_05(input, sink),
        };
        done.ok_or(RedoError(self.name()))
    }
}
