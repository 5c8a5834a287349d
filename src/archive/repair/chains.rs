//! The manifest as it can be told: segments that chain from the first transaction to
//! the newest, or else what can be read of them, chained anew.

use super::super::Error;
use super::super::names::{manifest_name, numbered};
use super::super::structure::checked_transactions;
use super::robust;
use crate::format::head::{Head, SegmentEntry};
use crate::format::manifest::{ManifestSegment, Transaction};
use crate::format::manifest_event::{Event, Events, each_event};
use crate::store::Medium;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// What is left of a manifest.
pub(super) enum Manifests {
    /// Segments that are whole and chain.
    Whole {
        /// As a head names them.
        entries: Vec<SegmentEntry>,
        /// The newest transaction's hash.
        root: [u8; 32],
    },
    /// Events of which the chain is broken.
    Salvaged(Salvaged),
}

struct Segment {
    entry: SegmentEntry,
    open: ManifestSegment<Vec<u8>>,
    transactions: Vec<Transaction>,
}

/// Reads the segments that `head` names; if they will not do or a newer head is lost,
/// all that are there.
pub(super) fn gather(
    medium: &dyn Medium,
    head: Option<&Head>,
    a_head_is_lost: bool,
    notes: &mut Vec<String>,
) -> Result<Manifests, Error> {
    let mut whole: BTreeMap<u64, Segment> = BTreeMap::new();
    let mut damaged: Vec<ManifestSegment<Vec<u8>>> = Vec::new();
    let named: BTreeSet<u64> = head
        .iter()
        .flat_map(|head| head.manifests.iter().map(|entry| entry.generation))
        .collect();
    let mut generations = named.clone();
    let files = numbered(medium, "manifest").map_err(Error::io("manifest"))?;
    generations.extend(files.iter().map(|file| file.number));
    for generation in generations {
        let name = manifest_name(generation);
        let bytes = robust::read(medium, &name, 0, u64::MAX)?;
        let entry = SegmentEntry {
            generation,
            bytes: bytes.len() as u64,
            sha256: Sha256::digest(&bytes).into(),
        };
        let is_named = named.contains(&generation);
        let open = match ManifestSegment::open(bytes) {
            Ok(open) if open.generation() == generation => open,
            Ok(_) => continue,
            Err(damage) => {
                if is_named {
                    notes.push(format!("{name}: {damage}"));
                }
                continue;
            }
        };
        match checked_transactions(&open) {
            Ok(transactions) => drop(whole.insert(
                generation,
                Segment {
                    entry,
                    open,
                    transactions,
                },
            )),
            Err(cause) if is_named => {
                notes.push(format!("{name}: {cause}"));
                damaged.push(open);
            }
            Err(_) => {}
        }
    }
    // Without the newest head, the newest segments may be of a snapshot it told of.
    let tips = whole
        .keys()
        .rev()
        .filter(|generation| head.is_none_or(|head| a_head_is_lost || **generation <= head.generation));
    for tip in tips {
        if let Some(chain) = chain_from(&whole, *tip) {
            let newest = chain.last().and_then(|segment| segment.transactions.last());
            let root = newest.map_or([0; 32], |newest| newest.hash);
            // An older chain than the head's is whole too, but lacks what came since.
            let lacks =
                head.is_some_and(|head| head.root != root && !chain.iter().any(|segment| has(segment, &head.root)));
            if lacks {
                break;
            }
            let entries = chain.into_iter().map(|segment| segment.entry.clone()).collect();
            return Ok(Manifests::Whole { entries, root });
        }
    }
    if head.is_none_or(|head| head.manifests.is_empty()) && whole.is_empty() && damaged.is_empty() {
        let entries = Vec::new();
        if head.is_some() {
            let root = [0; 32];
            return Ok(Manifests::Whole { entries, root });
        }
    }
    let mut salvaged = Salvaged::default();
    // Segments that were merged into others lie about too: each snapshot counts once.
    let mut kept: Vec<&ManifestSegment<Vec<u8>>> = Vec::new();
    let mut taken: BTreeSet<u64> = BTreeSet::new();
    for segment in whole.values().rev() {
        let generations = || segment.transactions.iter().map(|one| one.generation);
        if generations().all(|generation| !taken.contains(&generation)) {
            taken.extend(generations());
            kept.push(&segment.open);
        }
    }
    kept.reverse();
    for segment in &kept {
        salvaged.take(segment, &BTreeSet::new());
    }
    for segment in &damaged {
        salvaged.take(segment, &taken);
    }
    notes.push(format!(
        "manifest: {} events could be read; they get a new chain, and the archive a new root",
        salvaged.events.len()
    ));
    Ok(Manifests::Salvaged(salvaged))
}

fn has(segment: &Segment, root: &[u8; 32]) -> bool {
    segment.transactions.iter().any(|one| one.hash == *root)
}

/// Segments, oldest first, that lead from the first transaction to the end of `tip`.
fn chain_from(whole: &BTreeMap<u64, Segment>, tip: u64) -> Option<Vec<&Segment>> {
    let mut chain = vec![whole.get(&tip)?];
    loop {
        let mut parent = None;
        for one in &chain.last()?.transactions {
            if parent.is_some_and(|parent| parent != one.parent) {
                return None;
            }
            parent = Some(one.hash);
        }
        let first = chain.last()?.transactions.first()?.parent;
        if first == [0; 32] {
            chain.reverse();
            return Some(chain);
        }
        let newest = chain.last()?.entry.generation;
        let mut older = whole.range(..newest).rev().map(|(_, segment)| segment);
        chain.push(older.find(|segment| segment.transactions.last().is_some_and(|last| last.hash == first))?);
    }
}

/// Events and transactions of which the chain is broken.
#[derive(Default)]
pub(super) struct Salvaged {
    events: Vec<(String, Event)>,
    transactions: BTreeMap<u64, Transaction>,
}

impl Salvaged {
    /// Takes what can be read of `segment`, but for snapshots in `taken`.
    fn take(&mut self, segment: &ManifestSegment<Vec<u8>>, taken: &BTreeSet<u64>) {
        for one in segment.transactions().unwrap_or_default() {
            self.transactions.entry(one.generation).or_insert(one);
        }
        // What comes before the damage has been seen when it is met.
        let _ = each_event(segment, |name, event, text| {
            if taken.contains(&event.generation) {
                return;
            }
            self.events.push((name.to_owned(), Event::of(event, text)));
        });
    }

    /// Chains all events anew; those of a snapshot that is not told of any more are
    /// put into one of `time`.
    pub(super) fn chain(mut self, time: u64) -> (Vec<Transaction>, Events, [u8; 32]) {
        // Within a record, generations never fall. [R 7.12]
        self.events.sort_by_key(|(_, event)| event.generation);
        let mut by_generation: BTreeMap<u64, Events> = BTreeMap::new();
        let mut all = Events::default();
        for (name, event) in self.events {
            by_generation
                .entry(event.generation)
                .or_default()
                .push(&name, event.clone());
            all.push(&name, event);
        }
        let mut parent = [0; 32];
        let mut transactions = Vec::new();
        for (generation, events) in by_generation {
            let mut one = self.transactions.remove(&generation).unwrap_or(Transaction {
                generation,
                parent,
                time,
                registry: String::new(),
                cursor: String::new(),
                source: "repair".into(),
                event_count: 0,
                hash: [0; 32],
            });
            one.parent = parent;
            events.seal(&mut one);
            parent = one.hash;
            transactions.push(one);
        }
        (transactions, all, parent)
    }
}
