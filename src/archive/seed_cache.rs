//! The seeds read last, as decoded: the first versions of a whole shelf are told from one,
//! so whoever reads single crates would decode the same two megabytes over and over.

use crate::format::index::{Entry, EntryKind};
use crate::ids::Digest;
use std::sync::{Arc, Mutex, PoisonError};

/// So many, and so many bytes of them, are kept.
const SEEDS: usize = 4;
const SEEDS_BYTES: usize = 16 << 20;

type Seed = (Digest, Arc<Vec<u8>>);

/// Shared by all that read one archive.
#[derive(Debug, Clone, Default)]
pub(super) struct SeedCache {
    /// The one used last comes last.
    seeds: Arc<Mutex<Vec<Seed>>>,
}

impl SeedCache {
    pub fn get(&self, digest: &Digest) -> Option<Arc<Vec<u8>>> {
        let mut seeds = self.seeds.lock().unwrap_or_else(PoisonError::into_inner);
        let at = seeds.iter().position(|(held, _)| held == digest)?;
        seeds[at..].rotate_left(1);
        seeds.last().map(|(_, content)| content.clone())
    }

    /// Keeps `content` if it is that of a seed.
    pub fn offer(&self, entry: &Entry, content: &Arc<Vec<u8>>) {
        if entry.kind != EntryKind::Seed || content.len() > SEEDS_BYTES {
            return;
        }
        let mut seeds = self.seeds.lock().unwrap_or_else(PoisonError::into_inner);
        seeds.retain(|(held, _)| *held != entry.digest);
        seeds.push((entry.digest, content.clone()));
        let bytes = |seeds: &[Seed]| seeds.iter().map(|(_, content)| content.len()).sum::<usize>();
        while seeds.len() > SEEDS || bytes(&seeds) > SEEDS_BYTES {
            seeds.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    fn entry(digest: Digest, kind: EntryKind) -> Entry {
        Entry {
            digest,
            kind,
            ..Entry::purged(digest)
        }
    }

    #[test]
    fn the_seeds_used_last_are_kept_and_nothing_else() {
        let cache = SeedCache::default();
        let digest = |i: u8| Digest::of(&[i]);
        let content = |bytes: usize| Arc::new(vec![7; bytes]);
        cache.offer(&entry(digest(9), EntryKind::Blob), &content(10));
        assert_eq!(cache.get(&digest(9)), None);
        for i in 0..4 {
            cache.offer(&entry(digest(i), EntryKind::Seed), &content(10));
        }
        assert!(cache.get(&digest(0)).is_some());
        cache.offer(&entry(digest(4), EntryKind::Seed), &content(10));
        assert_eq!(cache.get(&digest(1)), None);
        assert!(cache.get(&digest(0)).is_some());
        cache.offer(&entry(digest(5), EntryKind::Seed), &content(SEEDS_BYTES));
        assert_eq!(cache.get(&digest(0)), None);
        assert_eq!(cache.get(&digest(5)).unwrap().len(), SEEDS_BYTES);
        cache.offer(&entry(digest(6), EntryKind::Seed), &content(SEEDS_BYTES + 1));
        assert_eq!(cache.get(&digest(6)), None);
    }
}
