//! The head: the record that names the current snapshot and every file of it.
//! Spec section 4.

use super::{Damaged, FORMAT_VERSION, slice, u32_at, wire};
use bincode::{Decode, Encode};
use sha2::{Digest as _, Sha256};

const MAGIC: &[u8; 8] = b"CRHHEAD1";
const PREFIX_BYTES: usize = 20;
/// A head file's size is a multiple of this. [R 4.2]
pub const HEAD_PAGE_BYTES: usize = 4096;

/// A committed pack. [R 4.4]
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PackEntry {
    /// The pack's number, from 1.
    pub pack: u32,
    /// Committed bytes; the file may be longer.
    pub bytes: u64,
    /// Whether nothing may be appended any more.
    pub sealed: bool,
}

/// A committed index or manifest segment. [R 4.5]
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SegmentEntry {
    /// The generation that wrote it; also its file name.
    pub generation: u64,
    /// Exact file length.
    pub bytes: u64,
    /// SHA-256 of the whole file.
    pub sha256: [u8; 32],
}

/// Any other file of the archive; readers ignore kinds they do not know. [R 4.6]
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ExtraEntry {
    /// Path relative to the archive.
    pub path: String,
    /// Exact file length.
    pub bytes: u64,
    /// SHA-256 of the whole file.
    pub sha256: [u8; 32],
}

/// One committed state of the archive.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Head {
    /// Random, fixed at creation.
    pub archive_id: [u8; 16],
    /// Features a reader must know. [R 9.2]
    pub incompatible_features: u64,
    /// Features a writer must know. [R 9.3]
    pub write_features: u64,
    /// 0 for the empty archive, one more with every commit.
    pub generation: u64,
    /// When, in seconds since 1970 UTC.
    pub time: u64,
    /// SHA-256 of the previous head's encoding, zeros in the first.
    pub previous_head: [u8; 32],
    /// Hash of the newest transaction, zeros before the first.
    pub root: [u8; 32],
    /// Every pack, by number.
    pub packs: Vec<PackEntry>,
    /// Index segments, oldest first.
    pub indexes: Vec<SegmentEntry>,
    /// Manifest segments, oldest first.
    pub manifests: Vec<SegmentEntry>,
    /// Other files.
    pub extras: Vec<ExtraEntry>,
}

impl Head {
    /// The head file's bytes, padded to whole pages.
    pub fn encode(&self) -> Vec<u8> {
        let body = wire::encode(self);
        let mut out = Vec::with_capacity(HEAD_PAGE_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend(FORMAT_VERSION.to_le_bytes());
        out.extend((body.len() as u32).to_le_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&out);
        crc.update(&body);
        out.extend(crc.finalize().to_le_bytes());
        out.extend_from_slice(&body);
        out.resize(out.len().next_multiple_of(HEAD_PAGE_BYTES), 0);
        out
    }

    /// Reads a head file; bytes behind the encoding are ignored. [R 4.3]
    ///
    /// # Errors
    /// On any mismatch, and on features or versions this code does not know.
    pub fn decode(bytes: &[u8]) -> Result<Head, Damaged> {
        let prefix = slice(bytes, 0, PREFIX_BYTES as u64, "head")?;
        if &prefix[..8] != MAGIC {
            return Err(Damaged::new("head magic", 0, "CRHHEAD1", prefix[..8].escape_ascii()));
        }
        let version = u32_at(prefix, 8);
        if version != FORMAT_VERSION {
            return Err(Damaged::new("format version", 8, FORMAT_VERSION, version));
        }
        let body = slice(bytes, PREFIX_BYTES as u64, u64::from(u32_at(prefix, 12)), "head")?;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&prefix[..16]);
        crc.update(body);
        let (stored, found) = (u32_at(prefix, 16), crc.finalize());
        if stored != found {
            return Err(Damaged::new(
                "head checksum",
                16,
                format!("{stored:08x}"),
                format!("{found:08x}"),
            ));
        }
        // A feature may change what lies behind its bit, so the bits come first. [R 9.7]
        let ((_, features), _) = wire::decode_prefix::<([u8; 16], u64)>(body, "head")?;
        if features != 0 {
            let found = format!("{features:#x}: a newer cratehold is needed");
            return Err(Damaged::new("incompatible features", 0, "none", found));
        }
        wire::decode(body, "head")
    }

    /// What the next head stores as `previous_head`.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(wire::encode(self)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Head {
        Head {
            archive_id: [7; 16],
            incompatible_features: 0,
            write_features: 0,
            generation: 3,
            time: 1_700_000_000,
            previous_head: [1; 32],
            root: [2; 32],
            packs: vec![PackEntry {
                pack: 1,
                bytes: 4_000_000_000,
                sealed: true,
            }],
            indexes: vec![SegmentEntry {
                generation: 3,
                bytes: 8192,
                sha256: [3; 32],
            }],
            manifests: vec![],
            extras: vec![],
        }
    }

    #[test]
    fn round_trips_in_whole_pages() {
        let bytes = sample().encode();
        assert_eq!(bytes.len(), HEAD_PAGE_BYTES);
        assert_eq!(Head::decode(&bytes), Ok(sample()));
    }

    #[test]
    fn every_flip_and_cut_is_noticed() {
        let bytes = sample().encode();
        let used = PREFIX_BYTES + wire::encode(&sample()).len();
        for at in 0..used {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            assert!(Head::decode(&bad).is_err(), "flip at {at}");
            assert!(Head::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn unknown_features_are_refused_by_name() {
        let head = Head {
            incompatible_features: 4,
            ..sample()
        };
        let error = Head::decode(&head.encode()).unwrap_err().to_string();
        assert!(error.contains("newer cratehold"), "{error}");
    }
}
