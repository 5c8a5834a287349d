//! Manifest segments: what the registry said, release by release, as events.
//! Reading: `manifest_block` decodes their blocks, `manifest_text` the lines in them.
//! Writing: `manifest_event` has what is to be written, `manifest_draft` makes blocks of
//! it, `manifest_merge` puts it among what older segments have, `manifest_write` builds
//! the segment. Spec section 7.

use super::key::{key_order, key_prefix};
use super::manifest_block::{Block, Layout, OpenTexts};
use super::pages::Pages;
use super::{Damaged, manifest_text, u64_at, wire};
use crate::ids::Digest;
use bincode::{Decode, Encode};
use std::cmp::Ordering;
use std::sync::Arc;

pub use super::manifest_block::{CrateRecord, MAX_FRAME_BYTES, TextPlace};
pub use super::manifest_text::FRAGMENTS;

pub(super) const MAGIC: &[u8; 8] = b"CRHMANI1";
const DIRECTORY_ENTRY_BYTES: u64 = 24;
pub(super) const KIND_BITS: u8 = 0x1f;
pub(super) const YANKED_BIT: u8 = 0x40;
pub(super) const TEXT_BIT: u8 = 0x80;
pub(super) const DIGEST_BIT: u8 = 0x20;

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
    /// Where its text is in the segment.
    pub text: Option<TextPlace>,
}

/// Names whose keys begin with this or more, and with less than that; all by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NameRange {
    from: u128,
    to: Option<u128>,
}

