//! Engines 2 and 3: the C zlib at level 9.
#![allow(unsafe_code, reason = "zlib is a C library; each call's proof stands beside it")]

use super::{SLICE_BYTES, Sink};
use libz_sys as z;
use std::mem::MaybeUninit;

/// A zlib stream that has been initialised and is ended when dropped. Boxed,
/// because zlib keeps a pointer back to it.
struct Stream(Box<z::z_stream>);

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: the stream was initialised by deflateInit2_ and has not moved.
        unsafe { z::deflateEnd(&mut *self.0) };
    }
}

fn new_stream(mem_level: i32) -> Option<Stream> {
    let mut stream: Box<MaybeUninit<z::z_stream>> = Box::new(MaybeUninit::zeroed());
    let size = size_of::<z::z_stream>() as i32;
    // SAFETY: zlib asks for zeroed zalloc, zfree and opaque, which select its own
    // allocator; all other fields are outputs. libz-sys declares zalloc and zfree as
    // non-null functions, so the struct is not assumed initialised until zlib has
    // set them. The version string is static and the size is the struct's own.
    let status = unsafe {
        z::deflateInit2_(
            stream.as_mut_ptr(),
            9,
            z::Z_DEFLATED,
            -15,
            mem_level,
            0,
            z::zlibVersion(),
            size,
        )
    };
    if status != z::Z_OK {
        return None;
    }
    // SAFETY: deflateInit2_ returned Z_OK, so the function pointers are set, and
    // every other field is an integer or a raw pointer for which zero is valid.
    let raw = unsafe { Box::from_raw(Box::into_raw(stream).cast::<z::z_stream>()) };
    Some(Stream(raw))
}

/// `None` when the engine fails, else whether `sink` took everything.
pub(in super::super) fn deflate(input: &[u8], mem_level: i32, sink: &mut Sink<'_>) -> Option<bool> {
    let mut stream = new_stream(mem_level)?;
    let mut out = vec![0u8; 64 << 10];
    let mut at = 0;
    loop {
        let slice = &input[at..input.len().min(at + SLICE_BYTES)];
        let flush = if at + slice.len() == input.len() {
            z::Z_FINISH
        } else {
            z::Z_NO_FLUSH
        };
        stream.0.next_in = slice.as_ptr().cast_mut();
        stream.0.avail_in = slice.len() as u32;
        stream.0.next_out = out.as_mut_ptr();
        stream.0.avail_out = out.len() as u32;
        // SAFETY: next_in and next_out point at live buffers of at least avail_in and
        // avail_out bytes, which outlive the call; zlib only reads from next_in.
        let status = unsafe { z::deflate(&mut *stream.0, flush) };
        let taken = slice.len() - stream.0.avail_in as usize;
        let made = out.len() - stream.0.avail_out as usize;
        at += taken;
        if made > 0 && sink(&out[..made]).is_break() {
            return Some(false);
        }
        match status {
            z::Z_STREAM_END => return Some(true),
            z::Z_OK if taken > 0 || made > 0 => {}
            _ => return None,
        }
    }
}
