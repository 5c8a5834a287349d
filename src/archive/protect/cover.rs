//! Writing the recovery file of one pack or segment.

use super::super::names::{recovery_files, recovery_name};
use super::super::segments::remove_leftover;
use super::super::{Archive, Error, chain};
use super::load::each_whole_shard;
use super::{ProtectOptions, Target, codec};
use crate::format::recovery::{self, SHARD_BYTES, Shape, TargetKind};
use crate::store::Medium;
use reed_solomon_simd::ReedSolomonEncoder;
use sha2::{Digest as _, Sha256};

/// Makes the recovery file that `planned` says for `target`, and lets go of older ones.
/// Returns its length, or why the target is not worth it.
pub(super) fn cover(
    archive: &Archive,
    target: Target,
    planned: Shape,
    options: &ProtectOptions<'_>,
) -> Result<Result<u64, String>, Error> {
    let medium = &*archive.medium;
    let name = target.name();
    if let Err(cause) = check_pack(archive, target) {
        return Ok(Err(cause));
    }
    let mut checksums = Vec::with_capacity(planned.data_shards() as usize);
    let mut hasher = Sha256::new();
    let mut left = planned.covered_bytes;
    each_whole_shard(medium, &name, planned.covered_bytes, &mut |_, shard| {
        let own = left.min(SHARD_BYTES as u64);
        hasher.update(&shard[..own as usize]);
        left -= own;
        checksums.push(crc32fast::hash(shard));
        Ok(())
    })?;
    let sha256: [u8; 32] = hasher.finalize().into();
    if named_sha256(archive, target).is_some_and(|expected| expected != sha256) {
        return Ok(Err("its SHA-256 is not the one in the head".into()));
    }
    let shape = Shape { sha256, ..planned };

    medium.create_folder("recovery").map_err(Error::io("recovery"))?;
    let older: Vec<_> = recovery_files(medium)
        .map_err(Error::io("recovery"))?
        .into_iter()
        .filter(|file| file.target == target)
        .collect();
    // Two names in turn, so that what is there stays until the new one is whole.
    let slot = u8::from(older.iter().any(|file| file.slot == 0));
    let out = recovery_name(target, slot);
    remove_leftover(medium, &out)?;
    medium.create(&out).map_err(Error::io(&out))?;
    write_shards(medium, &name, &out, &shape, options.threads, &mut checksums)?;
    let payloads = recovery::table(&checksums);
    let spare = codec::spare_payloads(&payloads).map_err(Error::Rejected)?;
    for (first, payloads) in [(0, payloads), (shape.table_blocks(), spare)] {
        let blocks = payloads.iter().zip(first..);
        let bytes: Vec<u8> = blocks
            .flat_map(|(payload, i)| recovery::encode_block(&shape, i as u32, payload))
            .collect();
        medium
            .write_at(&out, shape.table_offset(first), &bytes)
            .map_err(Error::io(&out))?;
    }
    medium.sync(&out).map_err(Error::io(&out))?;
    medium.sync_folder("recovery").map_err(Error::io("recovery"))?;
    for file in older.iter().filter(|file| file.name != out) {
        remove_leftover(medium, &file.name)?;
    }
    Ok(Ok(shape.file_bytes()))
}

/// Recovery data of damaged bytes would only bring the damage back.
fn check_pack(archive: &Archive, target: Target) -> Result<(), String> {
    if target.kind != TargetKind::Pack {
        return Ok(());
    }
    let mut entries = archive.entries().map_err(|error| error.to_string())?;
    entries.retain(|entry| u64::from(entry.pack) == target.number);
    entries.sort_by_key(|entry| entry.record_offset);
    for entry in &entries {
        chain::read_record(&*archive.medium, entry).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn named_sha256(archive: &Archive, target: Target) -> Option<[u8; 32]> {
    let segments = match target.kind {
        TargetKind::Pack => return None,
        TargetKind::Index => &archive.head.indexes,
        TargetKind::Manifest => &archive.head.manifests,
    };
    let named = segments.iter().find(|one| one.generation == target.number);
    named.map(|one| one.sha256)
}

/// Writes all recovery shards, some groups at a time, and adds their checksums.
fn write_shards(
    medium: &dyn Medium,
    name: &str,
    out: &str,
    shape: &Shape,
    threads: usize,
    checksums: &mut Vec<u32>,
) -> Result<(), Error> {
    let data_shards = checksums.len();
    checksums.resize(data_shards + shape.all_recovery_shards() as usize, 0);
    let groups: Vec<u32> = (0..shape.groups).collect();
    for batch in groups.chunks(threads.max(1)) {
        let first = batch[0];
        let mut encoders = Vec::new();
        for group in batch {
            let encoder = codec::encoder(shape.group_shards(*group), shape.recovery_shards);
            encoders.push(encoder.map_err(Error::Rejected)?);
        }
        each_whole_shard(medium, name, shape.covered_bytes, &mut |i, shard| {
            let group = (i % u64::from(shape.groups)) as u32;
            let Some(encoder) = group.checked_sub(first).and_then(|at| encoders.get_mut(at as usize)) else {
                return Ok(());
            };
            let added = encoder.add_original_shard(shard);
            added.map_err(|error| Error::Rejected(codec::said(error)))
        })?;
        let encoded = encode_all(encoders)?;
        // Those of neighbouring groups lie side by side; of all groups, all do.
        let run_shards = if batch.len() == groups.len() {
            shape.recovery_shards
        } else {
            1
        };
        let mut run = Vec::new();
        for i in 0..shape.recovery_shards {
            for (group, shards) in batch.iter().zip(&encoded) {
                let shard = &shards[i as usize * SHARD_BYTES..][..SHARD_BYTES];
                checksums[data_shards + shape.recovery_number(*group, i) as usize] = crc32fast::hash(shard);
                run.extend_from_slice(shard);
            }
            if (i + 1) % run_shards == 0 {
                let offset = shape.recovery_offset(first, i + 1 - run_shards);
                medium.write_at(out, offset, &run).map_err(Error::io(out))?;
                run.clear();
            }
        }
    }
    Ok(())
}

/// The recovery shards of each encoder, one behind the other.
fn encode_all(encoders: Vec<ReedSolomonEncoder>) -> Result<Vec<Vec<u8>>, Error> {
    let encode = |mut encoder: ReedSolomonEncoder| {
        let encoded = encoder.encode().map_err(|error| Error::Rejected(codec::said(error)))?;
        Ok::<_, Error>(encoded.recovery_iter().collect::<Vec<_>>().concat())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = encoders
            .into_iter()
            .map(|encoder| scope.spawn(|| encode(encoder)))
            .collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, _>| match worker.join() {
            Ok(encoded) => encoded,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        workers.into_iter().map(join).collect()
    })
}