/// A manifest segment, read in place.
#[derive(Debug)]
pub struct ManifestSegment<B> {
    pages: Pages<B>,
    transactions: Section,
    blocks: Section,
    directory: Section,
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
        if directory.bytes % DIRECTORY_ENTRY_BYTES != 0 {
            return Err(Damaged::new("manifest directory", 64, "whole entries", directory.bytes));
        }
        let (crate_count, event_count) = (pages.field(6), pages.field(7));
        Ok(ManifestSegment {
            pages,
            transactions,
            blocks,
            directory,
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

    /// Length of the file.
    pub fn file_bytes(&self) -> u64 {
        self.pages.file_bytes()
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

    pub(super) fn block_count(&self) -> u64 {
        self.directory.bytes / DIRECTORY_ENTRY_BYTES
    }

    fn directory_entry(&self, i: u64) -> Result<(u128, u64), Damaged> {
        let at = self.directory.offset + i * DIRECTORY_ENTRY_BYTES;
        let raw = self.pages.get(at, DIRECTORY_ENTRY_BYTES)?;
        let prefix = u128::from(u64_at(raw, 8)) << 64 | u128::from(u64_at(raw, 0));
        Ok((prefix, u64_at(raw, 16)))
    }

    /// The beginning of the first key in block `i`.
    pub(super) fn block_prefix(&self, i: u64) -> Result<u128, Damaged> {
        Ok(self.directory_entry(i)?.0)
    }

    pub(super) fn block_bytes(&self, i: u64) -> Result<&[u8], Damaged> {
        let (_, start) = self.directory_entry(i)?;
        let end = if i + 1 < self.block_count() {
            self.directory_entry(i + 1)?.1
        } else {
            self.blocks.bytes
        };
        if start > end || end > self.blocks.bytes {
            return Err(Damaged::new("manifest directory", start, "ascending offsets", end));
        }
        self.pages.get(self.blocks.offset + start, end - start)
    }

    pub(super) fn block(&self, i: u64) -> Result<Arc<Block<'_>>, Damaged> {
        Block::decode(i, self.block_bytes(i)?)
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
            let below = match self.block_prefix(middle)?.cmp(&prefix) {
                Ordering::Less => true,
                Ordering::Greater => false,
                Ordering::Equal => {
                    let (first, _) = self.block(middle)?.first_and_last_name()?;
                    key_order(&first, name).is_lt()
                }
            };
            if below { low = middle + 1 } else { high = middle }
        }
        let mut found = Vec::new();
        for i in low.saturating_sub(1)..self.block_count() {
            // Beyond the block before, one that begins with a greater key has none.
            if i >= low && self.block_prefix(i)? > prefix {
                break;
            }
            if !self.block(i)?.select(&mut found, |other| key_order(other, name))? {
                break;
            }
        }
        Ok(found)
    }

    /// Every crate record, by name.
    pub fn crates(&self) -> impl Iterator<Item = Result<CrateRecord<'_>, Damaged>> + '_ {
        self.crates_in(NameRange::default())
    }

    /// The crate records with names in `range`, by name.
    pub fn crates_in(&self, range: NameRange) -> impl Iterator<Item = Result<CrateRecord<'_>, Damaged>> + '_ {
        let NameRange { from, to } = range;
        let (first, damage) = match self.blocks_below(from) {
            // The block before may end with such names too.
            Ok(below) => (below.saturating_sub(1), None),
            Err(damage) => (self.block_count(), Some(Err(damage))),
        };
        let records = (first..self.block_count()).flat_map(|i| {
            let (records, damage) = match self.block(i) {
                Ok(block) => (Some(block.records()), None),
                Err(damage) => (None, Some(Err(damage))),
            };
            records.into_iter().flatten().chain(damage)
        });
        let prefix = |record: &Result<CrateRecord<'_>, Damaged>| record.as_ref().ok().map(|r| key_prefix(r.name()));
        records
            .skip_while(move |record| prefix(record).is_some_and(|prefix| prefix < from))
            .take_while(move |record| prefix(record).is_none_or(|prefix| to.is_none_or(|to| prefix < to)))
            .chain(damage)
    }

    /// How many blocks begin below `prefix`.
    fn blocks_below(&self, prefix: u128) -> Result<u64, Damaged> {
        let (mut low, mut high) = (0, self.block_count());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.block_prefix(middle)? < prefix {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        Ok(low)
    }

    /// At most `parts` ranges of names that have about as many events each and
    /// together all names there are.
    ///
    /// # Errors
    /// When the directory is damaged.
    pub fn ranges(&self, parts: usize) -> Result<Vec<NameRange>, Damaged> {
        let mut ranges = vec![NameRange::default()];
        for part in 1..parts as u64 {
            let middle = self.block_prefix(self.block_count() * part / parts as u64);
            let middle = if self.block_count() == 0 { break } else { middle? };
            if let Some(last) = ranges.last_mut().filter(|last| last.from < middle) {
                last.to = Some(middle);
                ranges.push(NameRange { from: middle, to: None });
            }
        }
        Ok(ranges)
    }

    /// The text of an event of crate `name`, byte for byte. For many, a
    /// [`TextReader`] is faster.
    ///
    /// # Errors
    /// When it is damaged or the event has none.
    pub fn text(&self, name: &str, event: &EventRef<'_>) -> Result<Vec<u8>, Damaged> {
        TextReader::new(self).text(name, event)
    }

    /// Checks every page, and that the counts in the header are right; the chain of
    /// hashes is the archive's to check.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify_pages(&self) -> Result<(), Damaged> {
        self.pages.verify()?;
        let (mut crates, mut events) = (0, 0);
        for i in 0..self.block_count() {
            let layout = Layout::decode(self.block_bytes(i)?)?;
            crates += u64::from(layout.record_count);
            events += u64::from(layout.event_count);
        }
        if (crates, events) != (self.crate_count, self.event_count) {
            let expected = format!("{} records with {} events", self.crate_count, self.event_count);
            return Err(Damaged::new(
                "manifest counts",
                80,
                expected,
                format!("{crates} with {events}"),
            ));
        }
        Ok(())
    }
}

/// Reads texts of one segment; those asked for in their order cost little each.
#[derive(Debug)]
pub struct TextReader<'a, B> {
    segment: &'a ManifestSegment<B>,
    open: Option<OpenTexts>,
}

impl<'a, B: AsRef<[u8]>> TextReader<'a, B> {
    /// A reader with nothing decoded yet.
    pub fn new(segment: &'a ManifestSegment<B>) -> TextReader<'a, B> {
        TextReader { segment, open: None }
    }

    /// The text of an event of crate `name`, byte for byte.
    ///
    /// # Errors
    /// When it is damaged or the event has none.
    pub fn text(&mut self, name: &str, event: &EventRef<'_>) -> Result<Vec<u8>, Damaged> {
        let place = event
            .text
            .ok_or_else(|| Damaged::new("event text", 0, "a text", "none"))?;
        let open = match self.open.take() {
            Some(open) if open.has(&place) => open,
            _ => OpenTexts::open(&place, self.segment.block_bytes(OpenTexts::block_of(&place))?)?,
        };
        let stored = self.open.insert(open).get(&place)?;
        manifest_text::restore(stored, name, event.version, event.digest.as_ref())
    }
}
