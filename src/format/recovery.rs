//! Recovery files: what the damaged sectors of one other file can be computed from.
//! Spec section 15. The code itself, Reed and Solomon's, is not here.

use super::{Damaged, FORMAT_VERSION, u32_at, u64_at};
use std::ops::Range;

const MAGIC: &[u8; 8] = b"CRHRECO1";
/// The unit of loss and of recovery: what a drive loses when it loses anything. [R 15.2]
pub const SHARD_BYTES: usize = 4096;
const HEADER_BYTES: usize = 128;
/// What a table block carries. [R 15.4]
pub const PAYLOAD_BYTES: usize = SHARD_BYTES - HEADER_BYTES;
const CHECKSUMS_PER_BLOCK: u64 = (PAYLOAD_BYTES / 4) as u64;
/// Data shards of one group, at most: 64 MiB in memory.
const GROUP_SHARDS: u64 = 16_384;
/// A group has no fewer recovery shards than this, or as many as it has data shards:
/// five percent of little would be too few to rely on.
const LEAST_RECOVERY_SHARDS: u64 = 12;
/// No shape asks for more memory than what goes with 16 GiB.
const MAX_COVERED_BYTES: u64 = 1 << 34;
const MAX_GROUPS: u32 = 1 << 12;
const MAX_GROUP_SHARDS: u64 = 1 << 15;

/// What kind of file is covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetKind {
    /// A pack.
    Pack = 1,
    /// An index segment.
    Index = 2,
    /// A manifest segment.
    Manifest = 3,
}

impl TargetKind {
    /// All of them.
    pub const ALL: [TargetKind; 3] = [TargetKind::Pack, TargetKind::Index, TargetKind::Manifest];
}

/// What a recovery file covers, and how. Every table block says all of it. [R 15.3]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// The archive it was written for.
    pub archive_id: [u8; 16],
    /// The kind of the covered file.
    pub kind: TargetKind,
    /// Its number.
    pub number: u64,
    /// So many bytes from its beginning on are covered.
    pub covered_bytes: u64,
    /// SHA-256 of these.
    pub sha256: [u8; 32],
    /// Groups of shards that are coded apart.
    pub groups: u32,
    /// Recovery shards of each group.
    pub recovery_shards: u32,
}

impl Shape {
    /// The shape that survives the loss of `percent` of the shards of each group; its
    /// SHA-256 is still to be filled in.
    pub fn plan(archive_id: [u8; 16], kind: TargetKind, number: u64, covered_bytes: u64, percent: u8) -> Shape {
        let data = covered_bytes.div_ceil(SHARD_BYTES as u64).max(1);
        let groups = data.div_ceil(GROUP_SHARDS);
        let largest = data.div_ceil(groups);
        let share = (largest * u64::from(percent)).div_ceil(100);
        Shape {
            archive_id,
            kind,
            number,
            covered_bytes,
            sha256: [0; 32],
            groups: groups as u32,
            recovery_shards: share.max(LEAST_RECOVERY_SHARDS.min(largest)) as u32,
        }
    }

    /// Shards of the covered file, the last filled up with zeros.
    pub fn data_shards(&self) -> u64 {
        self.covered_bytes.div_ceil(SHARD_BYTES as u64)
    }

    /// Where data shard `number` lies in the covered file.
    pub fn shard_range(&self, number: u64) -> Range<u64> {
        let from = number * SHARD_BYTES as u64;
        from..(from + SHARD_BYTES as u64).min(self.covered_bytes)
    }

    /// How many of them are in `group`: each goes to the next group, round and round, so
    /// that a stretch of lost sectors takes equally from all. [R 15.2]
    pub fn group_shards(&self, group: u32) -> u64 {
        let groups = u64::from(self.groups);
        (self.data_shards() + groups - 1 - u64::from(group)) / groups
    }

    /// Recovery shards of all groups.
    pub fn all_recovery_shards(&self) -> u64 {
        u64::from(self.groups) * u64::from(self.recovery_shards)
    }

    /// Blocks of the checksum table; as many spare ones lie at the end. [R 15.4]
    pub fn table_blocks(&self) -> u64 {
        (self.data_shards() + self.all_recovery_shards()).div_ceil(CHECKSUMS_PER_BLOCK)
    }

