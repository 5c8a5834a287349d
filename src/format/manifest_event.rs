//! Events with their texts, outside a segment, and the hash that chains the transactions
//! they belong to. Spec section 7.

use super::manifest::{
    DIGEST_BIT, EventKind, EventRef, ManifestSegment, TEXT_BIT, TextReader, Transaction, YANKED_BIT,
};
use super::{Damaged, wire};
use crate::ids::{Digest, name_key};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, btree_map};

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
pub struct Events(pub(super) BTreeMap<(String, String), Vec<Event>>);

impl Events {
    /// Adds an event behind those that `name` has.
    pub fn push(&mut self, name: &str, event: Event) {
        self.0.entry((name_key(name), name.to_owned())).or_default().push(event);
    }

    /// Adds events behind those that `name` has.
    pub fn extend(&mut self, name: &str, events: impl IntoIterator<Item = Event>) {
        let mut events = events.into_iter().peekable();
        if events.peek().is_some() {
            let known = self.0.entry((name_key(name), name.to_owned())).or_default();
            known.extend(events);
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

pub(super) fn flags(kind: EventKind, yanked: bool, digest: bool, text: bool) -> u8 {
    let bit = |set: bool, bit: u8| if set { bit } else { 0 };
    kind as u8 | bit(yanked, YANKED_BIT) | bit(digest, DIGEST_BIT) | bit(text, TEXT_BIT)
}

pub(super) fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    wire::push_uint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
