//! Compressing objects anew whose base goes. [R 14.2]

use super::super::encode::{self, Base};
use super::super::{Error, Writer};
use super::PurgeOptions;
use crate::format::index::Entry;
use crate::format::pack::RecordMeta;
use crate::ids::Digest;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An object that may be a base, and its content.
pub(in crate::archive) type Candidate = (Entry, Arc<Vec<u8>>);

impl Writer {
    /// Stores `dependents` anew, none of them against any of `gone`.
    ///
    /// The base is one that it was compressed against before by way of what goes, or the
    /// neighbour that had the same base and was stored anew just before; whichever makes
    /// less of it. No chain grows by that, for whatever is compressed against a dependent
    /// counts on it, and stays as it is. [R 10.16]
    pub(super) fn rebase(
        &self,
        dependents: &[Digest],
        gone: &BTreeSet<Digest>,
        options: &PurgeOptions<'_>,
    ) -> Result<(), Error> {
        let mut siblings: BTreeMap<Digest, Candidate> = BTreeMap::new();
        for digest in dependents {
            let Some(old) = self.find(digest)? else { continue };
            let (meta, content) = self.read_content(digest).map_err(|error| {
                Error::Rejected(format!(
                    "{error}; it was compressed against what is to be erased, so it would be lost: run `cratehold repair` \
                     first, or `repair --forget` to let go of it"
                ))
            })?;
            let base = meta.base.map(Digest);
            let mut candidates: Vec<Candidate> =
                base.and_then(|base| siblings.get(&base).cloned()).into_iter().collect();
            candidates.extend(self.remaining_base(base, gone)?);
            let keeps_chains = |entry: &Entry| {
                entry.chain_depth < old.chain_depth
                    && entry.chain_bytes + u64::from(old.content_bytes) <= old.chain_bytes
            };
            candidates.retain(|(entry, _)| keeps_chains(entry));
            let (meta, frame) = smallest(&meta, &content, &candidates, options.level)?;
            self.append(&meta, &frame)?;
            (options.progress)(meta.frame_bytes);
            if let (Some(base), Some(entry)) = (base, self.find(digest)?) {
                siblings.insert(base, (entry, content));
            }
        }
        Ok(())
    }

    /// The nearest object below `base`, itself included, that stays.
    fn remaining_base(&self, mut base: Option<Digest>, gone: &BTreeSet<Digest>) -> Result<Option<Candidate>, Error> {
        while let Some(digest) = base {
            if !gone.contains(&digest) {
                let Some(entry) = self.find(&digest)? else {
                    return Ok(None);
                };
                return Ok(Some((entry, self.read_content(&digest)?.1)));
            }
            base = self.read_meta(&digest)?.base.map(Digest);
        }
        Ok(None)
    }
}

/// The record of `meta` compressed against that of `candidates` that makes least of it;
/// against none, if there are none.
pub(in crate::archive) fn smallest(
    meta: &RecordMeta,
    content: &[u8],
    candidates: &[Candidate],
    level: i32,
) -> Result<(RecordMeta, Vec<u8>), Error> {
    let mut best: Option<(RecordMeta, Vec<u8>)> = None;
    for (entry, bytes) in candidates {
        let base = Base {
            digest: entry.digest,
            content: bytes,
            chain_depth: u32::from(entry.chain_depth),
            chain_bytes: entry.chain_bytes,
        };
        let made = encode::encode_again(meta, content, Some(base), level)?;
        if best.as_ref().is_none_or(|(_, frame)| made.1.len() < frame.len()) {
            best = Some(made);
        }
    }
    match best {
        Some(best) => Ok(best),
        None => encode::encode_again(meta, content, None, level),
    }
}
