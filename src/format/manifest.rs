//! Manifest segments: what the registry said, release by release, as events.
//! Reading; writing is in `manifest_write`. Spec section 7.

use super::key::{key_order, key_prefix};
use super::pages::Pages;
use super::wire::{self, Cursor};
use super::{Damaged, u32_at, u64_at};
use crate::ids::Digest;
use bincode::{Decode, Encode};
use std::cmp::Ordering;

pub(super) const MAGIC: &[u8; 8] = b"CRHMANI1";
pub(super) const DIRECTORY_ENTRY_BYTES: u64 = 24;
pub(super) const TEXT_ENTRY_BYTES: u64 = 24;
const KIND_BITS: u8 = 0x1f;
pub(super) const YANKED_BIT: u8 = 0x40;
pub(super) const TEXT_BIT: u8 = 0x80;
pub(super) const DIGEST_BIT: u8 = 0x20;
/// A text block's decoded size is at most this. [R 7.8]
pub const MAX_TEXT_BLOCK_BYTES: u32 = 1 << 28;

/// What happened to a release. [R 7.5]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// First seen.
    Added = 1,
    /// Its line changed to yanked.
    Yanked = 2,
    /// Its line changed to not yanked.
    Unyanked = 3,
    /// Its line changed in another way.
    Amended = 4,
    /// The same version now has this other checksum.
    Replaced = 5,
    /// The registry no longer lists it.
    Removed = 6,
    /// Listed again after a removal.
    Restored = 7,
    /// Its bytes were erased here; the text says why.
    Purged = 8,
    /// The registry lists it, its bytes cannot be had; the text says more.
    Missing = 9,
    /// Not of a release: the entity tag of the crate's registry index file.
    Etag = 10,
}

impl EventKind {
    /// The kind with this number.
    #[inline]
    pub fn from_number(number: u8) -> Option<EventKind> {
        Some(match number {
            1 => EventKind::Added,
            2 => EventKind::Yanked,
            3 => EventKind::Unyanked,
            4 => EventKind::Amended,
            5 => EventKind::Replaced,
            6 => EventKind::Removed,
            7 => EventKind::Restored,
            8 => EventKind::Purged,
            9 => EventKind::Missing,
            10 => EventKind::Etag,
            _ => return None,
        })
    }
}

/// One commit's entry in the chain of transactions. [R 7.3]
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Transaction {
    /// The generation it made.
    pub generation: u64,
    /// The hash of the transaction before it, zeros in the first.
    pub parent: [u8; 32],
    /// Seconds since 1970 UTC.
    pub time: u64,
    /// Which registry index the lines come from; empty if none was used.
    pub registry: String,
    /// What of that registry index has been absorbed, such as a git commit.
    pub cursor: String,
    /// The command that made it, such as `sync` or `import`.
    pub source: String,
    /// How many events it has.
    pub event_count: u64,
    /// Hash of all of the above and of its events. [R 7.4]
    pub hash: [u8; 32],
}

/// One event, its text still in the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventRef<'a> {
    /// What happened.
    pub kind: EventKind,
    /// Whether the release is yanked from this event on.
    pub yanked: bool,
    /// The transaction it belongs to.
    pub generation: u64,
    /// The release's exact version; empty for an entity tag.
    pub version: &'a str,
    /// The release's checksum.
    pub digest: Option<Digest>,
    /// Ordinal of its text in the segment.
    pub text: Option<u64>,
}

/// All events of one crate name in one segment, oldest first.
#[derive(Debug, Clone)]
pub struct CrateRecord<'a> {
    /// The name as published.
    pub name: &'a str,
    event_count: u64,
    first_text: u64,
    events: Cursor<'a>,
}

impl<'a> CrateRecord<'a> {
    /// The events, decoded one by one.
    pub fn events(&self) -> impl Iterator<Item = Result<EventRef<'a>, Damaged>> + use<'a> {
        self.raw_events().map(|event| event?.decode())
    }

