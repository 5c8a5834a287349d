//! Planning a shelf: what is compressed against what, and in which order it is stored.
//!
//! The plan depends on the crate files and the settings alone, not on how or where they
//! are stored now, nor on the number of threads.

use super::seed::{self, Seed};
use super::shelf::Member;
use super::sketch::{Sampling, Sketch};
use super::source::{Source, remake};
use super::tree::{self, ChainBudget, Edge, Forest, Node};
use crate::archive::Error;
use crate::ids::Digest;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

/// A member is thought of as base for so many of its crate before it, and behind it.
const NEIGHBOURS: usize = 3;
/// And for so many that look most alike, of its own crate and of others.
const ALIKE: usize = 8;
/// Of a crate's versions so many on each side are looked at for that.
const ALIKE_REACH: usize = 512;
/// By how many of so many smallest hashes they share.
const HASHES: usize = 64;
/// A piece that more members have tells nothing of families.
const MAX_SHARING: usize = 48;
/// What a record costs whatever is in it: its metadata, about.
const RECORD_BYTES: u64 = 200;
/// Content that is new in other ways is told a little shorter for a base than without.
pub(super) const ALONE_PERCENT: u64 = 103;

/// What a member is stored against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PlannedBase {
    /// Another member, by its number in the shelf.
    Member(usize),
    /// A seed, by its number in the plan.
    Seed(usize),
}

/// One member in its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// Its number in the shelf.
    pub member: usize,
    pub base: Option<PlannedBase>,
    /// Length of its content.
    pub content_bytes: u64,
    /// Length of its base's content.
    pub base_bytes: u64,
    /// Of its base: zeros if there is none.
    pub base_depth: u32,
    pub base_chain_bytes: u64,
}

/// How a shelf is stored.
#[derive(Debug)]
pub(super) struct Plan {
    pub members: Vec<Member>,
    pub shelf: Digest,
    pub seeds: Vec<Seed>,
    pub steps: Vec<Step>,
}

/// What planning needs to know of a member.
#[derive(Debug, Clone, Default)]
pub(super) struct Looked {
    pub sketch: Sketch,
    pub content_bytes: u64,
    /// Whether it is a tar, so that it can be a base.
    pub is_tar: bool,
}

/// Plans the shelf of `members`.
///
/// # Errors
/// When a member cannot be read.
pub(super) fn plan(
    source: Source<'_>,
    members: Vec<Member>,
    shelf: Digest,
    budget: ChainBudget,
    threads: usize,
) -> Result<Plan, Error> {
    let looked = look(source, &members, threads)?;
    let mut nodes = nodes(&members, &looked);
    let without = tree::grow(&nodes, budget);
    let key = |node: usize| members[node].release.name.key();
    let is_first = |node: usize| without.bases[node].is_none_or(|base| key(base) != key(node));
    let roots: Vec<usize> = (0..nodes.len())
        .filter(|&node| looked[node].is_tar && is_first(node))
        .collect();
    let (mut forest, mut seeds) = (without, Vec::new());
    if let Some(seed) = seed::make(source, &members, &looked, &roots)? {
        let seed_node = nodes.len();
        for (node, look) in nodes.iter_mut().zip(&looked) {
            if look.is_tar {
                let cost = seed.cost_of(&look.sketch) + RECORD_BYTES;
                node.edges.push(Edge { base: seed_node, cost });
            }
        }
        nodes.push(Node {
            content_bytes: seed.content.len() as u64,
            alone: seed.sketch.bytes() + RECORD_BYTES,
            edges: Vec::new(),
            is_base: true,
        });
        let with = tree::grow(&nodes, budget);
        if with.cost < forest.cost {
            forest = with;
            seeds.push(seed);
        }
    }
    let steps = steps(&forest, &nodes, members.len());
    Ok(Plan {
        members,
        shelf,
        seeds,
        steps,
    })
}

/// Reads every member once.
fn look(source: Source<'_>, members: &[Member], threads: usize) -> Result<Vec<Looked>, Error> {
    let crate_bytes: u64 = members.iter().map(|member| member.crate_bytes).sum();
    // Not by the bytes of contents, for of what is stored as it came these may change.
    let sampling = Sampling::of(crate_bytes.saturating_mul(8));
    let attempt = || {
        let snapshot = source.snapshot();
        let mut entries = Vec::with_capacity(members.len());
        for Member { digest, .. } in members {
            entries.push(snapshot.find(digest)?.ok_or(Error::NotHeld { digest: *digest })?);
        }
        let looked: Mutex<HashMap<Digest, Result<Looked, Error>>> = Mutex::default();
        snapshot.walk_contents(entries, threads, &|entry, decoded| {
            let look = decoded.and_then(|(meta, stored)| {
                let content = remake(&meta, &stored)?.content;
                Ok(Looked {
                    sketch: Sketch::of(&content.bytes, sampling),
                    content_bytes: content.bytes.len() as u64,
                    is_tar: content.recipe.is_some(),
                })
            });
            let mut looked = looked.lock().unwrap_or_else(PoisonError::into_inner);
            looked.insert(entry.digest, look);
        });
        let mut looked = looked.into_inner().unwrap_or_else(PoisonError::into_inner);
        let of = |member: &Member| {
            let look = looked.remove(&member.digest);
            look.unwrap_or(Err(Error::NotHeld { digest: member.digest }))
        };
        members.iter().map(of).collect::<Result<Vec<Looked>, Error>>()
    };
    // A pack may have been dropped meanwhile: its objects are elsewhere then.
    attempt().or_else(|error| match source {
        Source::Own(_) => attempt(),
        Source::Other(_) => Err(error),
    })
}

