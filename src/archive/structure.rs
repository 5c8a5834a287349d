//! Checking the files that say where everything is: heads, segments, pack headers, extras.

use super::names::{HEAD_NAMES, PACK_HEADER_READ_BYTES, index_name, manifest_name, pack_name, read_pack_header};
use super::verify::{Place, Problem};
use super::{Archive, Error};
use crate::format::Damaged;
use crate::format::head::Head;
use crate::format::manifest::{ManifestSegment, Transaction};
use crate::format::manifest_event::{ChainHasher, each_event};
use crate::format::pages::PAGE_BYTES;
use crate::ids::Digest;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::io;

impl Archive {
    /// Everything but the objects: what is wrong with it, and whose loss that is where it
    /// can be told without reading objects.
    pub(super) fn verify_structure(&self) -> Vec<Problem> {
        let mut problems = self.verify_heads();
        problems.extend(self.verify_segments());
        problems.extend(self.verify_pack_headers());
        problems.extend(self.verify_extras());
        problems.extend(self.verify_recovery());
        if let Err(message) = self.verify_chain() {
            problems.push(Problem {
                release: None,
                place: None,
                message,
            });
        }
        problems
    }

    /// A head that cannot be used hides a snapshot: the one before it is opened, and
    /// nobody would know. [R 4.7]
    fn verify_heads(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for name in HEAD_NAMES {
            let mut bytes_there = 0;
            let head = match self.medium.read(name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => Err(error.to_string()),
                Ok(bytes) => {
                    bytes_there = bytes.len() as u64;
                    Head::decode(&bytes).map_err(|damage| damage.to_string())
                }
            };
            let mut place = Place::of(name, 0, bytes_there);
            let cause = match head {
                Ok(head) if head.generation <= self.head.generation => continue,
                // A writer may have committed since this snapshot was opened.
                Ok(head) => match Archive::open_on(self.medium.clone()) {
                    Ok(now) if now.head.generation >= head.generation => continue,
                    _ => {
                        let generation = head.generation;
                        let error = Archive::with_head(self.medium.clone(), head).err();
                        if let Some(Error::Damaged { path, .. } | Error::Io { path, .. }) = &error {
                            let bytes = self.medium.len(path).unwrap_or(0);
                            place = Place::of(path, 0, bytes);
                        }
                        let cause = error.map_or_else(String::new, |error| format!(": {error}"));
                        format!("its snapshot {generation} cannot be opened{cause}")
                    }
                },
                Err(cause) => cause,
            };
            let (folder, opened) = (self.medium.describe(), self.head.generation);
            problems.push(Problem {
                release: None,
                place: Some(place),
                message: format!(
                    "{folder}/{name}: {cause}; snapshot {opened} was opened instead \
                     (a crash during a commit leaves this too, and the next commit mends it)"
                ),
            });
        }
        problems
    }

    /// No read needs a pack's header, but a rebuild from the packs would. [R 10.8]
    fn verify_pack_headers(&self) -> Vec<Problem> {
        let problem = |pack: &crate::format::head::PackEntry| {
            let name = pack_name(pack.pack);
            let cause = read_pack_header(&*self.medium, &name).err()?;
            Some(Problem {
                release: None,
                place: Some(Place::of(&name, 0, pack.bytes.min(PACK_HEADER_READ_BYTES))),
                message: format!("{}/{name}: {cause}", self.medium.describe()),
            })
        };
        self.head.packs.iter().filter_map(problem).collect()
    }

    /// Recovery data that is itself damaged helps less than its owner believes.
    fn verify_recovery(&self) -> Vec<Problem> {
        let folder = self.medium.describe();
        match self.check_recovery() {
            Err(error) => vec![Problem {
                release: None,
                place: None,
                message: error.to_string(),
            }],
            Ok(damaged) => damaged
                .into_iter()
                .map(|(name, cause)| Problem {
                    release: None,
                    place: Some(Place::of(&name, 0, self.medium.len(&name).unwrap_or(0))),
                    message: format!("{folder}/{name}: {cause}; `cratehold protect` makes it anew"),
                })
                .collect(),
        }
    }

    /// The files that the head names beside packs and segments. [R 4.6]
    fn verify_extras(&self) -> Vec<Problem> {
        let problem = |extra: &crate::format::head::ExtraEntry| {
            let cause = match self.medium.open_sealed(&extra.path) {
                Err(error) => error.to_string(),
                Ok(bytes) if bytes.as_ref().len() as u64 != extra.bytes => {
                    format!("expected {} bytes, found {}", extra.bytes, bytes.as_ref().len())
                }
                Ok(bytes) if Sha256::digest(bytes.as_ref())[..] == extra.sha256 => return None,
                Ok(_) => "its SHA-256 is not the one in the head".into(),
            };
            Some(Problem {
                release: None,
                place: Some(Place::of(&extra.path, 0, extra.bytes)),
                message: format!("{}/{}: {cause}", self.medium.describe(), extra.path),
            })
        };
        self.head.extras.iter().filter_map(problem).collect()
    }

