//! Merging manifest segments without ever having them in memory: blocks that only one
//! of them has anything to say about are handed on as they are, the others decoded.
//! Spec section 7.

use super::Damaged;
use super::key::{key_prefix, name_order};
use super::manifest::{ManifestSegment, TextReader};
use super::manifest_block::Layout;
use super::manifest_draft::{Draft, EncodedBlock, is_worth_keeping};
use super::manifest_event::{Event, Events};
use std::borrow::Cow;
use std::collections::{VecDeque, btree_map};
use std::iter::Peekable;
use std::sync::Arc;

/// A piece of the merged segment; pieces come in the order of names.
#[derive(Debug)]
pub enum Piece<'a> {
    /// A block of one of the segments, as it is there.
    Kept(EncodedBlock<'a>),
    /// Records still to be encoded.
    Made(Draft),
}

/// Segments, oldest first, and events that are newer than theirs, on the way to
/// becoming one segment.
#[derive(Debug)]
pub struct Merge<'a, B> {
    sources: Vec<Source<'a, B>>,
    newest: Peekable<btree_map::IntoIter<(String, String), Vec<Event>>>,
    draft: Draft,
    /// Behind a draft that it ended.
    kept: Option<EncodedBlock<'a>>,
    failed: bool,
}

/// The beginning of a key, and a source whose block that begins so is not decoded.
type Least = (u128, Option<usize>);

/// A segment, the records of one block decoded.
#[derive(Debug)]
struct Source<'a, B> {
    segment: &'a ManifestSegment<B>,
    texts: TextReader<'a, B>,
    next_block: u64,
    /// Events of generations up to this are left out.
    after: u64,
    open: VecDeque<(Arc<str>, Vec<Event>)>,
}

