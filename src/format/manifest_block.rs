//! A block of a manifest segment: some crate records, with the digests and the texts
//! of their events. Spec section 7, R 7.6 to R 7.9.

use super::manifest::{DIGEST_BIT, EventKind, EventRef, KIND_BITS, TEXT_BIT, YANKED_BIT};
use super::wire::Cursor;
use super::{Damaged, frame, manifest_text, u32_at};
use crate::ids::Digest;
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::sync::Arc;

pub(super) const HEADER_BYTES: usize = 24;
pub(super) const TEXT_ENTRY_BYTES: usize = 12;
const DIGEST_BYTES: usize = 32;
/// No frame decodes to more, nor do the stored texts of one take more. [R 7.9]
pub const MAX_FRAME_BYTES: u32 = 1 << 28;

/// Where the parts of a block are; nothing of them is decoded yet.
#[derive(Debug)]
pub(super) struct Layout<'a> {
    pub record_count: u32,
    pub event_count: u32,
    /// Decoded length of the records.
    pub record_bytes: u32,
    records: &'a [u8],
    digests: &'a [u8],
    frames: Vec<TextFrame<'a>>,
}

#[derive(Debug, Clone, Copy)]
struct TextFrame<'a> {
    /// Number of its first text in the block.
    first: u32,
    count: u32,
    raw_bytes: u32,
    frame: &'a [u8],
}

impl<'a> Layout<'a> {
    pub fn decode(bytes: &'a [u8]) -> Result<Layout<'a>, Damaged> {
        let mut parts = Cursor::new(bytes, "crate block");
        let header = parts.take(HEADER_BYTES)?;
        let frame_count = u32_at(header, 20) as usize;
        let entries = parts.take(frame_count.saturating_mul(TEXT_ENTRY_BYTES))?;
        let records = parts.take(u32_at(header, 0) as usize)?;
        let digests = parts.take((u32_at(header, 16) as usize).saturating_mul(DIGEST_BYTES))?;
        let mut frames = Vec::with_capacity(frame_count);
        let mut first = 0u32;
        for entry in entries.chunks_exact(TEXT_ENTRY_BYTES) {
            let count = u32_at(entry, 8);
            frames.push(TextFrame {
                first,
                count,
                raw_bytes: u32_at(entry, 4),
                frame: parts.take(u32_at(entry, 0) as usize)?,
            });
            first = first
                .checked_add(count)
                .ok_or_else(|| Damaged::new("crate block", 0, "fewer texts", count))?;
        }
        if !parts.is_empty() {
            let left = bytes.len() - parts.position();
            return Err(Damaged::new("crate block", parts.position() as u64, "its end", left));
        }
        Ok(Layout {
            record_count: u32_at(header, 8),
            event_count: u32_at(header, 12),
            record_bytes: u32_at(header, 4),
            records,
            digests,
            frames,
        })
    }

    /// Bytes of the text frames, decoded.
    pub fn text_bytes(&self) -> u64 {
        self.frames.iter().map(|frame| u64::from(frame.raw_bytes)).sum()
    }

    fn text_count(&self) -> u32 {
        self.frames.last().map_or(0, |last| last.first + last.count)
    }
}

thread_local! {
    // Making one costs more than most frames.
    static ZSTD: RefCell<zstd::bulk::Decompressor<'static>> = RefCell::default();
    /// The memory of the block let go of last, for the next one: a look-up takes little
    /// longer than asking the allocator for it.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}
/// Of no more than so many bytes is kept.
const SPARE_BYTES: usize = 64 << 10;

/// A block, its records decoded.
#[derive(Debug)]
pub struct Block<'a> {
    number: u32,
    records: Vec<u8>,
    layout: Layout<'a>,
}

impl Drop for Block<'_> {
    fn drop(&mut self) {
        if self.records.capacity() <= SPARE_BYTES {
            // A thread that ends may have let go of its spare already.
            let _ = SPARE.try_with(|spare| spare.set(std::mem::take(&mut self.records)));
        }
    }
}

