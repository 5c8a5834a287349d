//! Building manifest segments, and the hash that chains transactions.
//! Spec section 7.

use super::key::{key_prefix, name_order};
use super::manifest::{
    DIGEST_BIT, EventKind, EventRef, MAGIC, ManifestSegment, TEXT_BIT, TextReader, Transaction, YANKED_BIT,
};
use super::{Damaged, manifest_text, pages, wire};
use crate::ids::{Digest, name_key};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::collections::{BTreeMap, btree_map};
use std::sync::Arc;

/// A block is full when its texts or its records have reached this. Measured on the
/// crates.io index of 2019: texts of twice as much save 0.9 bytes a release of 50, but
/// whoever asks for one line has to decode them all.
const TEXT_BYTES: usize = 32 << 10;
/// Whoever asks for one name has to decode and pass over these. Of three million releases
/// one is found in 1.8 us; at 8 KiB and level 19 in 7 us, for 8 bytes a release less.
const RECORD_BYTES: usize = 768;
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

/// One event with its text, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// Whether the release is yanked from this event on.
    pub yanked: bool,
    /// The transaction it belongs to.
    pub generation: u64,
    /// The release's exact version; empty for an entity tag.
    pub version: String,
    /// The release's checksum.
    pub digest: Option<Digest>,
    /// The registry line, or what else the kind asks for.
    pub text: Option<Vec<u8>>,
}

impl Event {
    /// The event of a segment, with its text.
    pub fn of(event: &EventRef<'_>, text: Option<Vec<u8>>) -> Event {
        Event {
            kind: event.kind,
            yanked: event.yanked,
            generation: event.generation,
            version: event.version.to_owned(),
            digest: event.digest,
            text,
        }
    }
}

/// The events of each crate name, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Events(BTreeMap<(String, String), Vec<Event>>);

impl Events {
    /// Adds an event behind those that `name` has.
    pub fn push(&mut self, name: &str, event: Event) {
        self.0.entry((name_key(name), name.to_owned())).or_default().push(event);
    }