impl<'a, B: AsRef<[u8]>> Merge<'a, B> {
    /// Begins; nothing is read yet.
    pub fn new(segments: impl IntoIterator<Item = &'a ManifestSegment<B>>, newest: Events) -> Merge<'a, B> {
        Merge::after(segments.into_iter().map(|segment| (segment, 0)), newest)
    }

    /// As [`Merge::new`], of each segment only the events of generations above the
    /// one beside it; 0 for all, which costs least.
    pub fn after(segments: impl IntoIterator<Item = (&'a ManifestSegment<B>, u64)>, newest: Events) -> Merge<'a, B> {
        let source = |(segment, after)| Source {
            segment,
            texts: TextReader::new(segment),
            next_block: 0,
            after,
            open: VecDeque::new(),
        };
        Merge {
            sources: segments.into_iter().map(source).collect(),
            newest: newest.into_names().peekable(),
            draft: Draft::default(),
            kept: None,
            failed: false,
        }
    }

    /// Goes on until a piece is ready; none at the end. An error names its segment.
    fn step(&mut self) -> Result<Option<Piece<'a>>, (usize, Damaged)> {
        if let Some(kept) = self.kept.take() {
            return Ok(Some(Piece::Kept(kept)));
        }
        while let Some((least, unopened)) = self.least()? {
            let Some(i) = unopened else {
                self.take_records(least);
                if self.draft.is_full() {
                    return Ok(Some(Piece::Made(std::mem::take(&mut self.draft))));
                }
                continue;
            };
            if let Some(block) = self.keep(i).map_err(|damage| (i, damage))? {
                self.sources[i].next_block += 1;
                if self.draft.is_empty() {
                    return Ok(Some(Piece::Kept(block)));
                }
                self.kept = Some(block);
                break;
            }
            self.sources[i].open_block().map_err(|damage| (i, damage))?;
        }
        Ok((!self.draft.is_empty()).then(|| Piece::Made(std::mem::take(&mut self.draft))))
    }

    /// The least beginning of a key that is still to come, and a source which has not
    /// decoded the block that begins so.
    fn least(&mut self) -> Result<Option<Least>, (usize, Damaged)> {
        let newest = self.newest.peek().map(|((key, _), _)| key_prefix(key));
        let mut least = newest.map(|prefix| (prefix, None));
        for (i, source) in self.sources.iter().enumerate() {
            let Some((prefix, is_open)) = source.prefix().map_err(|damage| (i, damage))? else {
                continue;
            };
            // Of equal ones, what is not decoded goes first: only names tell the order.
            if least.is_none_or(|(least, _)| prefix < least || prefix == least && !is_open) {
                least = Some((prefix, (!is_open).then_some(i)));
            }
        }
        Ok(least)
    }

    /// The next block of source `i`, if it is to be kept as it is: no other source has
    /// anything that belongs before its end, and it is not small.
    fn keep(&mut self, i: usize) -> Result<Option<EncodedBlock<'a>>, Damaged> {
        let segment = self.sources[i].segment;
        let number = self.sources[i].next_block;
        if self.sources[i].after > 0 {
            return Ok(None);
        }
        let bytes = segment.block_bytes(number)?;
        let layout = Layout::decode(bytes)?;
        if !is_worth_keeping(u64::from(layout.record_bytes), layout.text_bytes()) {
            return Ok(None);
        }
        let last = match number + 1 < segment.block_count() {
            true => segment.block_prefix(number + 1)?,
            false => key_prefix(&segment.block(number)?.first_and_last_name()?.1),
        };
        let newest = self.newest.peek().map(|((key, _), _)| key_prefix(key));
        let mut others = newest.into_iter().collect::<Vec<_>>();
        for (other, source) in self.sources.iter().enumerate() {
            if other != i {
                // Damage there is met, and said, when it is that source's turn.
                others.extend(source.prefix().ok().flatten().map(|(prefix, _)| prefix));
            }
        }
        Ok(others.iter().all(|&prefix| prefix > last).then_some(EncodedBlock {
            prefix: segment.block_prefix(number)?,
            crate_count: layout.record_count,
            event_count: layout.event_count,
            bytes: Cow::Borrowed(bytes),
        }))
    }

    /// Moves the first name that begins with `prefix` into the draft; whatever may
    /// begin so has been decoded.
    fn take_records(&mut self, prefix: u128) {
        let heads = self.sources.iter().filter_map(|source| Some(&*source.open.front()?.0));
        let newest = self.newest.peek().map(|((_, name), _)| name.as_str());
        let names = heads.chain(newest).filter(|name| key_prefix(name) == prefix);
        let Some(name) = names.min_by(|a, b| name_order(a, b)).map(Arc::<str>::from) else {
            return;
        };
        let mut all = Vec::new();
        for source in &mut self.sources {
            if source.open.front().is_some_and(|(front, _)| *front == name) {
                all.extend(source.open.pop_front().into_iter().flat_map(|(_, events)| events));
            }
        }
        if let Some((_, events)) = self.newest.next_if(|((_, front), _)| **front == *name) {
            all.extend(events);
        }
        self.draft.push(name, all);
    }
}

impl<'a, B: AsRef<[u8]>> Iterator for Merge<'a, B> {
    type Item = Result<Piece<'a>, (usize, Damaged)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let piece = self.step();
        self.failed = piece.is_err();
        piece.transpose()
    }
}