    /// The events of one exact version; the others are passed over undecoded.
    pub fn events_of(&self, version: &str) -> impl Iterator<Item = Result<EventRef<'a>, Damaged>> {
        self.raw_events().filter_map(move |event| match event {
            Ok(event) if event.version != version.as_bytes() => None,
            Ok(event) => Some(event.decode()),
            Err(damage) => Some(Err(damage)),
        })
    }

    fn raw_events(&self) -> impl Iterator<Item = Result<RawEvent<'a>, Damaged>> + use<'a> {
        let mut cursor = self.events.clone();
        let mut next_text = self.first_text;
        (0..self.event_count).map(move |_| {
            let flags = cursor.byte()?;
            let generation = cursor.uint()?;
            let version = cursor.bytes()?;
            let digest = match flags & DIGEST_BIT {
                0 => None,
                _ => Some(cursor.digest()?),
            };
            let text = (flags & TEXT_BIT != 0).then_some(next_text);
            next_text += u64::from(text.is_some());
            Ok(RawEvent {
                flags,
                generation,
                version,
                digest,
                text,
            })
        })
    }

    fn decode(cursor: &mut Cursor<'a>) -> Result<CrateRecord<'a>, Damaged> {
        let body = cursor.bytes()?;
        let mut events = Cursor::new(body, "crate record");
        let name = events.text()?;
        let event_count = events.uint()?;
        let first_text = events.uint()?;
        Ok(CrateRecord {
            name,
            event_count,
            first_text,
            events,
        })
    }
}

/// An event's parts, not yet looked at.
struct RawEvent<'a> {
    flags: u8,
    generation: u64,
    version: &'a [u8],
    digest: Option<Digest>,
    text: Option<u64>,
}

impl<'a> RawEvent<'a> {
    fn decode(self) -> Result<EventRef<'a>, Damaged> {
        let number = self.flags & KIND_BITS;
        let kind = EventKind::from_number(number).ok_or_else(|| Damaged::new("event kind", 0, "1 to 10", number))?;
        let version = std::str::from_utf8(self.version)
            .map_err(|_| Damaged::new("event version", 0, "UTF-8 text", self.version.escape_ascii()))?;
        Ok(EventRef {
            kind,
            yanked: self.flags & YANKED_BIT != 0,
            generation: self.generation,
            version,
            digest: self.digest,
            text: self.text,
        })
    }
}

/// A manifest segment, read in place.
#[derive(Debug)]
pub struct ManifestSegment<B> {
    pages: Pages<B>,
    transactions: Section,
    blocks: Section,
    directory: Section,
    texts: Section,
    text_directory: Section,
    crate_count: u64,
    event_count: u64,
}

#[derive(Debug, Clone, Copy)]
struct Section {
    offset: u64,
    bytes: u64,
}

impl<B: AsRef<[u8]>> ManifestSegment<B> {
    /// Checks the header only, whatever the size.
    ///
    /// # Errors
    /// On any mismatch.
    pub fn open(bytes: B) -> Result<ManifestSegment<B>, Damaged> {
        let pages = Pages::open(bytes, MAGIC)?;
        let section = |i: usize| {
            let (offset, bytes) = (pages.field(2 * i), pages.field(2 * i + 1));
            match offset.checked_add(bytes) {
                Some(end) if end <= pages.body_bytes() => Ok(Section { offset, bytes }),
                _ => Err(Damaged::new(
                    "manifest section",
                    32 + 16 * i as u64,
                    "within the body",
                    offset,
                )),
            }
        };
        let (transactions, blocks, directory) = (section(0)?, section(1)?, section(2)?);
        let (texts, text_directory) = (section(3)?, section(4)?);
        if directory.bytes % DIRECTORY_ENTRY_BYTES != 0 || text_directory.bytes % TEXT_ENTRY_BYTES != 0 {
            return Err(Damaged::new("manifest directory", 64, "whole entries", directory.bytes));
        }
        let (crate_count, event_count) = (pages.field(10), pages.field(11));
        Ok(ManifestSegment {
            pages,
            transactions,
            blocks,
            directory,
            texts,
            text_directory,
            crate_count,
            event_count,
        })
    }