    /// How many events there are.
    pub fn event_count(&self) -> u64 {
        self.0.values().map(|events| events.len() as u64).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every name's events, by key and name.
    pub(super) fn into_names(self) -> btree_map::IntoIter<(String, String), Vec<Event>> {
        self.0.into_iter()
    }

    /// Completes `transaction`: its event count, and the hash over it and
    /// over these events, which must all be its own.
    pub fn seal(&self, transaction: &mut Transaction) {
        transaction.event_count = self.event_count();
        let mut hasher = ChainHasher::new(transaction);
        for ((_, name), events) in &self.0 {
            for event in events {
                hasher.event(
                    name,
                    event.kind,
                    event.yanked,
                    &event.version,
                    event.digest,
                    event.text.as_deref(),
                );
            }
        }
        transaction.hash = hasher.finish();
    }
}

/// Calls `visit` with every event of `segment` and its text, by name.
///
/// # Errors
/// When the segment is damaged.
pub fn each_event<B: AsRef<[u8]>>(
    segment: &ManifestSegment<B>,
    mut visit: impl FnMut(&str, &EventRef<'_>, Option<Vec<u8>>),
) -> Result<(), Damaged> {
    let mut texts = TextReader::new(segment);
    for record in segment.crates() {
        let record = record?;
        for event in record.events() {
            let event = event?;
            let text = match event.text {
                None => None,
                Some(_) => Some(texts.text(record.name(), &event)?),
            };
            visit(record.name(), &event, text);
        }
    }
    Ok(())
}

/// The running hash of one transaction. [R 7.4]
#[derive(Debug)]
pub struct ChainHasher(Sha256);

impl ChainHasher {
    /// Begins with everything of `transaction` but its hash.
    pub fn new(transaction: &Transaction) -> ChainHasher {
        let mut head = wire::encode(transaction);
        head.truncate(head.len() - 32);
        ChainHasher(Sha256::new_with_prefix(head))
    }

    /// Adds one event; events come in the order of names, then of time.
    pub fn event(
        &mut self,
        name: &str,
        kind: EventKind,
        yanked: bool,
        version: &str,
        digest: Option<Digest>,
        text: Option<&[u8]>,
    ) {
        let mut bytes = Vec::with_capacity(96);
        push_bytes(&mut bytes, name.as_bytes());
        bytes.push(flags(kind, yanked, digest.is_some(), text.is_some()));
        push_bytes(&mut bytes, version.as_bytes());
        if let Some(digest) = digest {
            bytes.extend_from_slice(&digest.0);
        }
        if let Some(text) = text {
            push_bytes(&mut bytes, text);
        }
        self.0.update(bytes);
    }

    /// The hash.
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

fn flags(kind: EventKind, yanked: bool, digest: bool, text: bool) -> u8 {
    let bit = |set: bool, bit: u8| if set { bit } else { 0 };
    kind as u8 | bit(yanked, YANKED_BIT) | bit(digest, DIGEST_BIT) | bit(text, TEXT_BIT)
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    wire::push_uint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Builds a segment of `transactions` (oldest first) and their events.
///
/// # Errors
/// When zstd cannot compress.
pub fn encode(generation: u64, transactions: &[Transaction], events: &Events) -> std::io::Result<Vec<u8>> {
    let mut encoder = SegmentEncoder::default();
    let mut compressor = Compressor::new()?;
    let mut draft = Draft::default();
    for ((_, name), events) in &events.0 {
        draft.push(name.as_str().into(), events.clone());
        if draft.is_full() {
            encoder.push_all(&std::mem::take(&mut draft).encode(&mut compressor)?);
        }
    }
    encoder.push_all(&draft.encode(&mut compressor)?);
    let header = encoder.finish(generation, transactions);
    Ok([header, encoder.take()].concat())
}

/// A block of crate records as it lies in a segment.
#[derive(Debug)]
pub struct EncodedBlock<'a> {
    pub(super) prefix: u128,
    pub(super) crate_count: u32,
    pub(super) event_count: u32,
    pub(super) bytes: Cow<'a, [u8]>,
}

/// Builds a segment from its blocks, piece by piece: what is ready goes behind room
/// for one page, and last of all the header.
#[derive(Debug, Default)]
pub struct SegmentEncoder {
    pages: pages::Encoder,
    directory: Vec<u8>,
    crate_count: u64,
    event_count: u64,
}

impl SegmentEncoder {
    /// Appends a block; blocks come in the order of names.
    pub fn push(&mut self, block: &EncodedBlock<'_>) {
        self.directory.extend(block.prefix.to_le_bytes());
        self.directory.extend(self.pages.body_bytes().to_le_bytes());
        self.crate_count += u64::from(block.crate_count);
        self.event_count += u64::from(block.event_count);
        self.pages.push(&block.bytes);
    }

    fn push_all(&mut self, blocks: &[EncodedBlock<'_>]) {
        blocks.iter().for_each(|block| self.push(block));
    }

    /// How many bytes wait to be taken.
    pub fn ready_bytes(&self) -> usize {
        self.pages.ready_bytes()
    }

    /// What has come since this was asked last; it goes behind what was taken before.
    pub fn take(&mut self) -> Vec<u8> {
        self.pages.take()
    }

    /// Ends the segment: what is to be taken then is the last. Returns the header
    /// page, which goes before all of it.
    pub fn finish(&mut self, generation: u64, transactions: &[Transaction]) -> Vec<u8> {
        let blocks = (0, self.pages.body_bytes());
        let transactions = wire::encode(&transactions.to_vec());
        self.pages.push(&self.directory);
        self.pages.push(&transactions);
        let directory = (blocks.1, self.directory.len() as u64);
        let transactions = (directory.0 + directory.1, transactions.len() as u64);
        let sections = [transactions, blocks, directory].into_iter();
        let mut fields: Vec<u64> = sections.flat_map(|(offset, bytes)| [offset, bytes]).collect();
        fields.extend([self.crate_count, self.event_count]);
        self.pages.finish(MAGIC, generation, &fields)
    }
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
    told_bytes: usize,
}

impl RawTexts {
    fn is_full(&self) -> bool {
        self.bytes.len() >= TEXT_BYTES || self.told_bytes >= TOLD_BYTES
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
            manifest_text::push_difference(&mut frame.bytes, previous, &stored);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn event(generation: u64, version: &str, text: Option<&str>) -> Event {
        Event {
            kind: EventKind::Added,
            yanked: false,
            generation,
            version: version.into(),
            digest: Some(Digest::of(version.as_bytes())),
            text: text.map(|text| text.as_bytes().to_vec()),
        }
    }

    fn line(name: &str, version: &str) -> String {
        let cksum = Digest::of(version.as_bytes());
        format!(r#"{{"name":"{name}","vers":"{version}","deps":[],"cksum":"{cksum}","features":{{}},"yanked":false}}"#)
    }

    fn sample(crates: usize) -> Events {
        let mut events = Events::default();
        for i in 0..crates {
            let name = format!("Crate-{i:05}");
            for version in ["1.0.0", "1.0.1+build", "2.0.0"] {
                events.push(&name, event(1, version, Some(&line(&name, version))));
            }
        }
        events
    }

    #[test]
    fn every_name_is_found_with_its_lines_byte_for_byte() {
        for crates in [0, 1, 2, 700] {
            let events = sample(crates);
            let bytes = encode(1, &[], &events).unwrap();
            let segment = ManifestSegment::open(&bytes[..]).unwrap();
            segment.verify_pages().unwrap();
            for i in 0..crates {
                let found = segment.find(&format!("crate_{i:05}")).unwrap();
                assert_eq!(found.len(), 1, "{i}");
                assert_eq!(**found[0].name(), format!("Crate-{i:05}"));
                for event in found[0].events() {
                    let event = event.unwrap();
                    let text = segment.text(found[0].name(), &event).unwrap();
                    assert_eq!(String::from_utf8(text).unwrap(), line(found[0].name(), event.version));
                }
            }
            assert!(segment.find("crate-99999").unwrap().is_empty());
            assert!(segment.find("a").unwrap().is_empty());
            let mut back = Events::default();
            each_event(&segment, |name, event, text| {
                back.push(name, Event::of(event, text));
            })
            .unwrap();
            assert_eq!(back, events);
        }
    }

    /// Many long lines of one crate take several frames, each of which can be read
    /// alone, forwards and backwards.
    #[test]
    fn a_crate_may_have_more_texts_than_a_frame() {
        let mut events = Events::default();
        let long = |i: u64| format!("{}{i}{}", "x".repeat(60_000), "y".repeat(i as usize * 7 % 100));
        for i in 0..200 {
            events.push("a", event(1, &format!("1.{i}.0"), Some(&long(i))));
            let noise: Vec<u8> = (0..3000u64).map(|at| 32 + (at * at * (i + 7) % 89) as u8).collect();
            events.push(
                "b",
                event(1, &format!("1.{i}.0"), Some(std::str::from_utf8(&noise).unwrap())),
            );
        }
        let bytes = encode(1, &[], &events).unwrap();
        let segment = ManifestSegment::open(&bytes[..]).unwrap();
        segment.verify_pages().unwrap();
        for name in ["a", "b"] {
            let found = segment.find(name).unwrap();
            let all: Vec<EventRef<'_>> = found[0].events().map(Result::unwrap).collect();
            let expected: Vec<&Event> = events.0[&(name.to_owned(), name.to_owned())].iter().collect();
            let mut reader = TextReader::new(&segment);
            for i in (0..200).chain((0..200).rev()).chain([7, 199, 0, 100]) {
                let expected = expected[i].text.as_ref().unwrap();
                assert_eq!(&reader.text(name, &all[i]).unwrap(), expected, "{name} {i}");
                assert_eq!(&segment.text(name, &all[i]).unwrap(), expected, "{name} {i}");
            }
        }
    }

    #[test]
    fn the_hash_covers_every_field() {
        let base = Transaction {
            generation: 1,
            parent: [0; 32],
            time: 5,
            registry: "r".into(),
            cursor: String::new(),
            source: "sync".into(),
            event_count: 0,
            hash: [0; 32],
        };
        let hash = |change: &dyn Fn(&mut Transaction, &mut Events)| {
            let (mut transaction, mut events) = (base.clone(), sample(2));
            change(&mut transaction, &mut events);
            events.seal(&mut transaction);
            transaction.hash
        };
        let plain = hash(&|_, _| {});
        assert_ne!(plain, hash(&|t, _| t.time += 1));
        assert_ne!(plain, hash(&|t, _| t.parent[0] = 1));
        assert_ne!(plain, hash(&|_, e| e.push("z", event(1, "1.0.0", None))));
        assert_eq!(plain, hash(&|_, _| {}));
    }
}
