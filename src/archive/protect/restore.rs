//! Putting damaged sectors back from recovery data. [R 15.6]

use super::super::names::{HEAD_NAMES, RecoveryFile, recovery_files};
use super::super::repair::robust;
use super::super::{Archive, Error};
use super::load::{Loaded, each_shard};
use super::own::{Own, place};
use super::{Target, codec, targets};
use crate::format::head::Head;
use crate::format::index::Entry;
use crate::format::recovery::{SHARD_BYTES, TargetKind};
use crate::store::Medium;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

/// Looks at every file that has recovery data, and puts back what is damaged, unless
/// `dry_run`; returns what was found, for people. Whoever calls holds the lock.
///
/// # Errors
/// When a file cannot be written, or a folder cannot be read.
pub(in crate::archive) fn restore_all(medium: &Arc<dyn Medium>, dry_run: bool) -> Result<Vec<String>, Error> {
    let heads: Vec<Head> = HEAD_NAMES
        .iter()
        .filter_map(|name| Head::decode(&medium.read(name).ok()?).ok())
        .collect();
    let named: HashSet<Target> = heads
        .iter()
        .flat_map(|head| targets(head).into_iter().map(|(target, _)| target))
        .collect();
    let mut notes = Vec::new();
    let mut files = recovery_files(&**medium).map_err(Error::io("recovery"))?;
    // Packs come last: by then the index can tell what should be in them, if anything can.
    files.sort_by_key(|file| file.target.kind == TargetKind::Pack);
    let mut restoring = Restoring {
        medium,
        heads: &heads,
        entries: None,
        dry_run,
    };
    for file in files {
        // What was let go of is not brought back. Without a head there is no telling.
        if !heads.is_empty() && !named.contains(&file.target) {
            continue;
        }
        let Some(loaded) = Loaded::open(&**medium, &file)? else {
            continue;
        };
        if heads.iter().any(|head| head.archive_id != loaded.shape.archive_id) {
            continue;
        }
        notes.extend(restoring.restore(&file, &loaded)?);
    }
    Ok(notes)
}

struct Restoring<'a> {
    medium: &'a Arc<dyn Medium>,
    heads: &'a [Head],
    /// What the index tells, once somebody has asked.
    entries: Option<Vec<Entry>>,
    dry_run: bool,
}