    /// How many crate names have events here.
    pub fn crate_count(&self) -> u64 {
        self.crate_count
    }

    /// How many events are here.
    pub fn event_count(&self) -> u64 {
        self.event_count
    }

    /// The generation that wrote the segment.
    pub fn generation(&self) -> u64 {
        self.pages.generation()
    }

    /// Bytes of crate blocks and of text frames.
    pub fn section_bytes(&self) -> (u64, u64) {
        (self.blocks.bytes, self.texts.bytes)
    }

    /// The transactions whose events are here, oldest first.
    ///
    /// # Errors
    /// When they are damaged.
    pub fn transactions(&self) -> Result<Vec<Transaction>, Damaged> {
        wire::decode(
            self.pages.get(self.transactions.offset, self.transactions.bytes)?,
            "transactions",
        )
    }

    fn block_count(&self) -> u64 {
        self.directory.bytes / DIRECTORY_ENTRY_BYTES
    }

    fn directory_entry(&self, i: u64) -> Result<(u128, u64), Damaged> {
        let at = self.directory.offset + i * DIRECTORY_ENTRY_BYTES;
        let raw = self.pages.get(at, DIRECTORY_ENTRY_BYTES)?;
        let prefix = u128::from(u64_at(raw, 8)) << 64 | u128::from(u64_at(raw, 0));
        Ok((prefix, u64_at(raw, 16)))
    }