impl<'a> Block<'a> {
    pub(super) fn decode(number: u64, bytes: &'a [u8]) -> Result<Arc<Block<'a>>, Damaged> {
        let layout = Layout::decode(bytes)?;
        Ok(Arc::new(Block {
            number: number as u32,
            records: unzstd(layout.records, layout.record_bytes, "crate records")?,
            layout,
        }))
    }

    /// The records that `wanted` says yes to by their name, until it says that no
    /// more can follow.
    pub(super) fn select(
        self: &Arc<Self>,
        found: &mut Vec<CrateRecord<'a>>,
        wanted: impl Fn(&str) -> std::cmp::Ordering,
    ) -> Result<bool, Damaged> {
        let mut walk = Walk::default();
        while let Some(raw) = walk.next(self)? {
            match wanted(raw.name) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => found.push(raw.of(self)),
                std::cmp::Ordering::Greater => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The name of the first record, and that of the last.
    pub(super) fn first_and_last_name(&self) -> Result<(String, String), Damaged> {
        let mut walk = Walk::default();
        let mut names: Option<(&str, &str)> = None;
        while let Some(raw) = walk.next(self)? {
            names = Some((names.map_or(raw.name, |names| names.0), raw.name));
        }
        let (first, last) = names.ok_or_else(|| Damaged::new("crate block", 0, "a record", "none"))?;
        Ok((first.to_owned(), last.to_owned()))
    }

    /// All records, by name.
    pub(super) fn records(self: Arc<Self>) -> impl Iterator<Item = Result<CrateRecord<'a>, Damaged>> {
        let mut walk = Some(Walk::default());
        std::iter::from_fn(move || match walk.as_mut()?.next(&self) {
            Ok(raw) => raw.map(|raw| Ok(raw.of(&self))),
            Err(damage) => {
                walk = None;
                Some(Err(damage))
            }
        })
    }
}

/// A place among the records of a block.
#[derive(Default)]
struct Walk {
    at: usize,
    digests: u32,
    texts: u32,
    records: u32,
}

struct RawRecord<'b> {
    name: &'b str,
    event_count: u64,
    events: Range<usize>,
    first_digest: u32,
    first_text: u32,
}

impl RawRecord<'_> {
    fn of<'a>(self, block: &Arc<Block<'a>>) -> CrateRecord<'a> {
        CrateRecord {
            block: block.clone(),
            name: self.name.into(),
            event_count: self.event_count,
            events: self.events,
            first_digest: self.first_digest,
            first_text: self.first_text,
        }
    }
}

impl Walk {
    fn next<'b>(&mut self, block: &'b Block<'_>) -> Result<Option<RawRecord<'b>>, Damaged> {
        let most = [
            block.layout.digests.len() / DIGEST_BYTES,
            block.layout.text_count() as usize,
        ];
        if self.at == block.records.len() {
            let found = [self.records as usize, self.digests as usize, self.texts as usize];
            let expected = [block.layout.record_count as usize, most[0], most[1]];
            return match found == expected {
                true => Ok(None),
                false => Err(Damaged::new(
                    "crate block",
                    8,
                    format!("{expected:?} records, digests and texts"),
                    format!("{found:?}"),
                )),
            };
        }
        let mut cursor = Cursor::new(&block.records[self.at..], "crate record");
        let body = cursor.bytes()?;
        let end = self.at + cursor.position();
        let mut fields = Cursor::new(body, "crate record");
        let name = fields.text()?;
        let (event_count, digest_count, text_count) = (fields.uint()?, fields.uint()?, fields.uint()?);
        let record = RawRecord {
            name,
            event_count,
            events: end - (body.len() - fields.position())..end,
            first_digest: self.digests,
            first_text: self.texts,
        };
        let count = |so_far: u32, more: u64, most: usize| {
            let sum = u64::from(so_far).saturating_add(more);
            u32::try_from(sum)
                .ok()
                .filter(|&sum| sum as usize <= most)
                .ok_or_else(|| Damaged::new("crate record", self.at as u64, format!("at most {most} in all"), sum))
        };
        (self.digests, self.texts) = (
            count(self.digests, digest_count, most[0])?,
            count(self.texts, text_count, most[1])?,
        );
        self.at = end;
        self.records += 1;
        Ok(Some(record))
    }
}

/// All events of one crate name in one segment, oldest first.
#[derive(Debug, Clone)]
pub struct CrateRecord<'a> {
    block: Arc<Block<'a>>,
    name: Arc<str>,
    event_count: u64,
    events: Range<usize>,
    first_digest: u32,
    first_text: u32,
}

/// Where an event's text is in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextPlace {
    block: u32,
    /// The first text of its record, from which the others are told. [R 7.8]
    record: u32,
    text: u32,
}

/// An event's parts, not yet looked at.
struct RawEvent<'r> {
    flags: u8,
    generation: u64,
    version: &'r [u8],
    digest: Option<Digest>,
    text: Option<TextPlace>,
}

impl CrateRecord<'_> {
    /// The name as published.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The events, decoded one by one.
    pub fn events(&self) -> impl Iterator<Item = Result<EventRef<'_>, Damaged>> {
        self.raw_events().map(|event| event?.decode())
    }

    /// The events of one exact version; the others are passed over undecoded.
    pub fn events_of(&self, version: &str) -> impl Iterator<Item = Result<EventRef<'_>, Damaged>> {
        self.raw_events().filter_map(move |event| match event {
            Ok(event) if event.version != version.as_bytes() => None,
            Ok(event) => Some(event.decode()),
            Err(damage) => Some(Err(damage)),
        })
    }

    fn raw_events(&self) -> impl Iterator<Item = Result<RawEvent<'_>, Damaged>> {
        let block = &*self.block;
        let mut cursor = Cursor::new(&block.records[self.events.clone()], "crate record");
        let (mut next_digest, mut next_text) = (self.first_digest as usize, self.first_text);
        (0..self.event_count).map(move |_| {
            let flags = cursor.byte()?;
            let generation = cursor.uint()?;
            let version = cursor.bytes()?;
            let mut digest = None;
            if flags & DIGEST_BIT != 0 {
                let mut digests = Cursor::new(block.layout.digests, "digests of a block");
                digests.take(next_digest * DIGEST_BYTES)?;
                digest = Some(digests.digest()?);
                next_digest += 1;
            }
            let text = (flags & TEXT_BIT != 0).then_some(TextPlace {
                block: block.number,
                record: self.first_text,
                text: next_text,
            });
            next_text = next_text.saturating_add(u32::from(text.is_some()));
            Ok(RawEvent {
                flags,
                generation,
                version,
                digest,
                text,
            })
        })
    }
}

