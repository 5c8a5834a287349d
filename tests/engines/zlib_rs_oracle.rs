//! The engine beside the libraries, with the same signatures.
#![allow(dead_code, reason = "each user needs only some of these")]

use crate::oracle::PIECE_BYTES;
use cratehold::deflate::engines::zlib_rs9::{Release, ZlibRs9, deflate_on};
use std::ops::ControlFlow;

/// Both versions.
pub const RELEASES: [Release; 2] = [Release::V05, Release::V06];

/// How much of the input the archive gives to the libraries at a time.
const SLICE_BYTES: usize = 32 << 10;

macro_rules! library {
    ($name:ident, $library:ident) => {
        fn $name(input: &[u8], piece_bytes: usize) -> Vec<u8> {
            use $library::{Deflate, DeflateFlush, Status};
            let mut deflate = Deflate::new(9, false, 15);
            let mut out = vec![0; 64 << 10];
            let mut made = Vec::with_capacity(input.len() / 3);
            loop {
                let taken = deflate.total_in() as usize;
                let end = input.len().min(taken.saturating_add(piece_bytes));
                let flush = if end == input.len() {
                    DeflateFlush::Finish
                } else {
                    DeflateFlush::NoFlush
                };
                let before = deflate.total_out();
                let status = deflate.compress(&input[taken..end], &mut out, flush).unwrap();
                made.extend_from_slice(&out[..(deflate.total_out() - before) as usize]);
                if status == Status::StreamEnd {
                    return made;
                }
            }
        }
    };
}

library!(deflate_05, zlib_rs_05);
library!(deflate_06, zlib_rs_06);

/// What the library makes of `input`, given in pieces of `piece_bytes`.
pub fn deflate_in_pieces(input: &[u8], release: Release, piece_bytes: usize) -> Vec<u8> {
    match release {
        Release::V05 => deflate_05(input, piece_bytes),
        Release::V06 => deflate_06(input, piece_bytes),
    }
}

/// What the library makes of `input` as the archive gives it.
pub fn deflate(input: &[u8], release: Release) -> Vec<u8> {
    deflate_in_pieces(input, release, SLICE_BYTES)
}

/// What the engine makes of `input`.
pub fn own(engine: &mut ZlibRs9, input: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(input.len() / 3);
    let whole = engine.deflate(input, &mut |piece| {
        out.extend_from_slice(piece);
        ControlFlow::Continue(())
    });
    assert!(whole);
    out
}

/// The same on two threads, in short pieces of the input.
pub fn own_on_threads(release: Release, input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let whole = deflate_on(2, &PIECE_BYTES, release, || Some(input), &mut |piece| {
        out.extend_from_slice(piece);
        ControlFlow::Continue(())
    });
    assert_eq!(whole, Some(true));
    out
}

fn inflate_with(stream: &[u8], is_raw: bool) -> Vec<u8> {
    use zlib_rs_06::{Inflate, InflateFlush, Status};
    let mut inflate = Inflate::new(!is_raw, if is_raw { 15 } else { 31 });
    let mut out = Vec::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        let (taken, before) = (inflate.total_in() as usize, inflate.total_out());
        let status = inflate
            .decompress(&stream[taken..], &mut piece, InflateFlush::NoFlush)
            .unwrap();
        out.extend_from_slice(&piece[..(inflate.total_out() - before) as usize]);
        if status == Status::StreamEnd {
            return out;
        }
        assert!(inflate.total_out() > before, "the stream is cut off");
    }
}

/// Undoes a gzip file.
pub fn gunzip(file: &[u8]) -> Vec<u8> {
    inflate_with(file, false)
}

/// Undoes a raw deflate stream.
pub fn inflate(stream: &[u8]) -> Vec<u8> {
    inflate_with(stream, true)
}

/// Processor time of this thread, in nanoseconds: other processes count for little.
pub fn thread_nanoseconds() -> u64 {
    // The count is brought up to date when the thread is scheduled.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}