    fn block(&self, i: u64) -> Result<Cursor<'_>, Damaged> {
        let (_, start) = self.directory_entry(i)?;
        let end = if i + 1 < self.block_count() {
            self.directory_entry(i + 1)?.1
        } else {
            self.blocks.bytes
        };
        if start > end || end > self.blocks.bytes {
            return Err(Damaged::new("manifest directory", start, "ascending offsets", end));
        }
        let bytes = self.pages.get(self.blocks.offset + start, end - start)?;
        Ok(Cursor::new(bytes, "crate block"))
    }

    /// All spellings of the name with this key that have events here.
    ///
    /// # Errors
    /// When a page that the search touches is damaged.
    pub fn find(&self, name: &str) -> Result<Vec<CrateRecord<'_>>, Damaged> {
        let prefix = key_prefix(name);
        // The last block whose first key is below ours may hold it, and so may
        // those that begin with the same 16 bytes.
        let (mut low, mut high) = (0, self.block_count());
        while low < high {
            let middle = low + (high - low) / 2;
            let (block_prefix, _) = self.directory_entry(middle)?;
            let below = match block_prefix.cmp(&prefix) {
                Ordering::Less => true,
                Ordering::Greater => false,
                Ordering::Equal => {
                    let first = CrateRecord::decode(&mut self.block(middle)?)?;
                    key_order(first.name, name).is_lt()
                }
            };
            if below { low = middle + 1 } else { high = middle }
        }
        let mut found = Vec::new();
        'blocks: for i in low.saturating_sub(1)..self.block_count() {
            let mut block = self.block(i)?;
            while !block.is_empty() {
                let record = CrateRecord::decode(&mut block)?;
                match key_order(record.name, name) {
                    Ordering::Equal => found.push(record),
                    Ordering::Greater => break 'blocks,
                    Ordering::Less => {}
                }
            }
        }
        Ok(found)
    }

    /// Every crate record, by name.
    pub fn crates(&self) -> impl Iterator<Item = Result<CrateRecord<'_>, Damaged>> + '_ {
        let mut block: Option<Cursor<'_>> = None;
        let mut next = 0;
        std::iter::from_fn(move || {
            loop {
                if let Some(cursor) = block.as_mut().filter(|cursor| !cursor.is_empty()) {
                    return Some(CrateRecord::decode(cursor));
                }
                if next == self.block_count() {
                    return None;
                }
                match self.block(next) {
                    Ok(cursor) => block = Some(cursor),
                    Err(error) => {
                        next = self.block_count();
                        block = None;
                        return Some(Err(error));
                    }
                }
                next += 1;
            }
        })
    }

    /// The text of an event of crate `name`, byte for byte.
    ///
    /// # Errors
    /// When it is damaged or the event has none.
    pub fn text(&self, name: &str, event: &EventRef<'_>) -> Result<Vec<u8>, Damaged> {
        let ordinal = event
            .text
            .ok_or_else(|| Damaged::new("event text", 0, "a text", "none"))?;
        let block = self.text_block_of(ordinal)?;
        let stored = block.get(ordinal)?;
        restore_text(stored, name, event.version, event.digest.as_ref())
    }

    /// The decoded block that holds text `ordinal`.
    ///
    /// # Errors
    /// When it is damaged or does not exist.
    pub fn text_block_of(&self, ordinal: u64) -> Result<TextBlock, Damaged> {
        let (mut low, mut high) = (0, self.text_directory.bytes / TEXT_ENTRY_BYTES);
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            let at = self.text_directory.offset + middle * TEXT_ENTRY_BYTES;
            if u64_at(self.pages.get(at, 8)?, 0) <= ordinal {
                low = middle
            } else {
                high = middle
            }
        }
        let raw = self
            .pages
            .get(self.text_directory.offset + low * TEXT_ENTRY_BYTES, TEXT_ENTRY_BYTES)?;
        let (first, offset) = (u64_at(raw, 0), u64_at(raw, 8));
        let (frame_bytes, raw_bytes) = (u32_at(raw, 16), u32_at(raw, 20));
        if offset.saturating_add(u64::from(frame_bytes)) > self.texts.bytes || raw_bytes > MAX_TEXT_BLOCK_BYTES {
            return Err(Damaged::new("text block", offset, "within the section", frame_bytes));
        }
        let frame = self.pages.get(self.texts.offset + offset, u64::from(frame_bytes))?;
        let room_bytes = match super::frame::content_bound(frame) {
            Some(bound) if u64::from(raw_bytes) > bound => {
                return Err(Damaged::new(
                    "text block",
                    offset,
                    raw_bytes,
                    format!("a frame of at most {bound}"),
                ));
            }
            Some(_) => raw_bytes,
            None => 0,
        };
        let bytes = zstd::bulk::decompress(frame, room_bytes as usize)
            .map_err(|error| Damaged::new("text block", offset, "a zstd frame", error))?;
        if bytes.len() != raw_bytes as usize {
            return Err(Damaged::new("text block", offset, raw_bytes, bytes.len()));
        }
        Ok(TextBlock { first, bytes })
    }

    /// Checks every page; the chain of hashes is the archive's to check.
    ///
    /// # Errors
    /// The first page that is wrong.
    pub fn verify_pages(&self) -> Result<(), Damaged> {
        self.pages.verify()
    }
}

/// Some consecutive texts, decoded.
#[derive(Debug)]
pub struct TextBlock {
    first: u64,
    bytes: Vec<u8>,
}

impl TextBlock {
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The stored form of text `ordinal`.
    ///
    /// # Errors
    /// When it is not in this block.
    pub fn get(&self, ordinal: u64) -> Result<&[u8], Damaged> {
        let mut cursor = Cursor::new(&self.bytes, "text block");
        for _ in self.first..ordinal {
            cursor.bytes()?;
        }
        cursor.bytes()
    }
}

/// Undoes the substitutions of [R 7.7].
pub(super) fn restore_text(
    stored: &[u8],
    name: &str,
    version: &str,
    digest: Option<&Digest>,
) -> Result<Vec<u8>, Damaged> {
    if stored.first() == Some(&0) {
        return Ok(stored[1..].to_vec());
    }
    let mut text = Vec::with_capacity(stored.len() + 160);
    for &byte in stored {
        match (byte, digest) {
            (1, _) => text.extend_from_slice(name.as_bytes()),
            (2, _) => text.extend_from_slice(version.as_bytes()),
            (3, Some(digest)) => text.extend_from_slice(digest.to_string().as_bytes()),
            (3, None) => return Err(Damaged::new("event text", 0, "a digest to put in", "none")),
            _ => text.push(byte),
        }
    }
    Ok(text)
}
