//! Index segments: digest to place. Spec section 6.

use super::{Damaged, pages, u32_at, u64_at};
use crate::ids::Digest;
use std::collections::BTreeMap;

const MAGIC: &[u8; 8] = b"CRHINDX1";
/// One entry's size. [R 6.5]
pub const ENTRY_BYTES: usize = 64;
/// What is stated of a chain's content bytes ends below this. [R 6.5]
const CHAIN_BYTES_BITS: u32 = 40;
/// Generations from here on are not told in an entry. [R 6.11]
const HELD_SINCE_END: u64 = 1 << 24;

/// What an entry says of its digest. [R 6.6]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A crate file is held.
    Blob = 1,
    /// A seed frame is held.
    Seed = 2,
    /// Held once, now erased; older entries of this digest no longer count.
    Purged = 3,
}

/// Where an object lies and what it costs to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The object.
    pub digest: Digest,
    /// The pack it lies in.
    pub pack: u32,
    /// Where its metadata frame begins.
    pub record_offset: u32,
    /// Metadata frame and zstd frame together.
    pub record_bytes: u32,
    /// Length of the crate file.
    pub crate_bytes: u32,
    /// Length of the content.
    pub content_bytes: u32,
    /// See [`super::pack::RecordMeta::chain_bytes`].
    pub chain_bytes: u64,
    /// The generation since which the object is held here; 0 if that is not known. [R 6.11]
    pub held_since: u64,
    /// Whether it is held, and as what.
    pub kind: EntryKind,
    /// As in the record.
    pub engine: u8,
    /// As in the record, at most 255.
    pub chain_depth: u8,
}

impl Entry {
    /// The entry that says `digest` is not held. [R 6.6]
    pub fn purged(digest: Digest) -> Entry {
        Entry {
            digest,
            pack: 0,
            record_offset: 0,
            record_bytes: 0,
            crate_bytes: 0,
            content_bytes: 0,
            chain_bytes: 0,
            held_since: 0,
            kind: EntryKind::Purged,
            engine: 0,
            chain_depth: 0,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.digest.0);
        for field in [
            self.pack,
            self.record_offset,
            self.record_bytes,
            self.crate_bytes,
            self.content_bytes,
        ] {
            out.extend(field.to_le_bytes());
        }
        let chain_bytes = self.chain_bytes.min((1 << CHAIN_BYTES_BITS) - 1);
        let held_since = if self.held_since < HELD_SINCE_END {
            self.held_since
        } else {
            0
        };
        out.extend((held_since << CHAIN_BYTES_BITS | chain_bytes).to_le_bytes());
        out.extend([self.kind as u8, self.engine, self.chain_depth, 0]);
    }

    fn decode(bytes: &[u8]) -> Result<Entry, Damaged> {
        let kind = match bytes[60] {
            1 => EntryKind::Blob,
            2 => EntryKind::Seed,
            3 => EntryKind::Purged,
            other => return Err(Damaged::new("index entry kind", 60, "1, 2 or 3", other)),
        };
        let mut digest = [0; 32];
        digest.copy_from_slice(&bytes[..32]);
        Ok(Entry {
            digest: Digest(digest),
            pack: u32_at(bytes, 32),
            record_offset: u32_at(bytes, 36),
            record_bytes: u32_at(bytes, 40),
            crate_bytes: u32_at(bytes, 44),
            content_bytes: u32_at(bytes, 48),
            chain_bytes: u64_at(bytes, 52) & ((1 << CHAIN_BYTES_BITS) - 1),
            held_since: u64_at(bytes, 52) >> CHAIN_BYTES_BITS,
            kind,
            engine: bytes[61],
            chain_depth: bytes[62],
        })
    }
}

/// Builds a segment; `entries` must be sorted by digest, each digest once.
pub fn encode(generation: u64, entries: &[Entry]) -> Vec<u8> {
    let mut plan = Plan::new(entries.len() as u64);
    entries.iter().for_each(|entry| plan.count(&entry.digest));
    let mut encoder = plan.begin();
    entries.iter().for_each(|entry| encoder.push(entry));
    let header = encoder.finish(generation);
    [header, encoder.take()].concat()
}

/// The first of two passes over the entries of a segment that is to be built piece by
/// piece: how many there are, and where they lie.
#[derive(Debug)]
pub struct Plan {
    fanout_bits: u32,
    entry_count: u64,
    /// How many entries each bucket has.
    buckets: Vec<u32>,
}

impl Plan {
    /// For at most `entries` entries.
    pub fn new(entries: u64) -> Plan {
        let fanout_bits = fanout_bits(entries);
        Plan {
            fanout_bits,
            entry_count: 0,
            buckets: vec![0; 1 << fanout_bits],
        }
    }

    /// Counts an entry.
    pub fn count(&mut self, digest: &Digest) {
        self.entry_count += 1;
        self.buckets[bucket_of(digest, self.fanout_bits) as usize] += 1;
    }