impl<B: AsRef<[u8]>> Source<'_, B> {
    /// How the key that comes next begins, and whether it is decoded.
    fn prefix(&self) -> Result<Option<(u128, bool)>, Damaged> {
        if let Some((name, _)) = self.open.front() {
            return Ok(Some((key_prefix(name), true)));
        }
        if self.next_block == self.segment.block_count() {
            return Ok(None);
        }
        Ok(Some((self.segment.block_prefix(self.next_block)?, false)))
    }

    fn open_block(&mut self) -> Result<(), Damaged> {
        let block = self.segment.block(self.next_block)?;
        for record in block.records() {
            let record = record?;
            let mut events = Vec::new();
            for event in record.events() {
                let event = event?;
                if event.generation <= self.after && self.after > 0 {
                    continue;
                }
                let text = match event.text {
                    None => None,
                    Some(_) => Some(self.texts.text(record.name(), &event)?),
                };
                events.push(Event::of(&event, text));
            }
            if !events.is_empty() {
                self.open.push_back((record.name().clone(), events));
            }
        }
        self.next_block += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::manifest::EventKind;
    use super::super::manifest_draft::Compressor;
    use super::super::manifest_event::each_event;
    use super::super::manifest_write::{SegmentEncoder, encode};
    use super::*;
    use crate::ids::Digest;
    use fastrand::Rng;

    /// Names of which some have one key, and many begin alike.
    fn name(random: &mut Rng, names: u32) -> String {
        let number = random.u32(..names);
        let family = ["a", "serde-", "a-name-that-is-longer-than-a-prefix-"][(number % 3) as usize];
        let plain = format!("{family}{:x}", number.wrapping_mul(2_654_435_761) >> 8);
        match random.u8(..12) {
            0 => plain.replace('-', "_"),
            1 => plain.to_uppercase(),
            _ => plain,
        }
    }

    fn some_events(random: &mut Rng, generation: u64, crates: u32, names: u32) -> Events {
        let mut events = Events::default();
        for _ in 0..crates {
            let name = name(random, names);
            for _ in 0..random.u32(1..8) {
                let version = format!("{}.{}.0", random.u8(..3), random.u8(..9));
                let noise: String = (0..random.usize(..120)).map(|_| random.alphanumeric()).collect();
                let text = format!(r#"{{"name":"{name}","vers":"{version}","deps":["{noise}"]}}"#);
                let event = Event {
                    kind: EventKind::Added,
                    yanked: random.bool(),
                    generation,
                    digest: random.bool().then(|| Digest::of(version.as_bytes())),
                    version,
                    text: random.bool().then(|| text.into_bytes()),
                };
                events.push(&name, event);
            }
        }
        events
    }

    fn merged(segments: &[&[u8]], newest: Events, generation: u64, pieces: &mut [usize; 2]) -> Vec<u8> {
        let segments: Vec<_> = segments
            .iter()
            .map(|bytes| ManifestSegment::open(*bytes).unwrap())
            .collect();
        let mut encoder = SegmentEncoder::default();
        let mut compressor = Compressor::new().unwrap();
        for piece in Merge::new(&segments, newest) {
            match piece.unwrap() {
                Piece::Kept(block) => {
                    pieces[0] += 1;
                    encoder.push(&block);
                }
                Piece::Made(draft) => {
                    pieces[1] += 1;
                    let blocks = draft.encode(&mut compressor).unwrap();
                    blocks.iter().for_each(|block| encoder.push(block));
                }
            }
        }
        let header = encoder.finish(generation, &[]);
        [header, encoder.take()].concat()
    }

    fn all_of(bytes: &[u8]) -> Vec<(String, Event)> {
        let segment = ManifestSegment::open(bytes).unwrap();
        segment.verify_pages().unwrap();
        let mut all = Vec::new();
        each_event(&segment, |name, event, text| {
            all.push((name.to_owned(), Event::of(event, text)));
        })
        .unwrap();
        all
    }

    /// Whatever the sizes and names: a merge says what its parts said, each name's events
    /// oldest first, names in order; and what was merged can be merged again.
    #[test]
    fn a_merge_says_what_its_parts_said() {
        let mut pieces = [0, 0];
        for seed in 0..40 {
            let random = &mut Rng::with_seed(seed);
            let names = random.choice([5, 60, 3000]).unwrap();
            let mut model = Events::default();
            let mut parts: Vec<Vec<u8>> = Vec::new();
            for generation in 1..random.u64(3..7) {
                let crates = random.choice([0, 1, 20, 600]).unwrap();
                let events = some_events(random, generation, crates, names);
                for ((_, name), events) in events.clone().into_names() {
                    events.into_iter().for_each(|event| model.push(&name, event));
                }
                if random.u8(..3) > 0 {
                    parts.push(encode(generation, &[], &events).unwrap());
                    continue;
                }
                let from = random.usize(..=parts.len());
                let absorbed: Vec<&[u8]> = parts[from..].iter().map(|bytes| &bytes[..]).collect();
                let segment = merged(&absorbed, events, generation, &mut pieces);
                parts.truncate(from);
                parts.push(segment);
            }
            let parts: Vec<&[u8]> = parts.iter().map(|bytes| &bytes[..]).collect();
            let whole = merged(&parts, Events::default(), 99, &mut pieces);
            let names = model.into_names();
            let expected: Vec<(String, Event)> = names
                .flat_map(|((_, name), events)| events.into_iter().map(move |event| (name.clone(), event)))
                .collect();
            assert!(all_of(&whole) == expected, "seed {seed}");
            let segment = ManifestSegment::open(&whole[..]).unwrap();
            for (name, _) in expected.iter().step_by(97) {
                let found = segment.find(name).unwrap();
                assert!(
                    found.iter().any(|record| **record.name() == **name),
                    "seed {seed}: {name}"
                );
            }
        }
        assert!(
            pieces.iter().all(|&count| count > 20),
            "both ways are taken: {pieces:?}"
        );
    }
}