    fn verify_segments(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let indexes = self.head.indexes.iter().enumerate().map(|(i, entry)| {
            let damage = self.indexes[i].verify().err();
            (index_name(entry.generation), entry, damage)
        });
        let manifests = self.head.manifests.iter().enumerate().map(|(i, entry)| {
            let damage = self.manifests[i].verify_pages().err();
            (manifest_name(entry.generation), entry, damage)
        });
        for (name, entry, damage) in indexes.chain(manifests) {
            let path = format!("{}/{name}", self.medium.describe());
            let mut problem = |place, cause: String| {
                problems.push(Problem {
                    release: None,
                    place: Some(place),
                    message: format!("{path}: {cause}"),
                });
            };
            match self.medium.open_sealed(&name) {
                Ok(bytes) if Sha256::digest(bytes.as_ref())[..] == entry.sha256 => {}
                Ok(_) => problem(
                    Place::of(&name, 0, entry.bytes),
                    "its SHA-256 is not the one in the head".into(),
                ),
                Err(error) => problem(Place::of(&name, 0, entry.bytes), error.to_string()),
            }
            if let Some(damage) = damage {
                problem(Place::of(&name, damage.offset, PAGE_BYTES as u64), damage.to_string());
            }
        }
        problems
    }

    /// Recomputes the hash of every transaction up to the root. [R 7.4]
    pub(super) fn verify_chain(&self) -> Result<(), String> {
        let mut parent = [0; 32];
        for (i, segment) in self.manifests.iter().enumerate() {
            let fail = |what: String| format!("{}: {what}", self.manifest_path(i));
            for transaction in checked_transactions(segment).map_err(fail)? {
                if transaction.parent != parent {
                    let generation = transaction.generation;
                    return Err(fail(format!("the hash chain breaks at snapshot {generation}")));
                }
                parent = transaction.hash;
            }
        }
        if parent == self.head.root {
            return Ok(());
        }
        Err("the head's root hash is not that of the newest transaction".into())
    }

    /// The release that each digest belongs to, as far as the manifest can be read.
    pub(super) fn names(&self) -> HashMap<Digest, String> {
        let mut names = HashMap::new();
        for segment in &self.manifests {
            // Behind the first damage there is no telling where the next record begins.
            for record in segment.crates().map_while(Result::ok) {
                for event in record.events().map_while(Result::ok) {
                    if let Some(digest) = event.digest {
                        names.insert(digest, format!("{}@{}", record.name(), event.version));
                    }
                }
            }
        }
        names
    }
}

/// The transactions of a segment, oldest first, if all of it is whole: its pages, and
/// the hash of each over its events. [R 7.4] [R 7.11]
pub(super) fn checked_transactions<B: AsRef<[u8]>>(segment: &ManifestSegment<B>) -> Result<Vec<Transaction>, String> {
    let said = |damage: Damaged| damage.to_string();
    segment.verify_pages().map_err(said)?;
    let transactions = segment.transactions().map_err(said)?;
    let mut hashers: BTreeMap<u64, (ChainHasher, u64)> = transactions
        .iter()
        .map(|transaction| (transaction.generation, (ChainHasher::new(transaction), 0)))
        .collect();
    let mut strays = 0u64;
    each_event(segment, |name, event, text| match hashers.get_mut(&event.generation) {
        Some((hasher, count)) => {
            *count += 1;
            let (yanked, version, digest) = (event.yanked, event.version, event.digest);
            hasher.event(name, event.kind, yanked, version, digest, text.as_deref());
        }
        None => strays += 1,
    })
    .map_err(said)?;
    if strays > 0 {
        return Err(format!("{strays} events belong to no transaction"));
    }
    for transaction in &transactions {
        let generation = transaction.generation;
        let found = hashers
            .remove(&generation)
            .map(|(hasher, count)| (hasher.finish(), count));
        let count = found.map_or(0, |(_, count)| count);
        if count != transaction.event_count {
            let expected = transaction.event_count;
            return Err(format!(
                "snapshot {generation} has {count} events, {expected} by its transaction"
            ));
        }
        if found.map(|(hash, _)| hash) != Some(transaction.hash) {
            return Err(format!("the hash chain breaks at snapshot {generation}"));
        }
    }
    Ok(transactions)
}
