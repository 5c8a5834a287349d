//! Records of a bundle on their way into an archive: each is rebuilt, and its SHA-256
//! found right, before it is appended. [R 16.10]

use super::BundleError;
use super::volume::Volume;
use crate::archive::walk::Recent;
use crate::archive::write::entry_of;
use crate::archive::{EncodeOptions, Error, Writer, chain, encode, form, ingest};
use crate::deflate::{self, Engine};
use crate::format::bundle::BaseNote;
use crate::format::pack::{self, RecordKind, RecordMeta};
use crate::ids::{Digest, Release};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Records are checked, on all threads, when their contents have come to so many bytes.
const BATCH_BYTES: usize = 64 << 20;
const BATCH_RECORDS: usize = 256;
/// For seeds that cannot be kept as they came, which is rare.
const SEED_LEVEL: i32 = 19;

/// A record that waits to be checked and appended.
struct Pending {
    meta: RecordMeta,
    frame: Vec<u8>,
    content: Arc<Vec<u8>>,
    offset: u64,
    /// It has to be encoded anew: against its base as it is here, or another.
    is_restated: bool,
}

/// Takes the records of volumes into an archive.
pub(super) struct Intake<'a> {
    writer: &'a Writer,
    threads: usize,
    notes: HashMap<Digest, BaseNote>,
    batch: Vec<Pending>,
    batch_bytes: usize,
    recent: Recent,
    /// Of a base whose content is another here than where the bundle was made, that one:
    /// of the last such base that was held before, and of those that came with the bundle.
    restated: Option<(Digest, Arc<Vec<u8>>)>,
    odd: HashMap<Digest, Arc<Vec<u8>>>,
    /// What was erased here, and is wanted again by what the bundle tells.
    welcome: &'a BTreeSet<Digest>,
    pub counts: Counts,
}

/// What became of records.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub new: u64,
    pub new_bytes: u64,
    pub held: u64,
    pub purged: u64,
}

/// The content of a base, and whether it had to be restated to be it.
type BaseContent = (Arc<Vec<u8>>, bool);

