//! Planning a shelf: what is compressed against what, and in which order it is stored.
//!
//! The plan depends on the crate files and the settings alone, not on how or where they
//! are stored now, nor on the number of threads.

use super::candidates::candidates;
use super::measure::{Costs, Scales};
use super::seed::{self, Seed};
use super::shelf::Member;
use super::sketch::{Sampling, Sketch};
use super::source::{Source, remake};
use super::tree::{self, ChainBudget, Edge, Forest, Node};
use crate::archive::Error;
use crate::ids::Digest;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// What a base costs in a record's metadata: its digest, about.
const BASE_BYTES: u64 = 33;
/// What a seed's record takes beside its frame, about.
const SEED_RECORD_BYTES: u64 = 100;
/// A member that takes less than this part of what it takes alone is not measured beside the
/// seed.
const NEEDS_SEED: u64 = 4;

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

/// Plans the shelf of `members`; none if it was asked to end.
///
/// # Errors
/// When a member cannot be read.
pub(super) fn plan(
    source: Source<'_>,
    members: Vec<Member>,
    shelf: Digest,
    budget: ChainBudget,
    scales: Scales<'_>,
) -> Result<Option<Plan>, Error> {
    let looked = look(source, &members, scales.threads)?;
    let bases = candidates(&members, &looked);
    let Some(costs) = scales.costs(&members, &bases)? else {
        return Ok(None);
    };
    let mut nodes = nodes(&looked, &bases, &costs);
    let without = tree::grow(&nodes, budget);
    let key = |node: usize| members[node].release.name.key();
    let is_first = |node: usize| without.bases[node].is_none_or(|base| key(base) != key(node));
    let roots: Vec<usize> = (0..nodes.len())
        .filter(|&node| looked[node].is_tar && is_first(node))
        .collect();
    let (mut forest, mut seeds) = (without, Vec::new());
    if let Some(seed) = seed::make(source, &members, &looked, &roots)? {
        let seed_node = nodes.len();
        let needs = |node: usize| looked[node].is_tar && forest.costs[node] * NEEDS_SEED > nodes[node].alone;
        let alone_of = |node: usize| nodes[node].alone;
        let Some(against) = scales.against_seed(&members, &seed.content, &needs, &alone_of)? else {
            return Ok(None);
        };
        let alone = scales.alone(&seed.content)?;
        for (node, cost) in nodes.iter_mut().zip(against) {
            let edge = |cost| Edge {
                base: seed_node,
                cost: cost + BASE_BYTES,
            };
            node.edges.extend(cost.map(edge));
        }
        nodes.push(Node {
            content_bytes: seed.content.len() as u64,
            alone: alone + SEED_RECORD_BYTES,
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
    Ok(Some(Plan {
        members,
        shelf,
        seeds,
        steps,
    }))
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
fn nodes(looked: &[Looked], bases: &[Vec<usize>], costs: &[Costs]) -> Vec<Node> {
    let of = |((look, bases), costs): ((&Looked, &Vec<usize>), &Costs)| {
        let edge = |(&base, cost): (&usize, &u64)| Edge {
            base,
            cost: cost + BASE_BYTES,
        };
        Node {
            content_bytes: look.content_bytes,
            alone: costs.alone,
            edges: bases.iter().zip(&costs.against).map(edge).collect(),
            is_base: look.is_tar,
        }
    };
    looked.iter().zip(bases).zip(costs).map(of).collect()
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
