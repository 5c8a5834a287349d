//! The C zlib, as oracle and as the one to beat.
#![allow(
    unsafe_code,
    dead_code,
    reason = "zlib is a C library; each user needs only some of this"
)]

use libz_sys as z;
use std::mem::MaybeUninit;

fn zeroed_stream() -> Box<MaybeUninit<z::z_stream>> {
    Box::new(MaybeUninit::zeroed())
}

/// What zlib's level 9 makes of `input`, given in pieces of `piece_bytes`.
pub fn deflate(input: &[u8], mem_level: i32, strategy: i32, piece_bytes: usize) -> Vec<u8> {
    let mut stream = zeroed_stream();
    let size = size_of::<z::z_stream>() as i32;
    let mut out = vec![0u8; input.len() + input.len() / 8 + 1024];
    // SAFETY: the stream is zeroed, which zlib takes for its own allocator, and boxed, so
    // that it does not move; all buffers outlive their calls and lengths are theirs.
    unsafe {
        let raw = stream.as_mut_ptr();
        let status = z::deflateInit2_(raw, 9, z::Z_DEFLATED, -15, mem_level, strategy, z::zlibVersion(), size);
        assert_eq!(status, z::Z_OK);
        (*raw).next_out = out.as_mut_ptr();
        (*raw).avail_out = out.len() as u32;
        let mut at = 0usize;
        loop {
            let piece = &input[at..input.len().min(at.saturating_add(piece_bytes))];
            at += piece.len();
            let flush = if at == input.len() { z::Z_FINISH } else { z::Z_NO_FLUSH };
            (*raw).next_in = piece.as_ptr().cast_mut();
            (*raw).avail_in = piece.len() as u32;
            let status = z::deflate(raw, flush);
            if status == z::Z_STREAM_END {
                break;
            }
            assert_eq!((status, (*raw).avail_in), (z::Z_OK, 0));
        }
        let made = (*raw).total_out as usize;
        z::deflateEnd(raw);
        out.truncate(made);
    }
    out
}

/// Undoes a gzip file, or a raw deflate stream when `is_raw`.
pub fn inflate(file: &[u8], is_raw: bool) -> Vec<u8> {
    let mut stream = zeroed_stream();
    let size = size_of::<z::z_stream>() as i32;
    let mut out = Vec::new();
    let mut piece = vec![0u8; 1 << 20];
    // SAFETY: as for deflate.
    unsafe {
        let raw = stream.as_mut_ptr();
        let window_bits = if is_raw { -15 } else { 31 };
        assert_eq!(z::inflateInit2_(raw, window_bits, z::zlibVersion(), size), z::Z_OK);
        (*raw).next_in = file.as_ptr().cast_mut();
        (*raw).avail_in = file.len() as u32;
        loop {
            (*raw).next_out = piece.as_mut_ptr();
            (*raw).avail_out = piece.len() as u32;
            let status = z::inflate(raw, z::Z_NO_FLUSH);
            out.extend_from_slice(&piece[..piece.len() - (*raw).avail_out as usize]);
            if status == z::Z_STREAM_END {
                break;
            }
            assert_eq!(status, z::Z_OK);
        }
        z::inflateEnd(raw);
    }
    out
}
