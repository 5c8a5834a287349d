//! Bundles: what an archive has and an earlier state of it had not, as volumes that can
//! be carried. Bytes to structs and back; what goes into which volume is for
//! `archive/bundle` to say. Spec section 16.

use super::pack::{RecordMeta, framed, unframe};
use super::{Damaged, FORMAT_VERSION, wire};
use crate::ids::Digest;
use bincode::{Decode, Encode};
use sha2::{Digest as _, Sha256};

/// Skippable-frame magic of a volume's header, so what its file begins with. [R 16.2]
pub const VOLUME_MAGIC: u32 = 0x184D_2A5D;
/// Skippable-frame magic of what else is not a record. [R 16.5]
pub const PART_MAGIC: u32 = 0x184D_2A5E;
/// No header is longer. [R 16.2]
pub const MAX_HEADER_BYTES: u64 = wire::MAX_STRUCT_BYTES as u64;
/// No part is longer, as a frame's body. [R 16.5]
pub const MAX_PART_BYTES: u64 = 1 << 20;
/// What a part takes beside its bytes, at most: prefix, kind, length, checksum.
pub const PART_OVERHEAD_BYTES: u64 = 8 + 1 + 5 + 4;
/// So many bytes of directory or manifest go into one part.
pub const CHUNK_BYTES: usize = 1 << 19;
/// The last frame of every volume is so long. [R 16.8]
pub const END_BYTES: u64 = 8 + 1 + 1 + 40 + 4;

/// A transaction, by its number and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Link {
    /// The snapshot it made.
    pub generation: u64,
    /// Its hash. [R 7.4]
    pub hash: [u8; 32],
}

/// The first frame of a volume. [R 16.3]
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct VolumeHeader {
    /// Always 1 here.
    pub format_version: u32,
    /// What all volumes of a bundle have in common, and no other bundle. [R 16.4]
    pub bundle_id: [u8; 32],
    /// This volume's number, from 1.
    pub volume: u32,
    /// The state that it goes on from: generation and root; zeros if from nothing.
    pub base: Link,
    /// The generation of the state that it leads to.
    pub generation: u64,
    /// The hash of the archive's first transaction; zeros if it has none.
    pub first: [u8; 32],
    /// The transactions between the two states, oldest first.
    pub chain: Vec<Link>,
    /// Objects that the archive held in the state that it leads to.
    pub held: u64,
    /// How many objects each volume has, in their order.
    pub objects: Vec<u32>,
}

impl VolumeHeader {
    /// Of no bundle.
    pub const NONE: VolumeHeader = VolumeHeader {
        format_version: FORMAT_VERSION,
        bundle_id: [0; 32],
        volume: 0,
        base: Link {
            generation: 0,
            hash: [0; 32],
        },
        generation: 0,
        first: [0; 32],
        chain: Vec::new(),
        held: 0,
        objects: Vec::new(),
    };

    /// The root of the state that the bundle leads to.
    pub fn root(&self) -> [u8; 32] {
        self.chain.last().map_or(self.base.hash, |last| last.hash)
    }

    /// How many volumes the bundle has.
    pub fn volumes(&self) -> u32 {
        self.objects.len() as u32
    }

    /// How many objects the bundle has.
    pub fn all_objects(&self) -> usize {
        self.objects.iter().map(|&count| count as usize).sum()
    }

    /// Where the objects of volume number `volume` stand in the directory.
    pub fn objects_of(&self, volume: u32) -> std::ops::Range<usize> {
        let count = |objects: &[u32]| objects.iter().map(|&count| count as usize).sum::<usize>();
        let before = (volume.max(1) - 1) as usize;
        let start = count(&self.objects[..before.min(self.objects.len())]);
        start..start + self.objects.get(before).map_or(0, |&count| count as usize)
    }

    /// What `bundle_id` has to be, given the digests of all its objects. [R 16.4]
    pub fn id(&self, directory: &[u8]) -> [u8; 32] {
        let common = VolumeHeader {
            bundle_id: [0; 32],
            volume: 0,
            ..self.clone()
        };
        let mut hasher = Sha256::new_with_prefix(wire::encode(&common));
        hasher.update(directory);
        hasher.finalize().into()
    }

    /// The header's bytes, frame and checksum included.
    pub fn encode(&self) -> Vec<u8> {
        framed(VOLUME_MAGIC, &wire::encode(self))
    }