    /// The recovery file's length.
    pub fn file_bytes(&self) -> u64 {
        (2 * self.table_blocks() + self.all_recovery_shards()) * SHARD_BYTES as u64
    }

    /// Where block `i` of table and spare table lies.
    pub fn table_offset(&self, i: u64) -> u64 {
        let behind = if i < self.table_blocks() {
            0
        } else {
            self.all_recovery_shards()
        };
        (i + behind) * SHARD_BYTES as u64
    }

    /// Where recovery shard `i` of `group` lies.
    pub fn recovery_offset(&self, group: u32, i: u32) -> u64 {
        (self.table_blocks() + self.recovery_number(group, i)) * SHARD_BYTES as u64
    }

    /// Its place among all recovery shards.
    pub fn recovery_number(&self, group: u32, i: u32) -> u64 {
        u64::from(i) * u64::from(self.groups) + u64::from(group)
    }

    fn check(&self) -> Result<(), Damaged> {
        let odd = |expected: &str, found: u64| Err(Damaged::new("recovery shape", 48, expected, found));
        match self {
            _ if self.covered_bytes == 0 || self.covered_bytes > MAX_COVERED_BYTES => {
                odd("1 byte to 16 GiB", self.covered_bytes)
            }
            _ if self.groups == 0 || self.groups > MAX_GROUPS || u64::from(self.groups) > self.data_shards() => {
                odd("groups", u64::from(self.groups))
            }
            _ if self.group_shards(0) > MAX_GROUP_SHARDS => odd("at most 32768 shards a group", self.group_shards(0)),
            _ if self.recovery_shards == 0 || u64::from(self.recovery_shards) > MAX_GROUP_SHARDS => {
                odd("1 to 32768 recovery shards", u64::from(self.recovery_shards))
            }
            _ => Ok(()),
        }
    }
}

/// The table's payloads: a CRC-32 for each data shard, then for each recovery shard. [R 15.4]
pub fn table(checksums: &[u32]) -> Vec<Vec<u8>> {
    let blocks = checksums.chunks(CHECKSUMS_PER_BLOCK as usize);
    let payload = |block: &[u32]| {
        let mut payload: Vec<u8> = block.iter().flat_map(|checksum| checksum.to_le_bytes()).collect();
        payload.resize(PAYLOAD_BYTES, 0);
        payload
    };
    blocks.map(payload).collect()
}

/// The checksums of the table's payloads, as many as the shape has shards; none where a
/// payload is missing.
pub fn checksums(shape: &Shape, payloads: &[Option<Vec<u8>>]) -> Vec<Option<u32>> {
    let count = (shape.data_shards() + shape.all_recovery_shards()) as usize;
    let per_block = CHECKSUMS_PER_BLOCK as usize;
    let checksum = |i: usize| {
        let payload = payloads.get(i / per_block)?.as_ref()?;
        (payload.len() == PAYLOAD_BYTES).then(|| u32_at(payload, i % per_block * 4))
    };
    (0..count).map(checksum).collect()
}

/// Block `i` of table and spare table. [R 15.3]
pub fn encode_block(shape: &Shape, i: u32, payload: &[u8]) -> Vec<u8> {
    let mut block = Vec::with_capacity(SHARD_BYTES);
    block.extend_from_slice(MAGIC);
    block.extend(FORMAT_VERSION.to_le_bytes());
    block.extend([0; 4]);
    block.extend_from_slice(&shape.archive_id);
    block.extend((shape.kind as u32).to_le_bytes());
    block.extend(i.to_le_bytes());
    block.extend(shape.number.to_le_bytes());
    block.extend(shape.covered_bytes.to_le_bytes());
    block.extend_from_slice(&shape.sha256);
    block.extend(shape.groups.to_le_bytes());
    block.extend(shape.recovery_shards.to_le_bytes());
    block.resize(HEADER_BYTES, 0);
    block.extend_from_slice(payload);
    block.resize(SHARD_BYTES, 0);
    let crc32 = crc32fast::hash(&block);
    block[12..16].copy_from_slice(&crc32.to_le_bytes());
    block
}

