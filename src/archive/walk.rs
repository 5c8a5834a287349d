//! Decoding many objects on many threads, each base as few times as can be.

use super::{Archive, Error};
use crate::format::index::Entry;
use crate::format::pack::RecordMeta;
use crate::ids::Digest;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Entries that one thread takes at a time: enough for most chains to stay with
/// one thread, few enough to keep all of them busy to the end.
const RUN_ENTRIES: usize = 32;
/// What a thread keeps of the contents decoded last.
const RECENT_BYTES: usize = 128 << 20;
const RECENT_CONTENTS: usize = 32;

/// A record's metadata and its content.
pub type Decoded = (RecordMeta, Arc<Vec<u8>>);

impl Archive {
    /// Calls `visit` with the content of each of `entries`, on `threads` threads
    /// and in no order that could be relied on.
    ///
    /// Records are read in the order in which they lie in the packs. Bases lie close
    /// before what needs them, so a few recent contents save decoding each chain
    /// from its start: everything comes back at about the cost of decoding each
    /// frame once. Memory: some 128 MiB a thread, and the largest chain's contents.
    pub fn walk_contents(
        &self,
        mut entries: Vec<Entry>,
        threads: usize,
        visit: &(dyn Fn(&Entry, Result<Decoded, Error>) + Sync),
    ) {
        entries.sort_by_key(|entry| (entry.pack, entry.record_offset));
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                scope.spawn(|| {
                    let mut recent = Recent::default();
                    loop {
                        let from = next.fetch_add(RUN_ENTRIES, Ordering::Relaxed).min(entries.len());
                        let run = &entries[from..entries.len().min(from + RUN_ENTRIES)];
                        if run.is_empty() {
                            break;
                        }
                        for entry in run {
                            let decoded = self.decode(entry, &|digest| recent.get(digest));
                            if let Ok((_, content)) = &decoded {
                                recent.put(entry.digest, content.clone());
                            }
                            visit(entry, decoded);
                        }
                    }
                });
            }
        });
    }
}

/// The contents decoded last, oldest first.
#[derive(Default)]
pub(super) struct Recent {
    contents: Vec<(Digest, Arc<Vec<u8>>)>,
    bytes: usize,
}

impl Recent {
    pub(super) fn get(&self, digest: &Digest) -> Option<Arc<Vec<u8>>> {
        let mut newest_first = self.contents.iter().rev();
        newest_first
            .find(|(held, _)| held == digest)
            .map(|(_, bytes)| bytes.clone())
    }

    pub(super) fn put(&mut self, digest: Digest, content: Arc<Vec<u8>>) {
        self.bytes += content.len();
        self.contents.push((digest, content));
        while self.contents.len() > RECENT_CONTENTS || (self.contents.len() > 1 && self.bytes > RECENT_BYTES) {
            let (_, oldest) = self.contents.remove(0);
            self.bytes -= oldest.len();
        }
    }
}
