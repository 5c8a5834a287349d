//! Building manifest segments, and the hash that chains transactions.
//! Spec section 7.

use super::key::{key_prefix, name_order};
use super::manifest::{
    DIGEST_BIT, EventKind, EventRef, MAGIC, ManifestSegment, TEXT_BIT, Transaction, YANKED_BIT, restore_text,
};
use super::{Damaged, pages, wire};
use crate::ids::{Digest, name_key};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

const BLOCK_BYTES: usize = 2048;
const TEXT_BLOCK_BYTES: usize = 64 << 10;
const TEXT_LEVEL: i32 = 15;

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

/// The events of each crate name, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Events(BTreeMap<(String, String), Vec<Event>>);

impl Events {
    /// Adds an event behind those that `name` has.
    pub fn push(&mut self, name: &str, event: Event) {
        self.0.entry((name_key(name), name.to_owned())).or_default().push(event);
    }

    /// Adds all events of `segment`; segments must come oldest first.
    ///
    /// # Errors
    /// When the segment is damaged.
    pub fn absorb<B: AsRef<[u8]>>(&mut self, segment: &ManifestSegment<B>) -> Result<(), Damaged> {
        each_event(segment, |name, event, text| {
            self.push(
                name,
                Event {
                    kind: event.kind,
                    yanked: event.yanked,
                    generation: event.generation,
                    version: event.version.to_owned(),
                    digest: event.digest,
                    text,
                },
            );
        })
    }

    /// Adds all of `newer` behind what is here.
    pub fn append(&mut self, newer: Events) {
        for (name, events) in newer.0 {
            self.0.entry(name).or_default().extend(events);
        }
    }

