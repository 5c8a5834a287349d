//! Packs: a header, then records, each a skippable zstd frame of metadata
//! followed by an ordinary zstd frame. Spec section 5.

use super::{Damaged, FORMAT_VERSION, slice, u32_at, wire};
use crate::ids::Digest;
use bincode::{Decode, Encode};

/// Skippable-frame magic of a pack's header. [R 5.1]
pub const PACK_MAGIC: u32 = 0x184D_2A5B;
/// Skippable-frame magic of a record's metadata. [R 5.3]
pub const RECORD_MAGIC: u32 = 0x184D_2A5C;
/// Contents and records end below this: offsets are u32. [R 5.2]
pub const MAX_PACK_BYTES: u64 = u32::MAX as u64;
/// Transform 0: the content is stored as it is. [R 5.5]
pub const AS_IT_IS: u8 = 0;
/// Transform 1: the content is the tar's normal form. [R 5.5]
pub const NORMAL_FORM: u8 = 1;
const FRAME_PREFIX_BYTES: usize = 8;
/// No metadata frame is longer. [R 5.3]
pub const MAX_META_BYTES: u64 = 1 << 20;

/// The first frame of a pack.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PackHeader {
    /// Always 1 here.
    pub format_version: u32,
    /// The archive it was written for; zeros if any may hold it. [R 5.10]
    pub archive_id: [u8; 16],
    /// Its number; 0 if it may have any. [R 5.10]
    pub pack: u32,
}

impl PackHeader {
    /// The header's bytes, frame and checksum included.
    pub fn encode(&self) -> Vec<u8> {
        framed(PACK_MAGIC, &wire::encode(self))
    }

    /// Reads the header and the offset of the first record.
    ///
    /// # Errors
    /// On any mismatch.
    pub fn decode(bytes: &[u8]) -> Result<(PackHeader, u64), Damaged> {
        let (body, end) = unframe(bytes, PACK_MAGIC, MAX_META_BYTES, "pack header")?;
        let header: PackHeader = wire::decode(body, "pack header")?;
        if header.format_version != FORMAT_VERSION {
            return Err(Damaged::new(
                "pack format version",
                8,
                FORMAT_VERSION,
                header.format_version,
            ));
        }
        Ok((header, end))
    }
}

/// What a record holds. [R 5.4]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// A crate file.
    Blob = 1,
    /// A seed frame: content that only serves as a base.
    Seed = 2,
}

/// The metadata of one stored object. [R 5.5]
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RecordMeta {
    /// See [`RecordKind`].
    pub kind: u8,
    /// SHA-256 of the crate file (of the content, for a seed).
    pub digest: [u8; 32],
    /// The crate's name; empty for a seed.
    pub name: String,
    /// The exact version; empty for a seed.
    pub version: String,
    /// Length of the crate file.
    pub crate_bytes: u64,
    /// Length of the content: the tar or its normal form, or the crate file if stored as
    /// it came.
    pub content_bytes: u64,
    /// CRC-32 of the content.
    pub content_crc32: u32,
    /// Length of the zstd frame.
    pub frame_bytes: u64,
    /// CRC-32 of the zstd frame.
    pub frame_crc32: u32,
    /// Digest of the object whose content is this frame's prefix.
    pub base: Option<[u8; 32]>,
    /// Frames to decode before this one.
    pub chain_depth: u32,
    /// Content bytes of this frame and all it needs: the cost of reading it.
    pub chain_bytes: u64,
    /// How the content gives the tar: [`AS_IT_IS`] or [`NORMAL_FORM`]. [R 5.9]
    pub transform: u8,
    /// 0 for stored as it came, else an engine of section 8.
    pub engine: u8,
    /// The OS byte of a standard gzip header. [R 8.3]
    pub gzip_os: u8,
    /// The gzip header, if it is not the standard one.
    pub gzip_header: Option<Vec<u8>>,
    /// All behind the deflate stream, if it is not CRC-32 and length of the tar.
    pub gzip_trailer: Option<Vec<u8>>,
}

impl RecordMeta {
    /// The metadata frame, which the zstd frame must follow at once.
    pub fn encode(&self) -> Vec<u8> {
        framed(RECORD_MAGIC, &wire::encode(self))
    }

    /// Reads the metadata at the front of `bytes`, and where the zstd frame
    /// begins. `bytes` need not hold that frame.
    ///
    /// # Errors
    /// On any mismatch, and on kinds or transforms that are unknown. An unknown
    /// engine only matters to who wants the crate file. [R 5.9]
    pub fn decode(bytes: &[u8]) -> Result<(RecordMeta, u64), Damaged> {
        let (body, end) = unframe(bytes, RECORD_MAGIC, MAX_META_BYTES, "record metadata")?;
        let meta: RecordMeta = wire::decode(body, "record metadata")?;
        if !matches!(meta.kind, 1 | 2) {
            return Err(Damaged::new("record kind", 8, "1 or 2", meta.kind));
        }
        // What is no tar has no normal form. [R 5.9]
        let has_tar = meta.kind == RecordKind::Blob as u8 && meta.engine != 0;
        if meta.transform != AS_IT_IS && (meta.transform != NORMAL_FORM || !has_tar) {
            let expected = if has_tar { "0 or 1 (or a newer cratehold)" } else { "0" };
            return Err(Damaged::new("content transform", 8, expected, meta.transform));
        }
        let largest = [meta.crate_bytes, meta.content_bytes, meta.frame_bytes]
            .into_iter()
            .max()
            .unwrap_or(0);
        if largest > MAX_PACK_BYTES {
            return Err(Damaged::new(
                "record size",
                8,
                format!("at most {MAX_PACK_BYTES}"),
                largest,
            ));
        }
        Ok((meta, end))
    }

