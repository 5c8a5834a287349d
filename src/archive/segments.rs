//! Segments on their way to disk: which older ones a new one absorbs, and writing it
//! piece by piece, so that neither index nor manifest is ever in memory as a whole.
//! Spec sections 6, 7 and 10.

use super::names::{index_name, manifest_name};
use super::{Archive, Error};
use crate::format::Damaged;
use crate::format::head::SegmentEntry;
use crate::format::index::{self, Entry};
use crate::format::manifest::{ManifestSegment, Transaction};
use crate::format::manifest_draft::{Compressor, Draft, EncodedBlock};
use crate::format::manifest_event::Events;
use crate::format::manifest_merge::{Merge, Piece};
use crate::format::manifest_write::SegmentEncoder;
use crate::format::pages::PAGE_BYTES;
use crate::ids::Digest;
use crate::store::{FileBytes, Medium};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};

/// A segment absorbs the one before it unless that is more than so many times as
/// large. So each is more than twice as large as the next, there are never many, and
/// whatever is written again goes into a segment of at least one and a half times the
/// size: at most 31 times on the way from ten releases to three million.
const TIER_FACTOR: u64 = 2;
/// A segment is written in pieces of about so many bytes.
const PIECE_BYTES: usize = 1 << 20;
/// So many drafts a thread are encoded at once; each is some MiB in memory.
const DRAFTS_PER_THREAD: usize = 8;

/// How many of the oldest segments, of these sizes, stay as they are when `new` more
/// are written.
fn kept(sizes: impl DoubleEndedIterator<Item = u64> + ExactSizeIterator, new: u64) -> usize {
    let mut kept = sizes.len();
    let mut merged = new;
    for size in sizes.rev() {
        if size > merged.saturating_mul(TIER_FACTOR) {
            break;
        }
        merged += size;
        kept -= 1;
    }
    kept
}

/// Writes the index segment of `generation`, and says which the snapshot has then.
pub(super) fn write_index(
    archive: &Archive,
    generation: u64,
    newest: &BTreeMap<Digest, Entry>,
) -> Result<Vec<SegmentEntry>, Error> {
    let kept = kept(
        archive.indexes.iter().map(|segment| segment.entry_count()),
        newest.len() as u64,
    );
    let absorbed: Vec<_> = archive.indexes[kept..].iter().map(|segment| &**segment).collect();
    let damaged = |(i, damage)| archive.index_damage(kept + i, damage);
    let most = absorbed.iter().map(|segment| segment.entry_count()).sum::<u64>();
    let mut plan = index::Plan::new(most + newest.len() as u64);
    for entry in index::merge(&absorbed, newest) {
        plan.count(&entry.map_err(damaged)?.digest);
    }
    let mut file = SegmentFile::create(&*archive.medium, index_name(generation))?;
    let mut encoder = plan.begin();
    for entry in index::merge(&absorbed, newest) {
        encoder.push(&entry.map_err(damaged)?);
        if encoder.ready_bytes() >= PIECE_BYTES {
            file.append(&encoder.take())?;
        }
    }
    let header = encoder.finish(generation);
    file.append(&encoder.take())?;
    let entry = file.finish(generation, &header)?;
    Ok([&archive.head.indexes[..kept], &[entry]].concat())
}

/// What a commit adds to the manifest.
pub(super) enum News {
    /// Events of its own, in a transaction of its own.
    Own(Transaction, Events),
    /// What another archive of the same lineage has told already.
    Told(Told),
}

impl News {
    /// The hash of the newest transaction.
    pub(super) fn root(&self) -> [u8; 32] {
        match self {
            News::Own(transaction, _) => transaction.hash,
            News::Told(told) => told.transactions.last().map_or([0; 32], |newest| newest.hash),
        }
    }
}

/// Transactions of another archive with their events, in a segment.
#[derive(Debug)]
pub(super) struct Told {
    /// Checked against the hashes of its transactions.
    pub segment: ManifestSegment<FileBytes>,
    /// Its transactions up to this generation are known here.
    pub after: u64,
    /// The others, oldest first.
    pub transactions: Vec<Transaction>,
}