/// A table block's shape, number and payload.
///
/// # Errors
/// On any mismatch, and on shapes that no writer makes.
pub fn decode_block(block: &[u8]) -> Result<(Shape, u32, &[u8]), Damaged> {
    if block.len() != SHARD_BYTES {
        return Err(Damaged::new(
            "recovery block",
            0,
            format!("{SHARD_BYTES} bytes"),
            block.len(),
        ));
    }
    if &block[..8] != MAGIC {
        return Err(Damaged::new("recovery magic", 0, "CRHRECO1", block[..8].escape_ascii()));
    }
    let version = u32_at(block, 8);
    if version != FORMAT_VERSION {
        return Err(Damaged::new("recovery format version", 8, FORMAT_VERSION, version));
    }
    let mut crc32 = crc32fast::Hasher::new();
    crc32.update(&block[..12]);
    crc32.update(&[0; 4]);
    crc32.update(&block[16..]);
    let (stored, found) = (u32_at(block, 12), crc32.finalize());
    if stored != found {
        return Err(Damaged::new(
            "recovery block checksum",
            12,
            format!("{stored:08x}"),
            format!("{found:08x}"),
        ));
    }
    let kind = TargetKind::ALL
        .into_iter()
        .find(|kind| *kind as u32 == u32_at(block, 32))
        .ok_or_else(|| Damaged::new("recovery target kind", 32, "1, 2 or 3", u32_at(block, 32)))?;
    let (mut archive_id, mut sha256) = ([0; 16], [0; 32]);
    archive_id.copy_from_slice(&block[16..32]);
    sha256.copy_from_slice(&block[56..88]);
    let shape = Shape {
        archive_id,
        kind,
        number: u64_at(block, 40),
        covered_bytes: u64_at(block, 48),
        sha256,
        groups: u32_at(block, 88),
        recovery_shards: u32_at(block, 92),
    };
    shape.check()?;
    let i = u32_at(block, 36);
    if u64::from(i) >= 2 * shape.table_blocks() {
        return Err(Damaged::new(
            "recovery block number",
            36,
            format!("below {}", 2 * shape.table_blocks()),
            i,
        ));
    }
    Ok((shape, i, &block[HEADER_BYTES..]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn shapes_add_up() {
        for bytes in [
            1,
            4095,
            4096,
            4097,
            50_000,
            1 << 20,
            (64 << 20) + 1,
            1 << 30,
            (1 << 32) - 1,
        ] {
            for percent in [1, 5, 100] {
                let shape = Shape::plan([1; 16], TargetKind::Pack, 7, bytes, percent);
                assert_eq!(shape.check(), Ok(()), "{bytes} {percent}");
                let in_groups: u64 = (0..shape.groups).map(|group| shape.group_shards(group)).sum();
                assert_eq!(in_groups, shape.data_shards());
                let largest = shape.group_shards(0);
                assert!(largest <= GROUP_SHARDS && u64::from(shape.recovery_shards) <= largest);
                assert!(u64::from(shape.recovery_shards) * 100 >= largest * u64::from(percent));
                let last = shape.recovery_offset(shape.groups - 1, shape.recovery_shards - 1);
                assert_eq!(last + SHARD_BYTES as u64, shape.table_offset(shape.table_blocks()));
                let end = shape.table_offset(2 * shape.table_blocks() - 1) + SHARD_BYTES as u64;
                assert_eq!(end, shape.file_bytes());
            }
        }
    }

    #[test]
    fn blocks_come_back_and_every_flip_is_noticed() {
        let shape = Shape {
            sha256: [9; 32],
            ..Shape::plan([1; 16], TargetKind::Index, 7, 5_000_000, 5)
        };
        let sums: Vec<u32> = (0..(shape.data_shards() + shape.all_recovery_shards()) as u32).collect();
        let payloads = table(&sums);
        assert_eq!(payloads.len() as u64, shape.table_blocks());
        let block = encode_block(&shape, 1, &payloads[1]);
        assert_eq!(decode_block(&block).unwrap(), (shape, 1, &payloads[1][..]));
        for at in (0..block.len()).step_by(7) {
            let mut bad = block.clone();
            bad[at] ^= 0x20;
            assert!(decode_block(&bad).is_err(), "flip at {at}");
        }
        let read = [Some(payloads[0].clone()), None];
        let found = checksums(&shape, &read);
        assert_eq!(found.len(), sums.len());
        assert!(found[..992].iter().zip(&sums).all(|(found, sum)| *found == Some(*sum)));
        assert!(found[992..].iter().all(Option::is_none));
    }
}