/// The members with what could be their bases.
fn nodes(members: &[Member], looked: &[Looked]) -> Vec<Node> {
    let keys: Vec<String> = members.iter().map(|member| member.release.name.key()).collect();
    let mut candidates: Vec<Vec<usize>> = vec![Vec::new(); members.len()];
    let mut start = 0;
    while start < members.len() {
        let end = (start..members.len())
            .find(|&at| keys[at] != keys[start])
            .unwrap_or(members.len());
        for (node, bases) in (start..end).zip(&mut candidates[start..end]) {
            bases.extend(node.saturating_sub(NEIGHBOURS).max(start)..(node + NEIGHBOURS + 1).min(end));
            bases.extend(previous_of_line(members, start, node));
            let from = node.saturating_sub(ALIKE_REACH).max(start);
            let reach = from..(node + ALIKE_REACH + 1).min(end);
            bases.extend(most_alike(looked, node, reach));
        }
        start = end;
    }
    for (node, others) in of_other_crates(&keys, looked).into_iter().enumerate() {
        candidates[node].extend(others);
    }
    let node = |(node, mut bases): (usize, Vec<usize>)| {
        let look = &looked[node];
        bases.sort_unstable();
        bases.dedup();
        bases.retain(|&base| base != node && looked[base].is_tar);
        let edge = |base: usize| Edge {
            base,
            cost: look.sketch.bytes_beside(&looked[base].sketch) + RECORD_BYTES,
        };
        Node {
            content_bytes: look.content_bytes,
            alone: look.sketch.bytes() * ALONE_PERCENT / 100 + RECORD_BYTES,
            edges: if look.is_tar {
                bases.into_iter().map(edge).collect()
            } else {
                Vec::new()
            },
            is_base: look.is_tar,
        }
    };
    candidates.into_iter().enumerate().map(node).collect()
}

/// The version before this one with the same two first numbers.
fn previous_of_line(members: &[Member], start: usize, node: usize) -> Option<usize> {
    let line = |at: usize| {
        let version = members[at].release.version.semver();
        (version.major, version.minor)
    };
    (start..node).rev().find(|&before| line(before) == line(node))
}

/// Those in `reach` that share most of their smallest hashes with `node`.
fn most_alike(looked: &[Looked], node: usize, reach: std::ops::Range<usize>) -> Vec<usize> {
    let own: Vec<u64> = looked[node].sketch.smallest(HASHES).collect();
    let shared = |other: usize| {
        let mut theirs = looked[other].sketch.smallest(HASHES).peekable();
        own.iter()
            .filter(|hash| {
                while theirs.next_if(|their| their < *hash).is_some() {}
                theirs.peek() == Some(hash)
            })
            .count()
    };
    let mut others: Vec<(usize, usize)> = reach
        .filter(|&other| other != node)
        .map(|other| (shared(other), other))
        .filter(|(shared, _)| *shared > 0)
        .collect();
    others.sort_by_key(|&(shared, other)| (std::cmp::Reverse(shared), other.abs_diff(node), other));
    others.truncate(ALIKE);
    others.into_iter().map(|(_, other)| other).collect()
}

/// For each member those of other crates that share most of their smallest hashes.
fn of_other_crates(keys: &[String], looked: &[Looked]) -> Vec<Vec<usize>> {
    let mut having: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (node, look) in looked.iter().enumerate().filter(|(_, look)| look.is_tar) {
        for hash in look.sketch.smallest(HASHES) {
            having.entry(hash).or_default().push(node);
        }
    }
    let mut shared: Vec<BTreeMap<usize, usize>> = vec![BTreeMap::new(); looked.len()];
    for nodes in having.values().filter(|nodes| nodes.len() <= MAX_SHARING) {
        for &node in nodes {
            for &other in nodes.iter().filter(|&&other| keys[other] != keys[node]) {
                *shared[node].entry(other).or_default() += 1;
            }
        }
    }
    let best = |shared: BTreeMap<usize, usize>| {
        let mut others: Vec<(usize, usize)> = shared.into_iter().map(|(other, count)| (count, other)).collect();
        others.sort_by_key(|&(count, other)| (std::cmp::Reverse(count), other));
        others.truncate(ALIKE);
        others.into_iter().map(|(_, other)| other).collect()
    };
    shared.into_iter().map(best).collect()
}

/// The forest as steps; nodes from `members` on are seeds, which are stored before all.
fn steps(forest: &Forest, nodes: &[Node], members: usize) -> Vec<Step> {
    let mut chains = vec![(0u32, 0u64); nodes.len()];
    let mut steps = Vec::with_capacity(members);
    for &node in &forest.order {
        let base = forest.bases[node];
        let (base_depth, base_chain_bytes) = base.map_or((0, 0), |base| chains[base]);
        let content_bytes = nodes[node].content_bytes;
        chains[node] = (base.map_or(0, |_| base_depth + 1), base_chain_bytes + content_bytes);
        if node < members {
            steps.push(Step {
                member: node,
                base: base.map(|base| match base.checked_sub(members) {
                    Some(seed) => PlannedBase::Seed(seed),
                    None => PlannedBase::Member(base),
                }),
                content_bytes,
                base_bytes: base.map_or(0, |base| nodes[base].content_bytes),
                base_depth,
                base_chain_bytes,
            });
        }
    }
    steps
}