    /// Reads the header, and where what follows it begins.
    ///
    /// # Errors
    /// On any mismatch.
    pub fn decode(bytes: &[u8]) -> Result<(VolumeHeader, u64), Damaged> {
        let (body, end) = unframe(bytes, VOLUME_MAGIC, MAX_HEADER_BYTES, "volume header")?;
        let (version, _) = wire::decode_prefix::<u32>(body, "volume header")?;
        if version != FORMAT_VERSION {
            return Err(Damaged::new("bundle format version", 8, FORMAT_VERSION, version));
        }
        let header: VolumeHeader = wire::decode(body, "volume header")?;
        if !(1..=header.volumes()).contains(&header.volume) {
            let expected = format!("1 to {}", header.volumes());
            return Err(Damaged::new("volume number", 8, expected, header.volume));
        }
        let mut newest = 0;
        for link in &header.chain {
            if link.generation <= newest || link.generation > header.generation {
                let expected = format!("generations that ascend to {}", header.generation);
                return Err(Damaged::new("volume header", 8, expected, link.generation));
            }
            newest = link.generation;
        }
        Ok((header, end))
    }
}

/// What is known of an object that a record is compressed against and the bundle does
/// not have: in what form its content was the base. [R 16.6]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct BaseNote {
    /// The object.
    pub digest: [u8; 32],
    /// As in its record.
    pub kind: u8,
    /// As in its record.
    pub transform: u8,
    /// As in its record.
    pub engine: u8,
    /// As in its record.
    pub content_bytes: u64,
    /// As in its record.
    pub content_crc32: u32,
}

impl BaseNote {
    /// What a record says of itself as a base.
    pub fn of(meta: &RecordMeta) -> BaseNote {
        BaseNote {
            digest: meta.digest,
            kind: meta.kind,
            transform: meta.transform,
            engine: meta.engine,
            content_bytes: meta.content_bytes,
            content_crc32: meta.content_crc32,
        }
    }
}

/// The end of a volume. [R 16.8]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// SHA-256 of all bytes before this frame.
    pub sha256: [u8; 32],
    /// Where the parts behind the records begin.
    pub tail_offset: u64,
}

/// A frame that is neither header nor record. [R 16.5]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A base that the bundle does not have.
    Base(BaseNote),
    /// Some of the digests of all objects, in their order. [R 16.7]
    Directory(Vec<u8>),
    /// Some of the manifest segment. [R 16.7]
    Manifest(Vec<u8>),
    /// Some of the signature. [R 16.12]
    Signature(Vec<u8>),
    /// Nothing follows.
    End(End),
}

#[derive(Encode, Decode)]
struct RawPart {
    kind: u8,
    bytes: Vec<u8>,
}

impl Part {
    /// The part's bytes, frame and checksum included.
    pub fn encode(self) -> Vec<u8> {
        let (kind, bytes) = match self {
            Part::Base(note) => (1, wire::encode(&note)),
            Part::Directory(bytes) => (2, bytes),
            Part::Manifest(bytes) => (3, bytes),
            Part::Signature(bytes) => (5, bytes),
            Part::End(end) => (4, [&end.sha256[..], &end.tail_offset.to_le_bytes()].concat()),
        };
        framed(PART_MAGIC, &wire::encode(&RawPart { kind, bytes }))
    }

    /// Reads the part at the front of `bytes`, and where what follows it begins.
    ///
    /// # Errors
    /// On any mismatch.
    pub fn decode(bytes: &[u8]) -> Result<(Part, u64), Damaged> {
        let (body, end) = unframe(bytes, PART_MAGIC, MAX_PART_BYTES, "bundle part")?;
        let raw: RawPart = wire::decode(body, "bundle part")?;
        let part = match raw.kind {
            1 => Part::Base(wire::decode(&raw.bytes, "base of a bundle")?),
            2 => Part::Directory(raw.bytes),
            3 => Part::Manifest(raw.bytes),
            4 => {
                let (sha256, offset) = raw
                    .bytes
                    .split_first_chunk::<32>()
                    .and_then(|(sha256, rest)| Some((*sha256, <[u8; 8]>::try_from(rest).ok()?)))
                    .ok_or_else(|| Damaged::new("end of a volume", 8, "40 bytes", raw.bytes.len()))?;
                Part::End(End {
                    sha256,
                    tail_offset: u64::from_le_bytes(offset),
                })
            }
            5 => Part::Signature(raw.bytes),
            other => return Err(Damaged::new("bundle part", 8, "kind 1 to 5", other)),
        };
        Ok((part, end))
    }
}

