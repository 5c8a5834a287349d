//! Events on their way to blocks: gathered into drafts, a piece of work for one thread
//! each, and encoded. Spec section 7, R 7.6 to R 7.9.

use super::key::{key_prefix, name_order};
use super::manifest_event::{Event, flags, push_bytes};
use super::{manifest_text, wire};
use std::borrow::Cow;
use std::sync::Arc;

/// A block is full when its texts or its records have reached this. Measured on the
/// crates.io index of 2019: texts of twice as much save 0.9 bytes a release of 50, but
/// whoever asks for one line has to decode them all.
const TEXT_BYTES: usize = 32 << 10;
/// Whoever asks for one name has to decode and pass over these. Of three million releases
/// one is found in 1.8 us; at 8 KiB and level 19 in 7 us, for 8 bytes a release less.
const RECORD_BYTES: usize = 768;
/// Where single texts are long (crates with thousands of features), so many of them share a
/// frame: each is much like the one before, but for changes all over it.
const LONG_TEXTS: usize = 8;
/// Stored texts of one frame, put together, take no more; so the last of many that
/// hardly differ is not far from the first.
const TOLD_BYTES: usize = 1 << 20;
/// Beyond this level texts get 1 % smaller and several times slower to compress.
const TEXT_LEVEL: i32 = 9;
/// The lowest levels code no literals, which is what takes time to undo.
const RECORD_LEVEL: i32 = -7;
/// A draft is encoded when it has so many bytes of texts, or so many events.
const DRAFT_BYTES: usize = 1 << 20;
const DRAFT_EVENTS: usize = 4096;

/// A block of crate records as it lies in a segment.
#[derive(Debug)]
pub struct EncodedBlock<'a> {
    pub(super) prefix: u128,
    pub(super) crate_count: u32,
    pub(super) event_count: u32,
    pub(super) bytes: Cow<'a, [u8]>,
}

/// What blocks are compressed with; each thread has its own.
pub struct Compressor {
    texts: zstd::bulk::Compressor<'static>,
    records: zstd::bulk::Compressor<'static>,
}

impl Compressor {
    /// A new one.
    ///
    /// # Errors
    /// When zstd has no memory.
    pub fn new() -> std::io::Result<Compressor> {
        Ok(Compressor {
            texts: zstd::bulk::Compressor::new(TEXT_LEVEL)?,
            records: zstd::bulk::Compressor::new(RECORD_LEVEL)?,
        })
    }
}

/// Some crates' events, in the order of names, that will be blocks: a piece of work
/// for one thread.
#[derive(Debug, Default)]
pub struct Draft {
    records: Vec<(Arc<str>, Vec<Event>)>,
    text_bytes: usize,
    event_count: usize,
}

impl Draft {
    pub(super) fn push(&mut self, name: Arc<str>, events: Vec<Event>) {
        let texts = events.iter().filter_map(|event| event.text.as_ref());
        self.text_bytes += texts.map(Vec::len).sum::<usize>();
        self.event_count += events.len();
        self.records.push((name, events));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.text_bytes >= DRAFT_BYTES || self.event_count >= DRAFT_EVENTS
    }

    /// The blocks.
    ///
    /// # Errors
    /// When zstd cannot compress.
    pub fn encode(self, compressor: &mut Compressor) -> std::io::Result<Vec<EncodedBlock<'static>>> {
        debug_assert!(self.records.is_sorted_by(|a, b| name_order(&a.0, &b.0).is_lt()));
        let mut blocks: Vec<RawBlock> = Vec::new();
        for (name, events) in self.records {
            if blocks.last().is_none_or(RawBlock::is_full) {
                blocks.push(RawBlock {
                    prefix: key_prefix(&name),
                    ..RawBlock::default()
                });
            }
            if let Some(block) = blocks.last_mut() {
                block.push(&name, &events);
            }
        }
        // Blocks that are small are a burden for ever: rather one that is large.
        if let [.., before, last] = &mut blocks[..]
            && !last.is_worth_keeping()
        {
            before.append(std::mem::take(last));
            blocks.pop();
        }
        blocks.into_iter().map(|block| block.encode(compressor)).collect()
    }
}

/// Whether a block with so many bytes of records and of texts, not compressed, may be
/// copied as it is when segments are merged.
pub(super) fn is_worth_keeping(record_bytes: u64, text_bytes: u64) -> bool {
    text_bytes >= TEXT_BYTES as u64 / 2 || record_bytes >= RECORD_BYTES as u64 / 2
}

