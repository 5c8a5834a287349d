//! The deflate implementations that have made crate files. Spec section 8.
//!
//! The same input must give the same bytes for ever: archives depend on them. Our own
//! engines do the work; the library that each stands for is what it is tested against,
//! and what is asked when a stored digest disagrees.

mod alphabet;
mod bits;
mod chains;
mod library;
pub mod miniz9;
mod slices;
pub mod zlib9;
pub mod zlib_rs9;
mod zlib_shared;

use super::RedoError;
use miniz9::Miniz9;
use std::cell::Cell;
use std::ops::ControlFlow;
use std::thread::LocalKey;
use zlib_rs9::{Release, ZlibRs9};
use zlib_shared::parallel::PIECE_BYTES;
use zlib9::{MemLevel, Zlib9};

/// Takes output as it is made; breaking ends the work.
pub(super) type Sink<'a> = dyn FnMut(&[u8]) -> ControlFlow<()> + 'a;

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

/// From this length on an input is worth several threads.
const THREADS_LEAST_BYTES: usize = 512 << 10;

/// Working memory of one thread's engines, kept from one crate to the next.
type Kept<T> = Cell<Option<Box<T>>>;

thread_local! {
    static MINIZ: Kept<Miniz9> = const { Cell::new(None) };
    static ZLIB_MEM_9: Kept<Zlib9> = const { Cell::new(None) };
    static ZLIB_MEM_8: Kept<Zlib9> = const { Cell::new(None) };
    static ZLIB_RS_06: Kept<ZlibRs9> = const { Cell::new(None) };
    static ZLIB_RS_05: Kept<ZlibRs9> = const { Cell::new(None) };
}

/// Runs `work` on this thread's engine, made when it is first needed.
fn kept<T, R>(kept: &'static LocalKey<Kept<T>>, make: fn() -> T, work: impl FnOnce(&mut T) -> R) -> R {
    let mut engine = kept.take().unwrap_or_else(|| Box::new(make()));
    let result = work(&mut engine);
    kept.set(Some(engine));
    result
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
    pub(super) fn deflate(self, input: &[u8], sink: &mut Sink<'_>) -> bool {
        match self {
            Engine::Miniz9 => kept(&MINIZ, Miniz9::new, |engine| engine.deflate(input, sink)),
            Engine::Zlib9Mem9 => kept(
                &ZLIB_MEM_9,
                || Zlib9::new(MemLevel::Nine),
                |engine| engine.deflate(input, sink),
            ),
            Engine::Zlib9Mem8 => kept(
                &ZLIB_MEM_8,
                || Zlib9::new(MemLevel::Eight),
                |engine| engine.deflate(input, sink),
            ),
            Engine::ZlibRs06 => kept(
                &ZLIB_RS_06,
                || ZlibRs9::new(Release::V06),
                |engine| engine.deflate(input, sink),
            ),
            Engine::ZlibRs05 => kept(
                &ZLIB_RS_05,
                || ZlibRs9::new(Release::V05),
                |engine| engine.deflate(input, sink),
            ),
        }
    }

    /// As [`Engine::deflate`], on so many threads if the engine can and it pays: with
    /// miniz it cannot, and short inputs are not worth it.
    ///
    /// They find their memory while `input` makes what is some `likely_bytes` long; none if
    /// it makes none.
    pub(super) fn deflate_on<'i>(
        self,
        threads: usize,
        likely_bytes: usize,
        input: impl FnOnce() -> Option<&'i [u8]>,
        sink: &mut Sink<'_>,
    ) -> Option<bool> {
        let pieces = &PIECE_BYTES;
        match self {
            _ if threads < 2 || likely_bytes < THREADS_LEAST_BYTES => Some(self.deflate(input()?, sink)),
            Engine::Miniz9 => Some(self.deflate(input()?, sink)),
            Engine::Zlib9Mem9 => zlib9::deflate_on(threads, pieces, MemLevel::Nine, input, sink),
            Engine::ZlibRs06 => zlib_rs9::deflate_on(threads, pieces, Release::V06, input, sink),
            Engine::ZlibRs05 => zlib_rs9::deflate_on(threads, pieces, Release::V05, input, sink),
            Engine::Zlib9Mem8 => zlib9::deflate_on(threads, pieces, MemLevel::Eight, input, sink),
        }
    }

    /// As [`Engine::deflate`], by the library that the engine stands for.
    ///
    /// # Errors
    /// When the library fails.
    pub(super) fn deflate_by_library(self, input: &[u8], sink: &mut Sink<'_>) -> Result<bool, RedoError> {
        let done = match self {
            Engine::Miniz9 => library::miniz::deflate(input, sink),
            Engine::Zlib9Mem9 => library::zlib::deflate(input, 9, sink),
            Engine::Zlib9Mem8 => library::zlib::deflate(input, 8, sink),
            Engine::ZlibRs06 => library::zlib_rs::deflate_06(input, sink),
            Engine::ZlibRs05 => library::zlib_rs::deflate_05(input, sink),
        };
        done.ok_or(RedoError(self.name()))
    }
}