impl<'r> RawEvent<'r> {
    fn decode(self) -> Result<EventRef<'r>, Damaged> {
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

/// The frame decoded last, and how far its texts have been told from each other: so
/// that texts asked for in their order cost one step each.
#[derive(Debug, Default)]
pub(super) struct OpenTexts {
    block: u32,
    first: u32,
    count: u32,
    bytes: Vec<u8>,
    /// The text that begins at `at`.
    next: u32,
    at: usize,
    /// The stored text before it, if `next` is not the first that was told.
    stored: Vec<u8>,
    told_bytes: u64,
}

impl OpenTexts {
    /// Whether the frame that is open has this text.
    pub fn has(&self, place: &TextPlace) -> bool {
        self.block == place.block && place.text.checked_sub(self.first).is_some_and(|i| i < self.count)
    }

    pub fn block_of(place: &TextPlace) -> u64 {
        u64::from(place.block)
    }

    /// Opens the frame that has `place`, in the bytes of its block.
    pub fn open(place: &TextPlace, block: &[u8]) -> Result<OpenTexts, Damaged> {
        let layout = Layout::decode(block)?;
        let has = |frame: &&TextFrame<'_>| place.text.checked_sub(frame.first).is_some_and(|i| i < frame.count);
        let frame = layout
            .frames
            .iter()
            .find(has)
            .ok_or_else(|| Damaged::new("event text", 0, format!("text {}", place.text), layout.text_count()))?;
        Ok(OpenTexts {
            block: place.block,
            first: frame.first,
            count: frame.count,
            bytes: unzstd(frame.frame, frame.raw_bytes, "text frame")?,
            next: frame.first,
            ..OpenTexts::default()
        })
    }

    /// A text of this frame, as it is stored.
    pub fn get(&mut self, place: &TextPlace) -> Result<&[u8], Damaged> {
        let base = place.record.max(self.first);
        if place.text + 1 == self.next && place.text >= base && self.at > 0 {
            return Ok(&self.stored);
        }
        if place.text < self.next {
            (self.next, self.at, self.told_bytes) = (self.first, 0, 0);
        }
        let mut cursor = Cursor::new(&self.bytes, "text frame");
        cursor.take(self.at)?;
        while self.next <= place.text {
            if self.next < base {
                let (_, _, _) = (cursor.uint()?, cursor.uint()?, cursor.bytes()?);
            } else {
                if self.next == base {
                    self.stored.clear();
                }
                manifest_text::apply_difference(&mut cursor, &mut self.stored)?;
                self.told_bytes += self.stored.len() as u64;
                if self.told_bytes > u64::from(MAX_FRAME_BYTES) {
                    let expected = format!("at most {MAX_FRAME_BYTES} bytes of stored texts");
                    return Err(Damaged::new("text frame", self.at as u64, expected, "more"));
                }
            }
            self.next += 1;
        }
        self.at = cursor.position();
        Ok(&self.stored)
    }
}

/// One zstd frame that decodes to exactly `raw_bytes`. [R 7.9]
fn unzstd(bytes: &[u8], raw_bytes: u32, what: &'static str) -> Result<Vec<u8>, Damaged> {
    if raw_bytes > MAX_FRAME_BYTES {
        return Err(Damaged::new(
            what,
            0,
            format!("at most {MAX_FRAME_BYTES} bytes"),
            raw_bytes,
        ));
    }
    // Memory is asked for only as far as the frame can fill it. [R 11.2]
    let expected = match frame::content_bound(bytes) {
        None => Some("a zstd frame".to_owned()),
        Some(bound) if u64::from(raw_bytes) > bound => Some(format!("at most {bound} bytes")),
        Some(_) => None,
    };
    if let Some(expected) = expected {
        return Err(Damaged::new(what, 0, expected, raw_bytes));
    }
    let mut content = SPARE.try_with(Cell::take).unwrap_or_default();
    content.clear();
    content.reserve_exact(raw_bytes as usize);
    ZSTD.with_borrow_mut(|zstd| zstd.decompress_to_buffer(bytes, &mut content))
        .map_err(|error| Damaged::new(what, 0, "a zstd frame", error))?;
    match content.len() == raw_bytes as usize {
        true => Ok(content),
        false => Err(Damaged::new(what, 0, raw_bytes, content.len())),
    }
}
