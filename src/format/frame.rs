//! What a zstd frame can decode to at most, from its block headers alone. [R 11.2]
//!
//! Layout: RFC 8878, section 3.1.1.

/// No block decodes to more.
const MAX_BLOCK_BYTES: u64 = 128 << 10;
const MAGIC: u32 = 0xFD2F_B528;

/// An upper bound of what `bytes` decode to, whatever their headers declare; none if
/// they are not whole zstd frames.
///
/// A declared length is only believed, and memory only asked for, up to this.
pub fn content_bound(bytes: &[u8]) -> Option<u64> {
    let mut rest = bytes;
    let mut bound = 0u64;
    while !rest.is_empty() {
        let (frame_bound, behind) = one_frame(rest)?;
        bound = bound.saturating_add(frame_bound);
        rest = behind;
    }
    Some(bound)
}

/// The bound of the first frame, and what is behind it.
fn one_frame(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (magic, rest) = bytes.split_first_chunk::<4>()?;
    let magic = u32::from_le_bytes(*magic);
    if magic & 0xFFFF_FFF0 == 0x184D_2A50 {
        let (len, rest) = rest.split_first_chunk::<4>()?;
        return Some((0, rest.get(u32::from_le_bytes(*len) as usize..)?));
    }
    if magic != MAGIC {
        return None;
    }
    let (&descriptor, rest) = rest.split_first()?;
    let is_single_segment = descriptor & 0x20 != 0;
    let window_bytes = usize::from(!is_single_segment);
    let dictionary_bytes = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let length_bytes = match descriptor >> 6 {
        0 => usize::from(is_single_segment),
        flag => 1 << flag,
    };
    let mut rest = rest.get(window_bytes + dictionary_bytes + length_bytes..)?;
    let mut bound = 0u64;
    loop {
        let (header, blocks) = rest.split_first_chunk::<3>()?;
        let header = u32::from_le_bytes([header[0], header[1], header[2], 0]);
        let block_bytes = header >> 3;
        let (stored_bytes, decoded_bytes) = match (header >> 1) & 3 {
            0 => (block_bytes, u64::from(block_bytes)),
            1 => (1, u64::from(block_bytes)),
            2 => (block_bytes, MAX_BLOCK_BYTES),
            _ => return None,
        };
        bound += decoded_bytes.min(MAX_BLOCK_BYTES);
        rest = blocks.get(stored_bytes as usize..)?;
        if header & 1 != 0 {
            break;
        }
    }
    let checksum_bytes = if descriptor & 4 != 0 { 4 } else { 0 };
    Some((bound, rest.get(checksum_bytes..)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn the_bound_holds_and_half_a_frame_has_none() {
        for (len, level) in [(0, 1), (1, 3), (1000, 9), (200_000, 9), (1 << 20, 19)] {
            for step in [0u32, 7, 2_654_435_761] {
                let content: Vec<u8> = (0..len as u32).map(|i| (i.wrapping_mul(step) >> 13) as u8).collect();
                let frame = zstd::bulk::compress(&content, level).unwrap();
                let bound = content_bound(&frame).unwrap();
                assert!(bound >= len as u64, "{len} {step}: {bound}");
                for cut in 1..frame.len().min(50) {
                    assert_eq!(content_bound(&frame[..cut]), None);
                }
            }
        }
    }

    /// A block takes at least four bytes, so a frame cannot promise more than that many.
    #[test]
    fn a_small_frame_cannot_ask_for_much() {
        let mut frame = zstd::bulk::compress(b"small", 3).unwrap();
        assert!(content_bound(&frame).unwrap_or(0) <= 5);
        // A single-segment frame's length of 4 bytes, set to its highest.
        frame.splice(4..6, [0xa0, 0xff, 0xff, 0xff, 0xff]);
        assert!(content_bound(&frame).unwrap_or(0) <= 5);
    }
}
