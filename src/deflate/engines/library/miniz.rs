//! Engine 1: miniz at level 9, as cargo used it from 2014 to 2018.

use super::{SLICE_BYTES, Sink};
use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress, create_comp_flags_from_zip_params,
};

/// `None` when the engine fails, else whether `sink` took everything.
pub(in super::super) fn deflate(input: &[u8], sink: &mut Sink<'_>) -> Option<bool> {
    let mut compressor = CompressorOxide::new(create_comp_flags_from_zip_params(9, -15, 0));
    let mut out = vec![0; 64 << 10];
    let mut at = 0;
    loop {
        let end = input.len().min(at + SLICE_BYTES);
        let flush = if end == input.len() {
            TDEFLFlush::Finish
        } else {
            TDEFLFlush::None
        };
        let (status, taken, made) = compress(&mut compressor, &input[at..end], &mut out, flush);
        at += taken;
        if made > 0 && sink(&out[..made]).is_break() {
            return Some(false);
        }
        match status {
            TDEFLStatus::Done => return Some(true),
            TDEFLStatus::Okay if taken > 0 || made > 0 => {}
            _ => return None,
        }
    }
}