impl<'a> Intake<'a> {
    pub(super) fn new(writer: &'a Writer, welcome: &'a BTreeSet<Digest>, threads: usize) -> Intake<'a> {
        Intake {
            writer,
            threads,
            notes: HashMap::new(),
            batch: Vec::new(),
            batch_bytes: 0,
            recent: Recent::default(),
            restated: None,
            odd: HashMap::new(),
            welcome,
            counts: Counts::default(),
        }
    }

    pub(super) fn note(&mut self, note: BaseNote) {
        self.notes.insert(Digest(note.digest), note);
    }

    pub(super) fn record(
        &mut self,
        volume: &Volume,
        mut meta: RecordMeta,
        frame: Vec<u8>,
        offset: u64,
    ) -> Result<(), BundleError> {
        let digest = meta.id();
        if self.writer.find(&digest)?.is_some() || self.pending(&digest).is_some() {
            self.counts.held += 1;
            // Others may have been made against it in the form that it has there.
            self.note(BaseNote::of(&meta));
            return Ok(());
        }
        // What was erased here stays so, whoever still has it. [R 16.11]
        if !self.welcome.contains(&digest) && self.writer.purged_as(&digest)?.is_some() {
            self.counts.purged += 1;
            return Ok(());
        }
        let mut base = None;
        let mut is_restated = false;
        let said_bytes = meta.chain_bytes;
        (meta.chain_depth, meta.chain_bytes) = (0, meta.content_bytes);
        if let Some(below) = meta.base.map(Digest) {
            let entry = match self.pending(&below) {
                Some(pending) => Some(entry_of(&pending.meta, 0, 0, 0)),
                None => self.writer.find(&below)?,
            };
            let Some(entry) = entry else {
                return Err(self.out_of_order(volume, offset, below));
            };
            let (content, was_restated) = self.base_content(below, volume, offset)?;
            meta.chain_depth = u32::from(entry.chain_depth) + 1;
            meta.chain_bytes = entry.chain_bytes.saturating_add(meta.content_bytes);
            // The chain below may be longer here than where the record was made.
            let is_too_long = meta.chain_bytes > said_bytes
                && !encode::within_budget(meta.content_bytes, &entry, encode::CHAIN_DEPTH);
            is_restated = was_restated || is_too_long;
            base = Some(content);
        }
        let decoded = chain::decode_bytes(&frame, meta.content_bytes, base.as_ref().map(|base| &base[..]));
        let content = decoded.map_err(|cause| volume.damaged(offset, cause))?;
        pack::check_content(&meta, &content).map_err(|damage| volume.damaged(offset, damage))?;
        let content = Arc::new(content);
        self.recent.put(digest, content.clone());
        self.batch_bytes += content.len();
        self.batch.push(Pending {
            meta,
            frame,
            content,
            offset,
            is_restated,
        });
        // What is restated is encoded against what is in the archive by then.
        if is_restated || self.batch_bytes >= BATCH_BYTES || self.batch.len() >= BATCH_RECORDS {
            self.flush(volume)?;
        }
        Ok(())
    }

    fn pending(&self, digest: &Digest) -> Option<&Pending> {
        self.batch.iter().rev().find(|pending| pending.meta.digest == digest.0)
    }

    fn out_of_order(&self, volume: &Volume, offset: u64, base: Digest) -> BundleError {
        match volume.header.volume {
            1 => volume.damaged(
                offset,
                format!("its base {base} is not held here: this archive lacks what the bundle goes on from"),
            ),
            number => BundleError::OutOfOrder {
                path: volume.path.clone(),
                volume: number,
                volumes: volume.header.volumes(),
                before: number - 1,
                base,
            },
        }
    }

    /// The content of a base as it was where the bundle was made, and whether it is
    /// another here.
    fn base_content(&mut self, base: Digest, volume: &Volume, offset: u64) -> Result<BaseContent, BundleError> {
        if let Some(pending) = self.pending(&base) {
            return Ok((pending.content.clone(), pending.is_restated));
        }
        if let Some(content) = self.odd.get(&base) {
            return Ok((content.clone(), true));
        }
        if let Some((_, content)) = self.restated.as_ref().filter(|(held, _)| *held == base) {
            return Ok((content.clone(), true));
        }
        if let Some(content) = self.recent.get(&base) {
            return Ok((content, false));
        }
        let content = self.writer.read_content(&base)?.1;
        let Some(note) = self.notes.get(&base).copied().filter(|note| !is_it(note, &content)) else {
            self.recent.put(base, content.clone());
            return Ok((content, false));
        };
        let other = Arc::new(self.restate(&note)?);
        if !is_it(&note, &other) {
            return Err(volume.damaged(
                offset,
                format!("its base {base} has other bytes where the bundle was made than it can have here"),
            ));
        }
        self.restated = Some((base, other.clone()));
        Ok((other, true))
    }

    /// The content of a base that is held here in another form, as it was where the
    /// bundle was made. [R 16.6]
    fn restate(&self, note: &BaseNote) -> Result<Vec<u8>, BundleError> {
        let (meta, content) = self.writer.read_content(&Digest(note.digest))?;
        if meta.kind != RecordKind::Blob as u8 {
            return Ok(content.to_vec());
        }
        let fail = |cause: String| Error::Rejected(format!("{}@{}: {cause}", meta.name, meta.version));
        let crate_file = encode::redo(&meta, &content).map_err(fail)?;
        if note.engine == 0 {
            return Ok(crate_file);
        }
        let tar = deflate::gunzip(&crate_file).map_err(|error| fail(error.to_string()))?;
        let content = form::content_by(note.transform, tar);
        Ok(content.ok_or_else(|| fail(format!("it has no content by transform {}", note.transform)))?)
    }

    /// Checks and appends what waits.
    pub(super) fn flush(&mut self, volume: &Volume) -> Result<(), BundleError> {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let failed: Mutex<Option<(usize, String)>> = Mutex::default();
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some((i, pending)) =
                Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| batch.get(i).map(|pending| (i, pending)))
            {
                if let Err(cause) = check(pending) {
                    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    if failed.as_ref().is_none_or(|(first, _)| i < *first) {
                        *failed = Some((i, cause));
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.threads.clamp(1, batch.len().max(1)) {
                scope.spawn(work);
            }
            work();
        });
        let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        let good = failed.as_ref().map_or(batch.len(), |(first, _)| *first);
        let folder = self.writer.medium().describe();
        for pending in &batch[..good] {
            self.append(pending).map_err(BundleError::applying(&folder))?;
        }
        match failed {
            None => Ok(()),
            Some((first, cause)) => Err(volume.damaged(batch[first].offset, cause)),
        }
    }

    fn append(&mut self, pending: &Pending) -> Result<(), Error> {
        let Pending {
            meta, frame, content, ..
        } = pending;
        self.counts.new += 1;
        self.counts.new_bytes += meta.frame_bytes;
        if !pending.is_restated {
            return self.writer.append(meta, frame);
        }
        if meta.kind != RecordKind::Blob as u8 {
            let frame = encode::compress(content, None, SEED_LEVEL).map_err(Error::Rejected)?;
            let alone = RecordMeta {
                base: None,
                chain_depth: 0,
                chain_bytes: meta.content_bytes,
                frame_bytes: frame.len() as u64,
                frame_crc32: crc32fast::hash(&frame),
                ..meta.clone()
            };
            return self.writer.append(&alone, &frame);
        }
        let fail = |cause: String| Error::Rejected(format!("{}@{}: {cause}", meta.name, meta.version));
        let release = Release {
            name: meta.name.parse().map_err(|error| fail(format!("{error}")))?,
            version: meta.version.parse().map_err(|error| fail(format!("{error}")))?,
        };
        let crate_file = encode::redo(meta, content).map_err(fail)?;
        let stored = encode::undo(crate_file, meta.id(), Engine::from_number(meta.engine), None)?;
        ingest::store(self.writer, &release, &stored, &[], None, EncodeOptions::default())?;
        if stored.bytes != **content {
            self.odd.insert(meta.id(), content.clone());
        }
        Ok(())
    }
}

/// Whether this is the content that a note speaks of.
fn is_it(note: &BaseNote, content: &[u8]) -> bool {
    content.len() as u64 == note.content_bytes && crc32fast::hash(content) == note.content_crc32
}

/// That a record gives what its digest says.
fn check(pending: &Pending) -> Result<(), String> {
    if pending.meta.kind == RecordKind::Blob as u8 {
        return encode::redo(&pending.meta, &pending.content).map(drop);
    }
    match Digest::of(&pending.content) == pending.meta.id() {
        true => Ok(()),
        false => Err("the seed has another SHA-256".into()),
    }
}