/// Writes the manifest segment of `generation`, and says which the snapshot has then.
pub(super) fn write_manifest(archive: &Archive, generation: u64, news: News) -> Result<Vec<SegmentEntry>, Error> {
    let (added, events, told) = match news {
        News::Own(transaction, events) => (vec![transaction], events, None),
        News::Told(told) => (told.transactions, Events::default(), Some((told.segment, told.after))),
    };
    let sizes = archive.manifests.iter().map(|segment| segment.event_count());
    let kept = kept(sizes, added.iter().map(|made| made.event_count).sum());
    let absorbed = &archive.manifests[kept..];
    let damaged = |(i, damage): (usize, Damaged)| match absorbed.len() {
        own if i < own => archive.manifest_damage(kept + i, damage),
        _ => Error::damaged("the manifest of the bundle")(damage),
    };
    let mut transactions = Vec::new();
    for (i, segment) in absorbed.iter().enumerate() {
        transactions.extend(segment.transactions().map_err(|damage| damaged((i, damage)))?);
    }
    transactions.extend(added);

    let mut file = SegmentFile::create(&*archive.medium, manifest_name(generation))?;
    let sources = absorbed.iter().map(|segment| (&**segment, 0));
    let told = told.iter().map(|(segment, after)| (segment, *after));
    let pieces = Merge::after(sources.chain(told), events);
    let header = encode_manifest(generation, &transactions, pieces, &damaged, &mut |bytes| {
        file.append(&bytes)
    })?;
    let entry = file.finish(generation, &header)?;
    Ok([&archive.head.manifests[..kept], &[entry]].concat())
}

/// All transactions of `archive` above generation `after` with their events, as the
/// bytes of one segment; none if there are none.
pub(super) fn manifest_after(archive: &Archive, after: u64) -> Result<Option<Vec<u8>>, Error> {
    let mut sources = Vec::new();
    let mut transactions = Vec::new();
    for (i, segment) in archive.manifests.iter().enumerate() {
        let all = segment
            .transactions()
            .map_err(|damage| archive.manifest_damage(i, damage))?;
        let known = all.iter().filter(|made| made.generation <= after).count();
        if known < all.len() {
            sources.push((&**segment, if known == 0 { 0 } else { after }, i));
            transactions.extend_from_slice(&all[known..]);
        }
    }
    let Some(newest) = transactions.last() else {
        return Ok(None);
    };
    let generation = newest.generation;
    let damaged =
        |(i, damage): (usize, Damaged)| archive.manifest_damage(sources.get(i).map_or(0, |one| one.2), damage);
    let mut bytes = vec![0; PAGE_BYTES];
    let pieces = Merge::after(
        sources.iter().map(|(segment, after, _)| (*segment, *after)),
        Events::default(),
    );
    let header = encode_manifest(generation, &transactions, pieces, &damaged, &mut |piece| {
        bytes.extend(piece);
        Ok(())
    })?;
    bytes[..header.len()].copy_from_slice(&header);
    Ok(Some(bytes))
}

/// Puts `pieces` together; `append` gets the segment behind its header, which is returned.
fn encode_manifest(
    generation: u64,
    transactions: &[Transaction],
    mut pieces: Merge<'_, FileBytes>,
    damaged: &dyn Fn((usize, Damaged)) -> Error,
    append: &mut dyn FnMut(Vec<u8>) -> Result<(), Error>,
) -> Result<Vec<u8>, Error> {
    let name = manifest_name(generation);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut compressors = Vec::new();
    let mut encoder = SegmentEncoder::default();
    loop {
        let mut batch: Vec<Option<EncodedBlock<'_>>> = Vec::new();
        let mut drafts: Vec<(usize, Draft)> = Vec::new();
        while drafts.len() < threads * DRAFTS_PER_THREAD && batch.len() < PIECE_BYTES {
            match pieces.next().transpose().map_err(damaged)? {
                None => break,
                Some(Piece::Kept(block)) => batch.push(Some(block)),
                Some(Piece::Made(draft)) => {
                    drafts.push((batch.len(), draft));
                    batch.push(None);
                }
            }
        }
        if batch.is_empty() {
            break;
        }
        let mut made = encode_all(drafts, threads, &mut compressors).map_err(Error::io(&name))?;
        for (i, kept) in batch.iter().enumerate() {
            kept.iter().for_each(|block| encoder.push(block));
            made.remove(&i).iter().flatten().for_each(|block| encoder.push(block));
            if encoder.ready_bytes() >= PIECE_BYTES {
                append(encoder.take())?;
            }
        }
    }
    let header = encoder.finish(generation, transactions);
    append(encoder.take())?;
    Ok(header)
}

