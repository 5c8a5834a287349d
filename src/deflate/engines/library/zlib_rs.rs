//! Engines 4 and 5: two versions of zlib-rs at level 9, cargo's choice from 2025 on.

use super::{SLICE_BYTES, Sink};

macro_rules! engine {
    ($name:ident, $library:ident) => {
        /// `None` when the engine fails, else whether `sink` took everything.
        pub(in super::super) fn $name(input: &[u8], sink: &mut Sink<'_>) -> Option<bool> {
            use $library::{Deflate, DeflateFlush, Status};
            let mut deflate = Deflate::new(9, false, 15);
            let mut out = vec![0; 64 << 10];
            loop {
                let (taken, made) = (deflate.total_in() as usize, deflate.total_out());
                let end = input.len().min(taken + SLICE_BYTES);
                let flush = if end == input.len() {
                    DeflateFlush::Finish
                } else {
                    DeflateFlush::NoFlush
                };
                let status = deflate.compress(&input[taken..end], &mut out, flush).ok()?;
                let new_bytes = (deflate.total_out() - made) as usize;
                if new_bytes > 0 && sink(&out[..new_bytes]).is_break() {
                    return Some(false);
                }
                if status == Status::StreamEnd {
                    return Some(true);
                }
                if new_bytes == 0 && deflate.total_in() as usize == taken {
                    return None;
                }
            }
        }
    };
}

engine!(deflate_06, zlib_rs_06);
engine!(deflate_05, zlib_rs_05);