    /// Begins the second pass.
    pub fn begin(self) -> Encoder {
        let mut encoder = Encoder {
            pages: pages::Encoder::default(),
            fanout_bits: fanout_bits(self.entry_count),
            entry_count: self.entry_count,
            entries_offset: 0,
        };
        let merged = 1 << (self.fanout_bits - encoder.fanout_bits);
        let mut before = 0u32;
        encoder.pages.push(&before.to_le_bytes());
        for buckets in self.buckets.chunks(merged) {
            before += buckets.iter().sum::<u32>();
            encoder.pages.push(&before.to_le_bytes());
        }
        let fanout_bytes = encoder.pages.body_bytes();
        encoder.entries_offset = fanout_bytes.next_multiple_of(ENTRY_BYTES as u64);
        let padding = (encoder.entries_offset - fanout_bytes) as usize;
        encoder.pages.push(&[0; ENTRY_BYTES][..padding]);
        encoder
    }
}

/// About 16 entries a bucket: one page of entries for most lookups, and a fanout that
/// is a 256th of the entries. [R 6.4]
fn fanout_bits(entries: u64) -> u32 {
    (entries / 16).checked_ilog2().unwrap_or(0).min(24)
}

/// Builds a segment piece by piece: what is ready goes behind room for one page, and
/// last of all the header.
#[derive(Debug)]
pub struct Encoder {
    pages: pages::Encoder,
    fanout_bits: u32,
    entry_count: u64,
    entries_offset: u64,
}

impl Encoder {
    /// Appends an entry: those that were counted, in their order.
    pub fn push(&mut self, entry: &Entry) {
        let mut bytes = Vec::with_capacity(ENTRY_BYTES);
        entry.encode(&mut bytes);
        self.pages.push(&bytes);
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
    pub fn finish(&mut self, generation: u64) -> Vec<u8> {
        let fields = [self.entry_count, u64::from(self.fanout_bits), self.entries_offset];
        self.pages.finish(MAGIC, generation, &fields)
    }
}

/// The entries of segments, oldest first, and then of `newest`, by digest; of several
/// with one digest only the newest. [R 6.8] Damage names its segment, and ends it.
pub fn merge<'a, B: AsRef<[u8]>>(
    segments: &[&'a IndexSegment<B>],
    newest: &'a BTreeMap<Digest, Entry>,
) -> impl Iterator<Item = Result<Entry, (usize, Damaged)>> {
    let mut segments: Vec<(&IndexSegment<B>, u64, Option<Entry>)> =
        segments.iter().map(|segment| (*segment, 0, None)).collect();
    let mut newest = newest.values().peekable();
    let mut failed = false;
    std::iter::from_fn(move || {
        if failed {
            return None;
        }
        for (i, (segment, next, held)) in segments.iter_mut().enumerate() {
            if held.is_none() && *next < segment.entry_count() {
                match segment.entry(*next) {
                    Ok(entry) => (*next, *held) = (*next + 1, Some(entry)),
                    Err(damage) => {
                        failed = true;
                        return Some(Err((i, damage)));
                    }
                }
            }
        }
        let held = segments.iter().filter_map(|(_, _, held)| *held);
        let least = held
            .chain(newest.peek().map(|entry| **entry))
            .map(|entry| entry.digest)
            .min()?;
        let mut found = None;
        for (_, _, held) in &mut segments {
            found = held.take_if(|entry| entry.digest == least).or(found);
        }
        newest.next_if(|entry| entry.digest == least).copied().or(found).map(Ok)
    })
}

fn bucket_of(digest: &Digest, fanout_bits: u32) -> u64 {
    let first = u32::from_be_bytes([digest.0[0], digest.0[1], digest.0[2], digest.0[3]]);
    u64::from(first) >> (32 - fanout_bits)
}

/// An index segment, read in place.
#[derive(Debug)]
pub struct IndexSegment<B> {
    pages: pages::Pages<B>,
    entry_count: u64,
    fanout_bits: u32,
    entries_offset: u64,
}

impl<B: AsRef<[u8]>> IndexSegment<B> {
    /// Checks the header only, whatever the size.
    ///
    /// # Errors
    /// On any mismatch.
    pub fn open(bytes: B) -> Result<IndexSegment<B>, Damaged> {
        let pages = pages::Pages::open(bytes, MAGIC)?;
        let (entry_count, fanout_bits, entries_offset) = (pages.field(0), pages.field(1), pages.field(2));
        let end = entry_count
            .checked_mul(ENTRY_BYTES as u64)
            .and_then(|n| n.checked_add(entries_offset));
        if fanout_bits > 24 || entries_offset < 4 * ((1 << fanout_bits) + 1) || end != Some(pages.body_bytes()) {
            return Err(Damaged::new(
                "index layout",
                32,
                "sections that fill the body",
                format!("{entry_count} entries"),
            ));
        }
        Ok(IndexSegment {
            pages,
            entry_count,
            fanout_bits: fanout_bits as u32,
            entries_offset,
        })
    }

