//! Seeds: contents that only serve as base, for the crates that have no other.
//!
//! A seed is whole contents of some crates of its shelf, one behind the other. So nothing is
//! stored twice: told against the seed these crates are next to nothing, and what others
//! share with any of them (licences, manifests, the phrases of the language) is there to
//! look back on. It is made anew whenever its shelf is, and so ages no more than that.

use super::plan::Looked;
use super::shelf::Member;
use super::source::{Source, remake};
use crate::archive::Error;
use crate::ids::Digest;
use std::collections::HashMap;
use std::sync::Arc;

/// A seed is about so long: each crate told against it has that much more to decode.
/// (Measured: 2 MiB makes an archive 0.2 % smaller than 1 MiB does, 4 MiB 0.25 %.)
const SEED_BYTES: u64 = 2 << 20;
/// No crate may be more than this part of it.
const SHARE: u64 = 4;
/// For fewer crates without a base of their own there is no seed.
const MIN_ROOTS: usize = 6;

/// A seed of a plan.
#[derive(Debug)]
pub(super) struct Seed {
    pub digest: Digest,
    pub content: Arc<Vec<u8>>,
    /// The crate files that its content came from.
    pub sources: Vec<Digest>,
}

/// A seed for those of `roots` that are not too large, if there are enough.
///
/// # Errors
/// When a crate file cannot be read.
pub(super) fn make(
    source: Source<'_>,
    members: &[Member],
    looked: &[Looked],
    roots: &[usize],
) -> Result<Option<Seed>, Error> {
    if roots.len() < MIN_ROOTS {
        return Ok(None);
    }
    let mut possible: Vec<usize> = roots
        .iter()
        .copied()
        .filter(|&root| looked[root].content_bytes <= SEED_BYTES / SHARE)
        .collect();
    // Those first that are most like the others: of which least is theirs alone.
    let mut having: HashMap<u64, u32> = HashMap::new();
    for &root in roots {
        looked[root]
            .sketch
            .hashes()
            .for_each(|hash| *having.entry(hash).or_default() += 1);
    }
    let own_share = |root: usize| {
        let sketch = &looked[root].sketch;
        sketch.bytes_of(|hash| having.get(&hash) == Some(&1)) * 1000 / sketch.bytes().max(1)
    };
    possible.sort_by_cached_key(|&root| (own_share(root), members[root].digest));
    let mut sources = Vec::new();
    let mut bytes = 0;
    for root in possible {
        let more = looked[root].content_bytes;
        if bytes + more <= SEED_BYTES {
            bytes += more;
            sources.push(root);
        }
    }
    if sources.len() < 2 {
        return Ok(None);
    }
    let mut content = Vec::with_capacity(bytes as usize);
    let snapshot = source.snapshot();
    for &root in &sources {
        let digest = members[root].digest;
        let entry = snapshot.find(&digest)?.ok_or(Error::NotHeld { digest })?;
        let (meta, stored) = snapshot.decode(&entry, &|_| None)?;
        content.extend_from_slice(&remake(&meta, &stored)?.content.bytes);
    }
    Ok(Some(Seed {
        digest: Digest::of(&content),
        sources: sources.iter().map(|&root| members[root].digest).collect(),
        content: Arc::new(content),
    }))
}