impl Restoring<'_> {
    fn restore(&mut self, file: &RecoveryFile, loaded: &Loaded) -> Result<Option<String>, Error> {
        let medium = &**self.medium;
        let name = file.target.name();
        let mut damaged = damaged_shards(medium, &name, loaded)?;
        if damaged.is_empty() {
            return Ok(None);
        }
        let foreign = |what: &str| {
            Ok(Some(format!(
                "{}: made for other bytes than those of {name}: {what}; not used, `cratehold protect` makes it anew",
                file.name
            )))
        };
        let mut bytes = robust::read(medium, &name, 0, u64::MAX)?;
        let own = Own::of(file.target, &bytes);
        let sector = |number: u64| loaded.shape.shard_range(number);
        if is_denied(&own, loaded, &damaged) {
            return foreign("sectors that are whole by their own checksums would be others");
        }
        for bad in damaged.values_mut() {
            bad.retain(|number| !own.has_all(sector(*number)));
        }
        damaged.retain(|_, bad| !bad.is_empty());
        let bad_count: usize = damaged.values().map(Vec::len).sum();
        if bad_count == 0 {
            return Ok(None);
        }
        let mut restored: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for (group, bad) in &damaged {
            restored.extend(decode_group(medium, &name, loaded, *group, bad)?);
        }
        for (number, shard) in &restored {
            let sector = sector(*number);
            let is_kept = |range: &Range<u64>| {
                let (from, end) = (range.start.max(sector.start), range.end.min(sector.end));
                bytes[from as usize..end as usize]
                    == shard[(from - sector.start) as usize..(end - sector.start) as usize]
            };
            if !own.touching(sector.clone()).all(is_kept) {
                return foreign("bytes that are whole by their own checksums would be others");
            }
        }
        // Of a sector whose checksum is lost with the table, only the whole can tell.
        let is_whole =
            restored.len() == bad_count && sha256_with(medium, &name, loaded, &restored)? == loaded.shape.sha256;
        if !is_whole {
            restored.retain(|number, shard| loaded.is(*number, shard));
        }
        lay_over(&mut bytes, &restored, loaded);
        let then = Own::of(file.target, &bytes);
        if is_whole {
            if let Some(what) = self.denial(file.target, loaded, &restored, &then) {
                return foreign(&what);
            }
        } else {
            // A part of it counts only where it makes something whole.
            restored.retain(|number, _| then.gains_in(&own, sector(*number)));
        }
        if !self.dry_run && !restored.is_empty() {
            write_back(medium, &name, loaded, &restored)?;
        }
        let sectors = if bad_count == 1 { "sector" } else { "sectors" };
        let done = match (is_whole, self.dry_run) {
            (true, false) => format!("put back from {}", file.name),
            (true, true) => format!("{} has what puts them back", file.name),
            (false, _) => format!("{} is not enough for all: {} put back", file.name, restored.len()),
        };
        Ok(Some(format!("{name}: {bad_count} damaged {sectors} of 4 KiB; {done}")))
    }

    /// Why the file as recovery data would have it is not what the archive says that it
    /// is, if it is not; `then` is what it would say of itself.
    fn denial(
        &mut self,
        target: Target,
        loaded: &Loaded,
        restored: &BTreeMap<u64, Vec<u8>>,
        then: &Own,
    ) -> Option<String> {
        if target.kind != TargetKind::Pack {
            let named = self.heads.iter().flat_map(|head| match target.kind {
                TargetKind::Index => &head.indexes[..],
                _ => &head.manifests[..],
            });
            let mut named = named.filter(|one| one.generation == target.number);
            let is_other =
                named.any(|one| one.sha256 != loaded.shape.sha256 || one.bytes != loaded.shape.covered_bytes);
            return is_other.then(|| "the head has another SHA-256 for it".to_owned());
        }
        let entries = self.entries.get_or_insert_with(|| {
            let archive = Archive::open_on(self.medium.clone());
            archive.map(|archive| archive.readable_entries()).unwrap_or_default()
        });
        let mut of_pack = entries.iter().filter(|entry| u64::from(entry.pack) == target.number);
        let is_denied = |entry: &&Entry| {
            let (from, end) = place(entry);
            let mut sectors = restored.range(from / SHARD_BYTES as u64..end.div_ceil(SHARD_BYTES as u64));
            end <= loaded.shape.covered_bytes && sectors.next().is_some() && !then.has_record(entry)
        };
        let denied = of_pack.find(is_denied)?;
        Some(format!("the index has {} in it", denied.digest))
    }
}

/// Puts shards in their places in `bytes`, which may be too short for them.
fn lay_over(bytes: &mut Vec<u8>, restored: &BTreeMap<u64, Vec<u8>>, loaded: &Loaded) {
    for (number, shard) in restored {
        let sector = loaded.shape.shard_range(*number);
        if (bytes.len() as u64) < sector.end {
            bytes.resize(sector.end as usize, 0);
        }
        let own = (sector.end - sector.start) as usize;
        bytes[sector.start as usize..][..own].copy_from_slice(&shard[..own]);
    }
}

/// Whether `loaded` was made for other bytes than those of `target` that are right by their
/// own checksums. [R 15.6]
pub(super) fn is_foreign(medium: &dyn Medium, target: Target, loaded: &Loaded) -> Result<bool, Error> {
    let name = target.name();
    let damaged = damaged_shards(medium, &name, loaded)?;
    if damaged.is_empty() {
        return Ok(false);
    }
    let own = Own::of(target, &robust::read(medium, &name, 0, u64::MAX)?);
    Ok(is_denied(&own, loaded, &damaged))
}

/// Whether what is right by its own checksums would be something else by those of `loaded`.
fn is_denied(own: &Own, loaded: &Loaded, damaged: &BTreeMap<u32, Vec<u64>>) -> bool {
    let is_right = |number: &u64| loaded.knows(*number) && own.has_all(loaded.shape.shard_range(*number));
    damaged.values().flatten().any(is_right)
}