    /// The generation that wrote the segment.
    pub fn generation(&self) -> u64 {
        self.pages.generation()
    }

    /// How many entries.
    pub fn entry_count(&self) -> u64 {
        self.entry_count
    }

    /// Entry `i` in digest order.
    ///
    /// # Errors
    /// When it does not exist or its page is damaged.
    pub fn entry(&self, i: u64) -> Result<Entry, Damaged> {
        Entry::decode(self.raw(i)?)
    }

    fn raw(&self, i: u64) -> Result<&[u8], Damaged> {
        let at = self.entries_offset.saturating_add(i.saturating_mul(ENTRY_BYTES as u64));
        self.pages.get(at, ENTRY_BYTES as u64)
    }

    /// The entry of `digest`, if there is one.
    ///
    /// # Errors
    /// When a page that the search touches is damaged.
    pub fn find(&self, digest: &Digest) -> Result<Option<Entry>, Damaged> {
        let fanout = self.pages.get(4 * bucket_of(digest, self.fanout_bits), 8)?;
        let (mut low, mut high) = (u64::from(u32_at(fanout, 0)), u64::from(u32_at(fanout, 4)));
        while low < high {
            let middle = low + (high - low) / 2;
            let raw = self.raw(middle)?;
            match raw[..32].cmp(&digest.0[..]) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Entry::decode(raw).map(Some),
            }
        }
        Ok(None)
    }

    /// All entries, by digest.
    pub fn entries(&self) -> impl Iterator<Item = Result<Entry, Damaged>> + '_ {
        (0..self.entry_count).map(|i| self.entry(i))
    }

    /// Checks every page, the order of the entries [R 6.7] and the fanout [R 6.4].
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(&self) -> Result<(), Damaged> {
        self.pages.verify()?;
        let mut last = None;
        let mut bucket = 0;
        for (i, entry) in self.entries().enumerate() {
            let digest = entry?.digest;
            if last >= Some(digest) {
                return Err(Damaged::new("index order", i as u64, "ascending digests", digest));
            }
            last = Some(digest);
            while bucket <= bucket_of(&digest, self.fanout_bits) {
                self.check_fanout(bucket, i as u64)?;
                bucket += 1;
            }
        }
        (bucket..=1 << self.fanout_bits).try_for_each(|bucket| self.check_fanout(bucket, self.entry_count))
    }

    fn check_fanout(&self, bucket: u64, expected: u64) -> Result<(), Damaged> {
        let found = u64::from(u32_at(self.pages.get(4 * bucket, 4)?, 0));
        if found == expected {
            return Ok(());
        }
        Err(Damaged::new("index fanout", 4 * bucket, expected, found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn sample(n: u32) -> Vec<Entry> {
        let mut entries: Vec<Entry> = (0..n)
            .map(|i| Entry {
                digest: Digest::of(&i.to_le_bytes()),
                pack: 1 + i / 100,
                record_offset: i * 3,
                record_bytes: 900,
                crate_bytes: 1000,
                content_bytes: 5000,
                chain_bytes: 1 << 33,
                held_since: u64::from(i % 7),
                kind: EntryKind::Blob,
                engine: 3,
                chain_depth: 2,
            })
            .collect();
        entries.sort_by_key(|entry| entry.digest);
        entries
    }

    #[test]
    fn what_an_entry_cannot_tell_is_told_as_far_as_it_can() {
        let mut entry = sample(1)[0];
        let round = |entry: &Entry| {
            let mut bytes = Vec::new();
            entry.encode(&mut bytes);
            assert_eq!(bytes.len(), ENTRY_BYTES);
            Entry::decode(&bytes).unwrap()
        };
        (entry.chain_bytes, entry.held_since) = ((1 << 40) - 1, (1 << 24) - 1);
        assert_eq!(round(&entry), entry);
        (entry.chain_bytes, entry.held_since) = (1 << 40, 1 << 24);
        let told = round(&entry);
        assert_eq!((told.chain_bytes, told.held_since), ((1 << 40) - 1, 0));
    }

    #[test]
    fn finds_what_is_there_and_nothing_else() {
        for n in [0, 1, 15, 16, 17, 100, 5000] {
            let entries = sample(n);
            let bytes = encode(1, &entries);
            let segment = IndexSegment::open(&bytes[..]).unwrap();
            segment.verify().unwrap();
            for entry in &entries {
                assert_eq!(segment.find(&entry.digest), Ok(Some(*entry)));
            }
            assert_eq!(segment.find(&Digest::of(b"absent")), Ok(None));
            assert_eq!(segment.find(&Digest([0; 32])), Ok(None));
            assert_eq!(segment.find(&Digest([255; 32])), Ok(None));
        }
    }
}