/// The signature of the root that a bundle leads to, as it lies in an archive. [R 16.12]
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SignatureFiles {
    /// `root.txt`.
    pub text: String,
    /// `root.txt.minisig`.
    pub signature: String,
}

impl SignatureFiles {
    /// The bytes that go into parts.
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Reads what the parts have together.
    ///
    /// # Errors
    /// On any mismatch.
    pub fn decode(bytes: &[u8]) -> Result<SignatureFiles, Damaged> {
        wire::decode(bytes, "signature of a bundle")
    }
}

/// The digests of a directory.
///
/// # Errors
/// When it is not whole digests, or not as many as `expected`.
pub fn directory(bytes: &[u8], expected: usize) -> Result<Vec<Digest>, Damaged> {
    let (digests, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || digests.len() != expected {
        let expected = format!("{} bytes", 32 * expected);
        return Err(Damaged::new("directory of a bundle", 0, expected, bytes.len()));
    }
    Ok(digests.iter().map(|digest| Digest(*digest)).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    fn header() -> VolumeHeader {
        let link = |generation: u64| Link {
            generation,
            hash: [generation as u8; 32],
        };
        VolumeHeader {
            format_version: 1,
            bundle_id: [9; 32],
            volume: 2,
            base: link(3),
            generation: 300,
            first: [1; 32],
            chain: vec![link(4), link(300)],
            held: 70_000,
            objects: vec![3, 0, 500],
        }
    }

    #[test]
    fn headers_and_parts_round_trip_and_every_flip_and_cut_is_noticed() {
        let bytes = header().encode();
        assert_eq!(VolumeHeader::decode(&bytes), Ok((header(), bytes.len() as u64)));
        let end = Part::End(End {
            sha256: [7; 32],
            tail_offset: 1 << 40,
        });
        let note = Part::Base(BaseNote {
            digest: [1; 32],
            kind: 1,
            transform: 0,
            engine: 3,
            content_bytes: 5000,
            content_crc32: 7,
        });
        let (directory, manifest) = (Part::Directory(vec![5; 64]), Part::Manifest(Vec::new()));
        let signature = SignatureFiles {
            text: "a".into(),
            signature: "b".into(),
        };
        assert_eq!(SignatureFiles::decode(&signature.encode()), Ok(signature.clone()));
        let signature = Part::Signature(signature.encode());
        for part in [end.clone(), note, directory, manifest, signature] {
            let bytes = part.clone().encode();
            assert_eq!(Part::decode(&bytes), Ok((part, bytes.len() as u64)));
            for at in 0..bytes.len() {
                let mut bad = bytes.clone();
                bad[at] ^= 4;
                assert!(Part::decode(&bad).is_err(), "flip at {at}");
                assert!(Part::decode(&bytes[..at]).is_err(), "cut at {at}");
            }
        }
        assert_eq!(end.encode().len() as u64, END_BYTES);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x20;
            assert!(VolumeHeader::decode(&bad).is_err(), "flip at {at}");
            assert!(VolumeHeader::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_header_that_contradicts_itself_is_refused() {
        let bad = |change: fn(&mut VolumeHeader)| {
            let mut header = header();
            change(&mut header);
            VolumeHeader::decode(&header.encode()).unwrap_err().to_string()
        };
        assert!(bad(|header| header.volume = 0).contains("volume number"));
        assert!(bad(|header| header.volume = 4).contains("1 to 3"));
        assert!(bad(|header| header.objects.clear()).contains("volume number"));
        assert!(bad(|header| header.generation = 299).contains("ascend"));
        assert!(bad(|header| header.chain.reverse()).contains("ascend"));
        assert!(bad(|header| header.format_version = 2).contains("version"));
    }

    #[test]
    fn the_id_tells_bundles_apart_but_not_volumes() {
        let (one, mut other) = (header(), header());
        other.volume = 3;
        other.bundle_id = [0; 32];
        assert_eq!(one.id(b"x"), other.id(b"x"));
        assert_ne!(one.id(b"x"), one.id(b"y"));
        other.objects[0] += 1;
        assert_ne!(one.id(b"x"), other.id(b"x"));
        assert_eq!(one.objects_of(1), 0..3);
        assert_eq!(one.objects_of(2), 3..3);
        assert_eq!(one.objects_of(3), 3..503);
        assert_eq!(one.objects_of(9), 503..503);
    }
}