/// The numbers of the shards that are not what they were, by group.
fn damaged_shards(medium: &dyn Medium, name: &str, loaded: &Loaded) -> Result<BTreeMap<u32, Vec<u64>>, Error> {
    let mut damaged: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    let file_bytes = medium.len(name).unwrap_or(0);
    let mut end = 0;
    each_shard(medium, name, loaded.shape.covered_bytes, &mut |number, shard| {
        end = (end + SHARD_BYTES as u64).min(loaded.shape.covered_bytes);
        // Zeros that the file lacks are no zeros that it has.
        if !loaded.is(number, shard) || end > file_bytes {
            let group = (number % u64::from(loaded.shape.groups)) as u32;
            damaged.entry(group).or_default().push(number);
        }
        Ok(())
    })?;
    // Where part of the table is lost, sectors only count as damaged if the whole is.
    let unknown = loaded.checksums.iter().take(loaded.shape.data_shards() as usize);
    if unknown.clone().any(Option::is_none)
        && file_bytes >= loaded.shape.covered_bytes
        && sha256_with(medium, name, loaded, &BTreeMap::new())? == loaded.shape.sha256
    {
        damaged.clear();
    }
    Ok(damaged)
}

/// What the bad shards of a group were, if enough of the others are whole.
fn decode_group(
    medium: &dyn Medium,
    name: &str,
    loaded: &Loaded,
    group: u32,
    bad: &[u64],
) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    let shape = &loaded.shape;
    let said = |error| Error::Rejected(codec::said(error));
    let mut decoder = codec::decoder(shape.group_shards(group), shape.recovery_shards).map_err(Error::Rejected)?;
    let mut missing = bad.len();
    for i in 0..shape.recovery_shards {
        if missing == 0 {
            break;
        }
        if let Some(shard) = loaded.recovery_shard(medium, group, i)? {
            decoder.add_recovery_shard(i as usize, shard).map_err(said)?;
            missing -= 1;
        }
    }
    if missing > 0 {
        return Ok(Vec::new());
    }
    let bad: HashSet<u64> = bad.iter().copied().collect();
    let groups = u64::from(shape.groups);
    each_shard(
        medium,
        name,
        shape.covered_bytes,
        &mut |number, shard| match number % groups == u64::from(group) && !bad.contains(&number) {
            true => decoder
                .add_original_shard((number / groups) as usize, shard)
                .map_err(said),
            false => Ok(()),
        },
    )?;
    let decoded = decoder.decode().map_err(said)?;
    let restored = decoded.restored_original_iter();
    Ok(restored
        .map(|(i, shard)| (i as u64 * groups + u64::from(group), shard.to_vec()))
        .collect())
}

/// SHA-256 of what is covered, with these shards in place of what is there.
fn sha256_with(
    medium: &dyn Medium,
    name: &str,
    loaded: &Loaded,
    restored: &BTreeMap<u64, Vec<u8>>,
) -> Result<[u8; 32], Error> {
    let mut hasher = Sha256::new();
    let mut left = loaded.shape.covered_bytes;
    each_shard(medium, name, loaded.shape.covered_bytes, &mut |number, shard| {
        let shard = restored.get(&number).map_or(shard, |restored| restored);
        let own = left.min(SHARD_BYTES as u64);
        hasher.update(&shard[..own as usize]);
        left -= own;
        Ok(())
    })?;
    Ok(hasher.finalize().into())
}

/// The published bytes, at their places: a crash leaves each sector as it was or as it
/// should be, and what is still damaged is put back by the next run. [R 15.6]
fn write_back(
    medium: &dyn Medium,
    name: &str,
    loaded: &Loaded,
    restored: &BTreeMap<u64, Vec<u8>>,
) -> Result<(), Error> {
    let folder = name.split('/').next().unwrap_or_default();
    if medium.len(name).is_err() {
        medium.create_folder(folder).map_err(Error::io(folder))?;
        medium.create(name).map_err(Error::io(name))?;
    }
    for (number, shard) in restored {
        let sector = loaded.shape.shard_range(*number);
        let own = (sector.end - sector.start) as usize;
        medium
            .write_at(name, sector.start, &shard[..own])
            .map_err(Error::io(name))?;
    }
    medium.sync(name).map_err(Error::io(name))?;
    medium.sync_folder(folder).map_err(Error::io(folder))
}
