//! Reading recovery files, of which any block may be damaged.

use super::super::Error;
use super::super::names::RecoveryFile;
use super::super::repair::robust;
use super::codec;
use crate::format::recovery::{self, SHARD_BYTES, Shape};
use crate::store::Medium;

/// Read at once.
const CHUNK_BYTES: u64 = 1 << 20;

/// A recovery file, its table read.
pub(super) struct Loaded {
    pub shape: Shape,
    /// Of each data shard, then of each recovery shard; none where the table is lost.
    pub checksums: Vec<Option<u32>>,
    name: String,
    bad_table_blocks: u64,
}

/// Of a recovery file that was cut to less than a part in so many nothing is used; and
/// so its shape asks for no more memory than goes with what is there.
const LEAST_SHARE: u64 = 4;

/// What `file` covers, by the first of its table blocks that can be read and is of the
/// file that its name says.
pub(super) fn shape_of(medium: &dyn Medium, file: &RecoveryFile) -> Result<Option<Shape>, Error> {
    let mut at = 0;
    while at < file.bytes {
        let chunk = robust::read(
            medium,
            &file.name,
            at,
            if at == 0 { SHARD_BYTES as u64 } else { CHUNK_BYTES },
        )?;
        if chunk.is_empty() {
            break;
        }
        for block in chunk.chunks_exact(SHARD_BYTES) {
            if let Ok((shape, _, _)) = recovery::decode_block(block)
                && (shape.kind, shape.number) == (file.target.kind, file.target.number)
                && shape.file_bytes() / LEAST_SHARE <= file.bytes
            {
                return Ok(Some(shape));
            }
        }
        at += chunk.len() as u64;
    }
    Ok(None)
}

impl Loaded {
    /// Reads the table of `file`; none if not one block of it can be used.
    pub(super) fn open(medium: &dyn Medium, file: &RecoveryFile) -> Result<Option<Loaded>, Error> {
        let Some(shape) = shape_of(medium, file)? else {
            return Ok(None);
        };
        let count = shape.table_blocks();
        let mut blocks: Vec<Option<Vec<u8>>> = Vec::new();
        for i in 0..2 * count {
            let bytes = robust::read(medium, &file.name, shape.table_offset(i), SHARD_BYTES as u64)?;
            let decoded = recovery::decode_block(&bytes).ok();
            let is_it = |(found, number, _): &(Shape, u32, &[u8])| *found == shape && u64::from(*number) == i;
            blocks.push(decoded.filter(is_it).map(|(_, _, payload)| payload.to_vec()));
        }
        let bad_table_blocks = blocks.iter().filter(|block| block.is_none()).count() as u64;
        codec::restore_payloads(&mut blocks).map_err(Error::Rejected)?;
        blocks.truncate(count as usize);
        Ok(Some(Loaded {
            shape,
            checksums: recovery::checksums(&shape, &blocks),
            name: file.name.clone(),
            bad_table_blocks,
        }))
    }

    /// How many blocks the whole file has.
    pub(super) fn blocks(&self) -> u64 {
        self.shape.file_bytes() / SHARD_BYTES as u64
    }

    /// Recovery shard `i` of `group`, if it is whole.
    pub(super) fn recovery_shard(&self, medium: &dyn Medium, group: u32, i: u32) -> Result<Option<Vec<u8>>, Error> {
        let number = self.shape.data_shards() + self.shape.recovery_number(group, i);
        let offset = self.shape.recovery_offset(group, i);
        let bytes = robust::read(medium, &self.name, offset, SHARD_BYTES as u64)?;
        let is_whole = bytes.len() == SHARD_BYTES && self.is(number, &bytes);
        Ok(is_whole.then_some(bytes))
    }

    /// Whether the table has a checksum for shard `number`.
    pub(super) fn knows(&self, number: u64) -> bool {
        self.checksums.get(number as usize).copied().flatten().is_some()
    }

    /// Whether the covered file `name` has, all of it, the bytes that this was made of.
    pub(super) fn fits(&self, medium: &dyn Medium, name: &str) -> Result<bool, Error> {
        let mut fits = true;
        each_shard(medium, name, self.shape.covered_bytes, &mut |number, shard| {
            fits &= self.is(number, shard);
            Ok(())
        })?;
        Ok(fits)
    }

    /// Whether `shard` is shard number `number`, by its checksum.
    pub(super) fn is(&self, number: u64, shard: &[u8]) -> bool {
        let expected = self.checksums.get(number as usize).copied().flatten();
        expected == Some(crc32fast::hash(shard))
    }

    /// Blocks that are not what they should be.
    pub(super) fn count_bad_blocks(&self, medium: &dyn Medium) -> Result<u64, Error> {
        let mut bad = self.bad_table_blocks;
        for i in 0..self.shape.recovery_shards {
            for group in 0..self.shape.groups {
                bad += u64::from(self.recovery_shard(medium, group, i)?.is_none());
            }
        }
        Ok(bad)
    }
}

/// What is called with each shard and its number.
type VisitShard<'a> = dyn FnMut(u64, &[u8]) -> Result<(), Error> + 'a;

/// Calls `visit` with each shard of the covered file, the last filled up with zeros;
/// what the file lacks or the medium cannot read comes out as zeros.
pub(super) fn each_shard(
    medium: &dyn Medium,
    name: &str,
    covered_bytes: u64,
    visit: &mut VisitShard<'_>,
) -> Result<(), Error> {
    let read = |offset, bytes| robust::read(medium, name, offset, bytes);
    each_read_shard(covered_bytes, &read, visit)
}

/// As [`each_shard`]; what the medium cannot read is an error.
pub(super) fn each_whole_shard(
    medium: &dyn Medium,
    name: &str,
    covered_bytes: u64,
    visit: &mut VisitShard<'_>,
) -> Result<(), Error> {
    let read = |offset, bytes: u64| {
        let read = medium.read_at(name, offset, bytes as usize);
        read.map_err(Error::io(name))
    };
    each_read_shard(covered_bytes, &read, visit)
}

fn each_read_shard(
    covered_bytes: u64,
    read: &dyn Fn(u64, u64) -> Result<Vec<u8>, Error>,
    visit: &mut VisitShard<'_>,
) -> Result<(), Error> {
    let mut at = 0;
    while at < covered_bytes {
        let bytes = CHUNK_BYTES.min(covered_bytes - at);
        let mut chunk = read(at, bytes)?;
        chunk.resize((bytes as usize).next_multiple_of(SHARD_BYTES), 0);
        for (i, shard) in chunk.chunks_exact(SHARD_BYTES).enumerate() {
            visit(at / SHARD_BYTES as u64 + i as u64, shard)?;
        }
        at += bytes;
    }
    Ok(())
}