    /// The digest as an id.
    pub fn id(&self) -> Digest {
        Digest(self.digest)
    }
}

/// Checks that `frame` is the frame `meta` speaks of.
///
/// # Errors
/// When length or checksum differ.
pub fn check_frame(meta: &RecordMeta, frame: &[u8]) -> Result<(), Damaged> {
    check_frame_sum(meta, frame.len() as u64, || crc32fast::hash(frame))
}

/// As [`check_frame`], of a frame that is so long and has this CRC-32.
///
/// # Errors
/// As [`check_frame`].
pub fn check_frame_sum(meta: &RecordMeta, frame_bytes: u64, crc32: impl FnOnce() -> u32) -> Result<(), Damaged> {
    if frame_bytes != meta.frame_bytes {
        return Err(Damaged::new("frame length", 0, meta.frame_bytes, frame_bytes));
    }
    same_crc("frame checksum", meta.frame_crc32, crc32())
}

/// Checks decoded content against its record.
///
/// # Errors
/// When length or checksum differ.
pub fn check_content(meta: &RecordMeta, content: &[u8]) -> Result<(), Damaged> {
    if content.len() as u64 != meta.content_bytes {
        return Err(Damaged::new("content length", 0, meta.content_bytes, content.len()));
    }
    check_crc("content checksum", meta.content_crc32, content)
}

fn check_crc(what: &'static str, expected: u32, bytes: &[u8]) -> Result<(), Damaged> {
    same_crc(what, expected, crc32fast::hash(bytes))
}

fn same_crc(what: &'static str, expected: u32, found: u32) -> Result<(), Damaged> {
    if found == expected {
        return Ok(());
    }
    Err(Damaged::new(what, 0, format!("{expected:08x}"), format!("{found:08x}")))
}

pub(super) fn framed(magic: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(FRAME_PREFIX_BYTES + body.len() + 4);
    out.extend(magic.to_le_bytes());
    out.extend((body.len() as u32 + 4).to_le_bytes());
    out.extend_from_slice(body);
    out.extend(crc32fast::hash(body).to_le_bytes());
    out
}

pub(super) fn unframe<'a>(
    bytes: &'a [u8],
    magic: u32,
    most_bytes: u64,
    what: &'static str,
) -> Result<(&'a [u8], u64), Damaged> {
    let prefix = slice(bytes, 0, FRAME_PREFIX_BYTES as u64, what)?;
    if u32_at(prefix, 0) != magic {
        return Err(Damaged::new(
            what,
            0,
            format!("magic {magic:08x}"),
            format!("{:08x}", u32_at(prefix, 0)),
        ));
    }
    let len = u64::from(u32_at(prefix, 4));
    if !(4..=most_bytes).contains(&len) {
        return Err(Damaged::new(what, 4, format!("a length from 4 to {most_bytes}"), len));
    }
    let framed = slice(bytes, FRAME_PREFIX_BYTES as u64, len, what)?;
    let (body, crc) = framed.split_at(framed.len() - 4);
    check_crc(what, u32_at(crc, 0), body)?;
    Ok((body, FRAME_PREFIX_BYTES as u64 + len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> RecordMeta {
        RecordMeta {
            kind: RecordKind::Blob as u8,
            digest: [9; 32],
            name: "serde".into(),
            version: "1.0.0".into(),
            crate_bytes: 70_000,
            content_bytes: 400_000,
            content_crc32: 1,
            frame_bytes: 3,
            frame_crc32: crc32fast::hash(b"abc"),
            base: Some([8; 32]),
            chain_depth: 2,
            chain_bytes: 1_200_000,
            transform: 0,
            engine: 3,
            gzip_os: 255,
            gzip_header: None,
            gzip_trailer: None,
        }
    }

    #[test]
    fn records_round_trip_and_check_their_frame() {
        let bytes = sample().encode();
        assert_eq!(RecordMeta::decode(&bytes), Ok((sample(), bytes.len() as u64)));
        assert_eq!(check_frame(&sample(), b"abc"), Ok(()));
        assert!(check_frame(&sample(), b"abd").is_err());
        assert!(check_frame(&sample(), b"ab").is_err());
    }

    #[test]
    fn every_flip_and_cut_is_noticed() {
        let header = PackHeader {
            format_version: 1,
            archive_id: [1; 16],
            pack: 5,
        }
        .encode();
        let record = sample().encode();
        for at in 0..header.len().max(record.len()) {
            let flip = |bytes: &[u8]| {
                let mut bad = bytes.to_vec();
                if let Some(byte) = bad.get_mut(at) {
                    *byte ^= 1;
                }
                bad
            };
            assert!(at >= header.len() || PackHeader::decode(&flip(&header)).is_err());
            assert!(at >= record.len() || RecordMeta::decode(&flip(&record)).is_err());
            assert!(at >= record.len() || RecordMeta::decode(&record[..at]).is_err());
        }
    }
}