/// A block before it is compressed.
#[derive(Default)]
struct RawBlock {
    prefix: u128,
    crate_count: u32,
    event_count: u32,
    records: Vec<u8>,
    digests: Vec<u8>,
    frames: Vec<RawTexts>,
}

#[derive(Default)]
struct RawTexts {
    bytes: Vec<u8>,
    count: u32,
    longest_bytes: usize,
    told_bytes: usize,
}

impl RawTexts {
    fn is_full(&self) -> bool {
        self.bytes.len() >= TEXT_BYTES.max(LONG_TEXTS * self.longest_bytes) || self.told_bytes >= TOLD_BYTES
    }
}

impl RawBlock {
    fn text_bytes(&self) -> usize {
        self.frames.iter().map(|frame| frame.bytes.len()).sum()
    }

    fn is_full(&self) -> bool {
        self.text_bytes() >= TEXT_BYTES || self.records.len() >= RECORD_BYTES
    }

    fn is_worth_keeping(&self) -> bool {
        is_worth_keeping(self.records.len() as u64, self.text_bytes() as u64)
    }

    fn push(&mut self, name: &str, events: &[Event]) {
        let mut record = Vec::new();
        push_bytes(&mut record, name.as_bytes());
        let count = |has: fn(&Event) -> bool| events.iter().filter(|event| has(event)).count() as u64;
        let (digests, texts) = (
            count(|event| event.digest.is_some()),
            count(|event| event.text.is_some()),
        );
        for count in [events.len() as u64, digests, texts] {
            wire::push_uint(&mut record, count);
        }
        let mut previous = Vec::new();
        for event in events {
            let (has_digest, has_text) = (event.digest.is_some(), event.text.is_some());
            record.push(flags(event.kind, event.yanked, has_digest, has_text));
            wire::push_uint(&mut record, event.generation);
            push_bytes(&mut record, event.version.as_bytes());
            self.digests.extend(event.digest.iter().flat_map(|digest| digest.0));
            if let Some(text) = &event.text {
                let stored = manifest_text::compact(text, name, &event.version, event.digest.as_ref());
                self.push_text(&mut previous, stored);
            }
        }
        push_bytes(&mut self.records, &record);
        self.crate_count += 1;
        self.event_count += events.len() as u32;
    }

    fn push_text(&mut self, previous: &mut Vec<u8>, stored: Vec<u8>) {
        if self.frames.last().is_none_or(RawTexts::is_full) {
            self.frames.push(RawTexts::default());
            // Nothing is told from what another frame has. [R 7.8]
            previous.clear();
        }
        if let Some(frame) = self.frames.last_mut() {
            let start = frame.bytes.len();
            manifest_text::push_difference(&mut frame.bytes, previous, &stored);
            frame.longest_bytes = frame.longest_bytes.max(frame.bytes.len() - start);
            frame.count += 1;
            frame.told_bytes += stored.len();
        }
        *previous = stored;
    }

    /// Adds a block that follows this one.
    fn append(&mut self, next: RawBlock) {
        self.crate_count += next.crate_count;
        self.event_count += next.event_count;
        self.records.extend(next.records);
        self.digests.extend(next.digests);
        self.frames.extend(next.frames);
    }

    fn encode(self, compressor: &mut Compressor) -> std::io::Result<EncodedBlock<'static>> {
        let records = compressor.records.compress(&self.records)?;
        let mut texts = Vec::new();
        let mut entries = Vec::new();
        for frame in &self.frames {
            let compressed = compressor.texts.compress(&frame.bytes)?;
            for field in [compressed.len() as u32, frame.bytes.len() as u32, frame.count] {
                entries.extend(field.to_le_bytes());
            }
            texts.extend(compressed);
        }
        let fields = [
            records.len() as u32,
            self.records.len() as u32,
            self.crate_count,
            self.event_count,
            (self.digests.len() / 32) as u32,
            self.frames.len() as u32,
        ];
        let header: Vec<u8> = fields.iter().flat_map(|field| field.to_le_bytes()).collect();
        Ok(EncodedBlock {
            prefix: self.prefix,
            crate_count: self.crate_count,
            event_count: self.event_count,
            bytes: [header, entries, records, self.digests, texts].concat().into(),
        })
    }
}