type Made = BTreeMap<usize, Vec<EncodedBlock<'static>>>;

/// Encodes drafts on all cores; what each became, by its number.
fn encode_all(drafts: Vec<(usize, Draft)>, threads: usize, compressors: &mut Vec<Compressor>) -> io::Result<Made> {
    let threads = threads.min(drafts.len());
    while compressors.len() < threads {
        compressors.push(Compressor::new()?);
    }
    let drafts = Mutex::new(drafts.into_iter());
    let next = || drafts.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = |compressor: &mut Compressor| {
        let mut made = Vec::new();
        while let Some((i, draft)) = next() {
            made.push((i, draft.encode(compressor)?));
        }
        Ok::<_, io::Error>(made)
    };
    let mut made = Made::new();
    if let [only] = &mut compressors[..threads] {
        made.extend(work(only)?);
        return Ok(made);
    }
    std::thread::scope(|scope| {
        let workers: Vec<_> = compressors[..threads]
            .iter_mut()
            .map(|compressor| scope.spawn(|| work(compressor)))
            .collect();
        for worker in workers {
            match worker.join() {
                Ok(done) => made.extend(done?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(made)
    })
}

/// A segment's file while it is written: the body first, behind room for the header.
struct SegmentFile<'a> {
    medium: &'a dyn Medium,
    name: String,
    bytes: u64,
}

impl SegmentFile<'_> {
    fn create(medium: &dyn Medium, name: String) -> Result<SegmentFile<'_>, Error> {
        remove_leftover(medium, &name)?;
        medium.create(&name).map_err(Error::io(&name))?;
        Ok(SegmentFile {
            medium,
            name,
            bytes: PAGE_BYTES as u64,
        })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.medium
            .write_at(&self.name, self.bytes, bytes)
            .map_err(Error::io(&self.name))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn finish(self, generation: u64, header: &[u8]) -> Result<SegmentEntry, Error> {
        let SegmentFile { medium, name, bytes } = self;
        medium.write_at(&name, 0, header).map_err(Error::io(&name))?;
        // The header is the first that is hashed and the last that is known.
        let mut hasher = Sha256::new();
        let mut at = 0;
        while at < bytes {
            let piece = (bytes - at).min(PIECE_BYTES as u64);
            hasher.update(medium.read_at(&name, at, piece as usize).map_err(Error::io(&name))?);
            at += piece;
        }
        medium.sync(&name).map_err(Error::io(&name))?;
        Ok(SegmentEntry {
            generation,
            bytes,
            sha256: hasher.finalize().into(),
        })
    }
}

/// Removes what a crash may have left under a name that no head names yet.
pub(super) fn remove_leftover(medium: &dyn Medium, name: &str) -> Result<(), Error> {
    match medium.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(name)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Few segments, each more than twice the next, and what is written again stays a
    /// small multiple of what comes in: by the rule alone, whatever the sizes.
    #[test]
    fn tiers_are_few_and_cheap() {
        for sizes in [[10, 10, 10], [1, 1000, 30], [5000, 1, 1]] {
            let (mut segments, mut came, mut written) = (vec![3_000_000], 0, 0);
            for i in 0..30_000 {
                let new = sizes[i % sizes.len()];
                let kept = kept(segments.iter().copied(), new);
                let merged = segments[kept..].iter().sum::<u64>() + new;
                segments.truncate(kept);
                segments.push(merged);
                came += new;
                written += merged;
                assert!(segments.windows(2).all(|pair| pair[0] > 2 * pair[1]), "{segments:?}");
            }
            assert!(segments.len() <= 22);
            let base = 3_000_000.min(came);
            assert!(written < 31 * came + 2 * (3_000_000 + base), "{written} for {came}");
        }
    }
}