    /// How many events there are.
    pub fn event_count(&self) -> u64 {
        self.0.values().map(|events| events.len() as u64).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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
    // Texts lie in the order of the events, so one decoded block serves a run.
    let mut block: Option<Vec<Vec<u8>>> = None;
    let mut first = 0;
    for record in segment.crates() {
        let record = record?;
        for event in record.events() {
            let event = event?;
            let text = match event.text {
                None => None,
                Some(ordinal) => {
                    let held = block
                        .as_ref()
                        .is_some_and(|b| ordinal >= first && ordinal - first < b.len() as u64);
                    if !held {
                        let (block_first, texts) = segment.text_block_of(ordinal)?.split()?;
                        (first, block) = (block_first, Some(texts));
                    }
                    let stored = block
                        .as_ref()
                        .and_then(|b| b.get((ordinal.checked_sub(first)?) as usize));
                    let stored = stored.ok_or_else(|| Damaged::new("text block", ordinal, "this text", "none"))?;
                    Some(restore_text(stored, record.name, event.version, event.digest.as_ref())?)
                }
            };
            visit(record.name, &event, text);
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
/// When zstd cannot compress a block of texts.
pub fn encode(generation: u64, transactions: &[Transaction], events: &Events) -> std::io::Result<Vec<u8>> {
    let mut texts = TextWriter::default();
    let mut blocks = Vec::new();
    let mut directory: Vec<u8> = Vec::new();
    let mut block_start = usize::MAX;
    for ((_, name), events) in &events.0 {
        if block_start == usize::MAX || blocks.len() - block_start >= BLOCK_BYTES {
            block_start = blocks.len();
            directory.extend(key_prefix(name).to_le_bytes());
            directory.extend((block_start as u64).to_le_bytes());
        }
        let mut record = Vec::new();
        push_bytes(&mut record, name.as_bytes());
        wire::push_uint(&mut record, events.len() as u64);
        wire::push_uint(&mut record, texts.count);
        for event in events {
            record.push(flags(
                event.kind,
                event.yanked,
                event.digest.is_some(),
                event.text.is_some(),
            ));
            wire::push_uint(&mut record, event.generation);
            push_bytes(&mut record, event.version.as_bytes());
            if let Some(digest) = event.digest {
                record.extend_from_slice(&digest.0);
            }
            if let Some(text) = &event.text {
                texts.push(&compact_text(text, name, &event.version, event.digest.as_ref()))?;
            }
        }
        push_bytes(&mut blocks, &record);
    }
    texts.flush()?;

    let mut body = Vec::new();
    let mut fields = Vec::new();
    for section in [
        &wire::encode(&transactions.to_vec()),
        &blocks,
        &directory,
        &texts.frames,
        &texts.directory,
    ] {
        fields.extend([body.len() as u64, section.len() as u64]);
        body.extend_from_slice(section);
    }
    fields.extend([events.0.len() as u64, events.event_count()]);
    debug_assert!(events.0.keys().is_sorted_by(|a, b| name_order(&a.1, &b.1).is_lt()));
    Ok(pages::encode(MAGIC, generation, &fields, &body))
}

#[derive(Default)]
struct TextWriter {
    count: u64,
    block_first: u64,
    block: Vec<u8>,
    frames: Vec<u8>,
    directory: Vec<u8>,
}

impl TextWriter {
    fn push(&mut self, stored: &[u8]) -> std::io::Result<()> {
        push_bytes(&mut self.block, stored);
        self.count += 1;
        if self.block.len() >= TEXT_BLOCK_BYTES {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let frame = zstd::bulk::compress(&self.block, TEXT_LEVEL)?;
        self.directory.extend(self.block_first.to_le_bytes());
        self.directory.extend((self.frames.len() as u64).to_le_bytes());
        self.directory.extend((frame.len() as u32).to_le_bytes());
        self.directory.extend((self.block.len() as u32).to_le_bytes());
        self.frames.extend_from_slice(&frame);
        self.block.clear();
        self.block_first = self.count;
        Ok(())
    }
}

/// Puts bytes 1, 2 and 3 for the first `"name"`, `"version"` and checksum, which
/// the record holds already. [R 7.7]
fn compact_text(text: &[u8], name: &str, version: &str, digest: Option<&Digest>) -> Vec<u8> {
    if text.iter().any(|&byte| byte <= 3) {
        return [&[0], text].concat();
    }
    let mut stored = text.to_vec();
    let digest = digest.map(Digest::to_string).unwrap_or_default();
    for (mark, value) in [(3, digest.as_str()), (1, name), (2, version)] {
        let quoted = format!("\"{value}\"");
        if value.is_empty() {
            continue;
        }
        if let Some(at) = stored
            .windows(quoted.len())
            .position(|window| window == quoted.as_bytes())
        {
            stored.splice(at + 1..at + 1 + value.len(), [mark]);
        }
    }
    stored
}

impl super::manifest::TextBlock {
    fn split(&self) -> Result<(u64, Vec<Vec<u8>>), Damaged> {
        let mut texts = Vec::new();
        let mut cursor = wire::Cursor::new(self.bytes(), "text block");
        while !cursor.is_empty() {
            texts.push(cursor.bytes()?.to_vec());
        }
        Ok((self.first(), texts))
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
                assert_eq!(found[0].name, format!("Crate-{i:05}"));
                for event in found[0].events() {
                    let event = event.unwrap();
                    let text = segment.text(found[0].name, &event).unwrap();
                    assert_eq!(String::from_utf8(text).unwrap(), line(found[0].name, event.version));
                }
            }
            assert!(segment.find("crate-99999").unwrap().is_empty());
            assert!(segment.find("a").unwrap().is_empty());
            let mut back = Events::default();
            back.absorb(&segment).unwrap();
            assert_eq!(back, events);
        }
    }

    #[test]
    fn odd_texts_come_back_too() {
        for text in ["", "\u{1}\u{2}", "no quotes", r#"{"name":"x","name":"x"}"#, "\u{3}"] {
            let digest = Digest::of(b"x");
            let stored = compact_text(text.as_bytes(), "x", "1.0.0", Some(&digest));
            assert_eq!(
                restore_text(&stored, "x", "1.0.0", Some(&digest)).unwrap(),
                text.as_bytes()
            );
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
